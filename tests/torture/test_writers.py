"""Eight writers at once, 1,000 rows each, killed and started again: every row is there once."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from roundhouse.ledger import Ledger
from tests.ledger.conftest import postgres, server  # noqa: F401 - fixtures

pytestmark = pytest.mark.torture

WRITERS, ROWS = 8, 1000

INGEST = """
import sys
from pathlib import Path
from roundhouse.ingest import ingest
from roundhouse.ledger import Ledger
with Ledger.open(sys.argv[1]) as ledger:
    tell = lambda *_: print(flush=True)
    report = ingest(ledger, Path(sys.argv[2]), "jsonl", chunk=25, progress=tell)
    print(report.counts.received, flush=True)
"""


def _files(folder: Path) -> list[Path]:
    """A file a writer; every tenth row stands in two files, every fiftieth is no valid row."""
    row = {"kind": "demonstration", "prompt": "May I?", "created_at": "2026-01-31T16:59:52Z"}
    files = []
    for writer in range(WRITERS):
        lines = []
        for number in range(ROWS):
            owner = writer if number % 10 else writer // 2
            name = f"f-{owner}-{number}" if number % 10 else f"shared-{owner}-{number}"
            own = {"id": name, "rater": f"r{owner}", "response": f"Answer {owner} {number}"}
            lines.append(json.dumps(row | own) if number % 50 != 7 else '{"kind": "none"}')
        files.append(folder / f"{writer}.jsonl")
        files[-1].write_text("\n".join(lines), encoding="utf-8")
    return files


@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_everything_acknowledged_is_there_once(
    database: str,
    seed: int,
    tmp_path: Path,
    request: pytest.FixtureRequest,
    tally: Callable[..., None],
) -> None:
    sqlite = f"sqlite:///{tmp_path / 'ledger.db'}"
    url = sqlite if database == "sqlite" else str(request.getfixturevalue("postgres"))
    draw = random.Random(seed)
    files = _files(tmp_path)
    Ledger.open(url).close()
    kills = 0
    left = dict.fromkeys(files, 3)
    while left:
        running = {file: _start(url, file) for file in left}
        for file, process in running.items():
            if left[file]:
                left[file] -= 1
                time.sleep(draw.random() * 0.6)
                kills += process.poll() is None
                process.send_signal(signal.SIGKILL)
                process.communicate()
            else:
                out, err = process.communicate(timeout=300)
                assert process.returncode == 0, err
                assert out.split()[-1] == str(ROWS)
                del left[file]
    with Ledger.open(url, expected=True) as ledger:
        counts = ledger.counts()
        assert counts.received == counts.accepted + counts.duplicate + counts.quarantined
        # On a quick machine a writer may end before its death comes, and read its file again.
        ended = {batch.name for batch in ledger.batches() if batch.finished_at}
        assert ended == {file.name for file in files}
        wanted = {
            json.loads(line)["id"]
            for file in files
            for line in file.read_text(encoding="utf-8").splitlines()
            if "id" in json.loads(line)
        }
        found = [str(row["id"]) for row in ledger.rows()]
        assert len(found) == len(set(found)) == len(wanted) == counts.accepted
        assert set(found) == wanted
        assert ledger.verify_chain().rows == counts.accepted
    tally(writers=WRITERS, rows=WRITERS * ROWS, kills=kills, accepted=counts.accepted)


def _start(url: str, file: Path) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-c", INGEST, url, str(file)],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
