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


DECIDE = """
import sys, time
from roundhouse.errors import ChampionChangedError
from roundhouse.ledger import Ledger
with Ledger.open(sys.argv[1]) as ledger:
    number, expected = int(sys.argv[2]), ledger.champion()
    print("ready", flush=True)
    sys.stdin.readline()
    arguments = (str(number), f"{number:064d}", expected.decision if expected else None)
    try:
        ledger.settle(number, True, *arguments)
        print("won")
    except ChampionChangedError:
        ledger.settle(number, False, *arguments)
        print("lost")
"""


def test_of_deciders_at_once_one_wins_and_none_is_lost(url: str) -> None:
    with Ledger.open(url) as ledger:
        numbers = [ledger.take_round_number() for _ in range(5)]
        first = ledger.settle(numbers.pop(0), True, "1", "1" * 64, None)
        deciders = [
            subprocess.Popen(
                [sys.executable, "-c", DECIDE, url, str(number)],
                env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            for number in numbers
        ]
        for decider in deciders:
            assert decider.stdout is not None
            assert decider.stdout.readline() == "ready\n"
        outcomes = [decider.communicate("go\n", timeout=60)[0].strip() for decider in deciders]
        assert [decider.returncode for decider in deciders] == [0] * 4
        assert sorted(outcomes) == ["lost", "lost", "lost", "won"]
        winner = numbers[outcomes.index("won")]
        champion = ledger.champion()
        assert champion is not None and champion.round == winner
        made = {decision.round: decision.action for decision in ledger.decisions()}
        lost = [number for number in numbers if number != winner]
        assert made == {first.round: "promote", winner: "promote"} | dict.fromkeys(lost, "hold")
