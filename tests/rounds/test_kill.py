"""kill -9 in the middle of a round: one command finishes it, once, and nothing is left running."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from roundhouse.ledger import Ledger
from roundhouse.locations import Locations
from roundhouse.rounds import git
from tests.conftest import command_environment
from tests.rounds.conftest import Command, tracked_state

pytestmark = pytest.mark.round


def _start(root: Path) -> "subprocess.Popen[bytes]":
    """A round in a process group of its own, with its output kept in a file."""
    with (root / "round.log").open("wb") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "roundhouse.cli", "round"],
            cwd=root,
            env=command_environment(root),
            stdout=log,
            stderr=log,
            start_new_session=True,
        )


def _kill_when(root: Path, reached: Callable[[], bool], meanwhile: Callable[[], None]) -> None:
    """Starts a round and kills command and flow, not the stage, once a point is reached."""
    process = _start(root)
    deadline = time.monotonic() + 400
    while not reached():
        assert process.poll() is None, (root / "round.log").read_text(encoding="utf-8")
        assert time.monotonic() < deadline, "the round did not get there"
        time.sleep(0.01)
    meanwhile()
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _of(root: Path) -> list[str]:
    """Command lines of live processes that belong to a checkout."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            environment = (folder / "environ").read_bytes()
            line = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode()
        except OSError:
            continue
        if str(root).encode() in environment and int(folder.name) != os.getpid():
            found.append(line)
    return found


def _resume(root: Path, roundhouse: Command) -> dict[str, Any]:
    done = roundhouse(root, "resume", "1", "--json")
    assert done.returncode == 0, done.stderr
    record: dict[str, Any] = json.loads(done.stdout)
    return record


def _one_of_everything(root: Path) -> None:
    """Whatever a round leaves behind is there exactly once."""
    from mlflow import MlflowClient  # noqa: PLC0415 - the real client, only here

    places = Locations(root)
    client = MlflowClient(places.tracking_uri, places.tracking_uri)
    experiment = client.get_experiment_by_name("roundhouse")
    runs = client.search_runs([experiment.experiment_id])
    assert len(runs) == 7
    assert {run.info.status for run in runs} == {"FINISHED"}
    assert len(client.search_model_versions("name = 'roundhouse'")) == 1
    with Ledger.open(places.ledger_url, expected=True) as ledger:
        assert [decision.round for decision in ledger.decisions()] == [1]
        assert [row.state for row in ledger.rounds()] == ["published"]
        counts = ledger.counts()
    assert counts.received == counts.accepted + counts.duplicate + counts.quarantined
    assert git.round_tags(root) == [1]


def test_in_the_middle_of_ppo(make_checkout: Callable[..., Path], roundhouse: Command) -> None:
    root = make_checkout()
    before = tracked_state(root) | {"status": "?? round.log"}
    logs = Locations(root).workspace(1) / "logs"

    def refused() -> None:
        second = roundhouse(root, "round")
        assert second.returncode == 1
        assert "roundhouse: roundhouse round (process" in second.stderr
        assert "is at work here" in second.stderr
        assert "Traceback" not in second.stderr

    _kill_when(root, (logs / "ppo.jsonl").exists, refused)
    ran = {stage: (logs / f"{stage}.jsonl").stat().st_ino for stage in ("sft", "reward")}
    record = _resume(root, roundhouse)
    assert record["decision"] == "promoted"
    assert {stage: (logs / f"{stage}.jsonl").stat().st_ino for stage in ran} == ran
    assert _of(root) == []
    assert tracked_state(root) == before
    _one_of_everything(root)


def test_in_the_middle_of_publish(make_checkout: Callable[..., Path], roundhouse: Command) -> None:
    root = make_checkout()

    def tagged() -> bool:
        return bool(git.round_tags(root)) and not _decided(root)

    _kill_when(root, tagged, lambda: None)
    assert not _decided(root)
    commit = git.git("rev-parse", "round-0001^{commit}", cwd=root)
    assert _resume(root, roundhouse)["commit"] == commit
    assert _of(root) == []
    _one_of_everything(root)
    assert roundhouse(root, "audit", "verify").returncode == 0


def _decided(root: Path) -> bool:
    with Ledger.open(Locations(root).ledger_url, expected=True) as ledger:
        return bool(ledger.decisions())
