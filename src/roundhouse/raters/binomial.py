"""Exact figures of a share seen in a number of trials, for any number of trials.

They come from the incomplete beta function, so that a million trials cost no more than ten.

Source: Clopper and Pearson (1934), The use of confidence or fiducial limits.
"""

from scipy.special import betainc, betaincinv

from roundhouse.raters.agreement import UNKNOWN, Estimate


def at_most(right: int, trials: int, share: float) -> float:
    """P(X <= right) for a binomial X of `trials` trials.

    >>> round(at_most(1, 3, 0.5), 3)
    0.5
    """
    if share <= 0 or right >= trials:
        return 1.0
    if share >= 1 or right < 0:
        return 0.0
    return float(betainc(trials - right, right + 1, 1 - share))


def exact_interval(right: int, trials: int, confidence: float) -> Estimate:
    """A share with the interval of Clopper and Pearson; unknown without trials.

    >>> [round(part, 3) for part in exact_interval(0, 10, 0.95)]
    [0.0, 0.0, 0.308]
    """
    if not trials:
        return UNKNOWN
    tail = (1 - confidence) / 2
    low = 0.0 if not right else float(betaincinv(right, trials - right + 1, tail))
    high = 1.0 if right == trials else float(betaincinv(right + 1, trials - right, 1 - tail))
    return Estimate(right / trials, low, high)
