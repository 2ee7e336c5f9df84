"""The Prefect server is killed in the middle of a round, and started again by `up`."""

import contextlib
import os
import signal
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from roundhouse import jsonl, processes
from roundhouse.environment import UP_FILE
from roundhouse.ledger import Ledger
from roundhouse.locations import Locations
from roundhouse.rounds import mend
from roundhouse.services import STEADY
from tests.torture.conftest import start_up

pytestmark = pytest.mark.torture


def test_a_round_goes_on_while_its_server_is_started_again(
    make_checkout: Callable[..., Path], tally: Callable[..., None]
) -> None:
    root = make_checkout()
    places = Locations(root)
    began = time.monotonic()
    up = start_up(root)

    def wait_for(what: Callable[[], bool], seconds: float) -> None:
        until = time.monotonic() + seconds
        while not what():
            assert up.poll() is None, (root / "up.log").read_text(encoding="utf-8")
            assert time.monotonic() < until, "it did not happen"
            time.sleep(0.2)

    try:
        # A server that dies sooner ends `up`.
        wait_for(lambda: time.monotonic() - began > STEADY + 60, STEADY + 90)
        wait_for(lambda: mend.at_work(places), 300)
        with Ledger.open(places.ledger_url) as ledger:
            number = ledger.rounds()[-1].number
        wait_for((places.workspace(number) / "logs" / "sft.jsonl").exists, 300)
        for pid in list(processes.marked(jsonl.read_json(root / UP_FILE)["mark"])):
            line = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ")
            if b"prefect server" in line:
                os.kill(pid, signal.SIGKILL)

        def published() -> bool:
            with Ledger.open(places.ledger_url) as ledger:
                row = ledger.round(number)
            return row is not None and row.state == "published"

        wait_for(published, 600)
        wait_for(lambda: _state(root, number) in ("Promoted", "Held"), 300)
    finally:
        up.send_signal(signal.SIGINT)
        up.wait(120)
    with Ledger.open(places.ledger_url) as ledger:
        row = ledger.round(number)
    assert row is not None
    assert row.tries == 1
    tally(round=number, state=_state(root, number))


def _state(root: Path, number: int) -> str:
    """What Prefect shows of a round."""
    file = root / "state" / "prefect" / "prefect.db"
    with contextlib.closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as database:
        query = "select state_name from flow_run where name = ?"
        return str(database.execute(query, (f"round-{number:04d}",)).fetchone()[0])
