"""What a round does with it all: states of raters and the pool's alarm, through the whole path.

The cases of `change` look at single tests. Here all of them speak together, as in the stage: peers,
check items, the sum between rounds, habits, groups and accuracy become one state of a rater in a
round. So the false alarms of all tests add up, and these are the figures that people live with.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from benchmarks.raters.case import Case, Figure, share
from roundhouse import params
from roundhouse.raters.verdict import judge_raters
from roundhouse.settings import RaterSettings
from roundhouse.simulate.votes import Fault, Pool, draw

SETTINGS: RaterSettings = params.load(Path(__file__).parents[2] / "params.yaml").raters
SIZES = (12, 25, 50)
#: Power is asked of one rater who changes, so that the peers stay as they were.
WHO = 0


def judged(
    pool: Pool,
    flips: float = 0.0,
    everyone: Sequence[Fault] = (),
    harder: Mapping[int, float] | None = None,
    rounds: int = 2,
    after: float = 0.0,
    aim: str = "",
) -> Callable[[int, int], list[Figure]]:
    """A case's run: one rater turns a share of the votes from round 2 on, or nobody does."""

    def run(replicates: int, seed: int) -> list[Figure]:
        faults = [*everyone, *([Fault([WHO], "flip", flips, 2, after)] if flips else [])]
        watched, suspended, found = [], [], []
        for replicate in range(replicates):
            votes = draw(pool, rounds, seed * 100_000 + replicate, faults, harder).votes
            regions = dict(zip(votes["rater"], votes["region"], strict=True))
            verdicts = judge_raters(votes, SETTINGS, regions)
            honest = [
                epoch.state
                for one in (verdicts[WHO + 1 :] if flips else verdicts)
                for epoch in one.epochs
            ]
            watched.append(float(np.mean([state == "watch" for state in honest])))
            suspended.append(float(np.mean([state == "suspended" for state in honest])))
            if flips:
                found.append(float(verdicts[WHO].at(2).state in ("watch", "suspended")))
        return [
            *([share("found in the round of the change", found, aim)] if flips else []),
            share("honest rater-rounds watched", watched, "<= 0.02"),
            share("honest rater-rounds suspended", suspended, "0"),
        ]

    return run


CASES: list[Case] = [
    *(Case(f"verdicts: nobody changes, {n} raters", judged(Pool(raters=n))) for n in SIZES),
    *(
        Case(f"verdicts: items get harder, {n} raters", judged(Pool(raters=n), harder={2: 0.5}))
        for n in SIZES
    ),
    *(
        Case(f"verdicts: a rater flips {flips:.0%}, {n} raters", judged(Pool(n), flips, aim=aim))
        for flips, aim in ((0.2, ">= 0.90"), (0.3, ">= 0.98"))
        for n in (12, 50)
    ),
    Case("verdicts: a rater flips 30 % from the middle", judged(Pool(), 0.3, after=0.5)),
]
