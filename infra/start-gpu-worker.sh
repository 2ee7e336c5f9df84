#!/bin/sh
# A Prefect worker that starts each round as a Kubernetes job of its own. It needs the checkout only
# for prefect.yaml; the job makes another.
set -eu
scripts="$(cd "$(dirname "$0")" && pwd)"
checkout="${ROUNDHOUSE_CHECKOUT:?}"
[ -d "$checkout/.git" ] || git clone --quiet "${ROUNDHOUSE_REPOSITORY:?}" "$checkout"
cd "$checkout"
python "$scripts/make-pool.py" kubernetes kubernetes "${ROUNDHOUSE_JOB_TEMPLATE:?}"
# The image is written into the deployment; where its checkout lies, each job fills in for itself.
: "${ROUNDHOUSE_IMAGE:?}"
env -u ROUNDHOUSE_CHECKOUT prefect --no-prompt deploy --name kubernetes
exec prefect worker start --pool kubernetes --type kubernetes --with-healthcheck
