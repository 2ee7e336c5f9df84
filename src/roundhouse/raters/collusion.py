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

A group with a view of its own (a region, a profession) agrees beyond the model as well. `inside`
beside `usual` tells them apart as far as data can: people who judge for themselves do not agree
with each other more than the pool does.

Left out: copying in a small share of votes by few raters (a pair shares about five items), and
ties. Sources: the factor model of agreement is that of Dawid and Skene (1979) with two labels;
scan statistics with simulated critical values follow Kulldorff (1997), A spatial scan statistic.
"""

import math
from collections.abc import Collection
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from roundhouse.raters.pool import tails
from roundhouse.raters.table import SECOND, latest

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

#: The largest group that is looked for, and the groups of one round at most.
LARGEST, MOST = 25, 5
#: Expected agreement stays away from certainty by this much.
_FLOOR = 0.02
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


class _Votes(NamedTuple):
    """Decided votes on items that two raters saw, as codes: item, rater, label of each vote, and
    the two votes of each pair; easy: [votes] sqrt(h) of the item's kind."""

    item: Ints
    rater: Ints
    label: Ints
    easy: Floats
    one: Ints
    other: Ints
    raters: int
    items: int


class _Pairs(NamedTuple):
    """[raters, raters] symmetric: vote pairs, equal ones, and the sum of h over the pairs."""

    size: Floats
    equal: Floats
    weight: Floats


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
    names, data = _codes(votes)
    if data.raters < 3 or not len(data.one):
        return []
    allowed = np.array([among is None or name in among for name in names])
    pairs = _counted(data, data.label)
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


def _codes(votes: pd.DataFrame) -> tuple[list[str], _Votes]:
    votes = latest(votes[votes["label"] <= SECOND])
    rater, names = pd.factorize(votes["rater"], sort=True)
    item = pd.factorize(votes["item"])[0]
    shared = np.bincount(item)[item] >= 2 if len(item) else np.zeros(0, bool)
    order = np.argsort(item[shared], kind="stable")
    kind = _kinds(votes)[shared][order]
    item, rater = pd.factorize(item[shared][order])[0], rater[shared][order]
    label = votes["label"].to_numpy(np.int64)[shared][order]
    one, other = _pairs_of(np.bincount(item))
    easy = _easy(kind, label, one, other)
    return [str(name) for name in names], _Votes(
        item.astype(np.int64), rater.astype(np.int64), label, easy, one, other, len(names),
        int(item.max()) + 1 if len(item) else 0,
    )  # fmt: skip


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


def _pairs_of(count: Ints) -> tuple[Ints, Ints]:
    """Both votes of each pair of votes on one item; votes are sorted by item, `count` of each."""
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


def _easy(kind: Ints, label: Ints, one: Ints, other: Ints) -> Floats:
    """[votes] sqrt(h): excess agreement of the item's kind over the usual excess, its root."""
    if not len(one):
        return np.ones(len(label))
    equal = (label[one] == label[other]).astype(np.float64)
    usual = max(float(equal.mean()) - 0.5, _FLOOR)
    kinds = int(kind.max()) + 1
    size = np.bincount(kind[one], minlength=kinds)
    # Ten pairs' worth of the usual agreement: a kind with few pairs is taken to be like the rest.
    rate = (np.bincount(kind[one], equal, minlength=kinds) + 10 * (usual + 0.5)) / (size + 10)
    return np.asarray(np.sqrt(np.clip((rate - 0.5) / usual, 0.0, 4.0))[kind], np.float64)


def _counted(data: _Votes, label: Ints) -> _Pairs:
    shape = (data.raters, data.raters)
    code = data.rater[data.one] * data.raters + data.rater[data.other]
    equal = (label[data.one] == label[data.other]).astype(np.float64)
    weight = data.easy[data.one] * data.easy[data.other]

    def summed(value: Floats | None) -> Floats:
        half = np.bincount(code, value, minlength=data.raters**2).reshape(shape)
        return np.asarray(half + half.T, np.float64)

    return _Pairs(summed(None), summed(equal), summed(weight))


def _apart(pairs: _Pairs, member: Bools) -> _Pairs:
    """The pairs without those of a group found: its copying distorts what others are expected."""
    out = member[:, None] | member[None, :]
    return _Pairs(*(np.where(out, 0.0, each) for each in pairs))


def _loadings(pairs: _Pairs, used: Bools | None = None) -> Floats:
    """[raters] c of each rater, from all agreement or only from that of `used` pairs.

    Solves sum_k (equal - size / 2) = 2 c_j sum_k h c_k for each j in turn (damped fixed point).
    A rater who plainly means the opposite has c below 0: what they say counts turned, or everyone
    else would seem to know little, and to agree with each other by collusion.
    """
    excess, size, weight = pairs.equal - pairs.size / 2, pairs.size, pairs.weight
    if used is not None:
        excess, size, weight = (np.where(used, each, 0.0) for each in (excess, size, weight))
    sign = np.where(excess.sum(axis=1) < -_OPPOSITE * np.sqrt(size.sum(axis=1)) / 2, -1.0, 1.0)
    total = (excess * np.outer(sign, sign)).sum(axis=1)
    start = math.sqrt(max(float(total.sum()) / max(2 * float(weight.sum()), 1e-9), 1e-4))
    c = np.full(len(total), start)
    for _ in range(15):
        c = (c + np.clip(total / np.maximum(2 * weight @ c, 1e-9), 0.0, 0.5)) / 2
    return np.asarray(sign * c, np.float64)


def _expected(pairs: _Pairs, c: Floats) -> Floats:
    """[raters, raters] equal pairs that the loadings explain."""
    mean = pairs.size / 2 + 2 * np.outer(c, c) * pairs.weight
    return np.clip(mean, 0.0, pairs.size * (1 - _FLOOR))


def _null_scores(data: _Votes, pairs: _Pairs, allowed: Bools, draws: int, seed: int) -> Floats:
    """[draws] best scores of the search in votes from the model without collusion."""
    rng = np.random.default_rng(seed)
    right = np.clip(0.5 + _loadings(pairs)[data.rater] * data.easy, 0.0, 1.0)
    scores = np.zeros(draws)
    for k in range(draws):
        # By symmetry the truth may be label 0 everywhere.
        label = (rng.random(len(right)) >= right).astype(np.int64)
        scores[k] = _search(_counted(data, label), allowed)[0]
    return scores


def _search(pairs: _Pairs, allowed: Bools) -> tuple[float, Bools]:
    """Best score of a group among the allowed raters, and the group; none: score 0."""
    nobody = np.zeros(len(allowed), bool)
    if allowed.sum() < 2:
        return 0.0, nobody
    best, member = _grown(pairs, _expected(pairs, _loadings(pairs)), allowed)
    # Again with loadings from outside the group found: those inside hold the copying.
    if member.any():
        used = ~np.outer(member, member)
        again = _grown(pairs, _expected(pairs, _loadings(pairs, used)), allowed)
        best, member = max(again, (best, member), key=lambda pair: pair[0])
    return best, member


def _grown(pairs: _Pairs, expected: Floats, allowed: Bools) -> tuple[float, Bools]:
    """Grows groups from the seeds, one rater a step in all of them, and keeps the best prefix."""
    seeds = _seeds(pairs, expected, allowed)
    rows = np.arange(len(seeds))
    member = np.zeros((len(seeds), len(allowed)), bool)
    member[rows, seeds] = True
    size, equal, mean = pairs.size[seeds], pairs.equal[seeds], expected[seeds]
    total = np.zeros((len(seeds), 3))
    best, kept = 0.0, np.zeros(len(allowed), bool)
    peak, peaked = -math.inf, 2
    count = int(allowed.sum())
    # More than half of all raters are no group: they are the pool.
    for step in range(2, min(LARGEST, count, max(2, len(allowed) // 2)) + 1):
        ratio = _ratio(
            total[:, :1] + size, total[:, 1:2] + equal, total[:, 2:] + mean
        )  # [seeds, raters]
        ratio[member | ~allowed] = -np.inf
        new = ratio.argmax(axis=1)
        total += np.stack([size[rows, new], equal[rows, new], mean[rows, new]], axis=1)
        member[rows, new] = True
        size, equal, mean = size + pairs.size[new], equal + pairs.equal[new], mean + expected[new]
        score = ratio[rows, new] - _log_choices(count, step)
        top = int(score.argmax())
        if score[top] > best:
            best, kept = float(score[top]), member[top].copy()
        if score[top] > peak:
            peak, peaked = float(score[top]), step
        elif step - peaked >= _PATIENCE:
            break
    return best, kept


def _seeds(pairs: _Pairs, expected: Floats, allowed: Bools) -> Ints:
    free = np.flatnonzero(allowed)
    if len(free) <= _SEEDS:
        return free
    ratio = _ratio(pairs.size, pairs.equal, expected)[np.ix_(free, free)].max(axis=1)
    return free[np.argsort(-ratio, kind="stable")[:_SEEDS]]


def _ratio(size: Floats, equal: Floats, mean: Floats) -> Floats:
    """Log-likelihood ratio of `equal` of `size` against the share expected; 0 where not above."""
    some = np.maximum(size, 1e-9)
    share, base = equal / some, np.clip(mean / some, _FLOOR, 1 - _FLOOR)
    with np.errstate(divide="ignore", invalid="ignore"):
        hit = np.where(share > 0, share * np.log(share / base), 0.0)
        miss = np.where(share < 1, (1 - share) * np.log((1 - share) / (1 - base)), 0.0)
    return np.asarray(np.where(share > base, size * (hit + miss), 0.0), np.float64)


def _log_choices(count: int, size: int) -> float:
    """Logarithm of the number of groups of `size` among `count`."""
    return math.lgamma(count + 1) - math.lgamma(size + 1) - math.lgamma(count - size + 1)


def _confirmed(pairs: _Pairs, member: Bools, candidates: int) -> Bools:
    """[raters] members who agree with the rest of the group significantly, beyond the expected.

    A growing group takes in a bystander now and then; each must pass on their own, at 0.05 over the
    number of candidates.
    """
    expected = _expected(pairs, _loadings(pairs, ~np.outer(member, member)))
    kept = member.copy()
    for k in np.flatnonzero(member):
        rest = member.copy()
        rest[k] = False
        size, equal = pairs.size[k, rest].sum(), pairs.equal[k, rest].sum()
        base = float(np.clip(expected[k, rest].sum() / max(size, 1.0), _FLOOR, 1 - _FLOOR))
        kept[k] = tails(int(equal), int(size), base)[1] < 0.05 / candidates
    return kept


def _group(names: list[str], pairs: _Pairs, member: Bools, score: float, p: float) -> Group:
    expected = _expected(pairs, _loadings(pairs, ~np.outer(member, member)))
    inside, outside = np.ix_(member, member), np.ix_(member, ~member)
    rest = np.ix_(~member, ~member)

    def share(where: tuple[NDArray[Any], ...], value: Floats) -> float:
        size = float(pairs.size[where].sum())
        return float(value[where].sum()) / size if size else math.nan

    return Group(
        [names[k] for k in np.flatnonzero(member)], int(pairs.size[inside].sum() / 2),
        share(inside, pairs.equal), share(inside, expected), share(outside, pairs.equal),
        share(rest, pairs.equal), score, p,
    )  # fmt: skip
