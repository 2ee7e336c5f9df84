"""Between rounds: does a rater turn votes, and since which one?

A CUSUM (Page 1954) over a rater's votes in the order of time. Each vote adds the log-likelihood
ratio of a turned share of `DESIGN` against none, given how often a rater with this record agrees
with such peers, or with such a check item, in that round (`peers.evidence`); the sum never falls
below 0. A rater who errs as before drifts down; one who turns votes drifts up, over the end of a
round too. What is expected is the pool's own agreement in that round, so harder items move nobody.

The threshold was set once, by simulation, so that at most 1 % of rater-rounds alarm without change:
three rounds after one of record, counted to each rater's first alarm. One per cent is at about 8;
8.5 leaves room: 0.7 % with the default plan and 0.9 % with full overlap, over 90 pools each
(benchmarks/raters/change.py computes it again). Peers may vote later than the rater: a path is
final when their votes are in.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from roundhouse.raters.drift import POOL_WEIGHT, counts, records
from roundhouse.raters.peers import LEAST, Evidence, evidence, joined
from roundhouse.raters.table import needs

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

#: The share of turned votes that the sum is made for; between the shares that should be found.
DESIGN = 0.25
#: A path above it is an alarm.
THRESHOLD = 8.5
#: Agreement expected of any rater, at most: no single slip decides.
MOST = 0.98


class Path(NamedTuple):
    """One rater's sum over their votes.

    row: [votes] positions in the table `now`, in the order of time; path: [votes] the sum after
    each, level where a vote tells nothing; alarm: index of the first vote above the threshold, or
    None; change: index of the first vote since the sum was last 0 before the alarm, the likeliest
    begin, or None without an alarm; of a sum that began above 0 and never came back to it, the
    first.
    """

    row: Ints
    path: Floats
    alarm: int | None
    change: int | None

    @property
    def risen(self) -> int | None:
        """Index of the first vote since the sum was last 0 at its end; None where it ends at 0."""
        zeros = np.flatnonzero(self.path <= 0)
        first = int(zeros[-1]) + 1 if len(zeros) else 0
        return first if first < len(self.path) else None


def paths(
    now: pd.DataFrame,
    before: pd.DataFrame,
    threshold: float = THRESHOLD,
    start: Mapping[str, float] | None = None,
) -> dict[str, Path]:
    """The sum of every rater who votes in `now`, by name.

    Args:
        now: votes of one round or of several in a row, which the sums run through.
        before: votes of earlier rounds, each rater's record; it may be empty, and raters without a
            record stand at the pool's.
        threshold: of the alarm.
        start: raters to where their sums stood before `now`; 0 for all others.

    Raises:
        DataError: a round of `now` is not after all of `before`, or a column is missing (item,
            rater, label, round, gold, and `at` of `now`).
    """
    if not len(now):
        return {}
    needs(now, "at")
    votes = joined(now, before)
    gain = np.zeros(len(votes))
    found = evidence(votes)
    fresh = found.row >= len(before)
    gain[found.row[fresh]] = gains(found, fresh)
    gain = gain[len(before) :]
    rater, names = pd.factorize(now["rater"], sort=True)
    order = np.lexsort((now["at"].to_numpy(np.float64), now["round"].to_numpy(), rater))
    ends = np.cumsum(np.bincount(rater, minlength=len(names)))[:-1]
    return {
        str(name): follow(rows, gain[rows], threshold, (start or {}).get(str(name), 0.0))
        for name, rows in zip(names, np.split(order, ends), strict=True)
    }


def gains(found: Evidence, fresh: NDArray[np.bool_]) -> Floats:
    """[fresh votes] log-likelihood ratios; `fresh` [votes] is True for those that are not record.

    The pairs of a ranking count for as many votes as they are worth.

    >>> round(float(np.log(0.6 / 0.7) + np.log(0.4 / 0.3)), 3)  # one agrees, one does not
    0.134
    """
    past = found.only(~fresh)
    record = records(past.only(~past.gold)).share
    size, missed = counts(past.only(past.gold))
    rate = (missed.sum() + 1) / (size.sum() + 2)
    worse = (POOL_WEIGHT * rate + missed) / (POOL_WEIGHT + size) - rate
    one = found.only(fresh)
    slope = 2 * one.expected - 1
    lowered = np.where(one.gold, worse[one.rater], record[one.rater] * slope)
    expected = np.clip(one.expected - lowered, LEAST, MOST)
    turned = expected - DESIGN * (2 * expected - 1)
    ratio = np.where(one.agree, np.log(turned / expected), np.log((1 - turned) / (1 - expected)))
    return one.share * ratio


def follow(row: Ints, gain: Floats, threshold: float, start: float = 0.0) -> Path:
    """The sum max(0, s + gain) over gains [votes] in order, its alarm and its change point.

    >>> one = follow(np.arange(4), np.array([-1.0, 1.0, -0.5, 2.0]), 2.0)
    >>> one.path.tolist(), one.alarm, one.change
    ([0.0, 1.0, 0.5, 2.5], 3, 1)
    """
    total = start + np.cumsum(gain)
    path = total - np.minimum(np.minimum.accumulate(total), 0.0)
    above = np.flatnonzero(path > threshold)
    if not len(above):
        return Path(row, path, None, None)
    alarm = int(above[0])
    zeros = np.flatnonzero(path[:alarm] <= 0)
    return Path(row, path, alarm, int(zeros[-1]) + 1 if len(zeros) else 0)
