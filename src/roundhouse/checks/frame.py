"""Canonical rows as one table of lengths, numbers and marks: no text of anyone's leaves through it.

What needs the whole collection is computed here, in pandas terms: duplicates, rows that a later row
supersedes, and prompts that stand on two sides of the split under different groups.
"""

import hashlib
from array import array
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

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

    Rows pass through one at a time: what stays of each is what its columns and marks need.

    Columns: id, partition, kind, rater; at (seconds since 1970, NaN where there is no valid time);
    choice ("0", "1", "tie" or what stands there), score, low and high of its scale, reason (its
    length); lengths in characters without outer white space (NaN where absent); unknown_fields
    (names, or empty); marks identical, duplicate, superseded, other_side; chose_first (1 where the
    answer that stood first was chosen, 0 where the other was, NaN for ties and other kinds).
    """
    found = _Collected()
    for number, rows in partitions.items():
        for row in rows:
            found.add(number, row)
    marks = {
        "superseded": found.superseded(),
        "duplicate": found.duplicates(),
        "other_side": found.other_side(split),
    }
    columns: dict[str, Any] = {**found.words, **found.numbers, **marks}
    columns["partition"] = found.partition
    columns["identical"] = found.identical
    whole = {"partition": np.int64, **dict.fromkeys(("identical", *marks), np.bool_)}
    table = {
        name: np.asarray(columns.pop(name), whole.get(name))
        if name not in _WORDS
        else columns[name]
        for name in COLUMNS
    }
    return pd.DataFrame(table, columns=list(COLUMNS))


_WORDS = ("id", "kind", "rater", "choice", "unknown_fields")
_NUMBERS = (
    "at", "score", "low", "high", "reason", "prompt_length", "a_length", "b_length", "chose_first",
)  # fmt: skip


class _Collected:
    """What is kept of the rows so far, in columns; of texts only digests."""

    def __init__(self) -> None:
        self.words: dict[str, list[Any]] = {name: [] for name in _WORDS}
        self.numbers = {name: array("d") for name in _NUMBERS}
        self.partition = array("q")
        self.identical = bytearray()
        self._again = bytearray()
        self._judged: list[bytes | None] = []
        self._keys: list[tuple[str, str] | None] = []
        self._replaced: set[Any] = set()
        self._prompts = Prompts()
        # A name comes in many rows, and each row's own copy of it would stay in memory.
        self._names: dict[Any, Any] = {}
        self._pairs: dict[tuple[str, str], tuple[str, str]] = {}

    def add(self, number: int, row: Row) -> None:
        """Takes one row in."""
        a, b = answers(row)
        one, other = (None if text is None else squeeze(text) for text in (a, b))
        self.partition.append(number)
        self.identical.append(one is not None and one == other)
        words = (row.get("id"), row.get("kind"), row.get("rater"), _choice(row), _unknown(row))
        for name, value in zip(_WORDS, words, strict=True):
            self.words[name].append(value if name == "id" else self._known(value))
        for name, value in zip(_NUMBERS, _measures(row, a, b), strict=True):
            self.numbers[name].append(np.nan if value is None else value)
        key = self._prompts.keys(row) if row.get("prompt") else None
        self._keys.append(None if key is None else self._pairs.setdefault(key, key))
        self._judged.append(_judged(row, key, one, other))
        self._again.append(bool(row.get("anchor") or row.get("gold") is not None))
        if row.get("supersedes") is not None:
            self._replaced.add(row["supersedes"])

    def superseded(self) -> NDArray[np.bool_]:
        """[rows] True where some row names this one in `supersedes`."""
        return np.fromiter((name in self._replaced for name in self.words["id"]), np.bool_)

    def duplicates(self) -> NDArray[np.bool_]:
        """[rows] True where the rater had judged the same item before.

        The first judgement is kept: it was made without knowing the item, and a rater who changes
        their mind says so with `supersedes`. Anchors and check items are meant to come again. A row
        that lacks something is nobody's first judgement.
        """
        seen: set[bytes] = set()
        marks = np.zeros(len(self._judged), np.bool_)
        for place, (name, gone) in enumerate(zip(self._judged, self.superseded(), strict=True)):
            if name is None or gone or self._again[place]:
                continue
            marks[place] = name in seen
            seen.add(name)
        return marks

    def other_side(self, split: SplitSettings) -> NDArray[np.bool_]:
        """[rows] True where the same text is used on a side that must not see this row's side.

        A text under two groups can fall on two sides. It stays where it measures, else where it
        teaches the judge; the rows of the other groups are marked.
        """
        sides = feedback.sides({key[0] for key in self._pairs}, split)
        strictest: dict[str, int] = {}
        for key in self._pairs:
            strictest[key[1]] = max(_RANK[sides[key[0]]], strictest.get(key[1], 0))
        moved = {key for key in self._pairs if _RANK[sides[key[0]]] < strictest[key[1]]}
        return np.fromiter((key in moved for key in self._keys), np.bool_)

    def _known(self, value: Any) -> Any:
        return self._names.setdefault(value, value) if isinstance(value, str) else value


def _measures(row: Row, a: str | None, b: str | None) -> tuple[float | None, ...]:
    """The values of `_NUMBERS`."""
    scale, prompt = row.get("scale"), row.get("prompt")
    low, high = scale if isinstance(scale, list) and len(scale) == 2 else (None, None)
    turns = feedback.messages(prompt) if isinstance(prompt, str | list) else None
    return (
        seconds_of(row.get("created_at", "")), _number(row.get("score")), _number(low),
        _number(high), _length(row.get("reason")),
        sum(len(turn["content"]) for turn in turns) if turns is not None else None,
        _length(a), _length(b), _chose_first(row),
    )  # fmt: skip


def _unknown(row: Row) -> str:
    return "" if row.keys() <= FIELDS else ", ".join(sorted(row.keys() - FIELDS))


def answers(row: Row) -> tuple[str | None, str | None]:
    """The first and second answer of a row, whatever its kind; None where there is none."""
    kind = row.get("kind")
    if kind == "comparison":
        both = row.get("responses")
        return (both[0], both[1]) if isinstance(both, list) and len(both) == 2 else (None, None)
    if kind == "correction":
        return row.get("correction"), row.get("response")
    return row.get("response"), None


def _judged(
    row: Row, key: tuple[str, str] | None, one: str | None, other: str | None
) -> bytes | None:
    """A digest of what a row judges and who does; None where something is missing.

    Args:
        key: of its prompt, by group and by text.
        one: its first answer, white space collapsed.
        other: its second one.
    """
    kind = row.get("kind")
    two = kind in ("comparison", "correction")
    if key is None or not one or (two and not other):
        return None
    if row.get(JUDGEMENT.get(str(kind), "id")) is None:
        return None
    texts = [text for text in (one, other) if text is not None]
    if kind == "comparison":
        texts.sort()
    reason = row["reason"] if kind == "flag" else ""
    parts = (row.get("rater"), kind, key[1], row.get("aspect", ""), reason, *texts)
    named = "\0".join(map(str, parts)).encode("utf-8", "surrogatepass")
    return hashlib.blake2b(named, digest_size=16).digest()


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
