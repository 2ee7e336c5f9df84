"""Many tiny rounds in a row, started by the schedule: nothing grows but what was published."""

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from roundhouse import processes
from roundhouse.environment import UP_FILE
from roundhouse.jsonl import read_json
from roundhouse.ledger import Ledger
from roundhouse.locations import Locations
from tests.rounds.conftest import Command
from tests.torture.conftest import start_up

pytestmark = pytest.mark.torture

#: Rounds; the first ones fill caches and pools, and are not judged.
ROUNDS, WARM = int(os.environ.get("ROUNDHOUSE_SOAK", "50")), 10
KEPT = 3


class Sample(NamedTuple):
    """After one round: resident memory (bytes), open files, processes, and bytes on the disk."""

    memory: dict[str, int]
    files: dict[str, int]
    processes: int
    disk: dict[str, int]


def test_fifty_rounds_in_a_row(
    make_checkout: Callable[..., Path], roundhouse: Command, tally: Callable[..., None]
) -> None:
    root = make_checkout(**{"storage.keep_rounds": KEPT, "simulate.pairs": 60, "ppo.steps": 1})
    up = start_up(root)
    samples: list[Sample] = []
    try:
        while len(samples) < ROUNDS:
            assert up.poll() is None, (root / "up.log").read_text(encoding="utf-8")
            done = _published(root)
            if done > len(samples):
                time.sleep(5)
                samples += [_sample(root)] * (done - len(samples))
                tally(round=len(samples), **samples[-1]._asdict())
            time.sleep(0.5)
    finally:
        up.send_signal(signal.SIGINT)
        up.wait(120)
    mark = f"{root}/"
    assert not [line for line in _command_lines() if mark in line]
    assert roundhouse(root, "audit", "verify").returncode == 0
    growth = _growth(samples)
    tally(rounds=len(samples), growth=growth, disk=samples[-1].disk, first=samples[WARM].disk)
    for name, per_round in growth["memory"].items():
        assert per_round < 1_000_000, (name, growth)
    for name, per_round in growth["files"].items():
        assert per_round < 0.2, (name, growth)
    assert samples[-1].processes <= samples[WARM].processes
    # Every kept round has all feedback so far, 60 pairs a round and the file of the pairs made of
    # them, about 0.1 MB: rounds that are not kept leave nothing.
    for name, per_round in growth["disk"].items():
        most = 150_000 * KEPT if name in ("rounds", "state/dvc/cache") else 3_000_000
        assert per_round < most, (name, growth)


def _published(root: Path) -> int:
    if not (root / "state" / "ledger.db").exists():
        return 0
    with Ledger.open(Locations(root).ledger_url) as ledger:
        states = [row.state for row in ledger.rounds()]
    assert set(states) <= {"published", "open"}, states
    return states.count("published")


def _sample(root: Path) -> Sample:
    mark = read_json(root / UP_FILE)["mark"]
    names = {"prefect server": "prefect", "mlflow": "mlflow", "flows.serve": "runner"}
    memory, files, count = dict.fromkeys(names.values(), 0), dict.fromkeys(names.values(), 0), 0
    for pid in processes.marked(mark):
        folder = Path(f"/proc/{pid}")
        try:
            line = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            pages = int((folder / "statm").read_text(encoding="utf-8").split()[1])
            opened = len(list((folder / "fd").iterdir()))
        except OSError:
            continue
        name = next((short for text, short in names.items() if text in line), None)
        if name:
            memory[name] += pages * os.sysconf("SC_PAGE_SIZE")
            files[name] += opened
            count += 1
    places = ("rounds", "state/dvc/cache", "state/dvc/remote", "state/mlflow", "state/prefect")
    return Sample(memory, files, count, {place: _bytes(root / place) for place in places})


def _bytes(folder: Path) -> int:
    return sum(path.lstat().st_size for path in folder.rglob("*") if path.is_file())


def _growth(samples: list[Sample]) -> dict[str, dict[str, float]]:
    """What a round adds, as the slope between the mean of the first and of the last judged ones."""
    judged = samples[WARM:]
    part = max(1, len(judged) // 4)
    first, last = judged[:part], judged[-part:]
    rounds = len(judged) - part

    def slope(of: Callable[[Sample], dict[str, int]]) -> dict[str, float]:
        return {
            name: round((_mean(last, of, name) - _mean(first, of, name)) / rounds, 3)
            for name in of(samples[0])
        }

    return {
        "memory": slope(lambda sample: sample.memory),
        "files": slope(lambda sample: sample.files),
        "disk": slope(lambda sample: sample.disk),
    }


def _mean(samples: list[Sample], of: Callable[[Sample], dict[str, int]], name: str) -> float:
    return sum(of(sample)[name] for sample in samples) / len(samples)


def _command_lines() -> list[str]:
    found = []
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            found.append(file.read_bytes().replace(b"\0", b" ").decode())
        except OSError:
            continue
    return found
