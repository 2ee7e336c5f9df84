"""kill -9 in the middle of an ingest, then the same ingest again: every row once."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

from roundhouse.ingest import ingest
from roundhouse.ledger import Counts, Ledger

ROWS = 3000
INGEST = """
import itertools, sys, time
from pathlib import Path
from roundhouse.ingest import ingest
from roundhouse.ledger import Ledger
chunks = itertools.count(1)
def told(*_):
    print(flush=True)
    if next(chunks) == int(sys.argv[3]):
        time.sleep(600)
with Ledger.open(sys.argv[1]) as ledger:
    ingest(ledger, Path(sys.argv[2]), "jsonl", chunk=20, progress=told)
"""


def test_a_killed_ingest_is_run_again_and_counts_every_row_once(tmp_path: Path) -> None:
    row = {"kind": "demonstration", "prompt": "May I?", "rater": "r"}
    row |= {"created_at": "2026-01-31T16:59:52Z"}
    file = tmp_path / "a.jsonl"
    lines = (json.dumps(row | {"id": f"f-{n}", "response": f"Answer {n}"}) for n in range(ROWS))
    file.write_text("\n".join(lines), encoding="utf-8")
    url = f"sqlite:///{tmp_path / 'ledger.db'}"
    for chunks in (1, 7, 40):
        _killed_after(chunks, url, file)
    with Ledger.open(url, expected=True) as ledger:
        cut = ledger.counts()
        assert 0 < cut.accepted < ROWS
        assert cut.accepted % 20 == 0 and ledger.watermark() == cut.accepted
        assert [batch.finished_at for batch in ledger.batches()] == [None] * 3
        report = ingest(ledger, file, "jsonl")
        assert report.counts == Counts(ROWS, ROWS - cut.accepted, cut.accepted, 0)
        assert ledger.verify_chain().rows == ROWS
        assert [each["id"] for each in ledger.rows()] == [f"f-{n}" for n in range(ROWS)]


def _killed_after(chunks: int, url: str, file: Path) -> None:
    # It waits where it would come to the file's end before this process comes to kill it.
    with subprocess.Popen(
        [sys.executable, "-c", INGEST, url, str(file), str(chunks + 30)],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        for _ in range(chunks):
            assert process.stdout.readline()
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
