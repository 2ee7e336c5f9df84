"""How one rater works, beside how the others do: first place, length, time, runs, steadiness.

A habit is no fault. Each is a figure, the pool's figure, and the chance that a rater like the
others shows as much; what follows is decided elsewhere (`spam`). Where the table lacks the column,
or fewer than three raters can be compared, a habit is `UNKNOWN`. A ranking of n answers, which
gives n (n - 1) / 2 votes that share answers, counts as the n - 1 that are independent.

Sources: Wald and Wolfowitz (1940), On a test whether two samples are from the same population;
Schilling (1990), The longest run of heads; Singhal et al. (2023), A long way to go: investigating
length correlations in RLHF.
"""

import math
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from roundhouse.raters import pool
from roundhouse.raters.table import FIRST, SECOND, TIE, shares, worth_of

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

#: Votes' worth of the pool's share in what the peers of an item are expected to choose.
_PRIOR_VOTES = 2.0
#: A vote this many of the rater's own standard deviations below their own middle is hasty.
_HASTY = 2.5
_MAD = 1.4826
#: Fewer timed votes than this say nothing about a rater's pace.
_FEWEST_TIMED = 5
#: The number of orders is counted exactly up to so many votes.
_EXACT_RUNS = 2000


class Habit(NamedTuple):
    """One habit of one rater; NaN where the data cannot tell.

    figure: of the rater; pool: what is usual among the others; votes: (or pairs of votes) behind
    it, those of a ranking counted as above; p: the chance that a rater like the others is as far
    from them.
    """

    figure: float
    pool: float
    votes: int
    p: float

    @property
    def known(self) -> bool:
        """Whether the rater could be compared."""
        return math.isfinite(self.p)


UNKNOWN = Habit(math.nan, math.nan, 0, math.nan)


class Habits(NamedTuple):
    """All habits of one rater.

    Attributes:
        rater: the pseudonym.
        position: share of choices for the answer shown first; p two-sided.
        longer: share of choices for the longer answer, beside the share that peers' votes on the
            same items let expect; p two-sided.
        ties: share of votes that are ties; p for many.
        pace: median seconds a vote; p for few seconds.
        hasty: share of votes far below the rater's own pace; p for many.
        longest: longest run of votes on one side, beside the length that half of the raters with as
            many votes exceed; p for a long one.
        runs: number of runs, beside the number expected of the rater's own shares; p for few.
        contradiction: share of repeated votes on one item that differ from the vote before; p for
            many.
    """

    rater: str
    position: Habit
    longer: Habit
    ties: Habit
    pace: Habit
    hasty: Habit
    longest: Habit
    runs: Habit
    contradiction: Habit


def habits(votes: pd.DataFrame) -> dict[str, Habits]:
    """Every rater's habits from a tidy table, by name in sorted order.

    Uses item, rater and label, and where they are there position, longer, seconds and at (the order
    of the votes; without it the order of the rows), and share. A run is a run of sides (shown first
    or second) where positions are known, else of labels. Rankings have no runs: neighbouring pairs
    share an answer, and with it the side that it stands on.
    """
    rater, names = pd.factorize(votes["rater"], sort=True)
    if "at" in votes:
        order = np.argsort(votes["at"].to_numpy(np.float64), kind="stable")
        votes, rater = votes.iloc[order], rater[order]
    rater, size = rater.astype(np.int64), len(names)
    columns = (
        _position(votes, rater, size), _longer(votes, rater, size), _ties(votes, rater, size),
        *_times(votes, rater, size), *_straight(votes, rater, size),
        _contradiction(votes, rater, size),
    )  # fmt: skip
    return {
        str(name): Habits(str(name), *each)
        for name, each in zip(names, zip(*columns, strict=True), strict=True)
    }


def longest_run_tail(length: int, size: int, share: float) -> float:
    """P(the longest run of equal outcomes is at least `length`) in `size` independent trials.

    Exact, for runs of either outcome, of which one has probability `share`: a recursion over where
    the last run ended.

    >>> longest_run_tail(3, 3, 0.5)
    0.25
    """
    if length <= 1 or length > size:
        return float(length <= size)
    one, other = share, 1 - share
    # a[n], b[n]: no long run in n trials, and the last run is of the one, of the other, outcome.
    a, b = [0.0, one], [0.0, other]
    for n in range(2, size + 1):
        before_a, before_b = (1.0, 1.0) if n == length else (0.0, 0.0)
        if n > length:
            before_a, before_b = b[n - length], a[n - length]
        both = a[-1] + b[-1]
        a.append(one * both - one**length * before_a)
        b.append(other * both - other**length * before_b)
    return min(1.0, max(0.0, 1 - a[-1] - b[-1]))


def usual_longest(size: int, share: float) -> int:
    """The longest run that at least half of such sequences reach (their median)."""
    # Begins just below the length that is reached about once, log(size) / log(1 / share).
    length = max(1, int(math.log(max(size, 1)) / -math.log(max(share, 1 - share))) - 2)
    while length > 1 and longest_run_tail(length, size, share) < 0.5:
        length -= 1
    while longest_run_tail(length + 1, size, share) >= 0.5:
        length += 1
    return length


def few_runs(runs: int, one: int, other: int) -> float:
    """P(at most so many runs) in a random order of `one` and `other` outcomes of two kinds.

    Exact up to 2,000 outcomes, normal beyond. 1 where either kind is missing: there is no other
    order. Source: Wald and Wolfowitz (1940).

    >>> round(few_runs(2, 3, 3), 3)
    0.1
    """
    if not one or not other:
        return 1.0
    if one + other > _EXACT_RUNS:
        return _few_runs_normal(runs, one, other)
    ways = 0
    for count in range(2, runs + 1):
        half, odd = divmod(count, 2)
        if odd:
            ways += math.comb(one - 1, half) * math.comb(other - 1, half - 1)
            ways += math.comb(one - 1, half - 1) * math.comb(other - 1, half)
        else:
            ways += 2 * math.comb(one - 1, half - 1) * math.comb(other - 1, half - 1)
    return ways / math.comb(one + other, one)


def _few_runs_normal(runs: int, one: int, other: int) -> float:
    size = one + other
    product = 2 * one * other
    mean, variance = 1 + product / size, product * (product - size) / (size**2 * (size - 1))
    return math.erfc((mean - runs - 0.5) / math.sqrt(2 * variance)) / 2


def _position(votes: pd.DataFrame, rater: Ints, raters: int) -> list[Habit]:
    side = _sides(votes)
    told = side >= 0
    return _share_habits(side[told] == 0, rater[told], shares(votes)[told], raters, "either")


def _ties(votes: pd.DataFrame, rater: Ints, raters: int) -> list[Habit]:
    tie = votes["label"].to_numpy(np.int64) == TIE
    # A pool that never gave a tie may not have been offered one.
    if not tie.any():
        return [UNKNOWN] * raters
    return _share_habits(tie, rater, shares(votes), raters, "high")


def _longer(votes: pd.DataFrame, rater: Ints, raters: int) -> list[Habit]:
    if "longer" not in votes:
        return [UNKNOWN] * raters
    longer, label = votes["longer"].to_numpy(np.int64), votes["label"].to_numpy(np.int64)
    told = (longer >= 0) & (label <= SECOND)
    chose, who, share = (label == longer)[told].astype(np.float64), rater[told], shares(votes)[told]
    expected = _peers_expected(pd.factorize(votes["item"].to_numpy()[told])[0], who, chose, raters)
    size = worth_of(who, share, raters)
    some = np.where(size, size, np.nan)
    noise = np.bincount(who, share * (expected * (1 - expected)), minlength=raters)
    mean = np.bincount(who, share * expected, minlength=raters) / some
    figure = np.bincount(who, share * chose, minlength=raters) / some
    p = pool.standing(figure - mean, np.sqrt(noise) / some).either
    return _habits(figure, mean, _whole(size), p)


def _peers_expected(item: Ints, rater: Ints, chose: Floats, raters: int) -> Floats:
    """[votes] chance of the longer answer, by the others' votes on the item and the pool's share.

    Where length goes with quality peers choose the longer answer too, and nobody stands out.
    """
    size = np.bincount(rater, minlength=raters)
    shares = np.bincount(rater, chose, minlength=raters) / np.maximum(size, 1)
    middle = float(np.clip(np.median(shares[size > 0]), 0.05, 0.95)) if len(item) else 0.5
    cells = pd.DataFrame({"item": item, "rater": rater, "chose": chose, "votes": 1.0})
    whole = cells.groupby("item")[["chose", "votes"]].transform("sum").to_numpy(np.float64)
    own = cells.groupby(["item", "rater"])[["chose", "votes"]].transform("sum")
    others = whole - own.to_numpy(np.float64)
    hits = others[:, 0] + _PRIOR_VOTES * middle
    return np.asarray(hits / (others[:, 1] + _PRIOR_VOTES), np.float64)


def _times(votes: pd.DataFrame, rater: Ints, raters: int) -> tuple[list[Habit], list[Habit]]:
    if "seconds" not in votes:
        return [UNKNOWN] * raters, [UNKNOWN] * raters
    seconds = votes["seconds"].to_numpy(np.float64)
    told = np.isfinite(seconds) & (seconds > 0)
    if not told.any():
        return [UNKNOWN] * raters, [UNKNOWN] * raters
    log, who, share = np.log(seconds[told]), rater[told], shares(votes)[told]
    size = worth_of(who, share, raters)
    middle = _medians(log, who, raters)
    scale = np.maximum(_MAD * _medians(np.abs(log - middle[who]), who, raters), 1e-3)
    # Standard error of a median of normal values: sqrt(pi / 2) times that of the mean.
    error = np.where(
        size >= _FEWEST_TIMED, math.sqrt(math.pi / 2) * scale / np.sqrt(np.maximum(size, 1)), np.nan
    )
    place = pool.standing(middle, error)
    usual = np.full(raters, math.exp(place.usual))
    pace = _habits(np.exp(middle), usual, _whole(size), place.low)
    enough = size[who] >= _FEWEST_TIMED
    below = (log < middle[who] - _HASTY * scale[who])[enough]
    return pace, _share_habits(below, who[enough], share[enough], raters, "high")


def _straight(votes: pd.DataFrame, rater: Ints, raters: int) -> tuple[list[Habit], list[Habit]]:
    side = _sides(votes)
    if (side < 0).all():
        label = votes["label"].to_numpy(np.int64)
        side = np.where((label <= SECOND) & (shares(votes) == 1.0), label, -1)
    parts = [side[(rater == k) & (side >= 0)] for k in range(raters)]
    some = [float((part == 0).mean()) for part in parts if len(part)]
    usual = float(np.clip(np.median(some), 0.05, 0.95)) if len(some) >= pool.FEWEST else math.nan
    return [_longest(part, usual) for part in parts], [_runs(part) for part in parts]


def _longest(side: Ints, usual: float) -> Habit:
    if not len(side) or math.isnan(usual):
        return UNKNOWN
    ends = np.flatnonzero(np.diff(side, append=-1))
    longest = int(np.diff(ends, prepend=-1).max())
    p = longest_run_tail(longest, len(side), usual)
    return Habit(longest, usual_longest(len(side), usual), len(side), p)


def _runs(side: Ints) -> Habit:
    one, size = int((side == 0).sum()), len(side)
    if not 0 < one < size:
        return UNKNOWN
    runs = 1 + int((np.diff(side) != 0).sum())
    expected = 1 + 2 * one * (size - one) / size
    return Habit(runs, expected, size, few_runs(runs, one, size - one))


def _contradiction(votes: pd.DataFrame, rater: Ints, raters: int) -> list[Habit]:
    item = pd.factorize(votes["item"])[0]
    order = np.lexsort((np.arange(len(item)), item, rater))
    who, what = rater[order], item[order]
    label, share = votes["label"].to_numpy(np.int64)[order], shares(votes)[order]
    again = (who[1:] == who[:-1]) & (what[1:] == what[:-1])
    # One answer scored anew may turn all pairs that it is in.
    share = np.minimum(share[1:], share[:-1])[again]
    return _share_habits((label[1:] != label[:-1])[again], who[1:][again], share, raters, "high")


def _sides(votes: pd.DataFrame) -> Ints:
    """[votes] 0 where the answer shown first was chosen, 1 the second, -1 unknown or a tie."""
    if "position" not in votes:
        return np.full(len(votes), -1, np.int64)
    position, label = votes["position"].to_numpy(np.int64), votes["label"].to_numpy(np.int64)
    told = np.isin(position, (FIRST, SECOND)) & np.isin(label, (FIRST, SECOND))
    return np.asarray(np.where(told, (label != position).astype(np.int64), -1), np.int64)


def _share_habits(
    hit: NDArray[np.bool_], rater: Ints, share: Floats, raters: int, side: str
) -> list[Habit]:
    """Of the rows [votes] those that hit, each counted as its share of a vote."""
    size = _whole(worth_of(rater, share, raters))
    hits = _whole(worth_of(rater[hit], share[hit], raters))
    tests = pool.share_tests(hits, size)
    p = tests.either if side == "either" else tests.high
    return _habits(hits / np.where(size, size, np.nan), tests.usual, size, p)


def _habits(figure: Floats, usual: Floats, size: Ints, p: Floats) -> list[Habit]:
    return [
        Habit(float(figure[k]), float(usual[k]), int(size[k]), float(p[k]))
        if math.isfinite(p[k])
        else UNKNOWN
        for k in range(len(size))
    ]


def _whole(size: Floats) -> Ints:
    """The nearest whole numbers: the tests of shares count votes."""
    return np.rint(size).astype(np.int64)


def _medians(value: Floats, code: Ints, size: int) -> Floats:
    """[size] median of the values of each code; NaN where it has none."""
    order = np.lexsort((value, code))
    value, count = value[order], np.bincount(code, minlength=size)
    start = np.concatenate([[0], np.cumsum(count)[:-1]])
    some = count > 0
    result = np.full(size, np.nan)
    low = value[(start + (count - 1) // 2)[some]]
    result[some] = (low + value[(start + count // 2)[some]]) / 2
    return result
