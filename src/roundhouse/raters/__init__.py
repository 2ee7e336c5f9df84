"""Rater statistics on one tidy ratings table, usable on their own in a notebook.

    votes = table.tidy(pd.DataFrame({"item": ..., "rater": ..., "label": ...}))
    agreement.alpha_interval(agreement.from_table(votes), draws=1000, confidence=0.95, seed=1)
    reliability.dawid_skene(votes).interval(0.95)

table       the one door: canonical feedback rows, or a frame made by hand, to the tidy table
agreement   Krippendorff's alpha, percent agreement, Gwet's AC1, the ceiling they put on a model
reliability accuracy of every rater and soft labels of every item (Dawid and Skene)
change      this round against the last: the pool, each rater against their peers, check items
peers       what one vote says of its rater, against all others or a check item
drift       did this rater change: peers and check items as one p, with the share of turned votes
anchors     did the pool change, or did the items get harder
cusum       between rounds: a rater's votes as they come, an alarm and when it began
verdict     states, weights, the share of regions, warnings and blocks
aggregate   votes to pairs, demonstrations and flagged answers
stage       the stage of a round that does all of it
"""

from roundhouse.raters import (
    aggregate,
    agreement,
    anchors,
    change,
    cusum,
    drift,
    peers,
    reliability,
    table,
    verdict,
)

__all__ = [
    "aggregate",
    "agreement",
    "anchors",
    "change",
    "cusum",
    "drift",
    "peers",
    "reliability",
    "table",
    "verdict",
]
