"""Did the pool change, or did the items get harder? Anchors, items that come back, can tell.

Votes are signs, 1 for an item's first answer and -1 for its second; ties are left out. For an item
on which the pool's mean sign is c, two votes of different raters have the mean product c^2, however
hard the item is. If all raters now turn a share f of their votes, the mean product is r c^2 between
an old and a new vote and r^2 c^2 between two new ones, with r = 1 - 2 f. Three products on the same
anchors, before (oo), across (on) and now (nn), therefore tell apart

- **noise**: lambda (oo - on) + (1 - lambda) (on - nn) > 0, with lambda the share of old votes,
  which is near the best weight: raters are less careful;
- **shift**: (oo + nn) / 2 - on > 0: raters agree as before, but on other answers (a new guideline).

Fresh items that several people saw have the products v before and w now. What anchors do not
explain of their fall, w / (v r^2) < 1, is the items' own.

Standard errors are clustered by item and by rater (Cameron, Gelbach and Miller 2011): items' plus
raters' less that of single votes. Products of pairs count in both raters' sums and cancel out.
"""

import math
from statistics import NormalDist
from typing import Literal, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from roundhouse.raters.agreement import UNKNOWN, Estimate, coverage, reach
from roundhouse.raters.table import TIE, needs

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Cause = Literal["raters changed", "items got harder", "neither", "cannot tell"]

#: Level of each test of the pool (two), and of the test of the items.
POOL_P, ITEMS_P = 0.0075, 0.01
#: Anchors with two votes before and two now, or fresh items seen by two, that a figure needs.
LEAST = 20
#: Figures and errors below it are the rounding of sums that are 0, as of unanimous votes.
ROUNDING = 1e-9
#: The widest half of an interval of a logarithm that is one: `exp` of more overflows.
_WIDEST = 700.0
_COLUMNS = ("item", "rater", "label", "anchor", "gold")


class PoolChange(NamedTuple):
    """The pool now against before, as anchors show it.

    anchors: how many of them were voted on by two raters before and now; cause: the verdict, the
    raters first where both changed; flipped: share of all votes turned since, with its interval
    (negative where raters agree more); p: of noise, p_shift: of a shift, both one-sided; harder:
    agreement on fresh items beyond chance, against what it would be on items as before (1 as hard,
    less is harder), with its interval; p_harder: one-sided. NaN where data cannot tell.
    """

    anchors: int
    cause: Cause
    flipped: Estimate
    p: float
    p_shift: float
    harder: Estimate
    p_harder: float


def pool_change(now: pd.DataFrame, before: pd.DataFrame, confidence: float = 0.95) -> PoolChange:
    """Compares two tidy tables by their anchors; fresh items are all others without `gold`.

    Args:
        now: votes of the newest round.
        before: votes of the rounds it is compared with.
        confidence: of both intervals.

    Raises:
        DataError: a column is missing (item, rater, label, anchor, gold), or `confidence` is no
            share between 0 and 1.
    """
    coverage(confidence)
    for part in (now, before):
        needs(part, *_COLUMNS)
    cells = _cells(now, before)
    old, across, new = (_Products(cells, *pair) for pair in ("oo", "on", "nn"))
    both = cells.anchor & (old.pairs > 0) & (across.pairs > 0) & (new.pairs > 0)
    count = int(both.sum())
    if count < LEAST:
        return PoolChange(count, "cannot tell", UNKNOWN, math.nan, math.nan, UNKNOWN, math.nan)
    size = cells.sums(cells.old_votes), cells.sums(cells.new_votes)
    weight = np.where(both, size[0] * size[1] / np.maximum(size[0] + size[1], 1), 0.0)
    oo, on, nn = (one.mean(weight) for one in (old, across, new))
    share = float(size[0][both].sum() / (size[0] + size[1])[both].sum())
    noise = _sum((share, oo), (1 - 2 * share, on), (share - 1, nn))
    shift = _sum((0.5, oo), (0.5, nn), (-1.0, on))
    p, p_shift = (_p(one.value, _error(one, cells)) for one in (noise, shift))
    fall = _ratio(noise, oo)
    flipped = _flipped(fall, _error(fall, cells), share, confidence)
    fresh = ~cells.anchor & ~cells.gold
    harder, p_harder = _harder(old, new, fresh, fall, share, confidence)
    cause = _cause(p, p_shift, p_harder)
    return PoolChange(count, cause, flipped, p, p_shift, harder, p_harder)


def _cause(p: float, p_shift: float, p_harder: float) -> Cause:
    # Not by `min`: where one of them is NaN the other still counts.
    if p < POOL_P or p_shift < POOL_P:
        return "raters changed"
    if p_harder < ITEMS_P:
        return "items got harder"
    return "neither" if math.isfinite(p_harder) else "cannot tell"


class _Cells(NamedTuple):
    """Votes summed by rater and item.

    rater, item: [cells] codes; old, new: [cells] sums of signs; old_votes, new_votes: [cells]
    numbers of votes; anchor, gold: [items].
    """

    rater: Ints
    item: Ints
    old: Floats
    new: Floats
    old_votes: Floats
    new_votes: Floats
    anchor: NDArray[np.bool_]
    gold: NDArray[np.bool_]

    def sums(self, values: Floats) -> Floats:
        """[items] sums of [cells]."""
        return np.bincount(self.item, values, len(self.anchor)).astype(np.float64)


def _cells(now: pd.DataFrame, before: pd.DataFrame) -> _Cells:
    votes = pd.concat([part[list(_COLUMNS)] for part in (before, now)], ignore_index=True)
    label = votes["label"].to_numpy(np.int64)
    kept = np.flatnonzero(label < TIE)
    fresh = kept >= len(before)
    sign = 1.0 - 2.0 * label[kept]
    item, items = pd.factorize(votes["item"].to_numpy()[kept])
    rater, raters = pd.factorize(votes["rater"].to_numpy()[kept])
    code, cell = np.unique(item * max(1, len(raters)) + rater, return_inverse=True)
    anchor, gold = (
        np.asarray(np.bincount(item, votes[name].to_numpy()[kept] > least, len(items)) > 0)
        for name, least in (("anchor", 0), ("gold", -1))
    )
    old, new, old_votes, new_votes = (
        np.bincount(cell, values * side, len(code)).astype(np.float64)
        for values in (sign, np.ones(len(sign)))
        for side in (~fresh, fresh)
    )
    row, column = code % max(1, len(raters)), code // max(1, len(raters))
    return _Cells(row, column, old, new, old_votes, new_votes, anchor, gold)


class _Moment(NamedTuple):
    """A figure, and how it moves: [items] with an item, [cells] with a rater's vote on one."""

    value: float
    item: Floats
    cell: Floats


class _Products:
    """Products of two votes of different raters on one item, the first `o`ld or `n`ew, and so the
    second. pairs, means: [items] how many (ordered, if of one side), and their mean."""

    def __init__(self, cells: _Cells, first: str, second: str) -> None:
        side = {"o": (cells.old, cells.old_votes), "n": (cells.new, cells.new_votes)}
        (a, size_a), (b, size_b) = side[first], side[second]
        total, count = _others(cells, a, b), _others(cells, size_a, size_b)
        self.cells = cells
        self.pairs = cells.sums(size_a * count[1])
        at_least = np.maximum(self.pairs, 1.0)
        self.means = cells.sums(a * total[1]) / at_least
        mean = self.means[cells.item]
        moved = a * total[1] + b * total[0] - mean * (size_a * count[1] + size_b * count[0])
        self.moved = moved / at_least[cells.item]

    def mean(self, weight: Floats) -> _Moment:
        """The mean over items with these weights [items]."""
        weight = weight / weight.sum()
        value = float((weight * self.means).sum())
        return _Moment(value, weight * (self.means - value), weight[self.cells.item] * self.moved)


def _others(cells: _Cells, a: Floats, b: Floats) -> tuple[Floats, Floats]:
    """[cells] sums over the item's other raters, of a and of b."""
    return cells.sums(a)[cells.item] - a, cells.sums(b)[cells.item] - b


def _sum(*terms: tuple[float, _Moment]) -> _Moment:
    return _Moment(
        math.fsum(factor * one.value for factor, one in terms),
        np.sum([factor * one.item for factor, one in terms], axis=0),
        np.sum([factor * one.cell for factor, one in terms], axis=0),
    )


def _ratio(top: _Moment, bottom: _Moment) -> _Moment:
    """The ratio of two figures; NaN where the lower one is not positive."""
    if bottom.value < ROUNDING:
        return _Moment(math.nan, top.item, top.cell)
    value = top.value / bottom.value
    moved = _sum((1 / bottom.value, top), (-value / bottom.value, bottom))
    return moved._replace(value=value)


def _error(one: _Moment, cells: _Cells) -> float:
    """Standard error, clustered by item and rater; 0 where nothing varies."""
    items = float((one.item**2).sum())
    raters = float((np.bincount(cells.rater, one.cell) ** 2).sum())
    error = math.sqrt(max(items, items + raters - float((one.cell**2).sum())))
    return error if error > ROUNDING * max(1.0, abs(one.value)) else 0.0


def _p(value: float, error: float) -> float:
    """One-sided p of a figure above 0. Where nothing varies its sign is certain; 0 tells nothing.

    >>> _p(2.0, 0.0), _p(1e-17, 0.0)
    (0.0, nan)
    """
    if error > 0:
        return NormalDist().cdf(-value / error)
    return math.nan if abs(value) < ROUNDING else float(value < 0)


def _flipped(fall: _Moment, error: float, share: float, confidence: float) -> Estimate:
    """The share of turned votes from noise / oo, and its interval."""
    if not math.isfinite(fall.value):
        return UNKNOWN
    half = reach(confidence) * error
    places = (fall.value, fall.value - half, fall.value + half)
    return Estimate(*((1 - _kept(place, share)) / 2 for place in places))


def _kept(fall: float, share: float) -> float:
    """r, from fall = (1 - r) (share + (1 - share) r), not below 0.

    >>> round(_kept((1 - 0.8) * (0.5 + 0.5 * 0.8), 0.5), 6)
    0.8
    """
    if share >= 1:
        return max(0.0, 1 - fall)
    middle = (1 - 2 * share) / (2 * (1 - share))
    return max(0.0, middle + math.sqrt(max(0.0, middle**2 + (share - fall) / (1 - share))))


def _harder(
    old: _Products,
    new: _Products,
    fresh: NDArray[np.bool_],
    fall: _Moment,
    share: float,
    confidence: float,
) -> tuple[Estimate, float]:
    """Agreement on fresh items, w / (v r^2) with its interval, and the one-sided p that it fell."""
    cells = old.cells
    seen = [fresh & (one.pairs > 0) for one in (old, new)]
    if min(int(one.sum()) for one in seen) < LEAST or not math.isfinite(fall.value):
        return UNKNOWN, math.nan
    sizes = cells.sums(cells.old_votes), cells.sums(cells.new_votes)
    before, now = (
        one.mean(np.where(chosen, size, 0.0))
        for one, chosen, size in zip((old, new), seen, sizes, strict=True)
    )
    kept = _kept(fall.value, share)
    # How fast the fall grows as r sinks.
    bend = 2 * share - 1 + 2 * (1 - share) * kept
    if min(before.value, now.value, kept, bend) < ROUNDING:
        return UNKNOWN, math.nan
    value = now.value / before.value / kept**2
    slope = -1 / (kept * bend)
    moved = _sum((1 / now.value, now), (-1 / before.value, before), (-2 * slope, fall))
    error = _error(moved, cells)
    half = reach(confidence) * error
    if half > _WIDEST:
        return UNKNOWN, math.nan
    factor = math.exp(half)
    return Estimate(value, value / factor, value * factor), _p(-math.log(value), error)
