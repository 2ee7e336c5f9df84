"""What a round's record says beside its figures."""

from dataclasses import replace
from pathlib import Path

from roundhouse import jsonl
from roundhouse.ledger import Rejected
from roundhouse.rounds import record
from roundhouse.rounds.begin import Round


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


def test_what_came_since_the_last_round_is_told_from_all_that_ever_came(second: Round) -> None:
    made = record.make(second, "held", (), {})
    assert [made[key]["received"] for key in ("feedback", "feedback_since")] == [2, 1]
    batch = second.ledger.start_batch("late.jsonl", "jsonl")
    second.ledger.append(batch, [Rejected(1, "not_json", "m", b"{")])
    made = record.make(second, "held", (), {})
    assert made["feedback_since"] == {
        "received": 2, "accepted": 1, "duplicate": 0, "quarantined": 1
    }  # fmt: skip
    assert record.make(replace(second, previous=None), "held", (), {})["feedback_since"] == {}
