#!/bin/sh
# The MLflow server with accounts. Its settings file holds the database's address, so it is written
# here, for this user's eyes alone, and never lies in the image.
set -eu
umask 077
settings="$(mktemp)"
cat > "$settings" <<SETTINGS
[mlflow]
default_permission = READ
database_uri = ${MLFLOW_AUTH_DATABASE_URI:?}
admin_username = ${MLFLOW_AUTH_ADMIN_USERNAME:?}
authorization_function = mlflow.server.auth:authenticate_request_basic_auth
auth_cache_ttl_seconds = 60
SETTINGS
export MLFLOW_AUTH_CONFIG_PATH="$settings"
: "${MLFLOW_AUTH_ADMIN_PASSWORD:?}" "${MLFLOW_FLASK_SERVER_SECRET_KEY:?}"
exec mlflow server --app-name basic-auth --workers 1 \
    --host "${MLFLOW_HOST:-0.0.0.0}" --port "${MLFLOW_PORT:-5000}" \
    --artifacts-destination "${MLFLOW_ARTIFACTS_DESTINATION:?}" \
    --allowed-hosts "${MLFLOW_SERVER_ALLOWED_HOSTS:?}"
