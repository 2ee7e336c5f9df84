#!/bin/sh
# The checkout that rounds run in: cloned where there is none, else brought to the newest commit.
# Its private settings hold in every round's clone, and git never sees them; the credentials of git
# and of the store come from the environment.
set -eu
checkout="${ROUNDHOUSE_CHECKOUT:?}"
if [ -d "$checkout/.git" ]; then
    git -C "$checkout" pull --quiet --ff-only ||
        echo "the newest commit could not be fetched: going on with the one that is here" >&2
else
    git clone --quiet "${ROUNDHOUSE_REPOSITORY:?}" "$checkout"
fi
cd "$checkout"
dvc config --quiet --local core.remote store
dvc remote add --quiet --local --force store "${DVC_REMOTE_URL:?}"
dvc remote modify --quiet --local store endpointurl "${AWS_ENDPOINT_URL:?}"
dvc remote modify --quiet --local store verify true
