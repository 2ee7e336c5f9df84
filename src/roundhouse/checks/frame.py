"""Canonical rows as one table of lengths, numbers and marks: no text of anyone's leaves through it.

What needs the whole collection is computed here, in pandas terms: duplicates, rows that a later row
supersedes, and prompts that stand on two sides of the split under different groups.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from roundhouse import feedback
from roundhouse.raters.table import Prompts, seconds_of, squeeze
from roundhouse.rows import FIELDS
from roundhouse.settings import SplitSettings

Row = Mapping[str, Any]

#: What judges, per kind; answers are looked at by their lengths.
JUDGEMENT = {"comparison": "choice", "rating": "score", "flag": "reason"}
#: A text on two sides is kept on the one that protects it most.
_RANK = {"train": 0, "judge": 1, "eval": 2}

COLUMNS = (
    "id", "partition", "kind", "rater", "at", "choice", "score", "low", "high", "reason",
    "prompt_length", "a_length", "b_length", "unknown_fields", "identical", "duplicate",
    "superseded", "other_side", "chose_first",
)  # fmt: skip


def frame(partitions: Mapping[int, Iterable[Row]], split: SplitSettings) -> pd.DataFrame:
    """All rows of all partitions, in ledger order, on an index 0, 1, 2, ...

    Columns: id, partition, kind, rater; at (seconds since 1970, NaN where there is no valid time);
    choice ("0", "1", "tie" or what stands there), score, low and high of its scale, reason (its
    length); lengths in characters without outer white space (NaN where absent); unknown_fields
    (names, or empty); marks identical, duplicate, superseded, other_side; chose_first (1 where the
    answer that stood first was chosen, 0 where the other was, NaN for ties and other kinds).
    """
    rows = [(number, row) for number, part in partitions.items() for row in part]
    records = [_record(number, row) for number, row in rows]
    table = pd.DataFrame.from_records(records, columns=list(COLUMNS))
    numbers = ["at", "score", "low", "high", "reason", "prompt_length", "a_length", "b_length"]
    table = table.astype(dict.fromkeys([*numbers, "chose_first"], np.float64))
    keys = _keys([row for _, row in rows])
    table["superseded"] = _superseded([row for _, row in rows])
    table["duplicate"] = _duplicates([row for _, row in rows], keys, table["superseded"])
    table["other_side"] = _other_side(keys, split)
    return table


def _record(number: int, row: Row) -> tuple[Any, ...]:
    kind = row.get("kind")
    a, b = answers(row)
    scale = row.get("scale")
    low, high = scale if isinstance(scale, list) and len(scale) == 2 else (None, None)
    prompt = row.get("prompt")
    turns = feedback.messages(prompt) if isinstance(prompt, str | list) else None
    return (
        row.get("id"), number, kind, row.get("rater"), seconds_of(row.get("created_at", "")),
        _choice(row), _number(row.get("score")), _number(low), _number(high),
        _length(row.get("reason")),
        sum(len(turn["content"]) for turn in turns) if turns is not None else None,
        _length(a), _length(b), ", ".join(sorted(row.keys() - FIELDS)),
        a is not None and b is not None and squeeze(a) == squeeze(b),
        False, False, False, _chose_first(row),
    )  # fmt: skip


def answers(row: Row) -> tuple[str | None, str | None]:
    """The first and second answer of a row, whatever its kind; None where there is none."""
    kind = row.get("kind")
    if kind == "comparison":
        both = row.get("responses")
        return (both[0], both[1]) if isinstance(both, list) and len(both) == 2 else (None, None)
    if kind == "correction":
        return row.get("correction"), row.get("response")
    return row.get("response"), None


def _keys(rows: list[Row]) -> list[tuple[str, str] | None]:
    """(prompt key, text key) of each row; None where the row has no prompt."""
    prompts = Prompts()
    return [prompts.keys(row) if row.get("prompt") else None for row in rows]


def _superseded(rows: list[Row]) -> list[bool]:
    replaced = {row["supersedes"] for row in rows if row.get("supersedes") is not None}
    return [row.get("id") in replaced for row in rows]


def _duplicates(
    rows: list[Row], keys: list[tuple[str, str] | None], superseded: Iterable[bool]
) -> list[bool]:
    """True where the rater had judged the same item before.

    The first judgement is kept: it was made without knowing the item, and a rater who changes their
    mind says so with `supersedes`. Anchors and check items are meant to come again. A row that
    lacks something is nobody's first judgement.
    """
    seen: set[tuple[Any, ...]] = set()
    marks = []
    for row, key, gone in zip(rows, keys, superseded, strict=True):
        name = _judged(row, key)
        again = row.get("anchor") or row.get("gold") is not None
        marks.append(not (gone or again or name is None) and name in seen)
        if name is not None and not gone and not again:
            seen.add(name)
    return marks


def _judged(row: Row, key: tuple[str, str] | None) -> tuple[Any, ...] | None:
    """What a row judges and who does; None where something is missing."""
    kind, (a, b) = row.get("kind"), answers(row)
    two = kind in ("comparison", "correction")
    if key is None or not a or (two and not b) or row.get(JUDGEMENT.get(str(kind), "id")) is None:
        return None
    texts = [squeeze(text) for text in (a, b) if text is not None]
    if kind == "comparison":
        texts.sort()
    reason = row["reason"] if kind == "flag" else ""
    return (row.get("rater"), kind, key[1], row.get("aspect", ""), reason, *texts)


def _other_side(keys: list[tuple[str, str] | None], split: SplitSettings) -> list[bool]:
    """True where the same text is used on a side that must not see this row's side.

    A text under two groups can fall on two sides. It stays where it measures, else where it teaches
    the judge; the rows of the other groups are marked.
    """
    sides = feedback.sides({key[0] for key in keys if key is not None}, split)
    strictest: dict[str, int] = {}
    for key in keys:
        if key is not None:
            rank = _RANK[sides[key[0]]]
            strictest[key[1]] = max(rank, strictest.get(key[1], 0))
    return [key is not None and _RANK[sides[key[0]]] < strictest[key[1]] for key in keys]


def _choice(row: Row) -> str | None:
    choice = row.get("choice")
    return None if choice is None else str(choice)


def _chose_first(row: Row) -> float | None:
    choice, first = row.get("choice"), row.get("position", 0)
    if row.get("kind") != "comparison" or type(choice) is not int:
        return None
    return float(choice == first)


def _number(value: Any) -> float | None:
    return float(value) if type(value) in (int, float) else None


def _length(text: Any) -> int | None:
    return len(text.strip()) if isinstance(text, str) else None
