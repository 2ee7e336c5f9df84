"""Agreement, alpha and AC1 with intervals over items and over raters, whole or by a column.

An interval over items says how the figure would move with other items and the same raters; one over
raters, with other raters (`bootstrap` says how they are redrawn).
"""

from typing import NamedTuple

import pandas as pd

from roundhouse.raters import agreement
from roundhouse.raters.agreement import UNKNOWN, CountRows, Estimate
from roundhouse.raters.bootstrap import draw_raters, figures, narrowed, noise
from roundhouse.raters.pairs import RaterPairs, rater_pairs
from roundhouse.raters.table import latest, needs

#: Fewer raters than this are too few to redraw: no interval over raters.
LEAST_RATERS = 5


class Interval(NamedTuple):
    """One figure with its interval over items and that over raters."""

    items: Estimate
    raters: Estimate

    @property
    def widest(self) -> Estimate:
        """The figure from the lower of both lows to the higher of both highs; unknown where one
        of them is."""
        if not (self.items.known and self.raters.known):
            return UNKNOWN
        low, high = min(self.items.low, self.raters.low), max(self.items.high, self.raters.high)
        return Estimate(self.items.value, low, high)


class Breakdown(NamedTuple):
    """How much the raters of some votes agree.

    items: those with two or more votes; raters: all who voted; votes: one a rater and item;
    agreement: share of equal vote pairs; alpha: Krippendorff's, nominal; ac1: Gwet's.
    """

    items: int
    raters: int
    votes: int
    agreement: Interval
    alpha: Interval
    ac1: Interval


def whole(
    votes: pd.DataFrame, draws: int, confidence: float, seed: int, labels: int | None = None
) -> Breakdown:
    """All figures of a tidy table (columns item, rater, label).

    Args:
        votes: where a rater votes twice on an item, the last vote counts.
        draws: of each bootstrap.
        confidence: of the intervals, such as 0.95.
        seed: of both bootstraps.
        labels: how many there are (AC1 depends on it); by default the highest one tells.

    Raises:
        DataError: a column is missing, a label is not below `labels`, `draws` is below 1, or
            `confidence` is no share between 0 and 1.
    """
    needs(votes, "item", "rater", "label")
    once = latest(votes)
    return _breakdown(
        agreement.from_table(once, labels), rater_pairs(once, labels), len(once),
        draws, confidence, seed,
    )  # fmt: skip


def by(
    votes: pd.DataFrame, column: str, draws: int, confidence: float, seed: int
) -> dict[str, Breakdown]:
    """All figures of each value of a column: domain, region, guideline, round.

    By region only pairs of raters of one region count. An empty text is a value of its own: the
    votes that state nothing. Values with nothing to compare are there, with unknown figures.

    Raises:
        DataError: as of `whole`, or the table has no such column.
    """
    needs(votes, "item", "rater", "label", column)
    labels = int(votes["label"].max()) + 1 if len(votes) else None
    return {
        str(value): whole(group, draws, confidence, seed, labels)
        for value, group in votes.groupby(column, sort=True)
    }


def _breakdown(
    rows: CountRows, pairs: RaterPairs, votes: int, draws: int, confidence: float, seed: int
) -> Breakdown:
    over_items = (
        agreement.agreement_interval(rows, draws, confidence, seed),
        agreement.alpha_interval(rows, draws, confidence, seed),
        agreement.ac1_interval(rows, draws, confidence, seed),
    )
    met = int(rows.items[rows.counts.sum(axis=1) >= 2].sum())
    over_raters = rater_intervals(pairs, draws, confidence, seed)
    joined = (Interval(*two) for two in zip(over_items, over_raters, strict=True))
    return Breakdown(met, len(pairs.raters), votes, *joined)


def rater_intervals(
    pairs: RaterPairs, draws: int, confidence: float, seed: int
) -> tuple[Estimate, Estimate, Estimate]:
    """Agreement, alpha and AC1 with percentile intervals of a bootstrap over raters.

    Unknown below `LEAST_RATERS` raters who met another.
    """
    met = set(pairs.first.tolist()) | set(pairs.second.tolist())
    if len(met) < LEAST_RATERS:
        return UNKNOWN, UNKNOWN, UNKNOWN
    value = figures(pairs)
    drawn = figures(pairs, draw_raters(len(pairs.raters), draws, seed))
    one, two, three = (
        agreement.interval(float(at[0]), narrowed(float(at[0]), over, float(votes[0])), confidence)
        for at, over, votes in zip(value, drawn, noise(pairs), strict=True)
    )
    return one, two, three
