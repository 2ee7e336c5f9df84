"""What the checks of the next round would find under a plan, by simulating it.

    for one in power.checks(plan, replicates=30, seed=1):
        print(one.check, one.found, one.error)

Two rounds are simulated as the plan lays them out, the first being the raters' record; in the
second something goes wrong, or nothing does. Simulated raters agree in 74 of 100 votes
(`simulate.votes`): a pool that agrees less is told less of.

Large plans are simulated with fewer raters, each with as much work as in the plan: what is found of
one rater hardly depends on how many there are. What is found of the pool is then too low a figure.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import pandas as pd

from roundhouse.raters import anchors, cusum, drift, spam
from roundhouse.raters.planning import Plan
from roundhouse.simulate.votes import Fault, Kind, Pool, Votes, draw

#: Shares of one rater's votes, and of everybody's, that are turned.
TURNED, POOL_TURNED = (0.2, 0.3), 0.1
#: Share of the raters who do not look, and in how many ways.
SPAMMERS = 0.1
SPAM: tuple[tuple[Kind, str], ...] = (
    ("fixed", "answer by place"), ("random", "answer at random"), ("collude", "copy each other"),
)  # fmt: skip
#: Most raters that are simulated for changes; for spam, whose test takes far longer. More are where
#: more see a pair together.
MOST_RATERS, MOST_SPAM_RATERS = 100, 50
#: Ratings of a simulated round, at most, where each of ten raters does not need more.
MOST_RATINGS = 50_000
#: From so many raters on two who change do not disturb each other.
APART = 20
#: Part of the replicates that spam gets, each with several spammers; draws of its test for groups.
SPAM_PART, SPAM_DRAWS = 6, 119


class Power(NamedTuple):
    """How often a check finds what it is for.

    Attributes:
        case: what goes wrong.
        check: which check.
        found: share of the cases found; NaN where the check can be made in none.
        error: its standard error over simulations, with one hit and one miss added, so that it is
            0 for no share.
        false: share of raters (of rounds, for the pool) that alarm though nothing is wrong.
        false_error: its standard error.
    """

    case: str
    check: str
    found: float
    error: float
    false: float
    false_error: float


class _Count(NamedTuple):
    """hits of trials; tests: trials in which the check could be made."""

    hits: int = 0
    trials: int = 0
    tests: int = 0

    def plus(self, found: Sequence[bool | None]) -> "_Count":
        """With more trials; None where no test could be made, which finds nothing."""
        return _Count(
            self.hits + sum(one is True for one in found),
            self.trials + len(found),
            self.tests + sum(one is not None for one in found),
        )

    @property
    def share(self) -> float:
        return self.hits / self.trials if self.tests else math.nan

    @property
    def error(self) -> float:
        middle = (self.hits + 1) / (self.trials + 2)
        return math.sqrt(middle * (1 - middle) / (self.trials + 2)) if self.tests else math.nan


#: (votes now, votes before, raters by number) to what each check says of each of them.
_Check = Callable[[pd.DataFrame, pd.DataFrame, Sequence[int]], list[bool | None]]


def checks(plan: Plan, replicates: int = 40, seed: int = 1) -> Iterator[Power]:
    """The power of each check under a plan, one after the other as they are known.

    Args:
        plan: how the ratings are laid out.
        replicates: simulated pairs of rounds for each case; spam gets a sixth, with several
            spammers in each.
        seed: the same seed, the same figures.
    """
    pool = _fewer(plan, MOST_RATERS)
    yield from _changes(pool, replicates, seed)
    yield _pool(pool, replicates, seed)
    small = _fewer(plan, MOST_SPAM_RATERS)
    for kind, words in SPAM:
        yield _spam(small, kind, words, max(2, replicates // SPAM_PART), seed)


def _fewer(plan: Plan, most: int) -> Pool:
    """Never fewer raters than see a pair together."""
    few = min(plan.raters, most, max(10, MOST_RATINGS // plan.each))
    return plan.pool(max(few, plan.together))


def _changes(pool: Pool, replicates: int, seed: int) -> Iterator[Power]:
    """One rater turns votes: the test of the round, and the sum that runs within it."""
    tests: dict[str, _Check] = {"test of the round": _by_drift, "running sum": _by_cusum}
    groups = [TURNED] if pool.raters >= APART else [(share,) for share in TURNED]
    found = {(share, name): _Count() for share in TURNED for name in tests}
    false = dict.fromkeys(tests, _Count())
    for k in range(replicates):
        for group in groups:
            faults = [Fault([n], "flip", share, since=2) for n, share in enumerate(group)]
            now, before = _split(draw(pool, 2, seed + k, faults))
            for name, test in tests.items():
                said = test(now, before, range(len(group)))
                for share, one in zip(group, said, strict=True):
                    found[share, name] = found[share, name].plus([one])
        now, before = _split(draw(pool, 2, seed + k))
        for name, test in tests.items():
            false[name] = false[name].plus(test(now, before, range(pool.raters)))
    for (share, name), count in found.items():
        case = f"a rater turns {share:.0%}"
        yield _power(case, name, count, false[name])


def _by_drift(now: pd.DataFrame, before: pd.DataFrame, raters: Sequence[int]) -> list[bool | None]:
    found = drift.drifts(now, before)
    each = [found.get(_name(number)) for number in raters]
    return [None if one is None else one.p < drift.ALARM_P for one in each]


def _by_cusum(now: pd.DataFrame, before: pd.DataFrame, raters: Sequence[int]) -> list[bool | None]:
    found = cusum.paths(now, before)
    each = [found.get(_name(number)) for number in raters]
    # A path that no vote ever moved was no test.
    return [None if one is None or not one.path.any() else one.alarm is not None for one in each]


def _pool(pool: Pool, replicates: int, seed: int) -> Power:
    """All raters turn votes, which anchors tell from harder items."""
    found, false = _Count(), _Count()
    fault = Fault(range(pool.raters), "flip", POOL_TURNED, since=2)
    for k in range(replicates):
        found = found.plus([_by_anchors(draw(pool, 2, seed + k, [fault]))])
        false = false.plus([_by_anchors(draw(pool, 2, seed + k))])
    return _power(f"everybody turns {POOL_TURNED:.0%}", "anchors", found, false)


def _by_anchors(drawn: Votes) -> bool | None:
    one = anchors.pool_change(*_split(drawn))
    return one.cause == "raters changed" if one.anchors >= anchors.LEAST else None


def _spam(pool: Pool, kind: Kind, words: str, replicates: int, seed: int) -> Power:
    """Raters who do not look, from their first vote on."""
    # Nobody copies alone.
    count = max(2 if kind == "collude" else 1, round(SPAMMERS * pool.raters))
    found, false = _Count(), _Count()
    for k in range(replicates):
        drawn = draw(pool, 1, seed + k, [Fault(range(count), kind)])
        each = spam.findings(drawn.votes, draws=SPAM_DRAWS, seed=seed + k)
        said = [None if one.kind == "unknown" else one.flagged for one in each]
        found, false = found.plus(said[:count]), false.plus(said[count:])
    return _power(f"{count} of {pool.raters} {words}", "spam", found, false)


def _power(case: str, check: str, found: _Count, false: _Count) -> Power:
    return Power(case, check, found.share, found.error, false.share, false.error)


def _split(drawn: Votes) -> tuple[pd.DataFrame, pd.DataFrame]:
    now = drawn.votes["round"] == 2
    return drawn.votes[now], drawn.votes[~now]


def _name(number: int) -> str:
    return f"r{number:03d}"
