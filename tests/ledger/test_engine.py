"""Opening: made where there is none, refused where one should be, one line for every trouble."""

import sqlite3
import subprocess
import sys
import threading
import traceback
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine, select, text

import roundhouse.ledger.engine as engine_module
from roundhouse.errors import LedgerError
from roundhouse.ledger import Candidate, Counts, Ledger, schema


def test_it_is_made_with_its_folders_and_found_again(url: str) -> None:
    with Ledger.open(url) as ledger:
        number = ledger.take_round_number()
    for expected, create in ((True, True), (True, False), (False, False)):
        with Ledger.open(url, expected=expected, create=create) as ledger:
            assert ledger.round(number) is not None


def test_one_that_should_be_there_is_not_made_anew(url: str, tmp_path: Path) -> None:
    with pytest.raises(LedgerError, match="missing") as caught:
        Ledger.open(url, expected=True)
    assert "\n" not in str(caught.value)
    with pytest.raises(LedgerError, match="none yet"):
        Ledger.open(url, create=False)
    assert list(tmp_path.iterdir()) == []


def test_the_migrations_make_the_tables_of_the_schema(url: str) -> None:
    with Ledger.open(url):
        pass
    engine = create_engine(url)
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, schema.metadata) == []
        assert connection.execute(select(schema.head.c.seq)).scalars().all() == [0]
        assert connection.execute(select(schema.champion.c.decision)).scalars().all() == [0]
    engine.dispose()


def test_rounds_of_an_older_ledger_have_no_counts_and_can_get_some(url: str) -> None:
    config = Config()
    folder = Path(engine_module.__file__).with_name("migrations")
    config.set_main_option("script_location", str(folder))
    engine = create_engine(url)
    if file := engine.url.database if url.startswith("sqlite") else None:
        Path(file).parent.mkdir()
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0002")
        connection.execute(
            text(
                "INSERT INTO round (number, state, started_at, reasons, metrics, note) "
                "VALUES (1, 'published', '2026-01-31T16:59:52Z', '[]', '{}', '{}')"
            )
        )
    engine.dispose()
    with Ledger.open(url, expected=True) as ledger:
        (old,) = ledger.rounds()
        assert (old.number, old.counts) == (1, None)
        ledger.record_round(1, counts=Counts(2, 1, 1, 0))
        assert ledger.rounds()[0].counts == Counts(2, 1, 1, 0)


def test_the_schema_names_the_newest_migration() -> None:
    config = Config()
    folder = Path(engine_module.__file__).with_name("migrations")
    config.set_main_option("script_location", str(folder))
    assert ScriptDirectory.from_config(config).get_current_head() == schema.VERSION


def test_the_database_itself_refuses_counts_that_do_not_add_up(url: str) -> None:
    with Ledger.open(url) as ledger:
        ledger.start_batch("a", "jsonl")
    engine = create_engine(url)
    with pytest.raises(Exception, match=r"ck_batch_counts"), engine.begin() as connection:
        connection.execute(text("UPDATE batch SET received = 1"))
    engine.dispose()


def test_a_newer_ledger_is_refused(url: str) -> None:
    with Ledger.open(url):
        pass
    engine = create_engine(url)
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    engine.dispose()
    with pytest.raises(LedgerError, match="newer roundhouse"):
        Ledger.open(url)


def test_a_locked_ledger_is_one_line_after_the_timeout(url: str) -> None:
    with Ledger.open(url, timeout=0.2) as ledger:
        holder = create_engine(url, isolation_level=None)
        with holder.connect() as connection:
            lock = "BEGIN IMMEDIATE" if url.startswith("sqlite") else "LOCK TABLE champion"
            connection.exec_driver_sql(lock)
            with pytest.raises(LedgerError, match="locked by another process") as caught:
                ledger.take_round_number()
            connection.rollback()
        holder.dispose()
        assert "\n" not in str(caught.value)
        assert ledger.take_round_number() == 1


def test_two_that_make_a_ledger_at_once_wait_for_each_other(tmp_path: Path) -> None:
    """A new file with a writer in it, as another process leaves it while it begins to make it."""
    file = tmp_path / "ledger.db"
    other = sqlite3.connect(file, isolation_level=None, check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(LedgerError, match="locked by another process"):
        Ledger.open(f"sqlite:///{file}", timeout=0.2)
    done = threading.Timer(0.5, lambda: other.execute("COMMIT"))
    done.start()
    with Ledger.open(f"sqlite:///{file}", timeout=30) as ledger:
        assert ledger.take_round_number() == 1
    done.join()
    other.close()


def test_readers_do_not_wait_for_a_writer(url: str) -> None:
    with Ledger.open(url, timeout=0.2) as ledger:
        holder = create_engine(url)
        with holder.connect() as connection:
            connection.execute(text("UPDATE champion SET decision = 7"))
            assert ledger.champion() is None
            assert ledger.watermark() == 0
            connection.rollback()
        holder.dispose()


def test_a_damaged_file_is_one_line(tmp_path: Path) -> None:
    file = tmp_path / "ledger.db"
    file.write_bytes(b"this is no database, but it is long enough to look like a file" * 20)
    with pytest.raises(LedgerError, match="damaged") as caught:
        Ledger.open(f"sqlite:///{file}")
    assert "\n" not in str(caught.value)


def test_another_programs_database_is_not_taken_for_a_ledger_that_existed(tmp_path: Path) -> None:
    file = tmp_path / "other.db"
    connection = sqlite3.connect(file)
    connection.execute("CREATE TABLE theirs (x)")
    connection.close()
    with pytest.raises(LedgerError, match="missing"):
        Ledger.open(f"sqlite:///{file}", expected=True)


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("ledger.db", "cannot be read"),
        ("nosuch://host/db", "no driver"),
        ("postgresql+psycopg2://u:secret@127.0.0.1:9/db", "ledger postgresql"),
    ],
)
def test_a_url_that_leads_nowhere_is_one_line_without_its_password(url: str, message: str) -> None:
    if "psycopg2" in url:
        pytest.importorskip("psycopg2", reason="the postgres extra is not installed")
    with pytest.raises(LedgerError, match=message) as caught:
        Ledger.open(url)
    assert "\n" not in str(caught.value) and "secret" not in str(caught.value)


def test_no_traceback_shows_what_people_wrote(url: str) -> None:
    row = {"id": "1", "kind": "flag", "rater": "r", "prompt": "p", "response": "private words"}
    with Ledger.open(url) as ledger, pytest.raises(LedgerError) as caught:
        ledger.append(7, [Candidate(1, row, b"")])
    told = "".join(traceback.format_exception(caught.value))
    assert "IntegrityError" in told and "private words" not in told


def test_a_path_with_a_percent_sign_and_a_space(tmp_path: Path) -> None:
    with Ledger.open(f"sqlite:///{tmp_path / 'a %(here)s b' / 'l.db'}") as ledger:
        assert ledger.watermark() == 0


def test_a_server_that_was_started_again_is_met_by_a_new_connection(postgres: str) -> None:
    with Ledger.open(postgres) as ledger:
        assert ledger.take_round_number() == 1
        engine = create_engine(postgres)
        with engine.begin() as connection:
            others = "FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND datname IS NOT NULL"
            # The second argument waits for their end: until then a ping is answered.
            ended = text(f"SELECT pg_terminate_backend(pid, 30000) {others}")
            assert connection.execute(ended).all()
        engine.dispose()
        assert ledger.take_round_number() == 2


def test_what_other_threads_would_half_import_is_whole_before_they_begin() -> None:
    """A round's thread for MLflow imports `sqlalchemy.orm` while the ledger is at work, and a query
    that meets the half of it that is there fails."""
    code = "import sys, roundhouse.ledger; sys.exit('sqlalchemy.orm' not in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
