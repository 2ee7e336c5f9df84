"""What a new version of the guideline did to agreement.

Versions are known change points: nothing is searched for. Agreement under one version is set
against that under the version before it, in the order of first use. The interval redraws raters,
the same ones on both sides: a rater who agrees more than others does so before and after, and is
counted as one person (`bootstrap` says what a draw means and how wide it makes the interval).

Other items may be harder or easier. Where items were rated under both versions (anchors), the
difference is also given on those alone, each item weighing the same on both sides, as in Mantel and
Haenszel (1959). Check items are left out of it: they are easy, and hardly move. The guideline
cannot be told from what else changed on the same day.
"""

from itertools import pairwise
from typing import NamedTuple

import numpy as np
import pandas as pd

from roundhouse.raters import agreement
from roundhouse.raters.agreement import UNKNOWN, Estimate, Floats
from roundhouse.raters.bootstrap import draw_raters, figures, narrowed, noise
from roundhouse.raters.breakdown import LEAST_RATERS
from roundhouse.raters.pairs import RaterPairs, rater_pairs
from roundhouse.raters.table import latest

#: Fewer items than this under both versions give no difference on the same items.
LEAST_ITEMS = 10


class GuidelineChange(NamedTuple):
    """One version against the one before it; differences are later less earlier.

    Attributes:
        version, before: names.
        agreement, alpha: difference over all items, with an interval over raters.
        same: difference of agreement on the items rated under both versions.
        items: how many those are.
        raters: who voted under both.
    """

    version: str
    before: str
    agreement: Estimate
    alpha: Estimate
    same: Estimate
    items: int
    raters: int

    @property
    def said(self) -> str:
        """The difference in a sentence."""
        text = f"{_moved(self.agreement)} with guideline {self.version} (after {self.before})"
        if not self.same.known:
            return f"{text}; no items were rated under both, so the items may have done it"
        return f"{text}; on {self.items} items rated under both: {_moved(self.same)}"


def versions(votes: pd.DataFrame) -> list[str]:
    """Versions of the guideline in the order of first use; votes that state none are left out."""
    known = votes[votes["guideline"] != ""]
    seen = known.groupby("guideline", sort=True)[["round", "at"]].min()
    return [str(name) for name in seen.sort_values(["round", "at"], kind="stable").index]


def changes(votes: pd.DataFrame, draws: int, confidence: float, seed: int) -> list[GuidelineChange]:
    """Every version against the one before it; empty where fewer than two are known.

    Args:
        votes: a tidy table; where a rater votes twice on an item under one version, the last vote
            counts.
        draws: of the bootstrap over raters.
        confidence: of the intervals.
        seed: of the draws.
    """
    order = versions(votes)
    found = {name: latest(votes[votes["guideline"] == name]) for name in order}
    return [
        _change(found[old], found[new], (old, new), draws, confidence, seed)
        for old, new in pairwise(order)
    ]


def _change(
    before: pd.DataFrame,
    after: pd.DataFrame,
    names: tuple[str, str],
    draws: int,
    confidence: float,
    seed: int,
) -> GuidelineChange:
    labels = int(max(before["label"].max(), after["label"].max())) + 1
    raters = sorted(set(before["rater"]) | set(after["rater"]))
    times = draw_raters(len(raters), draws + 1, seed)
    times[0] = 1.0
    old, new = (rater_pairs(part, labels, raters) for part in (before, after))
    moved = _moves(old, new, times, confidence)
    weights, same = _shared(before, after), UNKNOWN
    if len(weights) >= LEAST_ITEMS:
        old, new = (
            rater_pairs(part[part["item"].isin(weights.index)], labels, raters, weights[side])
            for side, part in (("before", before), ("after", after))
        )
        same = _moves(old, new, times, confidence)[0]
    both = len(set(before["rater"]) & set(after["rater"]))
    return GuidelineChange(names[1], names[0], *moved, same, len(weights), both)


def _moves(
    old: RaterPairs, new: RaterPairs, times: Floats, confidence: float
) -> tuple[Estimate, Estimate]:
    """Differences of agreement and of alpha, with the same raters drawn on both sides."""
    if min(len(np.union1d(part.first, part.second)) for part in (old, new)) < LEAST_RATERS:
        return UNKNOWN, UNKNOWN
    kinds = zip(figures(old, times), figures(new, times), noise(old), noise(new), strict=True)
    one, other, _ = (
        _interval(late - early, float(of_late[0] + of_early[0]), confidence)
        for early, late, of_early, of_late in kinds
    )
    return one, other


def _interval(moved: Floats, votes: float, confidence: float) -> Estimate:
    value = float(moved[0])
    return agreement.interval(value, narrowed(value, moved[1:], votes), confidence)


def _shared(before: pd.DataFrame, after: pd.DataFrame) -> pd.DataFrame:
    """Items with two votes under both versions, and what a vote pair weighs `before` and `after`:
    the harmonic sum h of both numbers of vote pairs, over the number on that side."""
    sides = [part[part["gold"] < 0].groupby("item").size() for part in (before, after)]
    pairs = pd.concat([size * (size - 1) / 2.0 for size in sides], axis=1, join="inner")
    pairs.columns = pd.Index(["before", "after"])
    pairs = pairs[(pairs > 0).all(axis=1)]
    weight = pairs["before"] * pairs["after"] / pairs.sum(axis=1)
    return pairs.rdiv(weight, axis=0)


def _moved(by: Estimate) -> str:
    if not by.known:
        return "agreement cannot be compared"
    verb = "rose" if by.low > 0 else "fell" if by.high < 0 else "did not surely move"
    return f"agreement {verb}: {by.value:+.2f} ({by.low:+.2f} to {by.high:+.2f})"
