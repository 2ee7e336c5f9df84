"""What the statistics mean for each rater: states and weights.

- **ok**
- **watch**: their votes changed since before (against peers and on check items, or as they came),
  or they work oddly; weight halved.
- **suspended**: votes that look given without looking, by a fixed habit, by chance or after a
  group's key; wrong on check items; or changed in two rounds running. Weight 0, the data are kept.
- **minority**: differs from the pool but agrees with their own region; a view, not noise, so the
  weight is the pool's.

State and weight hold for a rater *in a round*: votes from before a change keep theirs. Where a
watched rater's sum over votes shows that they changed within the round, the votes before that are
weighted as if ok. A person's override wins over all of them, in every round; who is said to be ok
weighs no less than the pool. About two honest raters in a hundred are watched in a round by chance
(benchmarks/raters/verdicts.py).
"""

import math
from collections import defaultdict
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from roundhouse.errors import DataError
from roundhouse.raters import evidence, worth
from roundhouse.raters.agreement import UNKNOWN, Estimate
from roundhouse.raters.evidence import Followed, Shown, Skill, State
from roundhouse.raters.shares import cap_regions
from roundhouse.raters.table import TIE, latest, moment, shares
from roundhouse.settings import RaterSettings

Floats = NDArray[np.float64]

FACTOR: dict[State, float] = {"ok": 1.0, "watch": 0.5, "suspended": 0.0, "minority": 1.0}
#: Accuracy assumed of a pool that shares no items: nothing in the data can tell.
ASSUMED_ACCURACY = 0.75
#: Between a rater and a round in the name of an epoch; no pseudonym has it.
_AT = "\0"


class Epoch(NamedTuple):
    """One rater in one round.

    round: its number; votes: theirs in it; overlap: those, ties aside, on items on which another
    rater decided too; accuracy: probability of naming the better answer when they name one, unknown
    where nothing overlaps; weight: of a vote of theirs in training; factor: the part of the weight
    that comes from the state, which acts on demonstrations too; first, last: times of their first
    and last vote in it, NaN where unknown; changed: time of the first vote after a change within
    the round, else NaN; before, weight_before: how many votes came before it, and their weight;
    followed: the sum over their votes in it that the state was found with, None without one;
    tested: the state that the tests found, where a person's word stands in its place, else None;
    kept: the part of the weight that the cap on one rater's share left.
    """

    round: int
    votes: int
    overlap: int
    accuracy: Estimate
    weight: float
    factor: float
    state: State
    evidence: list[str]
    first: float = math.nan
    last: float = math.nan
    changed: float = math.nan
    before: int = 0
    weight_before: float = math.nan
    followed: Followed | None = None
    tested: State | None = None
    kept: float = 1.0

    @property
    def total(self) -> float:
        """Weight of all their votes in it."""
        early = self.before * self.weight_before if self.before else 0.0
        return early + (self.votes - self.before) * self.weight

    def scaled(self, factor: float) -> "Epoch":
        """The same with its weights times a factor."""
        return self._replace(weight=self.weight * factor, weight_before=self.weight_before * factor)

    def as_json(self) -> dict[str, Any]:
        """Its part of raters.json; what is not known is null, what did not change is left out."""
        changed = {"changed": moment(self.changed), "weight_before": self.weight_before}
        return {
            "round": self.round, "votes": self.votes, **_known(self.accuracy),
            "weight": self.weight, "state": self.state, "evidence": self.evidence,
            "first": moment(self.first), "last": moment(self.last),
            **(changed if self.before else {}),
        }  # fmt: skip


class RaterVerdict(NamedTuple):
    """One rater: what is known, what follows, and why.

    rater: the pseudonym; region: the one they gave last; epochs: in the order of rounds, at least
    one; a rater without votes has one of round 0, at the pool's weight.
    """

    rater: str
    region: str
    epochs: list[Epoch]

    @property
    def newest(self) -> Epoch:
        """The rater in the last round in which they voted."""
        return self.epochs[-1]

    @property
    def state(self) -> State:
        """In that round."""
        return self.newest.state

    @property
    def since(self) -> int | None:
        """First round of the run that ends in the newest state; None where that is ok, and for a
        rater without votes, in whatever state a person set them to."""
        first = None
        for epoch in reversed(self.epochs):
            if epoch.state == "ok":
                break
            first = epoch.round or None
        return first

    def at(self, number: int) -> Epoch:
        """The epoch that a row of this round belongs to: the last one up to it, else the first."""
        earlier = [epoch for epoch in self.epochs if epoch.round <= number]
        return earlier[-1] if earlier else self.epochs[0]

    def as_json(self) -> dict[str, Any]:
        """The line of raters.json; figures that are not known are null."""
        now = self.newest
        return {
            "rater": self.rater, "region": self.region,
            "votes": sum(epoch.votes for epoch in self.epochs),
            "overlap": sum(epoch.overlap for epoch in self.epochs),
            **_known(now.accuracy), "weight": now.weight, "state": now.state,
            "since": self.since, "evidence": now.evidence,
            "first": moment(self.epochs[0].first), "last": moment(now.last),
            "rounds": [epoch.as_json() for epoch in self.epochs],
        }  # fmt: skip


def judge_raters(
    votes: pd.DataFrame,
    settings: RaterSettings,
    regions: Mapping[str, str],
    overrides: Mapping[str, Mapping[str, str]] | None = None,
) -> list[RaterVerdict]:
    """The verdict on every rater, sorted by name.

    Args:
        votes: all votes in which a rater chose.
        regions: all raters to judge, with their regions; those without votes stand at the pool's.
        overrides: a person's word, rater to {"state", "why"}; unknown raters are passed over.

    Raises:
        DataError: an override names an unknown state.
    """
    known = _accuracies(votes, settings.confidence)
    skill = Skill({key: span for key, (span, _, _) in known.each.items()}, known.pool)
    shown = evidence.by_round(votes, skill, settings.min_votes) if len(votes) else {}
    judge = _Judge(known, shown, settings, overrides or {})
    times: dict[str, dict[int, list[float]]] = defaultdict(lambda: defaultdict(list))
    for rater, number, at in zip(votes["rater"], votes["round"], votes["at"], strict=True):
        times[rater][number].append(at)
    judged = [
        RaterVerdict(rater, region, judge.epochs(rater, times.get(rater, {})))
        for rater, region in sorted(regions.items())
    ]
    return _capped(judged, settings)


class _Accuracies(NamedTuple):
    """(rater, round) to (accuracy with interval, point accuracy, overlap); the pool's accuracy."""

    each: dict[tuple[str, int], tuple[Estimate, float, int]]
    pool: float

    def of(self, rater: str, number: int) -> tuple[Estimate, float, int]:
        """Of an epoch; the pool's, unknown, where nothing overlaps or all votes are ties."""
        return self.each.get((rater, number), (UNKNOWN, self.pool, 0))


def _accuracies(votes: pd.DataFrame, confidence: float) -> _Accuracies:
    votes = latest(votes)
    named = votes[votes["label"] != TIE]
    together = named.groupby("item")["rater"].transform("nunique") > 1
    overlap = named[together].groupby(["rater", "round"]).size().to_dict()
    if not overlap:
        return _Accuracies({}, ASSUMED_ACCURACY)
    epochs = votes["rater"].astype(str) + _AT + votes["round"].astype(str)
    found = worth.fit(votes.assign(rater=epochs, person=votes["rater"], weight=shares(votes)))
    each = {}
    for name, span, accuracy in zip(
        found.raters, found.interval(confidence), found.accuracy, strict=True
    ):
        rater, _, number = name.rpartition(_AT)
        seen = overlap.get((rater, int(number)), 0)
        each[rater, int(number)] = (span if seen else UNKNOWN, float(accuracy), seen)
    _, accuracies, sizes = zip(*each.values(), strict=True)
    return _Accuracies(each, float(np.average(accuracies, weights=sizes)))


class _Judge(NamedTuple):
    """What decides on one rater."""

    known: _Accuracies
    shown: Mapping[tuple[str, int], Shown]
    settings: RaterSettings
    overrides: Mapping[str, Mapping[str, str]]

    def epochs(self, rater: str, times: Mapping[int, list[float]]) -> list[Epoch]:
        """Of a rater with the times of their votes in each round; one without any stands at the
        pool's."""
        return [self._epoch(rater, *each) for each in sorted(times.items()) or [(0, [])]]

    def _epoch(self, rater: str, number: int, times: list[float]) -> Epoch:
        at = np.array(times, np.float64)
        span, accuracy, overlap = self.known.of(rater, number)
        state, words, changed, followed = self.shown.get((rater, number), Shown("ok", []))
        if not overlap:
            words = [*words, "no vote overlaps with another rater's: the pool's accuracy is used"]
        factor = FACTOR[state] if self.settings.weighting == "reliability" else 1.0
        tested = None
        if rater in self.overrides:
            tested = state
            state, words = _overridden(rater, state, words, self.overrides[rater])
            factor, changed = FACTOR[state], math.nan
        if state == "minority":
            accuracy = self.known.pool
        elif tested and state == "ok":
            accuracy = max(accuracy, self.known.pool)
        weight, early = (_weight(accuracy, each, self.settings) for each in (factor, 1.0))
        told = at[np.isfinite(at)]
        span_of_time = (float(told.min()), float(told.max())) if len(told) else (math.nan, math.nan)
        before = int((at < changed).sum())
        return Epoch(
            number, len(at), overlap, span, weight, factor, state, words, *span_of_time,
            changed if before else math.nan, before, early if before else math.nan, followed,
            tested,
        )  # fmt: skip


def _weight(accuracy: float, factor: float, settings: RaterSettings) -> float:
    """2a - 1, how far a vote tells the truth from its opposite, times what the state leaves."""
    if settings.weighting != "reliability" or not factor:
        return factor
    return max(settings.min_weight, (2 * accuracy - 1) * factor)


def _overridden(
    rater: str, state: State, words: list[str], override: Mapping[str, str]
) -> tuple[State, list[str]]:
    wanted, why = override.get("state", ""), override.get("why", "")
    for known in FACTOR:
        if wanted == known:
            return known, [*words, f"set to {known} by a person (was {state}): {why}"]
    raise DataError(f"inputs.json: rater_states of {rater!r}: no state {wanted!r}")


def _capped(judged: list[RaterVerdict], settings: RaterSettings) -> list[RaterVerdict]:
    regions = sorted({one.region for one in judged})
    code = np.array([regions.index(one.region) for one in judged], dtype=np.int64)
    votes = np.array([sum(e.votes for e in one.epochs) for one in judged], np.float64)
    weight = np.array([sum(epoch.total for epoch in one.epochs) for one in judged], np.float64)
    share = np.bincount(code, votes, minlength=len(regions))
    weighted = np.bincount(code, weight, minlength=len(regions))
    if not weighted.sum():
        return judged
    factor = cap_regions(share / share.sum(), weighted / weighted.sum(), settings.max_region_loss)
    return [
        one._replace(epochs=[epoch.scaled(float(factor[k])) for epoch in one.epochs])
        for one, k in zip(judged, code, strict=True)
    ]


def _known(estimate: Estimate) -> dict[str, float | None]:
    value, low, high = estimate if all(map(math.isfinite, estimate)) else (None, None, None)
    return {"accuracy": value, "accuracy_low": low, "accuracy_high": high}
