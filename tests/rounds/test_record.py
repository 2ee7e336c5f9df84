"""What a round's record says beside its figures."""

from dataclasses import replace
from pathlib import Path

from roundhouse import jsonl
from roundhouse.ledger import Counts, Rejected
from roundhouse.rounds import inputs, record, snapshot
from roundhouse.rounds.begin import Round
from roundhouse.rounds.collect import collect
from tests.rounds.conftest import open_round, receive, snapshot_and_publish


def test_alarms_of_training_and_of_the_raters_are_warnings(tmp_path: Path) -> None:
    assert record.warnings(tmp_path) == []
    pool = {
        "state": "warn", "check": "agreement-drop", "message": "less agreement than before",
        "warnings": ["Region c is missing."],
    }  # fmt: skip
    (tmp_path / "out" / "raters").mkdir(parents=True)
    jsonl.write_json(tmp_path / "out" / "raters" / "verdict.json", pool)
    figures = {"ppo/kl": 3.0, "ppo/alarms/kl": 4.0, "ppo/alarms/eos": 0.0}
    (tmp_path / "out" / "align").mkdir()
    jsonl.write_json(tmp_path / "out" / "align" / "figures.json", figures)
    assert record.warnings(tmp_path) == [
        "agreement-drop: less agreement than before",
        "raters: Region c is missing.",
        "ppo-alarm: kl in 4 steps; in MLflow see ppo/alarms/kl",
    ]


def test_rows_without_use_are_counted_by_reason(tmp_path: Path) -> None:
    assert record.reasons(tmp_path / record.UNUSED, "reason") == {}
    lines = [{"id": str(n), "reason": "panel" if n < 3 else "unpaired"} for n in range(5)]
    jsonl.write(tmp_path / record.UNUSED, lines)
    assert record.reasons(tmp_path / record.UNUSED, "reason") == {"panel": 3, "unpaired": 2}


def _told(this: Round) -> tuple[Counts, Counts]:
    """What a round's record says of all that came, and of what came since the round before."""
    made = record.make(this, "held", (), {})
    return Counts(**made["feedback"]), Counts(**made["feedback_since"])


def test_every_row_came_since_the_last_round_in_one_round_whenever_it_ends(second: Round) -> None:
    """In a file whose reading a snapshot interrupts, and in one that comes while a round trains."""
    ledger = second.ledger
    first = record.make(replace(second, number=1, previous=None), "held", (), {})
    assert (first["feedback"]["received"], first["feedback_since"]) == (1, {})
    late = ledger.start_batch("late.jsonl", "jsonl")
    ledger.append(late, [Rejected(1, "not_json", "m", b"{")])
    snapshot_and_publish(second)
    ledger.append(late, [Rejected(line, "not_json", "m", b"{") for line in (2, 3)])
    receive(ledger, "second")
    receive(ledger, "third")
    told = _told(second)
    assert told == (Counts(3, 2, 0, 1), Counts(2, 1, 0, 1))
    third = open_round(second.places, ledger, "round-0002")
    snapshot.take_snapshot(third)
    total = ledger.counts()
    receive(ledger, "fourth")
    assert _told(third) == (total, Counts(4, 1, 1, 2))
    assert _told(second) == told, "a round that ends days later"
    whole = (Counts(**first["feedback"]), told[1], _told(third)[1])
    assert Counts(*map(sum, zip(*whole, strict=True))) == total == Counts(7, 3, 1, 3)


def test_a_round_that_another_worker_goes_on_with_says_the_same(second: Round) -> None:
    """With the ledger alone, and more rows than were there at its snapshot."""
    snapshot.take_snapshot(second)
    told = _told(second)
    (second.workspace / inputs.FILE).unlink()
    receive(second.ledger, "third")
    assert collect(second) is None, "its rows would count as duplicates, in the next round"
    snapshot.take_snapshot(second)
    assert _told(second) == told


def test_after_a_round_that_did_not_count_nothing_is_said_of_what_came_since(
    second: Round,
) -> None:
    snapshot.take_snapshot(second)
    second.ledger.record_round(1, counts=None)
    made = record.make(second, "held", (), {})
    assert (made["feedback"]["received"], made["feedback_since"]) == (2, {})
