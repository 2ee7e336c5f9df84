"""How much raters agree, and what that allows a model to reach.

Everything here depends only on how often each label was given to each item, so the ratings are
reduced once to *unique count rows*: the distinct rows of the item-by-label count matrix, each with
the number of items that have it. A bootstrap over items then redraws those multiplicities from a
multinomial, which costs nothing next to redrawing ratings.

Sources: Krippendorff (2011), Computing Krippendorff's Alpha-Reliability; Gwet (2008), Computing
inter-rater reliability and its variance in the presence of high agreement, equation 9.
"""

import math
from statistics import NormalDist
from typing import Literal, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from roundhouse.errors import DataError
from roundhouse.raters.table import needs

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Level = Literal["nominal", "ordinal"]


class Estimate(NamedTuple):
    """A figure with its interval; NaN where the data cannot tell."""

    value: float
    low: float
    high: float

    @property
    def known(self) -> bool:
        """Whether value and interval are all finite."""
        return all(math.isfinite(part) for part in self)


UNKNOWN = Estimate(math.nan, math.nan, math.nan)


class CountRows(NamedTuple):
    """The distinct count rows of items with at least one rating.

    counts: [rows, labels] how often each label was given; items: [rows] how many items have it.
    """

    counts: Ints
    items: Ints


def count_rows(item: Ints, label: Ints, labels: int) -> CountRows:
    """Reduces ratings (two arrays of codes from 0 up, equally long) to unique count rows.

    >>> count_rows(np.array([0, 0, 1, 1, 2]), np.array([0, 1, 0, 1, 1]), 2).items.tolist()
    [1, 2]
    """
    if not len(item):
        return CountRows(np.zeros((0, labels), np.int64), np.zeros(0, np.int64))
    size = int(item.max()) + 1
    table = np.bincount(item * labels + label, minlength=size * labels).reshape(size, labels)
    table = table[table.any(axis=1)]
    # One integer a row makes `unique` about ten times as fast as comparing rows.
    base = int(table.max()) + 1
    if labels * math.log2(base) < 62:
        code = table @ np.array([base**power for power in range(labels)], dtype=np.int64)
        _, first, items = np.unique(code, return_index=True, return_counts=True)
        return CountRows(table[first].astype(np.int64), items.astype(np.int64))
    counts, items = np.unique(table, axis=0, return_counts=True)
    return CountRows(counts.astype(np.int64), items.astype(np.int64))


def from_table(votes: pd.DataFrame, labels: int | None = None) -> CountRows:
    """Count rows of a tidy ratings table (columns item and label).

    Raises:
        DataError: a column is missing, or a label is not below `labels`.
    """
    needs(votes, "item", "label", labels=labels)
    label = votes["label"].to_numpy(np.int64)
    if labels is None:
        labels = int(label.max()) + 1 if len(label) else 1
    return count_rows(pd.factorize(votes["item"])[0].astype(np.int64), label, labels)


def alpha(rows: CountRows, level: Level = "nominal") -> float:
    """Krippendorff's alpha: 1 is full agreement, 0 what chance gives, below 0 systematic dissent.

    NaN where no item has two ratings, or where only one label was ever given.
    """
    return float(_alphas(rows, rows.items[None, :].astype(np.float64), level)[0])


def alpha_interval(
    rows: CountRows, draws: int, confidence: float, seed: int, level: Level = "nominal"
) -> Estimate:
    """Alpha with the percentile interval of a bootstrap over items."""
    drawn = _alphas(rows, resample(rows, draws, seed), level)
    return interval(alpha(rows, level), drawn, confidence)


def agreement(rows: CountRows) -> float:
    """Share of pairs of votes on one item that are equal; NaN where no item has two.

    >>> agreement(CountRows(np.array([[2, 1], [3, 0]]), np.array([1, 1])))
    0.6666666666666666
    """
    return float(_agreements(rows, rows.items[None, :].astype(np.float64))[0])


def agreement_interval(rows: CountRows, draws: int, confidence: float, seed: int) -> Estimate:
    """Percent agreement of vote pairs with its bootstrap interval over items."""
    drawn = _agreements(rows, resample(rows, draws, seed))
    return interval(agreement(rows), drawn, confidence)


def ac1(rows: CountRows) -> float:
    """Gwet's AC1: chance-corrected agreement that stays sensible where a label is rare (flags)."""
    return float(_ac1s(rows, rows.items[None, :].astype(np.float64))[0])


def ac1_interval(rows: CountRows, draws: int, confidence: float, seed: int) -> Estimate:
    """Gwet's AC1 with its bootstrap interval over items."""
    return interval(ac1(rows), _ac1s(rows, resample(rows, draws, seed)), confidence)


def ceiling(rows: CountRows, tie: int | None = None) -> float:
    """An upper bound on the accuracy that labels like these allow: (1 + sqrt(2 A - 1)) / 2.

    A is the share of equal vote pairs after ties are dropped. Two raters of accuracy a, whose
    errors are independent and who find every item equally hard, agree with A = a^2 + (1 - a)^2;
    solved for a that is the formula. Where items differ in difficulty the true accuracy is lower,
    so this is a **bound, not an estimate**. At or below A = 1/2 the votes tell nothing and the
    bound is 1/2. NaN where no item has two votes that are no ties.

    >>> round(ceiling(CountRows(np.array([[73, 0], [1, 1]]), np.array([1, 972]))), 2)
    0.84
    """
    counts = rows.counts if tie is None else np.delete(rows.counts, tie, axis=1)
    share = agreement(CountRows(counts, rows.items))
    return (1 + math.sqrt(max(0.0, 2 * share - 1))) / 2 if math.isfinite(share) else math.nan


def resample(rows: CountRows, draws: int, seed: int) -> Floats:
    """[draws, rows] multiplicities of a bootstrap over items.

    Raises:
        DataError: `draws` is below 1.
    """
    if draws < 1:
        raise DataError(f"draws={draws}: an interval needs 1 draw or more, such as 1000")
    total = int(rows.items.sum())
    if not total:
        return np.zeros((draws, len(rows.items)))
    generator = np.random.default_rng(seed)
    return generator.multinomial(total, rows.items / total, size=draws).astype(np.float64)


def interval(value: float, drawn: Floats, confidence: float) -> Estimate:
    """Percentile interval of finite draws; unknown where fewer than half of them are finite.

    Raises:
        DataError: `confidence` is no share between 0 and 1.
    """
    upper = (1 + coverage(confidence)) / 2
    finite = drawn[np.isfinite(drawn)]
    if not math.isfinite(value) or 2 * len(finite) < len(drawn):
        return UNKNOWN
    low, high = np.quantile(finite, [(1 - confidence) / 2, upper])
    return Estimate(value, float(low), float(high))


def coverage(confidence: float) -> float:
    """The confidence of an interval, if it can be one.

    Raises:
        DataError: it is no share between 0 and 1.
    """
    if not 0 < confidence < 1:
        raise DataError(f"confidence={confidence}: give a share between 0 and 1, such as 0.95")
    return confidence


def reach(confidence: float) -> float:
    """How many standard errors a normal interval goes to each side.

    Raises:
        DataError: `confidence` is no share between 0 and 1.

    >>> round(reach(0.95), 2)
    1.96
    """
    return NormalDist().inv_cdf((1 + coverage(confidence)) / 2)


def alphas(rows: CountRows, weights: Floats) -> Floats:
    """[draws] nominal alpha for each row of multiplicities [draws, rows]."""
    return _alphas(rows, weights, "nominal")


def _alphas(rows: CountRows, weights: Floats, level: Level) -> Floats:
    paired = rows.counts.sum(axis=1) >= 2
    counts, weights = rows.counts[paired].astype(np.float64), weights[:, paired]
    labels = counts.shape[1]
    # o_ck within a unit: n_c (n_k - [c = k]) / (n_u - 1), Krippendorff (2011), section D.
    product = counts[:, :, None] * counts[:, None, :]
    product[:, np.arange(labels), np.arange(labels)] -= counts
    product /= (counts.sum(axis=1) - 1)[:, None, None]
    observed = weights @ product.reshape(len(counts), labels * labels)
    observed = observed.reshape(len(weights), labels, labels)
    marginal = observed.sum(axis=2)
    expected = marginal[:, :, None] * marginal[:, None, :]
    distance = _distances(marginal, level)
    total = marginal.sum(axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        disagreement = (observed * distance).sum(axis=(1, 2)) / total
        by_chance = (expected * distance).sum(axis=(1, 2)) / (total * (total - 1))
        result: Floats = 1 - disagreement / by_chance
    return result


def _distances(marginal: Floats, level: Level) -> Floats:
    """[draws, labels, labels] squared distances of labels; ordinal ones depend on the marginals."""
    labels = marginal.shape[1]
    if level == "nominal":
        return np.broadcast_to(1.0 - np.eye(labels), (len(marginal), labels, labels))
    # Sum of the marginals from c to k, less half of both ends, squared. From running sums this is
    # the difference of the labels' mid-ranks.
    rank = np.cumsum(marginal, axis=1) - marginal / 2
    squared: Floats = (rank[:, :, None] - rank[:, None, :]) ** 2
    return squared


def _agreements(rows: CountRows, weights: Floats) -> Floats:
    counts = rows.counts.astype(np.float64)
    size = counts.sum(axis=1)
    equal = (counts * (counts - 1)).sum(axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        result: Floats = (weights @ equal) / (weights @ (size * (size - 1)))
    return result


def _ac1s(rows: CountRows, weights: Floats) -> Floats:
    counts = rows.counts.astype(np.float64)
    labels, size = counts.shape[1], counts.sum(axis=1)
    paired = size >= 2
    pairs = np.where(paired, size * (size - 1), 1.0)
    equal = np.where(paired, (counts * (counts - 1)).sum(axis=1) / pairs, 0.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        observed = (weights @ equal) / (weights @ paired.astype(np.float64))
        share = (weights @ (counts / size[:, None])) / weights.sum(axis=1)[:, None]
        by_chance = (share * (1 - share)).sum(axis=1) / (labels - 1)
        result: Floats = (observed - by_chance) / (1 - by_chance)
    return result
