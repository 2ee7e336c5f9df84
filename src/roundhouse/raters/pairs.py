"""Votes reduced to pairs of raters, so that a bootstrap can redraw raters instead of items.

Raters differ: a pool of other people, hired the same way, would agree otherwise than this one. An
interval over items cannot show that. Redrawing raters from the votes themselves costs a pass over
all votes a draw; reduced to one row for each two raters who met on an item, a draw costs a pass
over those rows.

What a draw means. Rater i is drawn w_i times, and a vote pair of raters i and j counts w_i w_j
times. A rater drawn twice counts twice against everybody else, and is *not* compared with
themselves: the two copies would agree everywhere, and agreement would rise with every repetition.

What is approximate. Alpha and AC1 weigh a vote pair by the number m of votes on its item, with
1 / (m - 1) and 2 / (m (m - 1)). In a draw m would change; it is kept as it was. Percent agreement
knows no such weight and is exact.

How wide. Products w_i w_j carry the differences between raters once and the noise of single votes
threefold (E[w_i^2 w_j^2] - 1 = 3; Owen 2007). `narrowed` takes the excess out: the deviations of
the draws are scaled to the variance that pairs sharing a rater explain (Aronow, Samii and Assenova
2015), never below that of the votes alone. Vote pairs of one item all share a rater where three or
fewer voted on it, so that the choice of items is then covered too; on items with more it is not.
Pools of some 20 raters are a little short of it: 90 % intervals covered 0.85, with 40 raters 0.90.

Sources: Owen (2007), The pigeonhole bootstrap; Owen and Eckles (2012), Bootstrapping data arrays of
arbitrary order; Aronow, Samii and Assenova (2015), Cluster-robust variance estimation for dyadic
data; Snijders and Borgatti (1999), Non-parametric standard errors and tests for network
statistics (own pairs of a repeated node). Alpha and AC1 as in `agreement`.
"""

import math
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


class Draws(NamedTuple):
    """[draws] percent agreement, nominal alpha and AC1, one of each a draw."""

    agreement: Floats
    alpha: Floats
    ac1: Floats


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


def draw_raters(raters: int, draws: int, seed: int) -> Floats:
    """[draws, raters] how often each rater is drawn, `raters` with replacement a draw."""
    generator = np.random.default_rng(seed)
    if not raters:
        return np.zeros((draws, 0))
    drawn = generator.multinomial(raters, np.full(raters, 1 / raters), size=draws)
    return drawn.astype(np.float64)


def weighted(first: Ints, second: Ints, values: Floats, weights: Floats) -> Floats:
    """[draws, columns] sums of w_i w_j values over pairs of raters.

    Args:
        first, second: [pairs] codes, sorted by the first.
        values: [pairs, columns].
        weights: [draws, raters] multiplicities w.
    """
    by_rater = np.ascontiguousarray(weights.T)
    starts = np.searchsorted(first, np.arange(len(by_rater) + 1))
    total = np.zeros((values.shape[1], len(weights)))
    columns = np.ascontiguousarray(values.T)
    for rater in np.flatnonzero(np.diff(starts)):
        rows = slice(starts[rater], starts[rater + 1])
        total += (columns[:, rows] @ by_rater[second[rows]]) * by_rater[rater]
    return np.asarray(total.T)


def figures(pairs: RaterPairs, weights: Floats | None = None) -> Draws:
    """Agreement, alpha and AC1 at each row of multiplicities [draws, raters]; by default all 1.

    NaN where no two raters met, or where chance leaves nothing to agree on.
    """
    if weights is None:
        weights = np.ones((1, len(pairs.raters)))
    sums = weighted(pairs.first, pairs.second, pairs.sums, weights)
    return _figures(sums, weights @ pairs.use)


def noise(pairs: RaterPairs) -> Draws:
    """[1] variance of each figure by the votes of each two raters alone, others being as they are.

    The sum over pairs of raters of the square of what the pair moves the figure by (its linear
    part, from differences of the figure at both sides of the sums).
    """
    columns = pairs.sums.shape[1]
    total, use = pairs.sums.sum(axis=0), pairs.use.sum(axis=0)
    step = 1e-4 * max(1.0, float(total.max(initial=0.0)))
    around = total + step * np.concatenate([np.eye(columns), -np.eye(columns)])
    sides = _figures(around, np.tile(use, (2 * columns, 1)))
    slopes = np.stack([(one[:columns] - one[columns:]) / (2 * step) for one in sides], axis=1)
    variance = ((pairs.sums @ slopes) ** 2).sum(axis=0)
    return Draws(*(variance[k : k + 1] for k in range(3)))


def narrowed(value: float, drawn: Floats, votes: float) -> Floats:
    """Draws of raters with the noise of votes counted once.

    Args:
        value: the figure with everybody drawn once.
        drawn: [draws] the figure at each draw.
        votes: the figure's variance by the votes alone (`noise`).
    """
    spread = float(np.nanvar(drawn)) if np.isfinite(drawn).any() else 0.0
    if not spread > 0:
        return drawn
    wanted = min(spread, max(spread - 2 * votes, votes))
    return np.asarray(value + math.sqrt(wanted / spread) * (drawn - value))


def _figures(sums: Floats, use: Floats) -> Draws:
    with np.errstate(divide="ignore", invalid="ignore"):
        return Draws(sums[:, EQUAL] / sums[:, TOTAL], _alpha(sums), _ac1(sums, use))


def _alpha(sums: Floats) -> Floats:
    marginal = sums[:, LABELS:]
    total = marginal.sum(axis=1)
    disagreement = (total - 2 * sums[:, EQUAL_ALPHA]) / total
    by_chance = (total**2 - (marginal**2).sum(axis=1)) / (total * (total - 1))
    return np.asarray(1 - disagreement / by_chance)


def _ac1(sums: Floats, use: Floats) -> Floats:
    share = use / use.sum(axis=1, keepdims=True)
    by_chance = (share * (1 - share)).sum(axis=1) / (use.shape[1] - 1)
    return np.asarray((sums[:, EQUAL_AC1] / sums[:, TOTAL_AC1] - by_chance) / (1 - by_chance))


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
