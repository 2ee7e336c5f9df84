#!/bin/sh
# A Prefect worker on a checkout that stays in its volume; the first start clones it.
set -eu
checkout="${ROUNDHOUSE_CHECKOUT:?}"
if [ ! -d "$checkout/.git" ]; then
    git clone --quiet "${ROUNDHOUSE_REPOSITORY:?}" "$checkout"
fi
cd "$checkout"
export PYTHONPATH="$checkout/src:$checkout"
# Private settings of this checkout: they hold in every round's clone, and git never sees them.
dvc config --local core.remote store
dvc remote add --local --force store "${DVC_REMOTE_URL:?}"
dvc remote modify --local store endpointurl "${AWS_ENDPOINT_URL:?}"
prefect --no-prompt work-pool create machines --type process --overwrite
prefect --no-prompt deploy --name process
exec prefect worker start --pool machines --type process --limit 1 --with-healthcheck
