"""Regions: false alarms where none differs, power where one does, and regions that are missing.

A replicate is one round of 50 raters with 250 votes each, tested at 0.05 with 199 permutations.
"""

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd

from benchmarks.raters.case import Case, Figure, share
from roundhouse.raters import regions
from roundhouse.raters.regions import RegionTaste
from roundhouse.simulate.votes import Fault, Pool, draw

ALPHA, PERMUTATIONS, DRAWS, CONFIDENCE = 0.05, 199, 100, 0.9
RATERS = 50
TARGET = {"a": 0.25, "b": 0.25, "c": 0.25, "d": 0.25}


def _tested(votes: pd.DataFrame, seed: int) -> list[RegionTaste]:
    return regions.tastes(votes, PERMUTATIONS, DRAWS, CONFIDENCE, seed)


def _null(
    count: int,
    faults: Sequence[Fault] = (),
    change: Callable[[pd.DataFrame, int], pd.DataFrame] = lambda votes, _: votes,
) -> Callable[[int, int], list[Figure]]:
    def run(replicates: int, seed: int) -> list[Figure]:
        alarms, covered = [], []
        for number in range(replicates):
            at = seed + number
            votes = draw(Pool(raters=RATERS, regions=count), 1, at, faults).votes
            found = _tested(change(votes, at), at)
            alarms.append(float(min(one.p for one in found) <= ALPHA))
            covered.append(float(found[0].effect.low <= 0 <= found[0].effect.high))
        return [
            share("some region named", alarms, "<= 0.07"),
            share("90 % interval of the effect covers 0", covered, ">= 0.88"),
        ]

    return run


def _power(count: int, taste: float, aim: str = "") -> Callable[[int, int], list[Figure]]:
    def run(replicates: int, seed: int) -> list[Figure]:
        fault = Fault(range(0, RATERS, count), "taste", taste)
        named, alone, effect = [], [], []
        for number in range(replicates):
            at = seed + number
            found = _tested(draw(Pool(raters=RATERS, regions=count), 1, at, [fault]).votes, at)
            wrong = any(one.p <= ALPHA for one in found[1:])
            named.append(float(found[0].p <= ALPHA))
            alone.append(float(named[-1] and not wrong))
            effect.append(found[0].effect.value)
        return [
            share("the region is named", named, aim),
            share("it and no other", alone),
            share("agreement lost between it and the others", effect),
        ]

    return run


def _own_items(votes: pd.DataFrame, seed: int) -> pd.DataFrame:
    """The first region also rates 300 items of its own by threes, and on these it guesses."""
    rng = np.random.default_rng([seed, 3])
    raters = np.array(sorted(votes.loc[votes["region"] == "a", "rater"].unique()))
    who = np.argsort(rng.random((300, len(raters))), axis=1)[:, :3].ravel()
    fresh = votes.iloc[: len(who)].assign(
        item=np.repeat(np.arange(300), 3) + int(votes["item"].max()) + 1,
        rater=raters[who], region="a", label=rng.integers(0, 2, len(who)), gold=-1, anchor=False,
    )  # fmt: skip
    return pd.concat([votes, fresh], ignore_index=True)


def _missing(
    shares: Sequence[float], hit: Callable[[str], bool], what: str, aim: str
) -> Callable[[int, int], list[Figure]]:
    """Raters drawn from these shares of the regions of `TARGET`; what is said of the last."""

    def run(replicates: int, seed: int) -> list[Figure]:
        hits, others = [], []
        for number in range(replicates):
            lives = np.random.default_rng([seed + number, 4]).choice(list(TARGET), RATERS, p=shares)
            homes = {f"r{rater:03d}": str(place) for rater, place in enumerate(lives)}
            found = regions.missing(homes, TARGET, 0.95)
            hits.append(float(hit(found[-1].state)))
            others.append(float(any(one.state != "ok" for one in found[:-1])))
        return [share(what, hits, aim), share("another region is named", others)]

    return run


_RANDOM = Fault(range(0, RATERS, 3), "random", 0.3)
CASES: list[Case] = [
    *(Case(f"regions: no difference, {n} regions", _null(n), 2) for n in (2, 3, 4, 5)),
    Case("regions: one of 3 weaker (30 % guesses)", _null(3, [_RANDOM])),
    Case("regions: one of 3 has hard items of its own", _null(3, (), _own_items)),
    *(
        Case(f"regions: taste 0.5 in one of {n}", _power(n, 0.5, ">= 0.80"))
        for n in (3, 4, 5)
    ),
    Case("regions: taste 0.3 in one of 4", _power(4, 0.3)),
    Case("regions: taste 0.7 in one of 4", _power(4, 0.7)),
    Case(
        "regions: one of 4 missing",
        _missing([1 / 3, 1 / 3, 1 / 3, 0.0], "missing".__eq__, "it is named missing", ">= 1.00"),
    ),
    Case(
        "regions: one of 4 short (0.05 for 0.25)",
        _missing([0.32, 0.32, 0.31, 0.05], "ok".__ne__, "it is named", ">= 0.80"),
    ),
    Case(
        "regions: all 4 as the target says",
        _missing([0.25] * 4, "ok".__ne__, "it is named", "<= 0.07"),
    ),
]  # fmt: skip
