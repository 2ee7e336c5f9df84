"""Did this rater change? Peers and check items together, one p for each rater and round.

Two tests look for the same fault, a share of votes that are turned:

- **peers**: excess disagreement with what all others make likely (`peers.evidence`), now against
  before, centred on the median rater (difference in differences). The past is believed as far as
  raters differ at all: a rater's own record is shrunk towards the median (empirical Bayes), and
  votes are taken to vary as those of a rater with that record do.
- **gold**: mistakes on easy check items against a beta-binomial expectation from the pool's rate
  and the rater's own record; exact for small counts.

They are joined by their likelihood ratio against a turned share of `DESIGN` (Neyman and Pearson
1933), whose null distribution is summed exactly over the possible numbers of mistakes. Against
Fisher's and Stouffer's rules it finds as much where both tests know the same, and more where one
knows little: 96, 93 and 96 % at 1 % false alarms with 50 check items and 8 % overlap.

Several votes on the same items, unlike raters and a common skill behind both tests make the joint
figure spread a little wider than its theory: by `INFLATION`, measured without change
(benchmarks/raters/change.py), as an empirical null (Efron 2004).
"""

import math
from collections.abc import Iterator
from statistics import NormalDist
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import gammainc, gammaincc, ndtr, ndtri

from roundhouse.raters.agreement import UNKNOWN, Estimate, coverage, reach
from roundhouse.raters.peers import (
    ENOUGH,
    Evidence,
    Flips,
    evidence,
    excess_flips,
    joined,
    middling,
)

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

#: The share of turned votes that the tests are made for.
DESIGN = 0.2
#: Standard deviation of the joint z without change.
INFLATION = 1.12
#: Spread between raters of excess flips that is assumed, and for how many raters that counts.
SPREAD, SPREAD_WEIGHT = 0.05, 10.0
#: The most of it that is believed.
MOST_SPREAD = 0.2
#: For how many check items the pool's rate counts against a rater's own record.
POOL_WEIGHT = 100.0
#: Check items that a rater needs in a round.
LEAST_GOLD = 5
#: No z is farther from 0.
_FAR = 30.0
#: The level at which a single rater is worth a look: see benchmarks/raters/change.py.
ALARM_P = 0.015


class Drift(NamedTuple):
    """One rater, this round against before.

    peers: votes now that peers tell something of, the pairs of a ranking of n answers counted as
    n - 1; gold: easy check items now, missed: those of them answered wrongly (ties count as
    neither); p_peers, p_gold: each test alone, one-sided, small for a fall, NaN where it cannot be
    made; p: both together; q: p adjusted for all raters (Benjamini and Hochberg); flipped: the
    share of votes turned since before, with its interval, from 0 to 1.
    """

    peers: int
    gold: int
    missed: int
    p_peers: float
    p_gold: float
    p: float
    q: float
    flipped: Estimate


def drifts(
    now: pd.DataFrame, before: pd.DataFrame, least: int = 20, confidence: float = 0.95
) -> dict[str, Drift]:
    """Every rater's change between two tidy tables, by name.

    Each rater has one p from both tests, so adjusting those over raters adjusts for the tests too.
    A rater appears where one of the tests can be made: the peers' needs `least` votes with peers
    now and before, and three such raters; the check items' needs `LEAST_GOLD` now.

    Args:
        now: votes of the newest round.
        before: votes of the rounds it is compared with.
        least: votes with peers, on both sides.
        confidence: of the interval of `flipped`.

    Raises:
        DataError: a round of `now` is not after all of `before`, a column is missing (item, rater,
            label, round, gold), or `confidence` is no share between 0 and 1.
    """
    coverage(confidence)
    found = evidence(joined(now, before))
    fresh = found.row >= len(before)
    peers = _peers(found.only(fresh & ~found.gold), found.only(~fresh & ~found.gold), least)
    gold = _gold(found.only(fresh & found.gold), found.only(~fresh & found.gold))
    joint = _joint(peers, gold)
    told = np.flatnonzero(np.isfinite(joint))
    adjusted = np.full(len(joint), math.nan)
    adjusted[told] = adjust(joint[told])
    flipped = _flipped(peers, gold, confidence)
    alone, checked = upper(peers.z), _tail(gold)
    return {
        found.raters[k]: Drift(
            round(peers.votes[k]), int(gold.votes[k]), int(gold.missed[k]), float(alone[k]),
            float(checked[k]), float(joint[k]), float(adjusted[k]), flipped[k],
        )
        for k in told
    }  # fmt: skip


def adjust(p: Floats) -> Floats:
    """[tests] p adjusted for their number: the lowest false discovery rate at which a test passes
    (Benjamini and Hochberg 1995).

    >>> adjust(np.array([0.01, 0.04, 0.03, 0.5])).round(4).tolist()
    [0.04, 0.0533, 0.0533, 0.5]
    """
    order = np.argsort(p, kind="stable")[::-1]
    raised = p[order] * len(p) / np.arange(len(p), 0, -1)
    adjusted = np.empty(len(p))
    adjusted[order] = np.minimum.accumulate(np.minimum(raised, 1.0))
    return adjusted


class _Peers(NamedTuple):
    """[raters] votes now, excess flips beyond the expected, their standard error, and both as z
    (NaN and infinity where the test cannot be made)."""

    votes: Floats
    excess: Floats
    error: Floats
    z: Floats


class _Gold(NamedTuple):
    """[raters] check items now and mistakes on them; [raters, 2] mistakes and right answers that
    the expectation counts for."""

    votes: Ints
    missed: Ints
    prior: Floats

    def alike(self) -> Iterator[tuple[Ints, Floats]]:
        """Raters with like numbers of check items, and the [raters, mistakes] probabilities of
        theirs: a rater with very many makes nobody else's row longer than twice their own."""
        band = np.frexp(self.votes)[1]
        for one in np.unique(band):
            rows = np.flatnonzero(band == one)
            yield rows, beta_binomial(self.votes[rows], *self.prior[rows].T)


def records(before: Evidence) -> Flips:
    """[raters] excess flips in the past, about the median rater and shrunk towards it, with the
    variance that is left; 0 and the variance between raters where there is no past."""
    votes = before.votes
    first = _shrunk(excess_flips(before, DESIGN), votes)
    return _shrunk(excess_flips(before, DESIGN, first.share), votes)


def _shrunk(old: Flips, votes: Floats) -> Flips:
    known = np.isfinite(old.share)
    share, left = np.zeros(len(known)), np.full(len(known), SPREAD**2)
    if known.any():
        noise = old.variance[known]
        distance = old.share[known] - middling(old.share, votes)
        enough = votes[known] >= ENOUGH
        between = _between(distance[enough], noise[enough])
        share[known] = distance * between / (between + noise)
        left = np.full(len(known), between)
        left[known] = noise * between / (between + noise)
    return Flips(share, left, np.zeros(len(known)))


def _between(distance: Floats, noise: Floats) -> float:
    """Variance of excess flips between raters, by moments, with `SPREAD` as a prior."""
    moment = float((distance**2 - noise).sum())
    raised = (SPREAD_WEIGHT * SPREAD**2 + moment) / (SPREAD_WEIGHT + len(distance))
    return min(max(raised, 1e-6), MOST_SPREAD**2)


def _peers(now: Evidence, before: Evidence, least: int) -> _Peers:
    size, old_size = now.votes, before.votes
    past = records(before)
    fresh = excess_flips(now, DESIGN, past.share)
    known = (size >= least) & (old_size >= least) & np.isfinite(fresh.share)
    excess, error = np.full(len(size), math.nan), np.full(len(size), math.inf)
    if known.sum() >= 3:
        moved = fresh.share[known] - past.share[known]
        excess[known] = moved - np.median(moved)
        error[known] = np.sqrt(fresh.variance[known] + past.variance[known])
    return _Peers(size, excess, error, normal(excess / error, fresh.third / error**3))


def normal(z: Floats, skew: Floats) -> Floats:
    """The standard normal figure with the tail of a standardised one that is skewed to the right.

    Where peers are nearly always right a few slips are many standard errors, and not rare: the tail
    is taken from the gamma distribution of the same skewness (Pearson's type III).

    >>> normal(np.array([2.0, 2.0, 2.0]), np.array([0.0, 0.5, 2.0])).round(2).tolist()
    [2.0, 1.82, 1.65]
    """
    shape = 4 / np.maximum(skew, 1e-3) ** 2
    place = np.maximum(shape + z * np.sqrt(shape), 0.0)
    below, above = gammainc(shape, place), gammaincc(shape, place)
    found = np.where(below < 0.5, ndtri(below), -ndtri(above))
    return np.where(skew > 1e-3, np.clip(found, -_FAR, _FAR), z)


def _gold(now: Evidence, before: Evidence) -> _Gold:
    votes, missed = counts(now)
    tested = votes >= LEAST_GOLD
    votes, missed = votes * tested, missed * tested
    old_votes, old_missed = counts(before)
    # One mistake and one right answer more than the rest gave: no rest is faultless for certain.
    rate = (missed.sum() - missed + 1) / (votes.sum() - votes + 2)
    old_rate = (old_missed.sum() - old_missed + 1) / (old_votes.sum() - old_votes + 2)
    # A record on check items of another difficulty is carried over in proportion.
    record = np.minimum(old_missed * rate / old_rate, old_votes)
    wrong, right = POOL_WEIGHT * rate + record, POOL_WEIGHT * (1 - rate) + old_votes - record
    return _Gold(votes, missed, np.stack([wrong, right], axis=1))


def counts(one: Evidence) -> tuple[Ints, Ints]:
    """[raters] votes, and how many of them do not agree."""
    votes = np.bincount(one.rater, minlength=len(one.raters))
    return votes, np.bincount(one.rater[~one.agree], minlength=len(one.raters))


def beta_binomial(size: Ints, wrong: Floats, right: Floats) -> Floats:
    """[cases, up to the largest size + 1] probability of 0, 1, 2 ... mistakes in `size` trials, if
    the rate of mistakes is beta distributed with `wrong` and `right`.

    >>> beta_binomial(np.array([2]), np.array([1.0]), np.array([1.0])).round(3).tolist()
    [[0.333, 0.333, 0.333]]
    """
    count = np.arange(size.max(initial=0))[None, :]
    left = np.maximum(size[:, None] - count, 0)
    with np.errstate(divide="ignore"):
        # Ratio of neighbours, (n - k) (a + k) / ((k + 1) (n - k - 1 + b)), in logs.
        step = np.log(left * (wrong[:, None] + count) / (count + 1))
        step -= np.log(np.maximum(left - 1, 0) + right[:, None])
    logs = np.concatenate([np.zeros((len(size), 1)), np.cumsum(step, axis=1)], axis=1)
    chance = np.exp(logs - logs.max(axis=1, keepdims=True))
    return np.asarray(chance / chance.sum(axis=1, keepdims=True), np.float64)


def _tail(gold: _Gold) -> Floats:
    """[raters] exact probability of as many mistakes or more; NaN without check items."""
    tail = np.full(len(gold.votes), math.nan)
    for rows, chance in gold.alike():
        at_least = np.cumsum(chance[:, ::-1], axis=1)[:, ::-1]
        tail[rows] = np.minimum(at_least[np.arange(len(rows)), gold.missed[rows]], 1.0)
    return np.where(gold.votes > 0, tail, math.nan)


def _joint(peers: _Peers, gold: _Gold) -> Floats:
    """[raters] one p from both tests, or from the one that could be made; NaN for neither."""
    rate = gold.prior[:, 0] / gold.prior.sum(axis=1)
    # The log-likelihood ratio is, up to a constant, step for each mistake and shift for each z.
    step = _log_odds(rate + DESIGN * (1 - 2 * rate)) - _log_odds(rate)
    shift = DESIGN / peers.error
    paired = shift > 0
    joint = np.zeros(len(gold.votes))
    for rows, chance in gold.alike():
        count = np.arange(chance.shape[1])[None, :]
        short = step[rows, None] * (gold.missed[rows, None] - count)
        reached = (short <= 0).astype(np.float64)
        both = paired[rows]
        needed = short[both] / shift[rows[both], None]
        reached[both] = upper(peers.z[rows[both], None] + needed)
        joint[rows] = (chance * reached).sum(axis=1)
    joint[paired] = upper(_quantile(joint[paired]) / INFLATION)
    return np.where(paired | (gold.votes > 0), np.minimum(joint, 1.0), math.nan)


def _flipped(peers: _Peers, gold: _Gold, confidence: float) -> list[Estimate]:
    """[raters] the likeliest share of turned votes, with a likelihood ratio interval."""
    share = np.linspace(0.0, 1.0, 201)[None, :]
    rate = (gold.prior[:, 0] / gold.prior.sum(axis=1))[:, None]
    missing = rate + share * (1 - 2 * rate)
    # The uncertain rate makes mistakes spread as if there were fewer check items.
    size = gold.prior.sum(axis=1)
    thinned = ((size + 1) / (size + np.maximum(gold.votes, 1)))[:, None]
    logs = gold.missed[:, None] * np.log(missing)
    logs += (gold.votes - gold.missed)[:, None] * np.log(1 - missing)
    logs = thinned * logs
    known = np.isfinite(peers.z)
    logs[known] -= ((peers.excess[:, None] - share) / peers.error[:, None])[known] ** 2 / 2
    best = logs.argmax(axis=1)
    inside = logs.max(axis=1)[:, None] - logs <= reach(confidence) ** 2 / 2
    low, high = inside.argmax(axis=1), 200 - inside[:, ::-1].argmax(axis=1)
    told = known | (gold.votes > 0)
    return [
        Estimate(*(float(share[0, place]) for place in places)) if one else UNKNOWN
        for one, *places in zip(told, best, low, high, strict=True)
    ]


def upper(z: Floats) -> Floats:
    """Probability of a standard normal above z, elementwise; NaN for NaN."""
    return np.asarray(ndtr(-z), np.float64)


def _quantile(p: Floats) -> Floats:
    """The z that `upper` gives p of."""
    return np.array([-NormalDist().inv_cdf(min(max(one, 1e-300), 1 - 1e-12)) for one in p.tolist()])


def _log_odds(share: Floats) -> Floats:
    return np.asarray(np.log(share / (1 - share)), np.float64)
