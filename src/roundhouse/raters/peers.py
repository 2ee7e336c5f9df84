"""What a single vote says of its rater: the label that the others make likely, and how often the
pool gives it.

A vote is compared with the posterior of its item from all *other* raters' votes (leave one out, one
accuracy a rater, after Dawid and Skene 1979). How far such a posterior is to be believed is not
taken from the model, which counts all items as equally hard: votes are sorted into strata by their
posterior, and in every round the pool itself shows how often a rater agrees in that stratum. Harder
items make posteriors weaker and agreement rarer for all raters alike, so they accuse nobody. On a
check item the right answer is known and takes the posterior's place.
"""

from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from roundhouse.errors import DataError
from roundhouse.raters.table import TIE, needs, shares, worth_of

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

#: Edges of the strata in log-odds of the likelier label; the last stratum is check items.
EDGES = (0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0)
GOLD = len(EDGES) + 1
#: Check items are easy where others give the right answer this often.
EASY_SHARE = 0.8
#: Accuracy where a rater's votes begin, and how many votes that counts for.
START, PRIOR = 0.8, 10.0
#: Expected agreement never leaves these bounds: below a half it would reward dissent.
LEAST, MOST = 0.5, 0.995
#: Votes with which a rater counts in full.
ENOUGH = 20
#: Share of turned votes at which a rater's votes vary most: half of them.
MOST_FLIPS = 0.5


class Evidence(NamedTuple):
    """The votes that can be compared, in the order of the table they came from.

    row: [votes] positions in that table; raters: names, sorted; rater: [votes] index of the name;
    period: [votes] number of the round, from 0; gold: [votes] True on a check item; agree: [votes]
    True where the vote is the likelier (on check items: the right) label; expected: [votes]
    probability of that for a rater like the rest of the pool, in this round; share: [votes] for how
    many independent votes it counts (`table.shares`).
    """

    row: Ints
    raters: list[str]
    rater: Ints
    period: Ints
    gold: Bools
    agree: Bools
    expected: Floats
    share: Floats

    @property
    def votes(self) -> Floats:
        """[raters] how many independent votes each has."""
        return worth_of(self.rater, self.share, len(self.raters))

    def only(self, chosen: Bools) -> "Evidence":
        """The same with some of the votes: `chosen` [votes] is True where one stays."""
        one = self._asdict()
        return Evidence(**{k: v if k == "raters" else v[chosen] for k, v in one.items()})


def evidence(votes: pd.DataFrame) -> Evidence:
    """Compares every vote with its peers or, on an easy check item, with the right answer.

    Ties, votes on items that nobody else decided, and check items that are not easy are left out.
    A rater who votes on an item again in a later round (an anchor) is no peer of their own.
    """
    found = decided(votes)
    odds, seen = leave_one_out(found)
    gold = found.gold >= 0
    easy = gold & _easy(found)
    side = np.where(gold, 1 - 2 * found.gold, np.where(odds >= 0, 1, -1))
    stratum = np.where(gold, GOLD, np.searchsorted(EDGES, np.abs(odds)))
    kept = easy | (~gold & seen)
    agree = (side == found.sign)[kept]
    rater, period = found.rater[kept], found.period[kept]
    size = len(found.raters)
    share = found.share[kept]
    expected = _expected(period * (GOLD + 1) + stratum[kept], rater, agree, share, size)
    one = Evidence(found.row[kept], found.raters, rater, period, gold[kept], agree, expected, share)
    return one._replace(expected=_centred(one))


def joined(now: pd.DataFrame, before: pd.DataFrame) -> pd.DataFrame:
    """Both tables as one, `before` first.

    Raises:
        DataError: a round of `now` is not after all of `before`, or a column is missing.
    """
    parts = [part for part in (before, now) if len(part)] or [now]
    for part in parts:
        needs(part, "item", "rater", "label", "round", "gold")
    if len(now) and len(before) and now["round"].min() <= before["round"].max():
        raise DataError(
            f"ratings table: round {now['round'].min()} is compared with round "
            f"{before['round'].max()}; give later rounds as `now`, earlier ones as `before`"
        )
    return pd.concat(parts, ignore_index=True)


class Decided(NamedTuple):
    """Votes without ties as codes: sign is 1 for the first answer, -1 for the second; `gold` the
    right label or -1; share: for how many votes it counts; a rater's last vote on an item in a
    round counts."""

    row: Ints
    raters: list[str]
    rater: Ints
    item: Ints
    period: Ints
    sign: Ints
    gold: Ints
    share: Floats


def decided(votes: pd.DataFrame) -> Decided:
    label = votes["label"].to_numpy(np.int64)
    row = np.flatnonzero((label < TIE) & (votes["gold"].to_numpy() < TIE))
    rater, names = pd.factorize(votes["rater"].to_numpy()[row], sort=True)
    item, items = pd.factorize(votes["item"].to_numpy()[row])
    period, _ = pd.factorize(votes["round"].to_numpy()[row], sort=True)
    code = (period * len(items) + item) * max(1, len(names)) + rater
    _, last = np.unique(code[::-1], return_index=True)
    kept = np.sort(len(code) - 1 - last)
    return Decided(
        row[kept], [str(name) for name in names], rater[kept].astype(np.int64),
        item[kept].astype(np.int64), period[kept].astype(np.int64), 1 - 2 * label[row[kept]],
        votes["gold"].to_numpy(np.int64)[row[kept]], shares(votes)[row[kept]],
    )  # fmt: skip


def leave_one_out(found: Decided, passes: int = 8) -> tuple[Floats, Bools]:
    """[votes] log-odds that the first answer is better, from all other raters' votes on the item;
    and True where there is another.

    Expectation maximisation with one accuracy a rater and both answers equally likely beforehand; a
    few passes are enough, since only the order of the strata hangs on it. Check items count too.
    """
    raters, items = len(found.raters), int(found.item.max(initial=-1)) + 1
    _, own = np.unique(found.item * max(1, raters) + found.rater, return_inverse=True)
    each = np.bincount(found.item, minlength=items)
    seen = each[found.item] > np.bincount(own)[own] if len(own) else np.zeros(0, bool)
    weight = np.full(raters, np.log(START / (1 - START)))
    total = np.bincount(found.rater, seen, raters) + PRIOR
    for step in range(passes + 1):
        vote = found.sign * weight[found.rater]
        odds = np.bincount(found.item, vote, items)[found.item]
        if step == passes:
            return np.asarray(odds - np.bincount(own, vote)[own], np.float64), seen
        right = np.where(seen, 1 / (1 + np.exp(-odds * found.sign)), 0.0)
        pooled = right.sum() / max(1, seen.sum()) if seen.any() else START
        share = (np.bincount(found.rater, right, raters) + PRIOR * pooled) / total
        share = np.clip(share, 0.05, 0.98)
        weight = np.log(share / (1 - share))
    raise AssertionError("passes is not negative")


def _easy(found: Decided) -> Bools:
    """[votes] True where others' votes on the item are right often enough; without others it stands
    at the pool's share on check items."""
    right = (found.gold == (1 - found.sign) // 2) & (found.gold >= 0)
    pooled = right.sum() / max(1, (found.gold >= 0).sum())
    hits = np.bincount(found.item, right)[found.item] - right
    size = np.bincount(found.item)[found.item] - 1
    return np.asarray((hits + 2 * pooled) / (size + 2) >= EASY_SHARE)


def _expected(stratum: Ints, rater: Ints, agree: Bools, share: Floats, raters: int) -> Floats:
    """[votes] share of agreement in a vote's stratum, without its own rater's votes."""
    _, code = np.unique(stratum, return_inverse=True)
    cell = code * max(1, raters) + rater
    size = np.bincount(code, share)[code] - np.bincount(cell, share)[cell]
    told = agree * share
    hits = np.bincount(code, told)[code] - np.bincount(cell, told)[cell]
    return np.asarray(np.clip((hits + 1) / (size + 2), LEAST, MOST), np.float64)


def _centred(one: Evidence) -> Floats:
    """[votes] expected agreement with peers for the median rater of the round: where many raters
    change, the pool's mean moves and the median hardly does."""
    peers = one.only(~one.gold)
    expected = one.expected.copy()
    for period in np.unique(peers.period):
        here = ~one.gold & (one.period == period)
        part = one.only(here)
        share = excess_flips(part).share
        if np.isfinite(share).sum() >= 3:
            middle = middling(share, part.votes)
            moved = expected[here] - middle * (2 * expected[here] - 1)
            expected[here] = np.clip(moved, LEAST, MOST)
    return expected


def middling(share: Floats, votes: Floats) -> float:
    """The median over raters with a finite share, each counting as `votes`, `ENOUGH` at most.

    Of raters with one vote each nearly all agree: an unweighted median would be theirs, and those
    who do the work would seem to err more than the pool.

    >>> middling(np.array([0.0, 0.0, 0.0, 0.1, 0.2]), np.array([1, 1, 1, 30, 40]))
    0.1
    """
    known = np.flatnonzero(np.isfinite(share))
    order = known[np.argsort(share[known], kind="stable")]
    total = np.cumsum(np.minimum(votes[order], ENOUGH))
    low, high = (
        np.searchsorted(total, total[-1] / 2),
        np.searchsorted(total, total[-1] / 2, "right"),
    )
    return float(share[order[low]] + share[order[min(high, len(order) - 1)]]) / 2


class Flips(NamedTuple):
    """Per rater: the share of votes that would have to be turned to explain their disagreement (a
    moment estimate that may be negative), its variance and its third central moment; NaN, infinity
    and 0 where no vote tells anything."""

    share: Floats
    variance: Floats
    third: Floats


def excess_flips(one: Evidence, design: float = 0.2, level: Floats | None = None) -> Flips:
    """[raters] flips beyond the pool's own mistakes.

    Turning a share f of the votes lowers agreement from e to e - f (2 e - 1). Votes are weighted by
    the log-odds ratio between no flips and a share of `design` (Neyman and Pearson). The variance
    is that of a rater who turns the share `level` [raters], by default none: where peers are sure,
    a rater whose usual share is 0.2 varies four times as much as one who is never wrong.
    """
    weight, slope = weights(one.expected, design), 2 * one.expected - 1
    # The pairs of a ranking are fewer votes than pairs, in the figure and in its variance.
    raters, counted = len(one.raters), one.share * weight
    missed = np.bincount(one.rater, counted * (one.expected - one.agree), raters)
    told = np.bincount(one.rater, counted * slope, raters)
    agrees = one.expected
    if level is not None:
        agrees = one.expected - np.clip(level, 0.0, MOST_FLIPS)[one.rater] * slope
    noise = np.bincount(one.rater, one.share * (weight**2 * agrees * (1 - agrees)), raters)
    third = weight**3 * agrees * (1 - agrees) * (2 * agrees - 1)
    skewed = np.bincount(one.rater, one.share * third, raters)
    with np.errstate(divide="ignore", invalid="ignore"):
        share = np.where(told > 0, missed / told, np.nan)
        variance = np.where(told > 0, noise / told**2, np.inf)
        third = np.where(told > 0, skewed / told**3, 0.0)
    return Flips(share, variance, third)


def weights(expected: Floats, design: float) -> Floats:
    """[votes] logit of agreement without flips less that with a share of `design`."""
    turned = expected - design * (2 * expected - 1)
    return np.asarray(np.log(expected / (1 - expected)) - np.log(turned / (1 - turned)))
