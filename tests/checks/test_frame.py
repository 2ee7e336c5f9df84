"""Marks that need the whole collection."""

import time
import tracemalloc
from collections.abc import Iterator
from typing import Any

import pandas as pd

from roundhouse import feedback
from roundhouse.checks.frame import COLUMNS, frame
from roundhouse.settings import SplitSettings

Row = dict[str, Any]


def test_sound_rows_carry_no_mark(rows: list[Row], split: SplitSettings) -> None:
    table = frame({1: rows[:60], 2: rows[60:]}, split)
    assert list(table.columns) == list(COLUMNS)
    assert table.index.equals(pd.RangeIndex(120))
    marks = table[["identical", "duplicate", "superseded", "other_side"]]
    assert not marks.any(axis=None)
    assert table["partition"].tolist() == [1] * 60 + [2] * 60
    assert table["chose_first"].mean() == 0.5
    assert table["chose_first"].count() == 80


def test_the_second_judgement_of_an_item_is_the_duplicate(
    rows: list[Row], split: SplitSettings
) -> None:
    first = rows[0]
    again: list[tuple[bool, Row]] = [
        (True, {"responses": ["two", " one "], "choice": 1, "prompt": "QUESTION  0"}),
        (False, {"rater": "r5"}),
        (False, {"aspect": "tone"}),
        (False, {"anchor": True}),
        (False, {"gold": 0}),
        (False, {"responses": ["one", "three"]}),
        (False, {"supersedes": "f3", "prompt": "Question 3", "rater": "r3"}),
    ]
    planted = [{**first, **fields, "id": f"x{k}"} for k, (_, fields) in enumerate(again)]
    table = frame({1: rows, 2: planted}, split)
    assert table["duplicate"].tolist() == [False] * 120 + [mark for mark, _ in again]
    assert table.loc[table["superseded"], "id"].tolist() == ["f3"]


def test_other_kinds_repeat_too(rows: list[Row], split: SplitSettings) -> None:
    planted = [{**row, "id": f"x{row['id']}"} for row in rows[80:84]]
    assert frame({1: rows, 2: planted}, split)["duplicate"].tolist() == [False] * 120 + [True] * 4
    changed = [{**row, "id": f"x{row['id']}", "response": "else"} for row in rows[80:84]]
    assert not frame({1: rows, 2: changed}, split)["duplicate"].any()


def test_an_incomplete_row_is_nobodys_first_judgement(
    rows: list[Row], split: SplitSettings
) -> None:
    broken = {key: value for key, value in rows[0].items() if key != "choice"}
    table = frame({1: [broken, {**rows[0], "id": "x"}]}, split)
    assert not table["duplicate"].any()


def test_a_text_under_two_groups_stays_where_it_measures(split: SplitSettings) -> None:
    def group_on(side: str) -> str:
        return next(
            name
            for name in (f"debate {number}" for number in range(1000))
            if feedback.side(feedback.prompt_key({"group": name}), split) == side
        )

    base = {"kind": "demonstration", "response": "so", "rater": "r1", "created_at": "soon"}
    rows = [
        {**base, "id": side, "prompt": " SAME words", "group": group_on(side)}
        for side in ("train", "judge", "eval")
    ]
    rows.append({**base, "id": "own", "prompt": "Other words", "group": group_on("train")})
    marks = dict(
        zip(*[frame({1: rows}, split)[name] for name in ("id", "other_side")], strict=True)
    )
    assert marks == {"train": True, "judge": True, "eval": False, "own": False}
    without = frame({1: [rows[0], rows[1], rows[3]]}, split)
    sides = feedback.sides([feedback.prompt_key(row) for row in (rows[0], rows[1])], split)
    assert len(set(sides.values())) == 2
    assert without["other_side"].sum() == 1


def test_first_is_the_answer_that_stood_first(rows: list[Row], split: SplitSettings) -> None:
    seen = [
        {**rows[0], "choice": 0}, {**rows[1], "choice": 1}, {**rows[2], "choice": 1, "position": 1},
        {**rows[3], "choice": 0, "position": 1}, {**rows[4], "choice": "tie"},
    ]  # fmt: skip
    table = frame({1: seen}, split)
    assert table["chose_first"][:4].tolist() == [1.0, 0.0, 1.0, 0.0]
    assert table["chose_first"].isna()[4]


def test_nothing_makes_an_empty_table(split: SplitSettings) -> None:
    assert frame({}, split).empty
    assert list(frame({1: []}, split).columns) == list(COLUMNS)


def _long(count: int, size: int) -> Iterator[Row]:
    for number in range(count):
        text = f"{number} {'x' * size}"
        row = {"id": f"f{number}", "kind": "comparison", "rater": "r1", "choice": 0}
        row["created_at"] = "2026-01-31T16:00:00Z"
        yield row | {"prompt": text, "responses": [f"{text} a", f"{text} b"]}


def test_no_text_stays_in_memory(split: SplitSettings) -> None:
    """60 MB of texts pass through; what stays is some hundred bytes a row."""
    tracemalloc.start()
    try:
        table = frame({1: _long(1000, 20_000)}, split)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert table["prompt_length"].sum() > 15_000_000
    assert peak < 4_000_000


def test_time_grows_with_the_rows_and_not_their_square(split: SplitSettings) -> None:
    def seconds(count: int) -> float:
        started = time.process_time()
        frame({1: _long(count, 100)}, split)
        return time.process_time() - started

    seconds(1000)
    # The least of three: a collection of everything that the tests have loaded may meet one.
    few, many = (min(seconds(count) for _ in range(3)) for count in (2000, 16_000))
    assert many < 30 * max(0.005, few)
