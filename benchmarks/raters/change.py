"""Cases of change: one rater, the pool, and votes as they come. Truth and faults are simulated.

`levels` recomputes the two constants that were set by simulation: `drift.INFLATION` and
`cusum.THRESHOLD`.
"""

import math
from collections.abc import Mapping, Sequence
from functools import partial
from statistics import NormalDist
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from benchmarks.raters.case import Case, Figure, share
from roundhouse.raters import anchors, cusum, drift
from roundhouse.simulate.votes import Fault, Pool, Votes, draw

Floats = NDArray[np.float64]

#: Raters who change in the cases of single raters. One, so that its peers stay as they were.
WHO = [0]
ONE = Pool()
FULL = Pool(overlap=1.0)
PEERS_ONLY = Pool(overlap=1.0, gold=0, anchors=0)
#: Discovery rates of Benjamini and Hochberg that are reported.
RATES = (0.05, 0.2)
#: Rounds of the sequential cases; the first is the record.
FOLLOWED = 4


def split(votes: pd.DataFrame, number: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Votes from round `number` on, and those before."""
    now = votes["round"] >= number
    return votes[now], votes[~now]


def single(
    replicates: int,
    seed: int,
    flips: float = 0.0,
    harder: Mapping[int, float] | None = None,
    power: str = "",
) -> list[Figure]:
    """One rater of the pool turns a share of the votes in round 2, or nobody does."""
    faults = [Fault(WHO, "flip", flips, since=2)] if flips else []
    found, false, cover = [], [], []
    for k in range(replicates):
        votes = draw(ONE, 2, seed + k, faults, harder).votes
        one = drift.drifts(*split(votes, 2))
        p = np.array([[one[name].p, one[name].q] for name in sorted(one)])
        hit = np.column_stack([p[:, :1] < drift.ALARM_P, *(p[:, 1:] < rate for rate in RATES)])
        changed = np.isin(np.arange(len(p)), WHO) & bool(flips)
        found.append(hit[changed].mean(axis=0) if flips else np.full(3, math.nan))
        false.append(hit[~changed].mean(axis=0))
        first = one[sorted(one)[0]].flipped
        cover.append(float(first.low <= flips <= first.high))
    rules = (f"p < {drift.ALARM_P}", *(f"q < {rate}" for rate in RATES))
    figures = []
    for column, rule in enumerate(rules):
        aim = power if not column else ""
        if flips:
            figures.append(share(f"power, {rule}", [row[column] for row in found], aim))
        aim = "<= 0.02" if not column else ""
        figures.append(share(f"false alarms a rater, {rule}", [row[column] for row in false], aim))
    return [*figures, share("interval of the flipped share covers", cover)]


def pooled(
    replicates: int,
    seed: int,
    flips: float = 0.0,
    taste: float = 0.0,
    harder: Mapping[int, float] | None = None,
    aims: Mapping[anchors.Cause, str] | None = None,
) -> list[Figure]:
    """All raters change in round 2, or the items do, or nothing."""
    everyone = range(ONE.raters)
    faults = [Fault(everyone, "flip", flips, since=2)] if flips else []
    faults += [Fault(everyone, "taste", taste, since=2)] if taste else []
    causes, cover = [], []
    for k in range(replicates):
        votes = draw(ONE, 2, seed + k, faults, harder).votes
        one = anchors.pool_change(*split(votes, 2))
        causes.append(one.cause)
        cover.append(float(one.flipped.low <= flips <= one.flipped.high))
    kinds: tuple[anchors.Cause, ...] = ("raters changed", "items got harder")
    figures = [
        share(
            f"verdict: {kind}", [float(one == kind) for one in causes], (aims or {}).get(kind, "")
        )
        for kind in kinds
    ]
    return figures if taste else [*figures, share("interval of the flipped share covers", cover)]


class Delays(NamedTuple):
    """Ratings from the change to the alarm, one a replicate, infinite where none came in time;
    error: of the votes by which the change point was missed, one a found change."""

    ratings: Floats
    missed: Floats


def delays(pool: Pool, replicates: int, seed: int, flips: float, after: float) -> Delays:
    """One rater turns a share of the votes from round 2 on, `after` that share of the round."""
    waited, missed = [], []
    for k in range(replicates):
        drawn = draw(pool, FOLLOWED, seed + k, [Fault(WHO, "flip", flips, since=2, after=after)])
        one, onset = _first(drawn)
        if one.alarm is None:
            waited.append(math.inf)
        elif one.alarm >= onset:
            waited.append(one.alarm - onset + 1)
            missed.append(abs((one.change or 0) - onset))
    return Delays(np.array(waited), np.array(missed, np.float64))


def _first(drawn: Votes) -> tuple[cusum.Path, int]:
    """The path of the rater who changes, and the index of the first vote after the change."""
    now, before = split(drawn.votes, 2)
    one = cusum.paths(now, before)[f"r{WHO[0]:03d}"]
    faulty = drawn.faulty[len(before) :][one.row]
    return one, int(faulty.argmax())


def sequential(
    replicates: int, seed: int, pool: Pool, flips: float, after: float, aim: str
) -> list[Figure]:
    """The median delay of a single rater's alarm."""
    found = delays(pool, replicates, seed, flips, after)
    return [
        median("median delay in ratings", found.ratings, aim),
        median("median distance of the change point in ratings", found.missed),
        share("alarm within three rounds", np.isfinite(found.ratings).astype(float).tolist()),
    ]


def median(what: str, values: Sequence[float] | Floats, aim: str = "") -> Figure:
    """The median, with half the distance of the order statistics one standard error around it."""
    ordered = np.sort(np.asarray(values, np.float64))
    size = len(ordered)
    reach = math.sqrt(size) / 2
    low = ordered[max(0, math.floor(size / 2 - reach))]
    high = ordered[min(size - 1, math.ceil(size / 2 + reach))]
    return Figure(what, float(np.median(ordered)), float(high - low) / 2, aim)


def quiet(
    replicates: int, seed: int, pool: Pool, harder: Mapping[int, float] | None = None
) -> list[Figure]:
    """Nobody changes: how often a rater's sum alarms in a round."""
    highest = [_highest(pool, seed + k, harder) for k in range(replicates)]
    rates = [_rate(one, cusum.THRESHOLD) for one in highest]
    return [share("alarms a rater and round", rates, "<= 0.01" if harder is None else "<= 0.02")]


def _highest(pool: Pool, seed: int, harder: Mapping[int, float] | None = None) -> Floats:
    """[raters, rounds] the highest sum in each round, without change."""
    now, before = split(draw(pool, FOLLOWED, seed, harder=harder).votes, 2)
    rounds = now["round"].to_numpy()
    found = cusum.paths(now, before).values()
    return np.array(
        [[one.path[rounds[one.row] == k].max() for k in range(2, FOLLOWED + 1)] for one in found]
    )


def _rate(highest: Floats, threshold: float) -> float:
    """First alarms by rater-rounds until then."""
    alarmed = highest > threshold
    waiting = ~np.logical_or.accumulate(alarmed, axis=1)
    at_risk = len(highest) + waiting[:, :-1].sum()
    return float(alarmed.any(axis=1).sum() / at_risk)


def threshold(pool: Pool, replicates: int, seed: int, rate: float = 0.01) -> float:
    """The threshold with this rate of alarms without change, by bisection."""
    highest = np.concatenate([_highest(pool, seed + k) for k in range(replicates)])
    low, high = 0.0, float(highest.max())
    while high - low > 1e-3:
        middle = (low + high) / 2
        low, high = (middle, high) if _rate(highest, middle) > rate else (low, middle)
    return high


def inflation(replicates: int, seed: int) -> float:
    """The standard deviation of the joint z without change and without its correction."""
    p = np.concatenate(
        [
            [one.p for one in drift.drifts(*split(draw(ONE, 2, seed + k).votes, 2)).values()]
            for k in range(replicates)
        ]
    )
    z = [NormalDist().inv_cdf(min(max(one, 1e-15), 1 - 1e-15)) for one in p.tolist()]
    return float(np.std(z)) * drift.INFLATION


def levels(replicates: int, seed: int) -> list[Figure]:
    """The constants that were set by simulation, computed again (without standard errors)."""
    return [
        Figure("spread of the joint z (INFLATION)", inflation(replicates, seed), math.nan),
        *(
            Figure(f"CUSUM threshold for 1 %, {name}", threshold(pool, replicates, seed), math.nan)
            for name, pool in (("default plan", ONE), ("full overlap", FULL))
        ),
    ]


CASES: list[Case] = [
    Case("nobody changes", single),
    Case("a rater flips 20 %", partial(single, flips=0.2, power=">= 0.90")),
    Case("a rater flips 30 %", partial(single, flips=0.3, power=">= 0.98")),
    Case("items get harder, raters stay", partial(single, harder={2: 0.5})),
    Case("pool: nothing changes", partial(pooled, aims={"raters changed": "<= 0.02"}), 3),
    Case("pool: all flip 10 %", partial(pooled, flips=0.1, aims={"raters changed": ">= 0.80"})),
    Case(
        "pool: items get harder",
        partial(pooled, harder={2: 0.5}, aims={"raters changed": "<= 0.02"}),
        3,
    ),
    Case("pool: all share a new taste (0.4)", partial(pooled, taste=0.4)),
    *(
        Case(
            f"{name}: {flips:.0%} flips {'within' if after else 'from the start of'} a round",
            partial(sequential, pool=pool, flips=flips, after=after, aim=aim),
        )
        for name, pool in (("full overlap", FULL), ("full overlap, peers only", PEERS_ONLY))
        for flips, aim in ((0.2, "<= 230"), (0.3, "<= 105"))
        for after in (0.0, 0.5)
    ),
    Case("full overlap: nobody changes", partial(quiet, pool=FULL)),
    Case("default plan: nobody changes", partial(quiet, pool=ONE)),
    Case("full overlap: items get harder", partial(quiet, pool=FULL, harder={3: 0.5})),
    Case("constants set by simulation", levels, 0.4),
]
