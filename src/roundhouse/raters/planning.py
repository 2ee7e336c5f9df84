"""What the next round of rating can show, and what it costs, before anybody is paid.

    plan = planning.lay_out(ratings=12_000, raters=50)
    planning.accuracy_after(points, plan.pairs)

A plan says how the ratings are laid out: most on new pairs, of which a part is seen by several
people, some on check items whose answer is known (`gold`), some on items that come back in every
round (`anchors`). Power is what `simulate.votes` shows under that plan; the accuracy of the reward
model follows the curve of past rounds.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from roundhouse.errors import UsageError
from roundhouse.raters.agreement import UNKNOWN, Estimate
from roundhouse.simulate.votes import Pool

Floats = NDArray[np.float64]

#: Parts of a rater's work that go to check items and to anchors, and the most of each a round:
#: what found most in simulation for 250 ratings, 200 of them on new pairs.
GOLD_SHARE, ANCHOR_SHARE = 0.12, 0.08
MOST_GOLD, MOST_ANCHORS = 30, 20
#: Part of the pairs that several people see, and how many people.
OVERLAP, TOGETHER = 0.3, 3
#: Ratings of one person in a round: more take longer than two weeks.
MOST_EACH = 10_000
#: Seconds a comparison where no row says: AlpacaFarm's raters (Dubois et al. 2023).
SECONDS = 37.0
#: Exponents of the learning curve that are tried.
EXPONENTS = np.linspace(0.2, 1.0, 17)
#: Ratings of an anchor in a round that the bank is made for, and its size: for fewer raters a small
#: one, since an anchor tells nothing before two people have seen it. With 24 raters of 250 ratings
#: each a bank of 96 finds 10 % flips of the pool in 22 of 40 simulations, one of 200 in 9.
ANCHOR_RATINGS, LEAST_BANK, MOST_BANK = 5, 20, 200


class Plan(NamedTuple):
    """How a round's ratings are laid out.

    Attributes:
        ratings: all of them.
        raters: how many people.
        work: ratings of new pairs, each rater.
        gold: check items, each rater.
        anchors: items that come back, each rater.
        pairs: new pairs that get a label.
        shared: those of them that `together` people see.
        together: people on a shared pair.
        bank: check items in all, and as many anchors, of which each rater sees some.
    """

    ratings: int
    raters: int
    work: int
    gold: int
    anchors: int
    pairs: int
    shared: int
    together: int
    bank: int

    @property
    def each(self) -> int:
        """Ratings of each rater."""
        return self.work + self.gold + self.anchors

    def pool(self, raters: int | None = None) -> Pool:
        """The plan as the simulator takes it, or as much work for each of another number."""
        raters = raters or self.raters
        overlap = self.shared / max(1, self.pairs)
        return Pool(
            raters, self.work, overlap, self.together, self.gold, self.anchors,
            bank=max(1, _bank(raters, self.gold, self.anchors)),
        )  # fmt: skip


class Cost(NamedTuple):
    """hours: of all raters together; money: in the wage's currency, NaN without a wage."""

    hours: float
    money: float


class Point(NamedTuple):
    """A round behind the learning curve: pairs that trained, accuracy, its standard error."""

    pairs: int
    accuracy: float
    error: float


def lay_out(ratings: int, raters: int, overlap: float = OVERLAP, together: int = TOGETHER) -> Plan:
    """Divides ratings over raters and kinds of work.

    Raises:
        UsageError: fewer ratings than raters or too many, fewer raters than see a pair together,
            or an overlap that is no share.
    """
    if not 0 <= overlap <= 1:
        raise UsageError(f"an overlap of {overlap:g}: it is a share of the pairs, from 0 to 1")
    if together < 2:
        raise UsageError(f"a shared pair is seen by 2 or more, not by {together}")
    if raters < together:
        raise UsageError(
            f"{raters} raters: a shared pair is seen by {together}, so as many at least"
        )
    each = ratings // raters
    if each < 1:
        raise UsageError(f"{ratings} ratings for {raters} raters: at least one each")
    if each > MOST_EACH:
        raise UsageError(
            f"{each:,} ratings for each of {raters} raters: at most {MOST_EACH:,}, ask more people"
        )
    gold = min(MOST_GOLD, round(GOLD_SHARE * each))
    anchors = min(MOST_ANCHORS, round(ANCHOR_SHARE * each))
    work = each - gold - anchors
    # A pair takes 1 + overlap (together - 1) ratings on average.
    pairs = int(work * raters / (1 + overlap * (together - 1)))
    return Plan(
        each * raters, raters, work, gold, anchors, pairs, int(overlap * pairs), together,
        _bank(raters, gold, anchors),
    )  # fmt: skip


def _bank(raters: int, gold: int, anchors: int) -> int:
    wanted = min(MOST_BANK, raters * anchors // ANCHOR_RATINGS)
    return max(wanted, gold, anchors, LEAST_BANK) if gold or anchors else 0


def affordable(
    hours: float | None = None, money: float | None = None, wage: float | None = None,
    seconds: float = SECONDS,
) -> int:  # fmt: skip
    """Ratings that so many hours of work, or so much money at a wage an hour, pay for.

    Raises:
        UsageError: neither hours nor money; money without a wage; something is not above 0.
    """
    if money is not None and wage is None:
        raise UsageError("--money needs --wage, what an hour costs")
    if hours is None and money is None:
        raise UsageError("say how much: --ratings, --hours, or --money with --wage")
    if not all(one is None or 0 < one < math.inf for one in (hours, money, wage, seconds)):
        raise UsageError("hours, money, wage and seconds are numbers above 0")
    if money is not None and wage is not None:
        hours = money / wage
    return int((hours or 0.0) * 3600 / seconds)


def cost(plan: Plan, seconds: float = SECONDS, wage: float | None = None) -> Cost:
    """Hours of all raters, and money where the wage of an hour is given."""
    hours = plan.ratings * seconds / 3600
    return Cost(hours, hours * wage if wage else math.nan)


def accuracy_after(
    points: Sequence[Point], pairs: int, confidence: float = 0.95, draws: int = 500, seed: int = 0
) -> Estimate:
    """Accuracy of a reward model of so many pairs in all: accuracy = a - b pairs^-c.

    The power law is fitted by weighted least squares with b at least 0 (Cortes et al. 1994,
    Learning curves); the interval holds what the points' own errors leave open, by a parametric
    bootstrap.
    Unknown with fewer than three points, or where all have the same number of pairs.
    """
    size = np.array([point.pairs for point in points], np.float64)
    if len(set(size.tolist())) < 3:
        return UNKNOWN
    seen = np.array([point.accuracy for point in points])
    error = np.maximum([point.error for point in points], 1e-3)
    rng = np.random.default_rng(seed)
    drawn = np.concatenate([seen[None], seen + error * rng.normal(size=(draws, len(seen)))])
    said = _extrapolated(drawn, size, 1 / np.square(error), float(pairs))
    low, high = np.quantile(said[1:], [(1 - confidence) / 2, (1 + confidence) / 2])
    return Estimate(float(said[0]), float(min(low, said[0])), float(max(high, said[0])))


def _extrapolated(seen: Floats, size: Floats, weight: Floats, pairs: float) -> Floats:
    """[draws] value at `pairs` of the best power law through each row of `seen`."""
    best, lowest = np.zeros(len(seen)), np.full(len(seen), np.inf)
    for exponent in EXPONENTS:
        x = size**-exponent
        middle = weight @ x / weight.sum()
        level = seen @ weight / weight.sum()
        slope = (seen - level[:, None]) @ (weight * (x - middle)) / (weight @ (x - middle) ** 2)
        slope = np.minimum(slope, 0.0)
        missed = seen - level[:, None] - slope[:, None] * (x - middle)
        loss = np.square(missed) @ weight
        value = level + slope * (pairs**-exponent - middle)
        best = np.where(loss < lowest, value, best)
        lowest = np.minimum(loss, lowest)
    return np.clip(best, 0.0, 1.0)
