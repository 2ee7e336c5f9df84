"""The poorest data: one vote an item, no check items, no anchors. What is said where none can know.

From round 2 on ten of fifty raters choose by a coin, so that there is something to be found; single
votes cannot show it. A figure here is one that should not have been given.
"""

import math
from collections.abc import Callable

import pandas as pd

from benchmarks.raters.case import Case, Figure, share
from roundhouse.raters import agreement, anchors, cusum, drift, regions, spam, worth
from roundhouse.raters.agreement import from_table
from roundhouse.simulate.votes import Fault, Pool, draw

SINGLE = Pool(overlap=0.0, gold=0, anchors=0, regions=2)
COIN = Fault(range(10), "random", since=2)


def _given(now: pd.DataFrame, before: pd.DataFrame) -> dict[str, Callable[[], bool]]:
    """What is asked, to whether an answer is given."""
    every = pd.concat([before, now], ignore_index=True)
    return {
        "a figure of agreement": lambda: not math.isnan(agreement.alpha(from_table(every))),
        "an interval of a rater's accuracy": lambda: any(
            one.known for one in worth.fit(every).interval(0.95)
        ),
        "a test of a rater's change": lambda: bool(drift.drifts(now, before)),
        "a CUSUM alarm": lambda: any(
            one.alarm is not None for one in cusum.paths(now, before).values()
        ),
        "a verdict on the pool": lambda: anchors.pool_change(now, before).cause != "cannot tell",
        "a test of a region's taste": lambda: any(
            math.isfinite(one.p) for one in regions.tastes(every, 99, 50, 0.9, 1)
        ),
        "a rater called random or colluding": lambda: any(
            one.kind in ("random", "colluding") for one in spam.findings(now)
        ),
    }


def silent(replicates: int, seed: int) -> list[Figure]:
    """How often each is given; all should be 0."""
    found: dict[str, list[float]] = {}
    for number in range(replicates):
        votes = draw(SINGLE, 2, seed + number, [COIN]).votes
        fresh = votes["round"] == 2
        for what, given in _given(votes[fresh], votes[~fresh]).items():
            found.setdefault(f"given: {what}", []).append(float(given()))
    return [share(what, hits, "<= 0") for what, hits in found.items()]


CASES: list[Case] = [Case("poorest data: single votes, no check items, no anchors", silent, 0.4)]
