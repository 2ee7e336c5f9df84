"""Several processes write into one ledger at the same time."""

import json
import os
import subprocess
import sys
from pathlib import Path

from roundhouse.ledger import Counts, Ledger

INGEST = """
import sys
from pathlib import Path
from roundhouse.ingest import ingest
from roundhouse.ledger import Ledger
with Ledger.open(sys.argv[1]) as ledger:
    ingest(ledger, Path(sys.argv[2]), "jsonl", chunk=50)
    print(*[ledger.take_round_number() for _ in range(5)])
"""


def lines(names: range) -> str:
    row = {"kind": "demonstration", "prompt": "May I?", "rater": "r"}
    row |= {"created_at": "2026-01-31T16:59:52Z"}
    return "".join(
        json.dumps(row | {"id": f"f-{n}", "response": f"Answer {n}"}) + "\n" for n in names
    )


def test_four_writers_of_overlapping_files_count_every_row_once(url: str, tmp_path: Path) -> None:
    processes = []
    for writer in range(4):
        file = tmp_path / f"{writer}.jsonl"
        file.write_text(lines(range(writer * 100, writer * 100 + 300)), encoding="utf-8")
        processes.append(
            subprocess.Popen(
                [sys.executable, "-c", INGEST, url, str(file)],
                env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
                stdout=subprocess.PIPE,
                text=True,
            )
        )
    outputs = [process.communicate(timeout=120)[0] for process in processes]
    assert [process.returncode for process in processes] == [0] * 4
    numbers = sorted(int(number) for output in outputs for number in output.split())
    assert numbers == list(range(1, 21))
    with Ledger.open(url, expected=True) as ledger:
        assert ledger.counts() == Counts(1200, 600, 600, 0)
        assert ledger.verify_chain().rows == 600
        assert {row["id"] for row in ledger.rows()} == {f"f-{n}" for n in range(600)}
        assert all(batch.finished_at for batch in ledger.batches())
