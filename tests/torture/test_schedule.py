"""Three rounds without a hand on the keyboard: raters drift in the second, the third is killed."""

import json
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from roundhouse.ledger import Ledger
from roundhouse.locations import Locations
from tests.rounds import killing
from tests.rounds.conftest import Command
from tests.torture.conftest import start_up

pytestmark = pytest.mark.torture


def test_three_rounds_by_the_schedule(
    make_checkout: Callable[..., Path], roundhouse: Command, tally: Callable[..., None]
) -> None:
    root = make_checkout(**{"simulate.drift": {"round": 2, "raters": 0.5, "flip": 0.5}})
    up = start_up(root)
    killed = 0.0
    try:
        while _states(root).count("published") < 3:
            assert up.poll() is None, (root / "up.log").read_text(encoding="utf-8")
            at_align = Locations(root).workspace(3) / "logs" / "align.jsonl"
            if not killed and at_align.exists():
                killed = _kill_flow(root)
            time.sleep(0.2)
        finished = time.time()
    finally:
        up.send_signal(signal.SIGINT)
        up.wait(120)
    assert killed
    rounds = json.loads(roundhouse(root, "rounds", "--json").stdout)
    assert [row["round"] for row in rounds] == [1, 2, 3]
    assert {row["decision"] for row in rounds} <= {"promoted", "held"}
    agreement = [row["metrics"]["raters/agreement"] for row in rounds]
    with Ledger.open(Locations(root).ledger_url, expected=True) as ledger:
        tries = [row.tries for row in ledger.rounds()]
        assert tries == [1, 1, 2]
    assert roundhouse(root, "audit", "verify").returncode == 0
    assert list(killing.of(root)) == []
    tally(agreement=agreement, seconds_from_kill_to_published=round(finished - killed, 1))


def _states(root: Path) -> list[str]:
    if not (root / "state" / "ledger.db").exists():
        return []
    with Ledger.open(Locations(root).ledger_url) as ledger:
        return [row.state for row in ledger.rounds()]


def _kill_flow(root: Path) -> float:
    """kill -9 of the process that runs the flow, and of nothing else; returns when (seconds)."""
    owner = json.loads((root / "state" / "round.lock").read_text(encoding="utf-8"))
    os.kill(int(owner["pid"]), signal.SIGKILL)
    return time.time()
