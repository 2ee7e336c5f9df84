"""How well scores predict preferences: accuracy with interval, calibration, the length baseline.

A pair's label is soft: `p` is the probability that answer a is better, as the raters' votes say. An
undecided pair (p = 0.5) has no right answer and does not count; equal scores count one half.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy
from numpy.typing import NDArray

Floats = NDArray[numpy.float64]


class Interval(NamedTuple):
    """An estimate with its confidence interval."""

    value: float
    low: float
    high: float


class Bin(NamedTuple):
    """One bin of a reliability diagram: mean prediction, mean label, number of pairs."""

    predicted: float
    observed: float
    pairs: int


class Confidence(NamedTuple):
    """Pairs whose predicted winner had a probability from low to high, and their accuracy."""

    low: float
    high: float
    accuracy: float
    pairs: int


def correct(margins: Floats, p: Floats) -> Floats:
    """1 where the margin (score a - score b) has the label's sign, 0 where not, NaN if undecided.

    >>> correct(numpy.array([1.0, -2.0, 0.0, 1.0]), numpy.array([0.8, 0.8, 0.2, 0.5])).tolist()
    [1.0, 0.0, 0.5, nan]
    """
    agreement = 0.5 + 0.5 * numpy.sign(margins) * numpy.sign(p - 0.5)
    return numpy.where(p == 0.5, numpy.nan, agreement)


def mean_by_group(
    values: Floats, groups: Sequence[str], draws: int, confidence: float, seed: int
) -> Interval | None:
    """Mean of values (NaN left out) and its bootstrap interval over whole groups, such as prompts.

    None where nothing counts.
    """
    kept = ~numpy.isnan(values)
    if not kept.any():
        return None
    names = numpy.asarray(groups)[kept]
    _, index = numpy.unique(names, return_inverse=True)
    sums = numpy.bincount(index, weights=values[kept])
    counts = numpy.bincount(index).astype(float)
    random = numpy.random.default_rng(seed)
    means = numpy.empty(draws)
    for draw in range(draws):
        times = numpy.bincount(random.integers(len(sums), size=len(sums)), minlength=len(sums))
        means[draw] = (times @ sums) / (times @ counts)
    tail = (1 - confidence) / 2
    low, high = numpy.quantile(means, [tail, 1 - tail])
    return Interval(float(sums.sum() / counts.sum()), float(low), float(high))


def rank_correlation(x: Floats, y: Floats) -> float:
    """Spearman's rank correlation, equal values at their mean rank; NaN where one does not vary.

    >>> rank_correlation(numpy.array([1.0, 2.0, 9.0]), numpy.array([5.0, 6.0, 7.0]))
    1.0
    """
    ranks = [_ranks(values) for values in (x, y)]
    centred = [rank - rank.mean() for rank in ranks] if len(x) else [x, y]
    scale = math.sqrt((centred[0] @ centred[0]) * (centred[1] @ centred[1]))
    return float(centred[0] @ centred[1] / scale) if scale else math.nan


def by_confidence(predicted: Floats, right: Floats, bins: int = 5) -> list[Confidence]:
    """Accuracy by how sure the prediction was, whichever answer it was for.

    Args:
        predicted: [n] probability that a is better.
        right: [n] of `correct`, NaN for an undecided pair, which counts in no bin.
        bins: of equal width from 0.5 to 1.
    """
    sure = numpy.maximum(predicted, 1 - predicted)
    place = numpy.minimum(((sure - 0.5) * 2 * bins).astype(int), bins - 1)
    found = []
    for index in range(bins):
        chosen = right[(place == index) & ~numpy.isnan(right)]
        low, high = 0.5 + 0.5 * index / bins, 0.5 + 0.5 * (index + 1) / bins
        if len(chosen):
            found.append(Confidence(low, high, float(chosen.mean()), len(chosen)))
    return found


def _ranks(values: Floats) -> Floats:
    _, place, counts = numpy.unique(values, return_inverse=True, return_counts=True)
    ends = numpy.cumsum(counts)
    ranks: Floats = (ends - (counts - 1) / 2)[place]
    return ranks


def calibration(predicted: Floats, p: Floats, bins: int = 10) -> list[Bin]:
    """Predicted probability that a is better, against the labels, in bins of equal width."""
    place = numpy.minimum((predicted * bins).astype(int), bins - 1)
    return [
        Bin(
            float(predicted[place == index].mean()),
            float(p[place == index].mean()),
            int((place == index).sum()),
        )
        for index in range(bins)
        if (place == index).any()
    ]


def expected_calibration_error(bins: Sequence[Bin]) -> float:
    """Mean distance of prediction and label over the bins, weighted by their pairs.

    >>> expected_calibration_error([Bin(0.2, 0.3, 1), Bin(0.8, 0.8, 1)])
    0.05
    """
    total = sum(part.pairs for part in bins)
    error = sum(part.pairs * abs(part.predicted - part.observed) for part in bins) / total
    return round(error, 12)
