"""How soon new raters agree with the established ones as those agree among themselves.

A newcomer is a rater who did not vote in the table's first round: of the others it is not known
when they began. A vote is set against the majority of the *established* votes on its item (two or
more, one label ahead): those of raters of the first round, and of newcomers past `established`
votes. The pool's level is that of established votes, each against the majority of the others, in
the same rounds and on the same kind of item (check item, anchor, other), so that harder rounds and
easy items do not pass for learning. Ties are left out.

Intervals redraw newcomers and established raters: votes of one person are alike. Later bins hold
only those who stayed; `raters` says how many.
"""

from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from roundhouse.raters import agreement
from roundhouse.raters.agreement import UNKNOWN, Estimate
from roundhouse.raters.bootstrap import draw_raters
from roundhouse.raters.breakdown import LEAST_RATERS
from roundhouse.raters.table import TIE, latest

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

#: Votes after which a newcomer's count as established.
ESTABLISHED = 200
#: First vote of each bin, counted from 0; the last is open.
BINS = (0, 25, 50, 100, 200)
#: How far below the pool a newcomer may be and still be at its level.
MARGIN = 0.05


class Step(NamedTuple):
    """Newcomers between two numbers of votes.

    Attributes:
        first: votes given before the bin begins.
        raters, votes: newcomers in it, and those of their votes that could be compared.
        agreement: with the majority of established votes.
        gap: that, less the pool's level; below 0 while they learn.
    """

    first: int
    raters: int
    votes: int
    agreement: Estimate
    gap: Estimate


class Onboarding(NamedTuple):
    """The curve.

    Attributes:
        steps: one a bin that holds votes.
        below: first vote of the last bin whose gap lies surely below 0; -1 where none does.
        reached: first vote of the first bin from which on every gap lies surely above minus the
            margin; -1 where the data do not show that.
    """

    steps: list[Step]
    below: int
    reached: int


class _Counts(NamedTuple):
    """agree, votes: [raters, bins, kinds] for newcomers, [raters, kinds] for the pool."""

    agree: Floats
    votes: Floats


def onboarding(
    votes: pd.DataFrame,
    draws: int,
    confidence: float,
    seed: int,
    bins: tuple[int, ...] = BINS,
    established: int = ESTABLISHED,
    margin: float = MARGIN,
) -> Onboarding:
    """The curve of all newcomers together; without steps where there are none.

    Args:
        votes: a tidy table; time (`at`) orders the votes of a rater, else their rows.
        draws: of the bootstrap over raters.
        confidence: of the intervals.
        seed: of the draws.
        bins: first vote of each bin, counted from 0, rising.
        established: votes after which a newcomer counts as established.
        margin: by how much a newcomer may stand below the pool and be at its level.
    """
    told = _told(votes, established)
    told = told.assign(bin=np.searchsorted(bins, told["number"], side="right") - 1)
    told = told[told["bin"] >= 0]
    kinds = told.groupby(["round", "gold", "anchor"]).ngroup()
    told = told.assign(kind=kinds, kinds=int(kinds.max()) + 1 if len(told) else 0)
    fresh, old = told[told["new"]], told[told["settled"]]
    steps = _steps(_counted(fresh, len(bins)), _counted(old, 0), bins, draws, confidence, seed)
    below = [step.first for step in steps if step.gap.known and step.gap.high < 0]
    reached = -1
    for step in reversed(steps):
        if not (step.gap.known and step.gap.low > -margin):
            break
        reached = step.first
    return Onboarding(steps, below[-1] if below else -1, reached)


def _told(votes: pd.DataFrame, established: int) -> pd.DataFrame:
    """Votes on items with a majority of two or more other established votes: rater, number (of the
    rater's vote), agree, new, settled, round, gold (whether), anchor."""
    votes = votes.sort_values("at", kind="stable")
    number = votes.groupby("rater").cumcount()
    first = votes["round"].min()
    veterans = set(votes.loc[votes["round"] == first, "rater"])
    new = ~votes["rater"].isin(veterans)
    votes = votes.assign(number=number, new=new, settled=~new | (number >= established))
    votes = latest(votes[votes["label"] != TIE])
    item, label = pd.factorize(votes["item"])[0], votes["label"].to_numpy(np.int64)
    settled = votes["settled"].to_numpy(bool)
    size = int(item.max()) + 1 if len(item) else 0
    counts = np.bincount(item[settled] * 2 + label[settled], minlength=2 * size).reshape(size, 2)
    others = counts[item]
    others[np.arange(len(label)), label] -= settled
    ahead = others[:, 0] != others[:, 1]
    told: pd.DataFrame = votes.assign(agree=others.argmax(axis=1) == label, gold=votes["gold"] >= 0)
    kept: pd.DataFrame = told.loc[(others.sum(axis=1) >= 2) & ahead]
    return kept


def _counted(told: pd.DataFrame, bins: int) -> _Counts:
    """Sums by rater, bin and kind; without bins by rater and kind."""
    rater, names = pd.factorize(told["rater"], sort=True)
    kinds = int(told["kinds"].iloc[0]) if len(told) else 0
    shape = (len(names), bins, kinds) if bins else (len(names), kinds)
    code = rater * (bins or 1) + (told["bin"].to_numpy() if bins else 0)
    code = code * kinds + told["kind"].to_numpy()
    size = int(np.prod(shape))
    agree = np.bincount(code, told["agree"].to_numpy(float), minlength=size)
    votes = np.bincount(code, minlength=size).astype(np.float64)
    return _Counts(agree.reshape(shape).astype(np.float64), votes.reshape(shape))


def _steps(
    fresh: _Counts, old: _Counts, bins: tuple[int, ...], draws: int, confidence: float, seed: int
) -> list[Step]:
    if not len(fresh.votes) or not len(old.votes):
        return []
    came, stayed = (
        np.vstack([np.ones(len(one.votes)), draw_raters(len(one.votes), draws, seed + k)])
        for k, one in enumerate((fresh, old))
    )
    with np.errstate(divide="ignore", invalid="ignore"):
        level = (stayed @ old.agree) / (stayed @ old.votes)
    # Kinds that the pool was never seen on say nothing about the gap.
    level = np.where(np.isfinite(level), level, np.nan)
    known = np.isfinite(level[0])
    agree, votes = (
        np.tensordot(came, counts[:, :, known], axes=1) for counts in (fresh.agree, fresh.votes)
    )
    total = votes.sum(axis=2)
    with np.errstate(divide="ignore", invalid="ignore"):
        share = agree.sum(axis=2) / total
        gap = share - (votes * level[:, None, known]).sum(axis=2) / total
    enough = len(old.votes) >= LEAST_RATERS
    raters = (fresh.votes[:, :, known].sum(axis=2) > 0).sum(axis=0)
    return [
        Step(
            bins[k], int(raters[k]), int(total[0, k]),
            _estimate(share[:, k], int(raters[k]), confidence),
            _estimate(gap[:, k], int(raters[k]) if enough else 0, confidence),
        )
        for k in range(len(bins))
        if total[0, k]
    ]  # fmt: skip


def _estimate(drawn: Floats, raters: int, confidence: float) -> Estimate:
    if raters < LEAST_RATERS:
        return UNKNOWN
    return agreement.interval(float(drawn[0]), drawn[1:], confidence)
