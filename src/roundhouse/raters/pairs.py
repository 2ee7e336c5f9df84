"""Votes reduced to pairs of raters: one row for each two who met on an item.

A figure over vote pairs (agreement, alpha, AC1; `taste`'s scores) is then a sum over pairs of
raters, and redrawing raters costs a pass over those rows instead of one over all votes
(`bootstrap`). A rater is never paired with themselves.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

#: Columns of `RaterPairs.sums`; those of the labels follow.
EQUAL, TOTAL, EQUAL_ALPHA, EQUAL_AC1, TOTAL_AC1, LABELS = range(6)
#: Vote pairs in a chunk, about; bounds the memory that pairing takes.
_CHUNK = 1 << 19
#: Reduced chunks that are held before they are merged.
_HELD = 8


class RaterPairs(NamedTuple):
    """Every two raters with an item in common.

    Attributes:
        raters: names; codes below count them.
        first, second: [pairs] codes of the raters, first below second, sorted.
        sums: [pairs, 5 + labels] over their vote pairs: equal ones and all of them; equal ones
            weighed for alpha; equal ones and all weighed for AC1; and how often each label occurs,
            weighed for alpha.
        use: [raters, labels] votes, each weighing one by the number of votes on its item.
    """

    raters: list[str]
    first: Ints
    second: Ints
    sums: Floats
    use: Floats


def rater_pairs(
    votes: pd.DataFrame,
    labels: int | None = None,
    raters: list[str] | None = None,
    weight: pd.Series | None = None,
) -> RaterPairs:
    """Reduces a tidy table with one vote a rater and item (`table.latest`).

    Args:
        votes: columns item, rater, label.
        labels: how many there are; by default the highest one tells.
        raters: names to code by, at least those of the table; by default those, sorted.
        weight: of each item (index: items), by which its vote pairs count; by default 1.
    """
    names = sorted(votes["rater"].unique()) if raters is None else raters
    label = votes["label"].to_numpy(np.int64)
    size = labels or (int(label.max()) + 1 if len(label) else 1)
    rater = pd.Categorical(votes["rater"], categories=names).codes.astype(np.int64)
    item, items = pd.factorize(votes["item"])
    each = np.ones(len(items)) if weight is None else weight.reindex(items).to_numpy(float)
    many = np.bincount(item, minlength=len(items))
    use = np.bincount(rater * size + label, each[item] / many[item], minlength=len(names) * size)
    data = _Sorted.of(item.astype(np.int64), rater, label, many, each)
    parts: list[tuple[Ints, Floats]] = []
    for left, right in _meetings(data):
        parts.append(_reduced(data, left, right, len(names), size))
        if len(parts) == _HELD:
            parts = [_merged(parts, size)]
    key, sums = _merged(parts, size)
    first, second = np.divmod(key, max(1, len(names)))
    shares = np.asarray(use.reshape(len(names), size), np.float64)
    return RaterPairs([str(name) for name in names], first, second, sums, shares)


def item_sums(
    pairs: RaterPairs, votes: pd.DataFrame, weights: pd.DataFrame
) -> tuple[Floats, Floats]:
    """Vote pairs again, each counting by numbers of its item.

    Args:
        pairs: `rater_pairs` of the same votes.
        votes: columns item, rater, label.
        weights: [items, columns], index: items.

    Returns:
        [pairs, columns] sums over equal vote pairs, and over all of them.
    """
    rater = pd.Categorical(votes["rater"], categories=pairs.raters).codes.astype(np.int64)
    item, items = pd.factorize(votes["item"])
    many = np.bincount(item, minlength=len(items))
    label = votes["label"].to_numpy(np.int64)
    # The item's code takes the place of its weight: exact for any number of items.
    data = _Sorted.of(item.astype(np.int64), rater, label, many, np.arange(float(len(items))))
    columns = weights.reindex(items).to_numpy(float).T
    size = len(pairs.raters)
    known = pairs.first * size + pairs.second
    equal, total = np.zeros((2, len(columns), len(known)))
    for left, right in _meetings(data):
        at = np.searchsorted(known, _keys(data, left, right, size))
        on, same = data.weight[left].astype(np.int64), data.label[left] == data.label[right]
        for k, column in enumerate(columns):
            values = column[on]
            total[k] += np.bincount(at, values, minlength=len(known))
            equal[k] += np.bincount(at[same], values[same], minlength=len(known))
    return equal.T, total.T


class _Sorted(NamedTuple):
    """Votes on items with two or more, sorted by item: rater, label, place (the vote's number on
    its item), many (votes on the item), weight (of the item)."""

    rater: Ints
    label: Ints
    place: Ints
    many: Ints
    weight: Floats

    @staticmethod
    def of(item: Ints, rater: Ints, label: Ints, many: Ints, weight: Floats) -> "_Sorted":
        order = np.argsort(item, kind="stable")
        order = order[many[item[order]] >= 2]
        item, of_item = item[order], np.where(many >= 2, many, 0)
        starts = np.cumsum(of_item) - of_item
        place = np.arange(len(item)) - starts[item]
        return _Sorted(rater[order], label[order], place, many[item], weight[item])


def _meetings(data: _Sorted) -> Iterator[tuple[Ints, Ints]]:
    """Positions of both votes of every vote pair, in chunks: a vote and the one `step` after it."""
    left, step = np.arange(len(data.rater)), 0
    found: list[tuple[Ints, Ints]] = []
    while len(left):
        step += 1
        left = left[data.place[left] + step < data.many[left]]
        found.append((left, left + step))
        if not len(left) or sum(len(part) for part, _ in found) >= _CHUNK:
            yield tuple(np.concatenate(parts) for parts in zip(*found, strict=True))  # type: ignore[misc]
            found = []


def _keys(data: _Sorted, left: Ints, right: Ints, raters: int) -> Ints:
    one, other = data.rater[left], data.rater[right]
    return np.asarray(np.minimum(one, other) * raters + np.maximum(one, other), np.int64)


def _reduced(
    data: _Sorted, left: Ints, right: Ints, raters: int, labels: int
) -> tuple[Ints, Floats]:
    """([distinct] keys of rater pairs, [distinct, columns] sums) of one chunk of vote pairs."""
    key, code = np.unique(_keys(data, left, right, raters), return_inverse=True)
    weight, many = data.weight[left], data.many[left]
    said, answered = data.label[left], data.label[right]
    equal = said == answered
    alpha, ac1 = weight / (many - 1), 2 * weight / (many * (many - 1))
    sums = np.empty((len(key), LABELS + labels))
    for column, values in (
        (EQUAL, weight * equal), (TOTAL, weight), (EQUAL_ALPHA, alpha * equal),
        (EQUAL_AC1, ac1 * equal), (TOTAL_AC1, ac1),
    ):  # fmt: skip
        sums[:, column] = np.bincount(code, values, minlength=len(key))
    for label in range(labels):
        both = alpha * ((said == label).astype(np.float64) + (answered == label))
        sums[:, LABELS + label] = np.bincount(code, both, minlength=len(key))
    return key, sums


def _merged(parts: list[tuple[Ints, Floats]], labels: int) -> tuple[Ints, Floats]:
    if not parts:
        return np.zeros(0, np.int64), np.zeros((0, LABELS + labels))
    if len(parts) == 1:
        return parts[0]
    key, code = np.unique(np.concatenate([keys for keys, _ in parts]), return_inverse=True)
    every = np.concatenate([sums for _, sums in parts])
    columns = [np.bincount(code, column, minlength=len(key)) for column in every.T]
    return key, np.stack(columns, axis=1)
