"""Exact figures of a share seen in a number of trials, for any number of trials.

Terms are summed from their logarithms, so that thousands of trials overflow nothing.

Source: Clopper and Pearson (1934), The use of confidence or fiducial limits.
"""

import math

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
    yes, no = math.log(share), math.log1p(-share)
    whole = math.lgamma(trials + 1)
    terms = (
        math.exp(
            whole - math.lgamma(k + 1) - math.lgamma(trials - k + 1) + k * yes + (trials - k) * no
        )
        for k in range(right + 1)
    )
    return min(1.0, math.fsum(terms))


def exact_interval(right: int, trials: int, confidence: float) -> Estimate:
    """A share with the interval of Clopper and Pearson; unknown without trials.

    >>> [round(part, 3) for part in exact_interval(0, 10, 0.95)]
    [0.0, 0.0, 0.308]
    """
    if not trials:
        return UNKNOWN
    tail = (1 - confidence) / 2
    low = 0.0 if not right else _solved(right - 1, trials, 1 - tail)
    high = 1.0 if right == trials else _solved(right, trials, tail)
    return Estimate(right / trials, low, high)


def _solved(right: int, trials: int, wanted: float) -> float:
    """The share at which P(X <= right) is `wanted`; it falls as the share grows."""
    low, high = 0.0, 1.0
    for _ in range(50):
        middle = (low + high) / 2
        if at_most(right, trials, middle) > wanted:
            low = middle
        else:
            high = middle
    return (low + high) / 2
