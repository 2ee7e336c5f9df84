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
from roundhouse.raters.alarm import compare, judge_pool
from roundhouse.raters.verdict import judge_raters
from roundhouse.settings import RaterSettings
from roundhouse.simulate.votes import Fault, Pool, draw

SETTINGS: RaterSettings = params.load(Path(__file__).parents[2] / "params.yaml").raters
SIZES = (12, 25, 50)
POOL = Pool()
#: What a new guideline does: all see a part of the worth otherwise from round 2 on.
NEW_TASTE = Fault(range(POOL.raters), "taste", 0.4, since=2)
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
        watched, last, suspended, found = [], [], [], []
        for replicate in range(replicates):
            votes = draw(pool, rounds, seed * 100_000 + replicate, faults, harder).votes
            regions = dict(zip(votes["rater"], votes["region"], strict=True))
            verdicts = judge_raters(votes, SETTINGS, regions)
            honest = verdicts[WHO + 1 :] if flips else verdicts
            states = np.array([[epoch.state for epoch in one.epochs] for one in honest])
            watched.append(float((states == "watch").mean()))
            last.append(float((states[:, -1] == "watch").mean()))
            suspended.append(float((states == "suspended").mean()))
            if flips:
                found.append(float(verdicts[WHO].at(2).state in ("watch", "suspended")))
        return [
            *([share("found in the round of the change", found, aim)] if flips else []),
            share("honest rater-rounds watched", watched, "<= 0.02"),
            share("honest raters watched in the last round", last, "<= 0.02"),
            share("honest rater-rounds suspended", suspended, "0"),
        ]

    return run


def pooled(
    flips: float = 0.0,
    taste: float = 0.0,
    harder: float = 1.0,
    guideline: bool = False,
    pool: Pool = POOL,
    aim: str = "",
) -> Callable[[int, int], list[Figure]]:
    """A case's run: everyone changes in round 2, or the items do, or nobody; the pool's verdict."""

    def run(replicates: int, seed: int) -> list[Figure]:
        everyone = range(pool.raters)
        faults = [Fault(everyone, "flip", flips, since=2)] if flips else []
        faults += [Fault(everyone, "taste", taste, since=2)] if taste else []
        found = []
        for replicate in range(replicates):
            votes = draw(pool, 2, seed * 100_000 + replicate, faults, {2: harder}).votes
            if guideline:
                votes = votes.assign(guideline=np.where(votes["round"] == 2, "v2", "v1"))
            found.append(judge_pool(compare(votes, SETTINGS, replicate), SETTINGS, ()))
        causes = ("raters changed", "items got harder", "new guideline", "neither", "cannot tell")
        return [
            share("alarm", [float(one.state != "ok") for one in found], aim),
            *(
                share(f"cause: {cause}", [float(one.cause == cause) for one in found])
                for cause in causes
                if any(one.cause == cause for one in found)
            ),
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
    Case("verdicts: a rater flips 30 % from the middle", judged(POOL, 0.3, after=0.5)),
    Case("verdicts: all follow a new taste", judged(POOL, everyone=[NEW_TASTE])),
    *(
        Case(f"pool verdict: nothing changes, {n} raters", pooled(pool=Pool(n), aim="<= 0.02"))
        for n in SIZES
    ),
    *(
        Case(
            f"pool verdict: items get harder ({harder}), {n} raters",
            pooled(harder=harder, pool=Pool(n), aim="<= 0.02"),
        )
        for harder in (0.5, 0.75)
        for n in SIZES
    ),
    Case("pool verdict: all flip 10 %", pooled(0.1, aim=">= 0.80")),
    Case("pool verdict: all flip 10 % and items get harder", pooled(0.1, harder=0.5)),
    Case("pool verdict: a new taste (0.4)", pooled(taste=0.4)),
    Case("pool verdict: a new taste with a guideline", pooled(taste=0.4, guideline=True)),
    Case("pool verdict: no anchors, items get harder", pooled(harder=0.5, pool=Pool(anchors=0))),
]
