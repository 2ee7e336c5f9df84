#!/bin/sh
# A Prefect worker that runs rounds in its own checkout; every worker of the pool has one.
set -eu
scripts="$(cd "$(dirname "$0")" && pwd)"
sh "$scripts/make-checkout.sh"
checkout="${ROUNDHOUSE_CHECKOUT:?}"
cd "$checkout"
export PYTHONPATH="$checkout/src:$checkout${PYTHONPATH:+:$PYTHONPATH}"
python "$scripts/make-pool.py" machines process
# A variable that is set now would be written into the deployment: each worker fills in its own.
env -u ROUNDHOUSE_CHECKOUT prefect --no-prompt deploy --name process
exec prefect worker start --pool machines --type process --limit 1 --with-healthcheck
