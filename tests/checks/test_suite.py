"""Every row expectation fails on a planted row, with its own name and on that row alone."""

import os
from datetime import UTC, datetime
from typing import Any

import pandas as pd
import pytest

from roundhouse.checks.frame import frame
from roundhouse.checks.suite import check, load, row_checks, share_checks, usable_checks
from roundhouse.settings import SplitSettings, ValidateSettings

Row = dict[str, Any]
AT = datetime(2026, 2, 1, tzinfo=UTC).timestamp()

#: Check name, the kind of row it is planted in, and what is changed (None removes the field).
PLANTED: list[tuple[str, str, Row]] = [
    ("kind", "comparison", {"kind": None}),
    ("kind", "comparison", {"kind": "guess"}),
    ("known-fields", "comparison", {"mood": "good"}),
    ("id-unique", "comparison", {"id": None}),
    ("rater", "comparison", {"rater": None}),
    ("prompt", "comparison", {"prompt": None}),
    ("answers", "rating", {"response": None}),
    ("answers", "comparison", {"responses": ["only"]}),
    ("answers", "correction", {"response": None}),
    ("judgement", "comparison", {"choice": None}),
    ("judgement", "rating", {"score": None}),
    ("judgement", "rating", {"scale": None}),
    ("judgement", "flag", {"reason": None}),
    ("choice-value", "comparison", {"choice": 2}),
    ("choice-value", "comparison", {"choice": True}),
    ("score-in-scale", "rating", {"score": 5.5}),
    ("score-in-scale", "rating", {"score": 0}),
    ("text-length", "comparison", {"responses": ["one", "  "]}),
    ("text-length", "comparison", {"responses": ["x" * 20_001, "two"]}),
    ("text-length", "comparison", {"prompt": "x" * 20_001}),
    ("text-length", "comparison", {"prompt": [{"role": "user", "content": "x" * 20_000}] * 2}),
    ("answers-differ", "comparison", {"responses": ["a b", " a\n b "]}),
    ("time", "comparison", {"created_at": None}),
    ("time", "comparison", {"created_at": "2026-01-31T16:00:00"}),
    ("time", "comparison", {"created_at": "1999-12-31T23:59:59Z"}),
    ("time", "comparison", {"created_at": "2026-02-01T00:05:01Z"}),
    ("superseded", "comparison", {"id": "old"}),
    ("duplicate", "flag", {"prompt": "Question 83", "rater": "r5"}),
]


def test_a_planted_row_fails_its_own_check_first(
    rows: list[Row], split: SplitSettings, limits: ValidateSettings
) -> None:
    """Each defect in a row of its own, behind sound rows; no sound row fails anything."""
    rows[7]["supersedes"] = "old"
    sound = {row["kind"]: row for row in reversed(rows)}
    expected = {}
    for name, kind, change in PLANTED:
        expected[len(rows)] = name
        row = {**sound[kind], "prompt": f"Planted {len(rows)}", "id": f"x{len(rows)}", **change}
        rows.append({key: value for key, value in row.items() if value is not None})
    outcomes = check(frame({1: rows}, split), row_checks(limits, AT))
    first: dict[int, str] = {}
    for one in outcomes:
        for label in one.rows or []:
            first.setdefault(label, one.check)
    assert first == expected
    assert all(one.success or one.failing == len(one.rows or []) for one in outcomes)


def test_every_row_check_has_a_planted_row(limits: ValidateSettings) -> None:
    planted = {name for name, _, _ in PLANTED} | {"columns", "one-side"}
    assert {one.meta["check"] for one in row_checks(limits, AT)} == planted


def test_sound_rows_pass(rows: list[Row], split: SplitSettings, limits: ValidateSettings) -> None:
    outcomes = check(frame({1: rows}, split), row_checks(limits, AT))
    assert [one.check for one in outcomes if not one.success] == []
    assert len(outcomes) == len(row_checks(limits, AT))


def test_a_missing_column_fails_as_a_whole(
    rows: list[Row], split: SplitSettings, limits: ValidateSettings
) -> None:
    table = frame({1: rows}, split).drop(columns="duplicate")
    outcomes = check(table, row_checks(limits, AT))
    failed = [(one.check, one.rows) for one in outcomes if not one.success]
    assert failed == [("columns", None), ("duplicate", None)]
    assert [one.check for one in outcomes] == [
        one.meta["check"] for one in row_checks(limits, AT)
    ], "the suite's order, whatever the order of evaluation"


def test_a_repeated_id_marks_both_rows(
    rows: list[Row], split: SplitSettings, limits: ValidateSettings
) -> None:
    rows[5]["id"] = "f4"
    failed = [
        one for one in check(frame({1: rows}, split), row_checks(limits, AT)) if not one.success
    ]
    assert [(one.check, one.rows) for one in failed] == [("id-unique", [4, 5])]


def test_without_a_snapshot_time_the_future_is_left_to_the_door(
    rows: list[Row], split: SplitSettings, limits: ValidateSettings
) -> None:
    rows[3]["created_at"] = "2099-01-01T00:00:00Z"
    assert all(one.success for one in check(frame({1: rows}, split), row_checks(limits, None)))


def test_an_empty_batch_fails(split: SplitSettings) -> None:
    assert [one.success for one in check(frame({}, split), usable_checks())] == [False]


def test_labels_that_are_no_range_are_refused(
    rows: list[Row], split: SplitSettings, limits: ValidateSettings
) -> None:
    table = frame({1: rows}, split)
    with pytest.raises(AssertionError, match="label"):
        check(table[table["partition"] == 1].iloc[1:].drop(index=5), row_checks(limits, AT))


def test_a_batch_figure_is_reported(limits: ValidateSettings) -> None:
    marked = pd.DataFrame({"excluded": [1.0, 0.0]})
    outcome = check(marked, share_checks(limits))[0]
    assert (outcome.success, outcome.observed, outcome.rows) == (False, 0.5, None)


def test_analytics_are_off() -> None:
    load()
    assert os.environ["GX_ANALYTICS_ENABLED"] == "false"
