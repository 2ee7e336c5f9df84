"""Views that a region shares: who differs from the pool but agrees with their own region.

A rater who disagrees with most others may be careless, or may see it as people at home do. The
second is no noise, and its weight is not lowered.
"""

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from roundhouse.raters.table import TIE, latest

Floats = NDArray[np.float64]


def views(votes: pd.DataFrame, suspects: Sequence[str]) -> dict[str, str]:
    """Suspects who agree with their own region as the pool agrees, and less with all others; to
    each the figures in words."""
    if not suspects:
        return {}
    one = latest(votes[votes["label"] != TIE])[["item", "rater", "region", "label"]]
    own = one[one["rater"].isin(suspects) & (one["region"] != "")]
    pairs = own.merge(one, on="item", suffixes=("", "_peer"))
    pairs = pairs[(pairs["rater"] != pairs["rater_peer"]) & (pairs["region_peer"] != "")]
    pairs = pairs.assign(
        same=pairs["label"] == pairs["label_peer"], inside=pairs["region"] == pairs["region_peer"]
    )
    usual = _usual_agreement(one)
    found = {}
    for rater, group in pairs.groupby("rater"):
        inside, outside = group.loc[group["inside"], "same"], group.loc[~group["inside"], "same"]
        if is_minority(inside.to_numpy(float), outside.to_numpy(float), usual):
            found[str(rater)] = (
                f"agrees with their own region ({inside.mean():.2f} of {len(inside)} vote pairs) "
                f"and less with others ({outside.mean():.2f} of {len(outside)}): a view, not noise"
            )
    return found


def is_minority(inside: Floats, outside: Floats, usual: float, least: int = 20) -> bool:
    """Whether vote pairs inside a rater's region and outside it (1 where equal) show a view.

    They do where the rater agrees with the region significantly more than with others (one-sided,
    0.01), and there as much as two raters of the pool usually do (`usual`, less two standard
    errors). Fewer than `least` pairs on either side show nothing.
    """
    if len(inside) < least or len(outside) < least:
        return False
    share, other = inside.mean(), outside.mean()
    error = math.sqrt(max(usual * (1 - usual), 0.01) * (1 / len(inside) + 1 / len(outside)))
    near = 2 * math.sqrt(max(usual * (1 - usual), 0.01) / len(inside))
    return bool(share - other > 2.326 * error and share > usual - near)


def _usual_agreement(votes: pd.DataFrame) -> float:
    counts = votes.groupby(["item", "label"]).size().to_numpy(float)
    size = votes.groupby("item").size().to_numpy(float)
    pairs = (size * (size - 1)).sum()
    return float((counts * (counts - 1)).sum() / pairs) if pairs else 0.5
