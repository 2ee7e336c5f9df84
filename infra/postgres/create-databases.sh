#!/bin/sh
# Runs once, on an empty volume: one database and one role a program, none of which sees the others.
set -eu
create() {
    psql --set ON_ERROR_STOP=1 --username "$POSTGRES_USER" --set name="$1" --set password="$2" <<'SQL'
CREATE ROLE :"name" LOGIN PASSWORD :'password';
CREATE DATABASE :"name" OWNER :"name";
REVOKE CONNECT ON DATABASE :"name" FROM PUBLIC;
SQL
}
create prefect "${PREFECT_DATABASE_PASSWORD:?}"
create mlflow "${MLFLOW_DATABASE_PASSWORD:?}"
create ledger "${LEDGER_DATABASE_PASSWORD:?}"
