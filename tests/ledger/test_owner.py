"""Who may write for rounds: one process at a time, and none that was taken for dead."""

import os
import signal
import subprocess
import sys
import time

import pytest
from sqlalchemy import create_engine, text

from roundhouse.errors import BusyError, OvertakenError
from roundhouse.ledger import Ledger

HOLDER = """
import sys, time
from roundhouse.ledger import Ledger
with Ledger.open(sys.argv[1]) as ledger:
    with ledger.owned({"purpose": "the first", "pid": "7", "host": "elsewhere"}):
        print("held", flush=True)
        time.sleep(60)
"""


def _who(purpose: str) -> dict[str, str]:
    return {"purpose": purpose, "pid": "1", "host": "here"}


def test_an_owner_that_was_taken_for_dead_writes_nothing_more(url: str) -> None:
    with Ledger.open(url) as first, Ledger.open(url) as second:
        number = first.take_round_number()
        with first.owned(_who("first")):
            first.record_round(number, watermark=1)
            _lose_connections(url)
            with second.owned(_who("second")):
                for write in (
                    lambda: first.record_round(number, watermark=9),
                    lambda: first.settle(number, True, "1", "0" * 64, None),
                    lambda: first.try_round(number),
                    first.take_round_number,
                ):
                    with pytest.raises(OvertakenError, match=r"second \(process 1 on here\)"):
                        write()
                second.record_round(number, watermark=2)
        assert second.rounds()[0].watermark == 2
        assert second.decisions() == []


def _lose_connections(url: str) -> None:
    """What the server does with the connections of a machine that it no longer reaches."""
    if url.startswith("postgresql"):
        engine = create_engine(url, isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            connection.execute(
                # A backend frees its locks as it ends, some time after the signal: wait for it.
                text(
                    "SELECT pg_terminate_backend(pid, 30000) FROM pg_locks"
                    " WHERE locktype = 'advisory'"
                )
            )
        engine.dispose()


def test_on_postgres_a_second_machine_is_refused_until_the_first_is_gone(postgres: str) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, postgres],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        stdout=subprocess.PIPE,
        text=True,
    ) as holder:
        assert holder.stdout is not None
        with Ledger.open(postgres) as ledger:
            assert holder.stdout.readline() == "held\n"
            with (
                pytest.raises(BusyError, match=r"the first \(process 7 on elsewhere\) is at work"),
                ledger.owned(_who("second")),
            ):
                pass
            holder.send_signal(signal.SIGKILL)
            holder.wait()
            _until_free(ledger)
            with (
                ledger.owned(_who("third")),
                pytest.raises(BusyError, match="third"),
                Ledger.open(postgres) as other,
                other.owned(_who("fourth")),
            ):
                pass


def _until_free(ledger: Ledger) -> None:
    until = time.monotonic() + 30
    while time.monotonic() < until:
        try:
            with ledger.owned(_who("second")):
                return
        except BusyError:
            time.sleep(0.05)
    raise AssertionError("the lock of a dead process was not freed")


def test_every_ledger_has_a_name_of_its_own(url: str, tmp_path: object) -> None:
    with Ledger.open(url) as ledger, Ledger.open(f"sqlite:///{tmp_path}/other.db") as other:
        assert len(ledger.identity()) == 32
        assert ledger.identity() != other.identity()
    with Ledger.open(url) as again, Ledger.open(f"sqlite:///{tmp_path}/other.db") as other:
        assert again.identity() != other.identity()
