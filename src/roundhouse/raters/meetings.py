"""Which raters meet on items, and how often they agree there.

Only pairs of raters who share an item are kept, each from both sides, so that memory and time grow
with the pairs of votes and not with the square of the raters. Who meets whom does not depend on the
labels: it is found out once, and other labels on the same votes only change who agrees.

An item that n raters decided has n (n - 1) / 2 pairs of votes. Where all items together have more
than `MOST_PAIRS`, the votes of the most crowded ones are cut into parts of neighbours in the order
of the raters' names, and pairs are those within a part: neighbours meet on every such item, and
raters far apart only on items that few decided.
"""

from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from roundhouse.raters.table import SECOND, latest

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

#: Pairs of votes of all items from which crowded items are cut into parts.
MOST_PAIRS = 4_000_000
#: Votes of the shortest part: items with so many votes or fewer are never cut.
LEAST_PART = 10
#: Expected agreement stays away from certainty by this much.
FLOOR = 0.02


class Cells(NamedTuple):
    """Pairs of raters who meet, each from both sides, sorted by rater and then by other.

    rater, other: [cells] codes; start: [raters + 1] where each rater's cells begin; back: [cells]
    the same pair from the other side.
    """

    rater: Ints
    other: Ints
    start: Ints
    back: Ints


class Votes(NamedTuple):
    """Decided votes on items that two raters saw, as codes: rater and label of each vote, the two
    votes of each pair and its cell; easy: [votes] sqrt(h) of the item's kind."""

    rater: Ints
    label: Ints
    easy: Floats
    one: Ints
    other: Ints
    cell: Ints
    cells: Cells
    raters: int


class Pairs(NamedTuple):
    """What happened in the cells. [cells] vote pairs, equal ones, and the sum of h over them."""

    cells: Cells
    size: Floats
    equal: Floats
    weight: Floats

    def of(self, one: Bools, other: Bools) -> Bools:
        """[cells] whether the rater is in `one` and the other in `other` ([raters] each)."""
        return np.asarray(one[self.cells.rater] & other[self.cells.other], bool)


def coded(votes: pd.DataFrame) -> tuple[list[str], Votes]:
    """The raters' names, sorted, and their votes; a tidy table as `collusion.groups` takes it."""
    votes = latest(votes[votes["label"] <= SECOND])
    rater, names = pd.factorize(votes["rater"], sort=True)
    item = pd.factorize(votes["item"])[0]
    shared = np.bincount(item)[item] >= 2 if len(item) else np.zeros(0, bool)
    item, rater = pd.factorize(item[shared])[0], rater[shared].astype(np.int64)
    count = np.bincount(item)
    part = longest_part(count)
    # Where an item is cut, neighbours in the order of names come together.
    order = np.lexsort((np.where(count[item] > part, rater, 0), item))
    kind, rater = _kinds(votes)[shared][order], rater[order]
    label = votes["label"].to_numpy(np.int64)[shared][order]
    one, other = _pairs_of(_parts(count, part))
    cell, cells = _cells(rater[one], rater[other], len(names))
    easy = _easy(kind, label, one, other)
    found = Votes(rater, label, easy, one, other, cell, cells, len(names))
    return [str(name) for name in names], found


def counted(data: Votes) -> Pairs:
    """What happened in the cells, with the labels that were given."""
    size = _both(data, np.ones(len(data.one)))
    weight = _both(data, data.easy[data.one] * data.easy[data.other])
    return Pairs(data.cells, size, agreed(data, data.label), weight)


def agreed(data: Votes, label: Ints) -> Floats:
    """[cells] pairs of equal votes, were the votes' labels `label`."""
    return _both(data, (label[data.one] == label[data.other]).astype(np.float64))


def longest_part(count: Ints) -> int:
    """Votes of the longest part of an item, of items with `count` votes: halved until their pairs
    are few enough.

    >>> longest_part(np.array([400, 3])), longest_part(np.full(50, 10_000))
    (400, 10)
    """
    part = most = int(count.max(initial=0))
    while part > LEAST_PART and _pairs_in(count, part) > MOST_PAIRS:
        most //= 2
        part = max(most, LEAST_PART)
    return part


def _pairs_in(count: Ints, part: int) -> int:
    whole, rest = np.divmod(count, part)
    return int((whole * (part * (part - 1) // 2) + rest * (rest - 1) // 2).sum())


def _parts(count: Ints, part: int) -> Ints:
    """[parts] votes in each part of each item."""
    parts = -(-count // max(part, 1))
    votes = np.full(int(parts.sum()), part, np.int64)
    votes[np.cumsum(parts) - 1] = count - (parts - 1) * part
    return votes


def _pairs_of(count: Ints) -> tuple[Ints, Ints]:
    """Both votes of each pair of votes in one part; votes are sorted by part, `count` of each."""
    start = np.concatenate([[0], np.cumsum(count)[:-1]])
    ones, others = [], []
    for size in np.unique(count):
        first = start[count == size][:, None]
        a, b = np.triu_indices(size, 1)
        ones.append((first + a).ravel())
        others.append((first + b).ravel())
    empty = [np.zeros(0, np.int64)]
    return (
        np.concatenate(ones or empty).astype(np.int64),
        np.concatenate(others or empty).astype(np.int64),
    )


def _cells(one: Ints, other: Ints, raters: int) -> tuple[Ints, Cells]:
    """The cell of each pair of votes, by the raters of both, and all cells."""
    code = one * raters + other
    keys = np.sort(pd.unique(np.concatenate([code, other * raters + one])))
    rater, other = np.divmod(keys, max(raters, 1))
    start = np.searchsorted(rater, np.arange(raters + 1))
    # Sorted by the other side, cells come in the order of their counterparts.
    cells = Cells(rater, other, start, np.argsort(other * raters + rater))
    return np.searchsorted(keys, code), cells


def _both(data: Votes, value: Floats) -> Floats:
    """[cells] sum of a value of each pair of votes, over both sides."""
    half = np.bincount(data.cell, value, minlength=len(data.cells.rater))
    return np.asarray(half + half[data.cells.back], np.float64)


def _kinds(votes: pd.DataFrame) -> Ints:
    """[votes] codes of the kinds of items: check items, anchors, the rest by domain."""
    parts = pd.DataFrame(index=votes.index)
    if "gold" in votes:
        parts["gold"] = votes["gold"] >= 0
    for name in ("anchor", "domain"):
        if name in votes:
            parts[name] = votes[name]
    if not len(parts.columns):
        return np.zeros(len(votes), np.int64)
    return np.asarray(parts.groupby(list(parts.columns)).ngroup(), np.int64)


def _easy(kind: Ints, label: Ints, one: Ints, other: Ints) -> Floats:
    """[votes] sqrt(h): excess agreement of the item's kind over the usual excess, its root."""
    if not len(one):
        return np.ones(len(label))
    equal = (label[one] == label[other]).astype(np.float64)
    usual = max(float(equal.mean()) - 0.5, FLOOR)
    kinds = int(kind.max()) + 1
    size = np.bincount(kind[one], minlength=kinds)
    # Ten pairs' worth of the usual agreement: a kind with few pairs is taken to be like the rest.
    rate = (np.bincount(kind[one], equal, minlength=kinds) + 10 * (usual + 0.5)) / (size + 10)
    return np.asarray(np.sqrt(np.clip((rate - 0.5) / usual, 0.0, 4.0))[kind], np.float64)
