"""What asks a round to end reaches it once: a Ctrl-C, a signal, the end of its terminal."""

import os
import pty
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path

import pytest
from mlflow import MlflowClient

from roundhouse.ledger import Ledger
from roundhouse.locations import Locations
from tests.conftest import command_environment
from tests.rounds import killing

#: Notes each interrupt, ends at the first and takes its time about it.
ROUND = """
import signal, sys, time
from pathlib import Path
noted = Path(sys.argv[1])
signal.signal(signal.SIGINT, lambda *_: noted.open("a").write("x"))
noted.touch()
while not noted.read_text():
    time.sleep(0.05)
time.sleep(2)
"""

COMMAND = """
import os, sys
from pathlib import Path
from roundhouse.cli.rounds import run_apart
command = [sys.executable, "-c", sys.argv[2], sys.argv[1]]
sys.exit(run_apart(command, Path.cwd(), dict(os.environ)))
"""


def start(
    noted: Path, terminal: int | None = None, hangs_up: bool = True
) -> "subprocess.Popen[bytes]":
    """The command, on a terminal of its own or on none; `nohup` has it not hang up."""

    def take_terminal() -> None:
        os.setsid()
        # Tests that were started in the background ignore it, and so would their children.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        signal.signal(signal.SIGHUP, signal.SIG_DFL if hangs_up else signal.SIG_IGN)
        if terminal is not None:
            # Opening makes it the controlling terminal of the new session.
            os.close(os.open(os.ttyname(terminal), os.O_RDWR))

    process = subprocess.Popen(
        [sys.executable, "-c", COMMAND, str(noted), ROUND],
        stdin=terminal if terminal is not None else subprocess.DEVNULL,
        preexec_fn=take_terminal,
    )
    until = time.monotonic() + 60
    while not noted.exists():
        assert time.monotonic() < until
        time.sleep(0.05)
    return process


def test_from_a_terminal(tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    try:
        process = start(tmp_path / "noted", theirs)
        os.write(ours, b"\x03")
        assert process.wait(60) == 0
    finally:
        os.close(ours)
        os.close(theirs)
    assert (tmp_path / "noted").read_text(encoding="utf-8") == "x"


def test_from_a_script(tmp_path: Path) -> None:
    process = start(tmp_path / "noted")
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 0
    assert (tmp_path / "noted").read_text(encoding="utf-8") == "x"


@pytest.mark.parametrize("hangs_up", [True, False])
def test_the_end_of_its_terminal(tmp_path: Path, hangs_up: bool) -> None:
    ours, theirs = pty.openpty()
    process = start(tmp_path / "noted", theirs, hangs_up)
    os.close(theirs)
    os.close(ours)
    if not hangs_up:
        time.sleep(3)
        assert process.poll() is None, "`nohup` was to keep it"
        process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 0
    assert (tmp_path / "noted").read_text(encoding="utf-8") == "x"


def test_an_end_that_is_said_twice(tmp_path: Path) -> None:
    process = start(tmp_path / "noted")
    for number in (signal.SIGHUP, signal.SIGHUP, signal.SIGTERM):
        process.send_signal(number)
        time.sleep(0.5)
    assert process.wait(60) == 0
    assert (tmp_path / "noted").read_text(encoding="utf-8") == "x"


@pytest.mark.round
def test_a_whole_round_ends_with_its_terminal(make_checkout: Callable[..., Path]) -> None:
    root = make_checkout()
    places = Locations(root)
    ours, theirs = pty.openpty()

    def take_terminal() -> None:
        os.setsid()
        # As a shell has it for what runs in the background of a script.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGHUP, signal.SIG_DFL)
        os.close(os.open(os.ttyname(theirs), os.O_RDWR))

    process = subprocess.Popen(
        [sys.executable, "-m", "roundhouse.cli", "round"],
        cwd=root,
        env=command_environment(root) | {"ROUNDHOUSE_FAIL": "stage.step[sft]=delay:600@2"},
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        preexec_fn=take_terminal,
    )
    os.close(theirs)
    os.set_blocking(ours, False)
    until, said = time.monotonic() + 900, b""
    at_work = {"": "RUNNING", "validate": "FINISHED", "raters": "FINISHED", "sft": "RUNNING"}
    # It gives its figures a few seconds to reach MLflow when it ends: here they are there before.
    while _stages(places.state / "mlflow" / "mlflow.db") != at_work:
        with suppress(BlockingIOError):
            said += os.read(ours, 10_000)
        assert process.poll() is None, said
        assert time.monotonic() < until
        time.sleep(0.2)
    os.close(ours)
    process.wait(120)
    assert list(killing.of(root)) == []
    with Ledger.open(places.ledger_url, expected=True) as ledger:
        assert [row.state for row in ledger.rounds()] == ["open"]
    client = MlflowClient(places.tracking_uri, places.tracking_uri)
    runs = {run.data.tags.get("roundhouse.stage", ""): run for run in client.search_runs(["1"])}
    ended = {stage: run.info.status for stage, run in runs.items()}
    assert ended == {"": "FAILED", "validate": "FINISHED", "raters": "FINISHED", "sft": "FAILED"}


def _stages(database: Path) -> dict[str, str]:
    """Status of each run of a round, as MLflow's database has it; empty where there is none yet."""
    query = (
        "SELECT coalesce(tags.value, ''), runs.status FROM runs LEFT JOIN tags"
        " ON tags.run_uuid = runs.run_uuid AND tags.key = 'roundhouse.stage'"
    )
    try:
        with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
            return dict(connection.execute(query).fetchall())
    except sqlite3.OperationalError:
        return {}
