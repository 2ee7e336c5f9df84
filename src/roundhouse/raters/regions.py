"""Does a region see things otherwise, and is a region missing? Both asked of raters, not of votes.

Votes of one rater are alike, so a test that takes votes for independent finds a difference between
any two groups of people (a chi-square on pooled labels: 56 % false alarms). Here raters are the
units: what is seen is compared with what other divisions of the same raters into regions of the
same sizes would show.

**The statistic.** `taste` says what every two raters agree beyond their skills and the items they
met on. Summed over the pairs inside a region and divided by the deviation that votes alone would
give it, that is large where a region has a taste of its own. Weaker or busier raters, or items of
its own, are no finding. Regions are permuted over raters.

**Which region.** p values are corrected for the number of regions by the largest statistic of each
permutation (Westfall and Young 1993). Where the most different region passes, it is taken out and
the rest is tested among itself, so that the others are not named for differing from it. Of two
regions neither can be called the odd one: both get the same p.

**Missing.** A pool is a draw from the people it should stand for only if its regions are. Raters
are counted against a stated population, with the exact binomial chance of so few.

Sources: Westfall and Young (1993), Resampling-based multiple testing; Chung and Romano (2013),
Exact and asymptotically robust permutation tests (why the statistic is studentised); Clopper and
Pearson (1934); Holm (1979), A simple sequentially rejective multiple test procedure.
"""

import math
from collections.abc import Iterable, Mapping
from typing import Literal, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from roundhouse.errors import DataError
from roundhouse.raters import agreement, taste
from roundhouse.raters.agreement import UNKNOWN, Estimate
from roundhouse.raters.binomial import at_most, exact_interval
from roundhouse.raters.bootstrap import weighted
from roundhouse.raters.breakdown import LEAST_RATERS
from roundhouse.raters.pairs import EQUAL, TOTAL
from roundhouse.raters.taste import Meetings

Floats = NDArray[np.float64]

#: A region of fewer raters is not tested: they are people rather than a region.
LEAST_REGION = 3
#: At this p the most different region is taken out and the others are tested again; and a region
#: counts as short.
STEP_P = 0.05


class RegionTaste(NamedTuple):
    """One region against all others.

    Attributes:
        region: its name.
        raters: of the region, who met another rater on an item.
        within, between: share of equal vote pairs inside the region, and with the others; NaN
            where there are none.
        effect: agreement lost between the region and the others: how much less they agree with
            each other than both do inside, on the same items; near 0 where taste is the same (about
            0.01 where one side guesses in 30 % of its votes, which p allows for and this does not).
            With an interval over raters, up to sqrt(3) too wide (`bootstrap`); unknown where either
            side has fewer than `LEAST_RATERS`.
        p: corrected for the number of regions; NaN where the region is not tested.
    """

    region: str
    raters: int
    within: float
    between: float
    effect: Estimate
    p: float


class RegionShare(NamedTuple):
    """Raters of one region against its share of a stated population.

    Attributes:
        region: its name.
        raters: how many; expected: how many the population would give, on average.
        share: of all raters, with an exact interval.
        p: chance of so few, one-sided, corrected for the number of regions (Holm).
        state: `missing` where there is nobody (p says whether that is chance), `short` where p is
            below 0.05, else `ok`.
    """

    region: str
    raters: int
    expected: float
    share: Estimate
    p: float
    state: Literal["missing", "short", "ok"]


def of_raters(votes: pd.DataFrame) -> dict[str, str]:
    """Region of each rater who states one: where they vote from most often (the first by name)."""
    known = votes[votes["region"] != ""]
    counts = known.groupby(["rater", "region"], sort=True).size().reset_index(name="votes")
    counts = counts.sort_values("votes", ascending=False, kind="stable")
    counts = counts.drop_duplicates("rater").sort_values("rater")
    return dict(zip(counts["rater"], counts["region"], strict=True))


def missing(
    regions: Mapping[str, str], target: Mapping[str, float], confidence: float
) -> list[RegionShare]:
    """Each region of the target against the raters there are, by name.

    Args:
        regions: rater to region, as `of_raters` gives it; regions outside the target count as
            raters of none of its regions.
        target: region to its share of the population, in all at most 1.
        confidence: of the intervals, each by itself.

    Raises:
        DataError: a share is not above 0, or they sum to more than 1.
    """
    if any(not 0 < share <= 1 for share in target.values()) or sum(target.values()) > 1 + 1e-9:
        raise DataError("regions: target shares must lie above 0 and sum to at most 1")
    raters, lives = len(regions), list(regions.values())
    names = sorted(target)
    seen = [lives.count(name) for name in names]
    few = _holm(at_most(k, raters, target[name]) for k, name in zip(seen, names, strict=True))
    return [
        RegionShare(
            name, k, raters * target[name], exact_interval(k, raters, confidence), p,
            "missing" if not k else "short" if p < STEP_P else "ok",
        )
        for name, k, p in zip(names, seen, few, strict=True)
    ]  # fmt: skip


def _holm(p: Iterable[float]) -> list[float]:
    """Corrected p values, in the order given."""
    raw = list(p)
    order = sorted(range(len(raw)), key=raw.__getitem__)
    corrected, before = [0.0] * len(raw), 0.0
    for rank, at in enumerate(order):
        before = corrected[at] = min(1.0, max(before, raw[at] * (len(raw) - rank)))
    return corrected


def tastes(
    votes: pd.DataFrame, permutations: int, draws: int, confidence: float, seed: int
) -> list[RegionTaste]:
    """Each region against all others, by name; empty where fewer than two regions are known.

    Args:
        votes: a tidy table with labels 0 and 1 (`table.TIE` is left out) and regions; raters who
            state no region are left out.
        permutations: of raters over regions; the smallest p is 1 / (permutations + 1).
        draws: of the bootstrap over raters behind the effect's interval.
        confidence: of that interval.
        seed: of permutations and draws.
    """
    home = of_raters(votes)
    known = votes[votes["rater"].isin(home)]
    found = taste.meetings(known)
    region = np.array([home[rater] for rater in found.pairs.raters], dtype=object)
    names = sorted(set(region))
    if len(names) < 2:
        return []
    p = _stepped(known, home, permutations, seed)
    return [
        _taste(found, region == name, name, p.get(name, math.nan), draws, confidence, seed)
        for name in names
    ]


def _stepped(
    votes: pd.DataFrame, home: Mapping[str, str], permutations: int, seed: int
) -> dict[str, float]:
    """p of every region that can be tested, by the step-down test."""
    p: dict[str, float] = {}
    before, left = 0.0, dict(home)
    while True:
        found = taste.meetings(votes[votes["rater"].isin(left)])
        region = np.array([left[rater] for rater in found.pairs.raters], dtype=object)
        names, size = np.unique(region, return_counts=True)
        tested = names[size >= LEAST_REGION]
        if len(names) < 2 or not len(tested):
            return p
        now = np.maximum(before, _corrected(found, region, list(tested), permutations, seed))
        p.update(zip(tested, now.tolist(), strict=True))
        before = float(now.min())
        if before > STEP_P or len(names) == 2:
            return p
        odd = tested[int(now.argmin())]
        left = {rater: place for rater, place in left.items() if place != odd}


def _corrected(
    found: Meetings, region: NDArray[np.object_], tested: list[str], permutations: int, seed: int
) -> Floats:
    """[tested] p values by the largest statistic of each permutation; row 0 is what was seen.

    Of two regions the insides are summed: one statistic, the same whichever is called the first.
    """
    generator = np.random.default_rng(seed)
    divided = np.tile(region, (permutations + 1, 1))
    divided[1:] = generator.permuted(divided[1:], axis=1)
    pairs, scores = found.pairs, taste.scores(found)
    groups = {name: (divided == name).astype(np.float64) for name in set(region)}
    inside = {
        name: weighted(pairs.first, pairs.second, scores, groups[name])
        for name in (groups if len(groups) == 2 else tested)
    }
    if len(groups) == 2:
        inside = dict.fromkeys(tested, sum(inside.values(), np.zeros(2)))
    z = np.zeros((permutations + 1, len(tested)))
    for column, name in enumerate(tested):
        total, variance = inside[name].T
        np.divide(total, np.sqrt(variance), out=z[:, column], where=variance > 0)
    spread = z.std(axis=0)
    z = (z - z.mean(axis=0)) / np.where(spread > 0, spread, 1.0)
    # Equal statistics (few raters have few divisions) count as reached; rounding must not break
    # them.
    return np.asarray((z.max(axis=1)[:, None] >= z[0] - 1e-9).mean(axis=0), np.float64)


def _taste(
    found: Meetings, inside: taste.Bools, name: str, p: float,
    draws: int, confidence: float, seed: int,
) -> RegionTaste:  # fmt: skip
    pairs = found.pairs
    home, away = inside[pairs.first], inside[pairs.second]
    sums = pairs.sums[:, [EQUAL, TOTAL]]
    within, between = sums[home & away].sum(axis=0), sums[home != away].sum(axis=0)
    effect = UNKNOWN
    if min(inside.sum(), (~inside).sum()) >= LEAST_RATERS:
        loss = taste.lost_between(found, inside, draws, seed)
        effect = agreement.interval(float(loss[0]), loss[1:], confidence)
    return RegionTaste(name, int(inside.sum()), _share(within), _share(between), effect, p)


def _share(sums: Floats) -> float:
    return float(sums[0] / sums[1]) if sums[1] else math.nan
