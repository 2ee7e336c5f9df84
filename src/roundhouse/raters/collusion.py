"""Groups of raters who agree with each other far more than what they know explains.

Two raters who know the truth agree, and how often follows from how well each knows it: with
loading c (accuracy less one half, on the scale of agreement) raters j and k give equal labels with
probability 1/2 + 2 c_j c_k h, where h says how much easier than usual the kind of items is. A
group that copies agrees more, and with everyone else less. A pair of raters shares a handful of
items, so evidence is pooled over groups:

1. for each pair of raters, equal labels on shared items, against the model's expectation;
2. from every rater and every conspicuous pair a group grows by the rater who adds most to the
   log-likelihood ratio of the group's pairs (observed against expected agreement), less the
   logarithm of how many groups of that size there are. The members' loadings come from their
   agreement with raters outside the group, so that copying does not pass for knowledge;
3. the best group's score is compared with the best scores that the same search finds in votes
   drawn from the model without any collusion: a test that holds for all groups looked at.

Only pairs that exist are kept, and of items that a crowd decided only some (`meetings`).

A group with a view of its own (a region, a profession) agrees beyond the model as well. `inside`
beside `usual` tells them apart as far as data can: people who judge for themselves do not agree
with each other more than the pool does.

Left out: copying in a small share of votes by few raters (a pair shares about five items), and
ties. Sources: the factor model of agreement is that of Dawid and Skene (1979) with two labels;
scan statistics with simulated critical values follow Kulldorff (1997), A spatial scan statistic.
"""

import math
from collections.abc import Collection
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy.sparse import csr_array

from roundhouse.raters.meetings import (
    FLOOR,
    Bools,
    Floats,
    Ints,
    Pairs,
    Votes,
    agreed,
    coded,
    counted,
)
from roundhouse.raters.pool import tails

#: The largest group that is looked for, and the groups of one round at most.
LARGEST, MOST = 25, 5
#: Groups begin at so many raters at most: those of the most conspicuous pairs.
_SEEDS = 200
#: Growth ends after so many steps without a better score.
_PATIENCE = 4
#: Standard errors below one half at which a rater's agreement with all others says: the opposite.
_OPPOSITE = 3.0


class Group(NamedTuple):
    """Raters who agree with each other beyond the model.

    Attributes:
        members: names, sorted.
        pairs: of votes of two members on one item.
        inside: share of them that are equal.
        expected: the share that the members' agreement with everyone else explains.
        outside: share of equal pairs of a member's vote and another rater's.
        usual: share of equal pairs among all other raters.
        score: log-likelihood ratio less the logarithm of the number of such groups.
        p: chance that a search of this pool without collusion finds a group with such a score.
    """

    members: list[str]
    pairs: int
    inside: float
    expected: float
    outside: float
    usual: float
    score: float
    p: float

    @property
    def closer_than_usual(self) -> bool:
        """Whether members agree significantly more than other raters do (one-sided, 0.01)."""
        equal = round(self.inside * self.pairs)
        return math.isfinite(self.usual) and tails(equal, self.pairs, self.usual)[1] < 0.01


def groups(
    votes: pd.DataFrame,
    level: float = 0.01,
    draws: int = 199,
    seed: int = 0,
    among: Collection[str] | None = None,
) -> list[Group]:
    """The groups whose chance in a pool without collusion is at most `level`, strongest first.

    Args:
        votes: a tidy table; item, rater, label, and gold, anchor and domain where they are there
            (kinds of items that differ in how easy they are).
        level: of significance, over all groups looked at in this pool.
        draws: pools without collusion to compare with; p is at least 1 / (draws + 1).
        seed: of those draws.
        among: raters who may be members; by default everyone. Fewer candidates, a stronger test,
            if they were not chosen for agreeing with each other.
    """
    names, data = coded(votes)
    if data.raters < 3 or not len(data.one):
        return []
    allowed = np.array([among is None or name in among for name in names])
    pairs = counted(data)
    null = _null_scores(data, pairs, allowed, draws, seed)
    found: list[Group] = []
    while len(found) < MOST:
        score, member = _search(pairs, allowed)
        p = (1 + float((null >= score).sum())) / (1 + draws)
        if p > level or not member.any():
            break
        kept = _confirmed(pairs, member, int(allowed.sum()))
        if kept.sum() >= 2:
            found.append(_group(names, pairs, kept, score, p))
        allowed = allowed & ~member
        pairs = _apart(pairs, member)
    return found


def _apart(pairs: Pairs, member: Bools) -> Pairs:
    """The pairs without those of a group found: its copying distorts what others are expected."""
    kept = pairs.of(~member, ~member)
    return Pairs(pairs.cells, *(np.where(kept, each, 0.0) for each in pairs[1:]))


def _loadings(pairs: Pairs, used: Bools | None = None) -> Floats:
    """[raters] c of each rater, from all agreement or only from that in `used` cells.

    Solves sum_k (equal - size / 2) = 2 c_j sum_k h c_k for each j in turn (damped fixed point).
    A rater who plainly means the opposite has c below 0: what they say counts turned, or everyone
    else would seem to know little, and to agree with each other by collusion.
    """
    excess, size, weight = pairs.equal - pairs.size / 2, pairs.size, pairs.weight
    if used is not None:
        excess, size, weight = (np.where(used, each, 0.0) for each in (excess, size, weight))
    rater, other, start, _ = pairs.cells
    raters = len(start) - 1

    def summed(value: Floats) -> Floats:
        return np.bincount(rater, value, minlength=raters).astype(np.float64)

    opposite = summed(excess) < -_OPPOSITE * np.sqrt(summed(size)) / 2
    sign = np.where(opposite, -1.0, 1.0)
    total = summed(excess * sign[rater] * sign[other])
    first = math.sqrt(max(float(total.sum()) / max(2 * float(weight.sum()), 1e-9), 1e-4))
    c = np.full(raters, first)
    table = csr_array((2 * weight, other, start), shape=(raters, raters))
    for _ in range(15):
        c = (c + np.clip(total / np.maximum(table @ c, 1e-9), 0.0, 0.5)) / 2
    return np.asarray(sign * c, np.float64)


def _expected(pairs: Pairs, c: Floats) -> Floats:
    """[cells] equal pairs that the loadings explain."""
    product = c[pairs.cells.rater] * c[pairs.cells.other]
    return np.clip(pairs.size / 2 + 2 * product * pairs.weight, 0.0, pairs.size * (1 - FLOOR))


def _null_scores(data: Votes, pairs: Pairs, allowed: Bools, draws: int, seed: int) -> Floats:
    """[draws] best scores of the search in votes from the model without collusion."""
    rng = np.random.default_rng(seed)
    right = np.clip(0.5 + _loadings(pairs)[data.rater] * data.easy, 0.0, 1.0)
    scores = np.zeros(draws)
    for k in range(draws):
        # By symmetry the truth may be label 0 everywhere.
        label = (rng.random(len(right)) >= right).astype(np.int64)
        scores[k] = _search(pairs._replace(equal=agreed(data, label)), allowed)[0]
    return scores


def _search(pairs: Pairs, allowed: Bools) -> tuple[float, Bools]:
    """Best score of a group among the allowed raters, and the group; none: score 0."""
    nobody = np.zeros(len(allowed), bool)
    if allowed.sum() < 2:
        return 0.0, nobody
    best, member = _grown(pairs, _expected(pairs, _loadings(pairs)), allowed)
    # Again with loadings from outside the group found: those inside hold the copying.
    if member.any():
        used = ~pairs.of(member, member)
        again = _grown(pairs, _expected(pairs, _loadings(pairs, used)), allowed)
        best, member = max(again, (best, member), key=lambda pair: pair[0])
    return best, member


def _grown(pairs: Pairs, expected: Floats, allowed: Bools) -> tuple[float, Bools]:
    """Grows groups from the seeds, one rater a step in all of them, and keeps the best prefix."""
    groups = _Growing(pairs, expected, allowed, _seeds(pairs, expected, allowed))
    best, kept = 0.0, np.zeros(len(allowed), bool)
    peak, peaked = -math.inf, 2
    count = int(allowed.sum())
    # More than half of all raters are no group: they are the pool.
    for step in range(2, min(LARGEST, count, max(2, len(allowed) // 2)) + 1):
        score = groups.grow() - _log_choices(count, step)
        top = int(score.argmax())
        if score[top] > best:
            best, kept = float(score[top]), groups.member[top].copy()
        if score[top] > peak:
            peak, peaked = float(score[top]), step
        elif step - peaked >= _PATIENCE:
            break
    return best, kept


class _Growing:
    """Groups that grow, each from its seed.

    Only candidates who met a member are looked at, one by one. The others would all leave the
    likelihood ratio as it is: the first of them stands for all.

    member: [groups, raters]; who, rater: [near] the group and its candidate; told: [3, near] size,
    equal and expected pairs of the candidate with all members; total: [3, groups] of the members
    with each other; place: [groups, raters] where in `near` a candidate stands, or -1.
    """

    def __init__(self, pairs: Pairs, expected: Floats, allowed: Bools, seeds: Ints) -> None:
        self.cells, self.allowed = pairs.cells, allowed
        self.values = np.stack([pairs.size, pairs.equal, expected])
        self.groups = np.arange(len(seeds))
        self.member = np.zeros((len(seeds), len(allowed)), bool)
        self.place = np.full(self.member.shape, -1, np.int32)
        self.who, self.rater = np.zeros(0, np.int64), np.zeros(0, np.int64)
        self.told, self.total = np.zeros((3, 0)), np.zeros((3, len(seeds)))
        self._join(seeds)

    def grow(self) -> Floats:
        """[groups] the likelihood ratio with the best candidate, who joins."""
        who = self.who
        ratio = _ratio(*(self.total[:, who] + self.told))
        ratio[self.member[who, self.rater] | ~self.allowed[self.rater]] = -np.inf
        best = np.full(len(self.groups), -np.inf)
        np.maximum.at(best, who, ratio)
        # Of equals the first.
        new = np.full(len(self.groups), len(self.allowed))
        top = ratio == best[who]
        np.minimum.at(new, who[top], self.rater[top])
        self._strangers(best, new)
        place = self.place[self.groups, new]
        met = place >= 0
        self.total[:, met] += self.told[:, place[met]]
        self._join(new)
        return best

    def _strangers(self, best: Floats, new: Ints) -> None:
        """Puts a candidate who met no member where nobody who did is better."""
        alone = _ratio(*self.total)
        rows = np.flatnonzero(alone >= best)
        free = (self.place[rows] < 0) & ~self.member[rows] & self.allowed
        first = np.where(free.any(axis=1), free.argmax(axis=1), len(self.allowed))
        better = (first < new[rows]) | ((alone > best)[rows] & (first < len(self.allowed)))
        best[rows[better]], new[rows[better]] = alone[rows[better]], first[better]

    def _join(self, new: Ints) -> None:
        """Takes one rater into each group, with everyone whom they met."""
        self.member[self.groups, new] = True
        start, end = self.cells.start[new], self.cells.start[new + 1]
        who = np.repeat(self.groups, end - start)
        cell = np.arange(len(who)) + np.repeat(end - np.cumsum(end - start), end - start)
        rater = self.cells.other[cell]
        place = self.place[who, rater]
        met = place >= 0
        self.told[:, place[met]] += self.values[:, cell[met]]
        who, rater, cell = who[~met], rater[~met], cell[~met]
        self.place[who, rater] = np.arange(len(self.who), len(self.who) + len(who))
        self.who, self.rater = np.append(self.who, who), np.append(self.rater, rater)
        self.told = np.concatenate([self.told, self.values[:, cell]], axis=1)


def _seeds(pairs: Pairs, expected: Floats, allowed: Bools) -> Ints:
    free = np.flatnonzero(allowed)
    if len(free) <= _SEEDS:
        return free
    ratio = np.zeros(len(allowed))
    both = pairs.of(allowed, allowed)
    each = _ratio(pairs.size[both], pairs.equal[both], expected[both])
    np.maximum.at(ratio, pairs.cells.rater[both], each)
    return free[np.argsort(-ratio[free], kind="stable")[:_SEEDS]]


def _ratio(size: Floats, equal: Floats, mean: Floats) -> Floats:
    """Log-likelihood ratio of `equal` of `size` against the share expected; 0 where not above."""
    some = np.maximum(size, 1e-9)
    share, base = equal / some, np.clip(mean / some, FLOOR, 1 - FLOOR)
    with np.errstate(divide="ignore", invalid="ignore"):
        hit = np.where(share > 0, share * np.log(share / base), 0.0)
        miss = np.where(share < 1, (1 - share) * np.log((1 - share) / (1 - base)), 0.0)
    return np.asarray(np.where(share > base, size * (hit + miss), 0.0), np.float64)


def _log_choices(count: int, size: int) -> float:
    """Logarithm of the number of groups of `size` among `count`."""
    return math.lgamma(count + 1) - math.lgamma(size + 1) - math.lgamma(count - size + 1)


def _confirmed(pairs: Pairs, member: Bools, candidates: int) -> Bools:
    """[raters] members who agree with the rest of the group significantly, beyond the expected.

    A growing group takes in a bystander now and then; each must pass on their own, at 0.05 over the
    number of candidates.
    """
    inside = pairs.of(member, member)
    expected = _expected(pairs, _loadings(pairs, ~inside))
    size, equal, mean = (
        np.bincount(pairs.cells.rater[inside], value[inside], minlength=len(member))
        for value in (pairs.size, pairs.equal, expected)
    )
    base = np.clip(mean / np.maximum(size, 1.0), FLOOR, 1 - FLOOR)
    kept = member.copy()
    for k in np.flatnonzero(member):
        kept[k] = tails(int(equal[k]), int(size[k]), float(base[k]))[1] < 0.05 / candidates
    return kept


def _group(names: list[str], pairs: Pairs, member: Bools, score: float, p: float) -> Group:
    inside, outside = pairs.of(member, member), pairs.of(member, ~member)
    expected = _expected(pairs, _loadings(pairs, ~inside))

    def share(where: Bools, value: Floats) -> float:
        size = float(pairs.size[where].sum())
        return float(value[where].sum()) / size if size else math.nan

    return Group(
        [names[k] for k in np.flatnonzero(member)], int(pairs.size[inside].sum() / 2),
        share(inside, pairs.equal), share(inside, expected), share(outside, pairs.equal),
        share(pairs.of(~member, ~member), pairs.equal), score, p,
    )  # fmt: skip
