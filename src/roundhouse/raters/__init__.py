"""Rater statistics on one tidy ratings table, usable on their own in a notebook.

    votes = table.tidy(pd.DataFrame({"item": ..., "rater": ..., "label": ...}))
    agreement.alpha_interval(agreement.from_table(votes), draws=1000, confidence=0.95, seed=1)
    reliability.dawid_skene(votes).interval(0.95)

table       the one door: canonical feedback rows, or a frame made by hand, to the tidy table
agreement   Krippendorff's alpha, percent agreement, Gwet's AC1, the ceiling they put on a model
pairs       votes as pairs of raters
bootstrap   raters redrawn
breakdown   all figures with intervals over items and over raters, by domain, region, round
binomial    exact tails and intervals of a share
taste       pairs of raters against what their skills and items predict
regions     does a region see things otherwise, and is one missing
guidelines  what a new version of the guideline did to agreement
onboarding  how soon new raters agree as the established ones do
reliability accuracy of every rater and soft labels of every item (Dawid and Skene)
change      this round against the last: the pool, each rater against their peers, check items
verdict     states, weights, the share of regions, warnings and blocks
aggregate   votes to pairs, demonstrations and flagged answers
stage       the stage of a round that does all of it
"""

from roundhouse.raters import (
    aggregate,
    agreement,
    breakdown,
    change,
    guidelines,
    onboarding,
    regions,
    reliability,
    table,
    verdict,
)

__all__ = [
    "aggregate",
    "agreement",
    "breakdown",
    "change",
    "guidelines",
    "onboarding",
    "regions",
    "reliability",
    "table",
    "verdict",
]
