#!/bin/sh
# A Prefect worker that runs rounds in its own checkout; every worker of the pool has one.
set -eu
sh "$(dirname "$0")/make-checkout.sh"
checkout="${ROUNDHOUSE_CHECKOUT:?}"
cd "$checkout"
export PYTHONPATH="$checkout/src:$checkout${PYTHONPATH:+:$PYTHONPATH}"
prefect --no-prompt work-pool inspect machines >/dev/null 2>&1 ||
    prefect --no-prompt work-pool create machines --type process --overwrite
prefect --no-prompt deploy --name process
exec prefect worker start --pool machines --type process --limit 1 --with-healthcheck
