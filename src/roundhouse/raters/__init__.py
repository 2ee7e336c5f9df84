"""Rater statistics on one tidy ratings table, usable on their own in a notebook.

    votes = table.tidy(pd.DataFrame({"item": ..., "rater": ..., "label": ...}))
    agreement.alpha_interval(agreement.from_table(votes), draws=1000, confidence=0.95, seed=1)
    reliability.dawid_skene(votes).interval(0.95)

table       the one door: canonical feedback rows, or a frame made by hand, to the tidy table
agreement   Krippendorff's alpha, percent agreement, Gwet's AC1, the ceiling they put on a model
reliability accuracy of every rater and soft labels of every item (Dawid and Skene)
change      this round against the last: the pool, each rater against their peers, check items
pool        what is usual among raters, robustly, and how far one of them is from it
habits      place, length, time, runs and contradictions of one rater beside the others
collusion   groups who agree with each other beyond what they know
spam        one finding a rater: clear, fixed, random or colluding
poisoning   what one rater can do to a model: shares and caps, tied words, influence
verdict     states, weights, the share of regions, warnings and blocks
aggregate   votes to pairs, demonstrations and flagged answers
stage       the stage of a round that does all of it
"""

from roundhouse.raters import (
    aggregate,
    agreement,
    change,
    collusion,
    habits,
    poisoning,
    pool,
    reliability,
    spam,
    table,
    verdict,
)

__all__ = [
    "aggregate",
    "agreement",
    "change",
    "collusion",
    "habits",
    "poisoning",
    "pool",
    "reliability",
    "spam",
    "table",
    "verdict",
]
