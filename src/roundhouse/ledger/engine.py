"""Opens the database behind a ledger: finds or makes it, migrates it, and words its errors.

SQLite runs in WAL mode with full synchronisation, and a writing transaction takes the write lock at
its start (`BEGIN IMMEDIATE`), so that two writers wait for each other instead of failing halfway.
PostgreSQL's writers queue for the head row. Both give up after the busy timeout.
"""

import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

# MLflow imports it on a thread of its own; until that is done, SQLAlchemy's core stumbles over the
# half of it that is there. So it is whole before any thread begins.
import sqlalchemy.orm  # noqa: F401 - for what it registers
from sqlalchemy import Connection, Engine, create_engine, event, inspect, text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError, SQLAlchemyError

from roundhouse.errors import LedgerError, NoLedgerError
from roundhouse.ledger import schema

#: Erased bytes are overwritten, and not only taken off the list of pages in use.
_PRAGMAS = (
    "synchronous = FULL",
    "foreign_keys = ON",
    "secure_delete = ON",
)
#: Any constant: it keeps two processes from making the tables at once on PostgreSQL.
_ADVISORY_LOCK = 7_205_759_403


def connect(url: str, expected: bool, create: bool, timeout: float) -> Engine:
    """An engine for a ledger whose tables stand at today's version.

    Args:
        url: SQLAlchemy URL, such as `sqlite:///state/ledger.db`.
        expected: something shows that this ledger existed; an absent one is then an error.
        create: make the ledger where there is none.
        timeout: how long to wait for a lock, in seconds.

    Raises:
        LedgerError: absent, locked, damaged, unreachable, or written by a newer version.
    """
    parsed = _parsed(url)
    shown = parsed.render_as_string(hide_password=True)
    file = _file(parsed)
    exists = file is None or (file.exists() and file.stat().st_size > 0)
    if not exists:
        _refuse_absent(shown, expected, create)
    if file is not None and create:
        file.parent.mkdir(parents=True, exist_ok=True)
    engine = _engine(parsed, timeout)
    try:
        with worded(shown), engine.connect() as connection:
            version = _version(connection)
        if version is None:
            _refuse_absent(shown, expected, create)
        if version != schema.VERSION:
            with worded(shown):
                _migrate(engine, shown)
    except BaseException:
        engine.dispose()
        raise
    return engine


@contextmanager
def worded(shown: str) -> Iterator[None]:
    """Turns a database's error into one line that says what to do."""
    try:
        yield
    except (DBAPIError, sqlite3.Error) as error:
        cause = " ".join(str(getattr(error, "orig", error)).split())
        raise LedgerError(f"ledger {shown}: {_advice(cause)}") from error
    except SQLAlchemyError as error:
        raise LedgerError(f"ledger {shown}: {' '.join(str(error).split())}") from error


def writer(engine: Engine) -> Engine:
    """The same engine for transactions that write."""
    return engine.execution_options(writes=True)


def compact(engine: Engine) -> None:
    """Rewrites the database, so that nothing is left of erased values in free pages or the log.

    Raises:
        LedgerError: on SQLite, somebody still reads the old pages.
        DBAPIError, sqlite3.Error: for `worded`.
    """
    if engine.dialect.name == "postgresql":
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            # As elsewhere, another's lock is not waited for without end.
            connection.execute(text("SET lock_timeout = '30s'"))
            for table in schema.metadata.sorted_tables:
                connection.execute(text(f'VACUUM FULL "{table.name}"'))
        return
    raw = engine.raw_connection()
    try:
        cursor = raw.cursor()
        cursor.execute("VACUUM")
        cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        busy, *_ = cursor.fetchall()[0]
    finally:
        raw.close()
    if busy:
        raise LedgerError("the ledger is being read, so old pages remain: say it again later")


def _advice(cause: str) -> str:
    if "locked" in cause or "lock timeout" in cause:
        return "locked by another process; wait for it to end, or end it, and try again"
    if "not a database" in cause or "malformed" in cause:
        return f"damaged ({cause}); put back a copy of it"
    if "disk is full" in cause or "No space left" in cause:
        return f"no space left on its disk ({cause}); free some, then say it again"
    if "readonly" in cause or "unable to open" in cause:
        return f"{cause}; check the path and who may write there"
    return cause


def _parsed(url: str) -> URL:
    try:
        return make_url(url)
    except ArgumentError:
        raise LedgerError(
            "the ledger's URL cannot be read; write it as sqlite:///state/ledger.db"
        ) from None


def _file(url: URL) -> Path | None:
    """The file of an SQLite ledger; None for a server, or for SQLite in memory."""
    if url.get_backend_name() != "sqlite" or url.database in (None, "", ":memory:"):
        return None
    return Path(str(url.database))


def _refuse_absent(shown: str, expected: bool, create: bool) -> None:
    if expected:
        raise LedgerError(
            f"ledger {shown}: missing, though rounds were made from it; put it back"
            " (a new one would count their feedback twice)"
        )
    if not create:
        raise NoLedgerError(f"ledger {shown}: there is none yet; `roundhouse ingest` makes it")


def _engine(url: URL, timeout: float) -> Engine:
    sqlite = url.get_backend_name() == "sqlite"
    try:
        arguments = {"timeout": timeout} if sqlite else {"connect_timeout": max(1, int(timeout))}
        # A server that was started again since is met by a new connection. Parameters are people's
        # words: they must not stand in a traceback that a log keeps.
        engine = create_engine(
            url, connect_args=arguments, pool_pre_ping=not sqlite, hide_parameters=True
        )
    except (NoSuchModuleError, ImportError) as error:
        raise LedgerError(
            f"the ledger's database has no driver here ({error});"
            " PostgreSQL needs pip install 'roundhouse[postgres]'"
        ) from None
    if sqlite:

        @event.listens_for(engine, "connect")
        def _prepare(connection: sqlite3.Connection, _record: Any) -> None:
            _prepare_sqlite(connection, timeout)

        event.listen(engine, "begin", _begin_sqlite)
    elif url.get_backend_name() == "postgresql":
        milliseconds = int(timeout * 1000)

        @event.listens_for(engine, "begin")
        def _limit_waiting(connection: Connection) -> None:
            connection.exec_driver_sql(f"SET LOCAL lock_timeout = {milliseconds}")

    return engine


def _prepare_sqlite(connection: sqlite3.Connection, timeout: float) -> None:
    # The driver would begin transactions by itself, and only at the first write.
    connection.isolation_level = None
    _write_ahead(connection, timeout)
    for pragma in _PRAGMAS:
        connection.execute(f"PRAGMA {pragma}")


def _write_ahead(connection: sqlite3.Connection, timeout: float) -> None:
    """Of two that open a new file at once, SQLite refuses one without asking its busy timeout."""
    until = time.monotonic() + timeout
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > until:
                raise
            time.sleep(0.01)
        else:
            return


def _begin_sqlite(connection: Connection) -> None:
    writes = connection.get_execution_options().get("writes", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _version(connection: Connection) -> str | None:
    tables = inspect(connection).get_table_names()
    if "alembic_version" not in tables:
        return None
    found = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
    return None if found is None else str(found)


def _migrate(engine: Engine, shown: str) -> None:
    # Alembic takes a quarter of a second to import, and most openings have nothing to migrate.
    from alembic import command  # noqa: PLC0415 - needed only where tables change
    from alembic.config import Config  # noqa: PLC0415 - as above
    from alembic.util.exc import CommandError  # noqa: PLC0415 - as above

    config = Config()
    folder = str(Path(__file__).with_name("migrations"))
    config.set_main_option("script_location", folder.replace("%", "%%"))
    with writer(engine).begin() as connection:
        if connection.dialect.name == "postgresql":
            connection.execute(text(f"SELECT pg_advisory_xact_lock({_ADVISORY_LOCK})"))
        if _version(connection) == schema.VERSION:
            return
        config.attributes["connection"] = connection
        try:
            command.upgrade(config, "head")
        except CommandError as error:
            raise LedgerError(
                f"ledger {shown}: written by a newer roundhouse ({error}); upgrade this one"
            ) from None
