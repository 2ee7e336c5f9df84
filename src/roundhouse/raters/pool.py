"""What is usual among raters, and how far one of them is from it: the comparisons behind habits.

The pool is compared with robustly: the raters who stand out are left out of what they are measured
by, so that ten careless people in fifty do not become the norm that accuses the other forty. Honest
raters differ too, so the tests allow for the spread that is left among the others (a beta-binomial,
or a variance between raters) and do not call everyone who is not average unusual.

Sources: Skellam (1948), A probability distribution derived from the binomial distribution by
regarding the probability of success as variable; Wallace (1959), Bounds on normal approximations to
Student's and the chi-square distributions.
"""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

#: Fewer raters than this are no pool to compare with.
FEWEST = 3
#: Raters further from the middle than this many standard deviations do not define what is usual.
_OUTLYING = 3.0
_MAD = 1.4826
#: Figures are cut closer. A normal variable cut at 2 standard deviations keeps these parts of its
#: variance and of the median of its distance from the middle.
_CUT, _CUT_VARIANCE, _CUT_MEDIAN = 2.0, 0.774, 0.948
_PASSES = 8


class Shares(NamedTuple):
    """Each rater's share of hits beside what is usual; NaN where the data cannot tell.

    usual: [raters] the share of the others, outliers left out; spread: how much honest raters
    differ, as 1 / (a + b) of a beta distribution (0: not at all); low, high: [raters] the chance of
    so few, or so many, hits.
    """

    usual: Floats
    spread: float
    low: Floats
    high: Floats

    @property
    def either(self) -> Floats:
        """[raters] two-sided p."""
        return np.asarray(np.minimum(1.0, 2 * np.minimum(self.low, self.high)), np.float64)


class Standing(NamedTuple):
    """Where each rater's figure stands among those of the pool.

    usual: the pool's figure; between: standard deviation between raters beyond sampling; z:
    [raters] standard deviations from the pool, on the scale of a normal variable.
    """

    usual: float
    between: float
    z: Floats

    @property
    def low(self) -> Floats:
        """[raters] one-sided p, small where the figure is low."""
        return normal_tail(-self.z)

    @property
    def either(self) -> Floats:
        """[raters] two-sided p."""
        return np.minimum(1.0, 2 * normal_tail(np.abs(self.z)))


def share_tests(hits: Ints, size: Ints) -> Shares:
    """Tests each rater's `hits` of `size` [raters] against the share that is usual in the pool.

    Unknown for raters with no trial, and for all where fewer than three have any.
    """
    told = size > 0
    unknown = np.full(len(size), np.nan)
    if told.sum() < FEWEST:
        return Shares(unknown, math.nan, unknown, unknown)
    kept = _usual_shares(hits, size, told)
    # One hit and one miss added: a faultless pool does not make a single slip impossible.
    others, trials = _without(hits, kept), _without(size, kept)
    usual = np.where(told, (others + 1) / (trials + 2), np.nan)
    spread = _spread(hits[kept], size[kept])
    both = np.full((len(size), 2), np.nan)
    for k in np.flatnonzero(told):
        both[k] = tails(int(hits[k]), int(size[k]), float(usual[k]), spread)
    return Shares(usual, spread, both[:, 0], both[:, 1])


def standing(value: Floats, error: Floats) -> Standing:
    """Places each rater's figure [raters] with standard error `error` among those of the pool.

    Figures that are not finite stay unknown; so do all where fewer than three are finite. The
    number of raters that define the pool is allowed for (Student's t, by Wallace's approximation).
    """
    told = np.isfinite(value) & np.isfinite(error)
    if told.sum() < FEWEST:
        return Standing(math.nan, math.nan, np.full(len(value), np.nan))
    kept = _usual_figures(value, error, told)
    noise = float(np.mean(error[kept] ** 2))
    spread = float(value[kept].var(ddof=1)) / _CUT_VARIANCE if kept.sum() > 1 else 0.0
    between = max(0.0, spread - noise)
    trust = 1 / np.maximum(error[kept] ** 2 + between, 1e-12)
    usual = float(np.average(value[kept], weights=trust))
    t = (value - usual) / np.sqrt(np.maximum(error**2 + between, 1e-12))
    return Standing(usual, math.sqrt(between), _normal_scores(t, max(1, int(kept.sum()) - 1)))


def tails(hits: int, size: int, share: float, spread: float = 0.0) -> tuple[float, float]:
    """P(X <= hits) and P(X >= hits) for a beta-binomial X of `size` trials, computed exactly.

    Args:
        hits: as observed.
        size: trials.
        share: mean share of hits, a / (a + b).
        spread: 1 / (a + b); 0 is the binomial.

    >>> [round(p, 3) for p in tails(1, 3, 0.5)]
    [0.5, 0.875]
    """
    share = min(max(share, 1e-12), 1 - 1e-12)
    step = np.arange(size)
    none = np.log1p(-share + step * spread).sum() - np.log1p(step * spread).sum()
    ratio = (size - step) / (step + 1) * (share + step * spread)
    ratio /= 1 - share + (size - step - 1) * spread
    chance = np.exp(none + np.concatenate([[0.0], np.cumsum(np.log(ratio))]))
    low, high = math.fsum(chance[: hits + 1]), math.fsum(chance[hits:])
    return min(1.0, low), min(1.0, high)


def normal_tail(z: Floats) -> Floats:
    """P(Z >= z) of a standard normal variable, entry by entry; NaN stays NaN."""
    return np.array([math.erfc(each / math.sqrt(2)) / 2 for each in z], dtype=np.float64)


def fisher(p: Floats) -> float:
    """One p from independent ones (Fisher 1932); those that are NaN are left out, NaN of none.

    The statistic's chi-square distribution with an even number of degrees has a closed tail.

    >>> round(fisher(np.array([0.05, 0.05])), 4)
    0.0175
    """
    known = np.clip(p[np.isfinite(p)], 1e-300, 1.0)
    if not len(known):
        return math.nan
    half = -float(np.log(known).sum())
    terms = (half**k / math.factorial(k) for k in range(len(known)))
    return min(1.0, math.exp(-half) * math.fsum(terms))


def _usual_shares(hits: Ints, size: Ints, told: Bools) -> Bools:
    """[raters] True for those who define what is usual: near the middle, found by passes."""
    share = hits / np.maximum(size, 1)
    middle = float(np.median(share[told]))
    kept = told
    for _ in range(_PASSES):
        safe = min(max(middle, 0.02), 0.98)
        far = np.abs(share - middle)
        chance = np.sqrt(safe * (1 - safe) / np.maximum(size, 1))
        near = told & (far <= _OUTLYING * np.maximum(_MAD * np.median(far[told]), chance))
        if (near == kept).all() or not near.any():
            break
        kept = near
        middle = float(hits[kept].sum() / size[kept].sum())
    return kept


def _usual_figures(value: Floats, error: Floats, told: Bools) -> Bools:
    """[raters] True for those who define what is usual: cut, and cut again about the middle of
    those who are left, so that many who stand out do not hide each other."""
    kept = told
    for step in range(_PASSES):
        far = np.abs(value - np.median(value[kept]))
        scale = _MAD * float(np.median(far[kept])) / (_CUT_MEDIAN if step else 1.0)
        near = told & (far <= _CUT * np.maximum(scale, error))
        if (near == kept).all() or near.sum() < FEWEST:
            break
        kept = near
    return kept


def _without(count: Ints, kept: Bools) -> Ints:
    """[raters] sum of the counts of the kept raters, each one's own left out."""
    return np.asarray(count[kept].sum() - np.where(kept, count, 0), np.int64)


def _spread(hits: Ints, size: Ints) -> float:
    """1 / (a + b) of the beta distribution of shares, by the variance beyond binomial."""
    share = (hits.sum() + 1) / (size.sum() + 2)
    trials = float(size.mean())
    if len(size) < FEWEST or trials <= 1:
        return 0.0
    squares = (hits - size * share) ** 2 / (size * share * (1 - share))
    excess = (float(squares.sum()) / (len(size) - 1) - 1) / (trials - 1)
    excess = min(max(excess, 0.0), 0.5)
    return excess / (1 - excess)


def _normal_scores(t: Floats, degrees: int) -> Floats:
    """Student's t with these degrees of freedom as a normal variable (Wallace 1959)."""
    scale = (8 * degrees + 1) / (8 * degrees + 3)
    size = np.sqrt(degrees * np.log1p(t**2 / degrees))
    return np.asarray(np.sign(t) * scale * size, np.float64)
