"""The one door to the rater statistics: canonical feedback rows become one tidy ratings table.

Both answers of a comparison are put into a canonical order, so that the same two answers shown the
other way round are one item, and `label` always means the same thing: 0 the first answer of the
item is better, 1 the second, 2 a tie. The order is by a hash of prompt and answer, as good as a
coin: one that goes with quality (by text, by length) would make one label the common one, and lower
alpha although nobody agrees less.

Four kinds of feedback vote on items: comparisons, ratings (two answers to one prompt scored by one
rater), corrections (the corrected text over the original) and flags (a corrected or demonstrated
answer over the flagged one). Only the first two say something about raters. Raters' pseudonyms stay
as they are.
"""

import hashlib
import math
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from datetime import UTC, datetime
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from roundhouse import feedback, jsonl
from roundhouse.errors import DataError
from roundhouse.settings import SplitSettings

FIRST, SECOND, TIE = 0, 1, 2
LABELS = 3
#: Kinds of votes in which a rater chose between answers, rather than wrote one.
CHOSEN = ("comparison", "rating")

#: Columns of the tidy table and what stands where a row gives nothing.
COLUMNS: dict[str, Any] = {
    "item": None,
    "rater": None,
    "label": None,
    "at": np.nan,
    "round": 0,
    "region": "",
    "domain": "",
    "guideline": "",
    "gold": -1,
    "anchor": False,
    "position": -1,
    "longer": -1,
    "seconds": np.nan,
    "kind": "comparison",
    "share": 1.0,
    "strength": np.nan,
    "row": "",
}
#: Columns of numbers and what they hold.
NUMBERS = {
    "label": "whole numbers from 0",
    "at": "seconds since 1970 (table.seconds_of reads an ISO time)",
    "round": "whole numbers in the order of time",
    "gold": "whole numbers: the right label, or -1",
    "anchor": "True or False",
    "position": "whole numbers: the label of the answer shown first, or -1",
    "longer": "whole numbers: the label of the longer answer, or -1",
    "seconds": "seconds",
    "share": "numbers",
    "strength": "numbers",
}


class Item(NamedTuple):
    """What votes are about: two answers to one prompt, in canonical order."""

    prompt: list[dict[str, str]]
    a: str
    b: str
    side: str
    domain: str


class Ratings(NamedTuple):
    """The tidy table and the items its `item` column counts.

    votes: a frame with the columns of `COLUMNS`: item (index into items), rater, label (0, 1 or 2),
    at (seconds since 1970), round (partition), region, domain, guideline, gold (right label or -1),
    anchor, position (label of the answer shown first, or -1), longer (label of the answer with more
    characters, -1 where both have as many), seconds, kind, share (a score's part in the pairs it
    gave, else 1), strength (how much better the chosen answer is, NaN where the row does not say, 0
    for a tie), row (id of the feedback row).
    """

    votes: pd.DataFrame
    items: list[Item]


class Judgement(NamedTuple):
    """A canonical row with the partition it came in and the side and text of its prompt."""

    partition: int
    row: Mapping[str, Any]
    side: str
    text_key: str


def tidy(votes: pd.DataFrame) -> pd.DataFrame:
    """Checks a table made by hand (a notebook, another tool) and fills the optional columns.

    Needs item, rater and label; labels are whole numbers from 0. Empty cells (None, NaN) of the
    other columns get what `COLUMNS` says. Rounds are numbers: names of rounds are refused.

    Raises:
        DataError: a column is missing, empty in places, or of the wrong type.
    """
    needs(votes, "item", "rater", "label")
    for name in ("item", "rater", "label"):
        if votes[name].isna().any():
            raise DataError(f"ratings table: column {name} has empty cells")
    label = votes["label"]
    if len(label) and (not pd.api.types.is_integer_dtype(label) or label.min() < 0):
        raise DataError("ratings table: labels are whole numbers from 0")
    votes = votes.reset_index(drop=True)
    full = {
        name: default if name not in votes else votes[name] if default is None
        else _filled(votes[name], default)
        for name, default in COLUMNS.items()
    }  # fmt: skip
    return votes.assign(**full)[list(COLUMNS)]


def needs(votes: pd.DataFrame, *columns: str, labels: int | None = None) -> None:
    """Refuses a table that lacks what a function works on, before it fails on it.

    Args:
        columns: that must be there; those of `NUMBERS` as numbers, with empty cells only where
            they are of real numbers.
        labels: how many labels there may be.

    Raises:
        DataError: says which column or label it is, and what to do about it.
    """
    for name in columns:
        if name not in votes:
            raise DataError(f"ratings table: no column {name}; {_remedy(name, votes)}")
        if name not in NUMBERS:
            continue
        column = votes[name]
        if len(column) and not pd.api.types.is_numeric_dtype(column):
            raise DataError(f"ratings table: column {name} has no numbers; give {NUMBERS[name]}")
        if not isinstance(COLUMNS[name], float) and column.isna().any():
            raise DataError(f"ratings table: column {name} has empty cells; {_remedy(name, votes)}")
    if labels is not None and len(votes) and not votes["label"].between(0, labels - 1).all():
        raise DataError(
            f"ratings table: labels go from {votes['label'].min()} to {votes['label'].max()}, but "
            f"here {labels} are known, from 0; votes[votes['label'] < {labels}] leaves out others"
        )


def _remedy(name: str, votes: pd.DataFrame) -> str:
    if name not in COLUMNS:
        return f"it has {', '.join(map(str, votes.columns))}"
    if COLUMNS[name] is None:
        return "give item, rater and label"
    return "table.tidy(votes) fills it in"


def _filled(column: pd.Series, default: str | bool | int | float) -> pd.Series:
    """An optional column as the type of its default, which stands where nothing is given."""
    name, given = str(column.name), column.dropna().infer_objects()
    if isinstance(default, str):
        # Not `is_string_dtype`, which takes a category of texts for one.
        given = given if pd.api.types.infer_dtype(given) == "string" else given.astype(str)
    else:
        needs(given.to_frame(), name)
        if not isinstance(default, float) and len(given) and (given % 1 != 0).any():
            raise DataError(f"ratings table: column {name}: give {NUMBERS[name]}")
        given = given.astype(type(default))
    return given.reindex(column.index, fill_value=default)


def judgements(
    partitions: Mapping[int, Iterable[Mapping[str, Any]]],
    split: SplitSettings,
    excluded: Collection[str] = frozenset(),
) -> list[Judgement]:
    """All rows that may be used, in ledger order, each with the side of its prompt.

    Sides are decided over every row, excluded ones too, so that an exclusion moves no prompt.
    """
    prompts = Prompts()
    found = [
        (number, row, *prompts.keys(row)) for number, rows in partitions.items() for row in rows
    ]
    sides = feedback.sides({key for _, _, key, _ in found}, split)
    return [
        Judgement(number, row, sides[key], text_key)
        for number, row, key, text_key in found
        if row["id"] not in excluded
    ]


class Prompts:
    """Keys of prompts, each computed once: by group (decides the side) and by text alone.

    It remembers texts and groups by digest, so that memory does not grow with their length.
    """

    def __init__(self) -> None:
        self._text: dict[bytes, str] = {}
        self._group: dict[bytes, str] = {}

    def keys(self, row: Mapping[str, Any]) -> tuple[str, str]:
        """(prompt key, text key) of a row; equal where the row has no group."""
        prompt, group = row["prompt"], row.get("group")
        raw = _digest(prompt if isinstance(prompt, str) else "\0" + jsonl.dumps(prompt))
        text_key = self._text.get(raw)
        if text_key is None:
            text_key = self._text[raw] = feedback.prompt_key({"prompt": prompt})
        if group is None:
            return text_key, text_key
        name = _digest(group)
        key = self._group.get(name)
        if key is None:
            key = self._group[name] = feedback.prompt_key(row)
        return key, text_key


def _digest(text: str) -> bytes:
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()


def squeeze(text: str) -> str:
    """A text with its white space collapsed: what makes two answers identical."""
    return " ".join(text.split())


def build(found: Iterable[Judgement]) -> Ratings:
    """The tidy table of all votes in these judgements, which are in ledger order.

    Votes of one rater on one item stand in that order too, so that the last row is the last vote;
    else ratings stand after comparisons and corrections, and flags at the end.
    """
    found = list(found)
    door = _Door()
    scores: dict[tuple[str, ...], list[Judgement]] = defaultdict(list)
    better: dict[tuple[str, str], str] = {}
    flagged = []
    for judgement in found:
        row = judgement.row
        if row["kind"] == "comparison":
            door.compare(judgement)
        elif row["kind"] == "correction":
            door.vote(judgement, row["correction"], row["response"], FIRST)
            better[judgement.side, judgement.text_key] = row["correction"]
        elif row["kind"] == "demonstration":
            better.setdefault((judgement.side, judgement.text_key), row["response"])
        elif row["kind"] == "rating":
            key = (row["rater"], judgement.text_key, judgement.side, row.get("aspect", ""))
            scores[key].append(judgement)
        else:
            flagged.append(judgement)
    for rated in scores.values():
        door.rate(rated)
    for judgement in flagged:
        answer = better.get((judgement.side, judgement.text_key))
        if answer is not None and squeeze(answer) != squeeze(judgement.row["response"]):
            door.vote(judgement, answer, judgement.row["response"], FIRST)
    places = {judgement.row["id"]: place for place, judgement in enumerate(found)}
    return Ratings(_in_order(_frame(door.votes), places), door.items)


class _Door:
    def __init__(self) -> None:
        self.items: list[Item] = []
        self.votes: dict[str, list[Any]] = {name: [] for name in COLUMNS}
        self._codes: dict[tuple[str, ...], int] = {}

    def compare(self, judgement: Judgement) -> None:
        row = judgement.row
        first, second = row["responses"]
        self.vote(judgement, first, second, _label(row["choice"]))

    def rate(self, rated: list[Judgement]) -> None:
        # n answers hold n - 1 independent comparisons, whatever the number of pairs: hence 2 / n.
        share = 2 / len(rated) if len(rated) > 1 else 1.0
        for one, other in combinations(rated, 2):
            high, low = _level(one.row), _level(other.row)
            if high == low or squeeze(one.row["response"]) == squeeze(other.row["response"]):
                continue
            better, worse = (one, other) if high > low else (other, one)
            later = max(one, other, key=lambda each: each.partition)
            self.vote(
                later, better.row["response"], worse.row["response"], FIRST, share,
                row=f"{better.row['id']}\0{worse.row['id']}",
            )  # fmt: skip

    def vote(
        self, judgement: Judgement, first: str, second: str, label: int,
        share: float = 1.0, row: str | None = None,
    ) -> None:  # fmt: skip
        source = judgement.row
        one, other = squeeze(first), squeeze(second)
        swapped = _coin(judgement.text_key, one) > _coin(judgement.text_key, other)
        texts = (other, one) if swapped else (one, other)
        key = (judgement.side, judgement.text_key, source.get("aspect", ""), *texts)
        code = self._codes.setdefault(key, len(self.items))
        if code == len(self.items):
            a, b = (second, first) if swapped else (first, second)
            prompt = feedback.messages(source["prompt"])
            self.items.append(Item(prompt, a, b, judgement.side, source.get("domain", "")))
        gold = _label(source["gold"]) if _has_gold(source) else -1
        values = {
            "item": code,
            "rater": source["rater"],
            "label": _turn(label, swapped),
            "at": seconds_of(source["created_at"]),
            "round": judgement.partition,
            "region": source.get("region", ""),
            "domain": source.get("domain", ""),
            "guideline": source.get("guideline", ""),
            "gold": _turn(gold, swapped),
            "anchor": source.get("anchor", False),
            "position": _turn(source.get("position", -1), swapped),
            "longer": -1 if len(one) == len(other) else int(len(texts[1]) > len(texts[0])),
            "seconds": source.get("seconds", np.nan),
            "kind": source["kind"],
            "share": share,
            "strength": source.get("strength", np.nan) if label != TIE else 0.0,
            "row": row or source["id"],
        }
        for name, value in values.items():
            self.votes[name].append(value)


def latest(votes: pd.DataFrame) -> pd.DataFrame:
    """The last vote of each rater on each item: repeats say how steady one rater is, not how
    much two raters agree."""
    if not len(votes):
        return votes
    return votes.drop_duplicates(["item", "rater"], keep="last")


def shares(votes: pd.DataFrame) -> NDArray[np.float64]:
    """[votes] for how many independent votes each counts: 1, and less in a ranking of three answers
    or more, whose pairs share answers."""
    if "share" not in votes:
        return np.ones(len(votes))
    return votes["share"].fillna(1.0).to_numpy(np.float64)


def worth_of(code: NDArray[np.int64], share: NDArray[np.float64], size: int) -> NDArray[np.float64]:
    """[size] how many independent votes those of each code (a rater, by number) are together."""
    # Thirds and sevenths do not sum to whole numbers; a limit of 20 votes is reached by 20.
    return np.round(np.bincount(code, share, size), 6)


def seconds_of(text: str) -> float:
    """An ISO time with zone as seconds since 1970; NaN where it is none."""
    try:
        moment = datetime.fromisoformat(text)
    except (TypeError, ValueError):
        return float("nan")
    return moment.timestamp() if moment.tzinfo else float("nan")


def moment(at: float) -> str | None:
    """A time in seconds since 1970 as an ISO date and time in UTC, to the second; None for NaN.

    >>> moment(60.0)
    '1970-01-01T00:01:00Z'
    """
    if not math.isfinite(at):
        return None
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _frame(votes: dict[str, list[Any]]) -> pd.DataFrame:
    frame = pd.DataFrame(votes)
    whole = dict.fromkeys(("item", "label", "round", "gold", "position", "longer"), np.int64)
    real = dict.fromkeys(("at", "seconds", "strength"), np.float64)
    return frame.astype({**whole, **real, "anchor": bool})


def _in_order(votes: pd.DataFrame, places: Mapping[str, int]) -> pd.DataFrame:
    """The votes of one rater on one item in the order of their rows' places, in the lines that
    they have together; every other vote keeps its line."""
    again = np.flatnonzero(votes.duplicated(["item", "rater"], keep=False))
    repeated = votes.iloc[again]
    group = repeated.groupby(["item", "rater"], sort=False).ngroup().to_numpy()
    # Two scores make one vote, which came with the second.
    place = np.array(
        [max(places[name] for name in ids.split("\0")) for ids in repeated["row"]], np.int64
    )
    order = np.arange(len(votes))
    order[again[np.argsort(group, kind="stable")]] = again[np.lexsort((place, group))]
    return votes.iloc[order].reset_index(drop=True)


def _coin(text_key: str, answer: str) -> bytes:
    return hashlib.sha256(f"{text_key}\0{answer}".encode()).digest()


def _label(choice: Any) -> int:
    return TIE if choice == "tie" else int(choice)


def _has_gold(row: Mapping[str, Any]) -> bool:
    return row["kind"] == "comparison" and row.get("gold") is not None


def _turn(label: int, swapped: bool) -> int:
    return 1 - label if swapped and label in (FIRST, SECOND) else label


def _level(row: Mapping[str, Any]) -> float:
    low, high = row["scale"]
    return float((row["score"] - low) / (high - low))
