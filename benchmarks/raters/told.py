"""A figure of the report on real people, with what says how sure it is."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.stats import t

from roundhouse.raters.agreement import Estimate


class Told(NamedTuple):
    """One line of a table.

    Attributes:
        what: its name.
        value: as measured.
        error: standard error, NaN where there is none or an interval is given.
        low, high: 95 % interval, NaN where there is none.
    """

    what: str
    value: float
    error: float = math.nan
    low: float = math.nan
    high: float = math.nan

    def line(self) -> str:
        """Its row of a Markdown table."""
        told = f"{self.value:,}" if isinstance(self.value, int) else f"{self.value:.4f}"
        if math.isfinite(self.error):
            told += f" ({self.error:.4f})"
        if math.isfinite(self.low):
            told += f" ({self.low:.4f} to {self.high:.4f})"
        return f"| {self.what} | {told} |"


def spanned(what: str, one: Estimate) -> Told:
    """A figure with its interval."""
    return Told(what, one.value, low=one.low, high=one.high)


def over_groups(what: str, values: NDArray[np.float64], group: NDArray[np.int64]) -> Told:
    """The mean of values that come in groups, with a 95 % interval by Student's t over the groups
    (standard error of a ratio, linearised)."""
    mean = float(values.mean())
    each = np.bincount(group, values - mean)
    count = len(np.unique(group))
    error = float(np.sqrt((each**2).sum() * count / (count - 1)) / len(values))
    half = float(t.ppf(0.975, count - 1)) * error
    return Told(what, mean, low=mean - half, high=mean + half)


def over_draws(what: str, values: Sequence[float]) -> Told:
    """The mean of one figure a draw, with its standard error."""
    drawn = np.asarray(values, np.float64)
    return Told(what, float(drawn.mean()), float(drawn.std(ddof=1) / math.sqrt(len(drawn))))
