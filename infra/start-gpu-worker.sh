#!/bin/sh
# A Prefect worker that starts each round as a Kubernetes job of its own. It needs the checkout only
# for prefect.yaml; the job makes another.
set -eu
scripts="$(cd "$(dirname "$0")" && pwd)"
checkout="${ROUNDHOUSE_CHECKOUT:?}"
[ -d "$checkout/.git" ] || git clone --quiet "${ROUNDHOUSE_REPOSITORY:?}" "$checkout"
cd "$checkout"
python "$scripts/make-pool.py" kubernetes kubernetes "${ROUNDHOUSE_JOB_TEMPLATE:?}"
# The deployment tells the job where its checkout is to be, not where this one lies.
ROUNDHOUSE_IMAGE="${ROUNDHOUSE_IMAGE:?}" prefect --no-prompt deploy --name kubernetes
exec prefect worker start --pool kubernetes --type kubernetes --with-healthcheck
