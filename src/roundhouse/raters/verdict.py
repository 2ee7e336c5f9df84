"""What the statistics mean for each rater and for the pool: states, weights, warnings, a block.

- **ok**
- **watch**: fell against their peers, or is nearer to chance than to the pool; weight halved.
- **suspended**: no better than chance, wrong on check items, or fallen in two rounds running;
  weight 0, the data are kept.
- **minority**: differs from the pool but agrees with their own region; a view, not noise, so the
  weight is the pool's.

A person's override wins over all of them. Each rater is tested once a round at 0.01: about one
honest rater in a hundred is watched by chance.
"""

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, Literal, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from roundhouse.errors import DataError
from roundhouse.raters.agreement import UNKNOWN, Estimate
from roundhouse.raters.change import (
    GoldTest,
    PeerChange,
    benjamini_hochberg,
    gold_tests,
    peer_changes,
)
from roundhouse.raters.reliability import Reliability
from roundhouse.raters.table import TIE, latest
from roundhouse.settings import RaterSettings

State = Literal["ok", "watch", "suspended", "minority"]
Floats = NDArray[np.float64]

WATCH_P = 0.01
GOLD_P = 1e-4
DISCOVERY_RATE = 0.05
FACTOR: dict[State, float] = {"ok": 1.0, "watch": 0.5, "suspended": 0.0, "minority": 1.0}
AGREEMENT_DROP = "agreement-drop"


class RaterVerdict(NamedTuple):
    """One rater: what is known, what follows, and why.

    votes: all of theirs; overlap: those, ties aside, on items on which another rater decided too;
    accuracy: probability of naming the better answer when they name one, unknown where nothing
    overlaps; weight: of a vote of theirs in training; factor:
    the part of the weight that comes from the state, which acts on demonstrations too.
    """

    rater: str
    region: str
    votes: int
    overlap: int
    accuracy: Estimate
    weight: float
    factor: float
    state: State
    evidence: list[str]

    def as_json(self) -> dict[str, Any]:
        """The line of raters.json; figures that are not known are null."""
        value, low, high = self.accuracy if self.accuracy.known else (None, None, None)
        return {
            "rater": self.rater, "region": self.region, "votes": self.votes,
            "overlap": self.overlap, "accuracy": value, "accuracy_low": low,
            "accuracy_high": high, "weight": self.weight, "state": self.state,
            "evidence": self.evidence,
        }  # fmt: skip


class PoolVerdict(NamedTuple):
    """The pool as a whole: `warn` is reported, `block` waits for a person."""

    state: Literal["ok", "warn", "block"]
    check: str
    message: str


def judge_raters(
    votes: pd.DataFrame,
    reliability: Reliability,
    settings: RaterSettings,
    regions: Mapping[str, str],
    overrides: Mapping[str, Mapping[str, str]] | None = None,
) -> list[RaterVerdict]:
    """The verdict on every rater, sorted by name.

    Args:
        votes: all votes in which a rater chose.
        reliability: fitted to those of them that are no ties.
        regions: all raters to judge, with their regions; those without votes stand at the pool's.
        overrides: a person's word, rater to {"state", "why"}; unknown raters are passed over.

    Raises:
        DataError: an override names an unknown state.
    """
    given = votes.groupby("rater").size().to_dict()
    place = {rater: index for index, rater in enumerate(reliability.raters)}
    found = _statistics(votes, reliability, settings)
    judged = []
    for rater, region in sorted(regions.items()):
        state, evidence = _state(rater, found) if rater in place else ("ok", [])
        overlap = int(reliability.overlap[place[rater]]) if rater in place else 0
        believed = reliability.pool
        if overlap < settings.min_votes:
            evidence.append(
                f"{overlap} votes overlap, fewer than {settings.min_votes}: "
                "the pool's accuracy is used"
            )
        elif state != "minority":
            believed = float(reliability.accuracy[place[rater]])
        factor = FACTOR[state] if settings.weighting == "dawid_skene" else 1.0
        if overrides and rater in overrides:
            state = _overridden(rater, state, evidence, overrides[rater])
            factor = FACTOR[state]
        known = found.accuracy.get(rater, UNKNOWN)
        weight = _weight(believed, factor, settings)
        judged.append(
            RaterVerdict(
                rater, region, given.get(rater, 0), overlap, known, weight, factor, state, evidence
            )
        )
    return _capped(judged, settings)


def judge_pool(change: Estimate, settings: RaterSettings, accepted: Sequence[str]) -> PoolVerdict:
    """Whether agreement fell so far against the last round that a person should look."""
    fell = change.known and -change.value >= settings.alarm_drop and change.high < 0
    if not fell:
        return PoolVerdict("ok", AGREEMENT_DROP, "")
    message = (
        f"raters agree less than last round: alpha changed by {change.value:+.3f} "
        f"({change.low:+.3f} to {change.high:+.3f}); harder items or changed raters, please look"
    )
    if settings.block_on_alarm and AGREEMENT_DROP not in accepted:
        return PoolVerdict("block", AGREEMENT_DROP, message)
    return PoolVerdict("warn", AGREEMENT_DROP, message)


def cap_regions(share: Floats, weighted: Floats, most: float) -> Floats:
    """[regions] factors on weights, so that no region loses more than `most` of its share.

    Args:
        share: each region's part of all votes; sums to 1.
        weighted: each region's part of the summed weights; sums to 1. A region at 0 stays there.
    """
    floor = np.where(weighted > 0, share * (1 - most), 0.0)
    held = np.zeros(len(share), dtype=bool)
    target = weighted.copy()
    # Raising one region lowers the others, which may push another below its floor: at most one
    # round a region.
    for _ in range(len(share) + 1):
        low = (target < floor - 1e-12) & ~held
        if not low.any():
            break
        held |= low
        free = weighted[~held].sum()
        rest = 1 - floor[held].sum()
        target = np.where(held, floor, weighted * (rest / free if free > 0 else 1.0))
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(weighted > 0, target / weighted, 1.0)


class _Statistics(NamedTuple):
    accuracy: dict[str, Estimate]
    weak: set[str]
    changes: dict[str, PeerChange]
    twice: set[str]
    gold: dict[str, GoldTest]
    minority: dict[str, str]


def _statistics(
    votes: pd.DataFrame, reliability: Reliability, settings: RaterSettings
) -> _Statistics:
    intervals = reliability.interval(settings.confidence)
    accuracy = {
        rater: one if seen > 0 else UNKNOWN
        for rater, one, seen in zip(reliability.raters, intervals, reliability.overlap, strict=True)
    }
    halfway = 0.5 + (reliability.pool - 0.5) / 2
    weak = {rater for rater, one in accuracy.items() if one.high < halfway}
    rounds = sorted(votes["round"].unique())
    parts = [votes[votes["round"] == number] for number in rounds[-3:]]
    changes = [peer_changes(b, a, settings.min_votes) for a, b in pairwise(parts)]
    newest = changes[-1] if changes else {}
    twice = _significant(newest) & _significant(changes[0]) if len(changes) > 1 else set()
    low = {rater for rater, one in accuracy.items() if one.high < reliability.pool}
    suspects = sorted(low | {rater for rater, one in newest.items() if one.p < WATCH_P})
    return _Statistics(accuracy, weak, newest, twice, gold_tests(votes), _minority(votes, suspects))


def _state(rater: str, found: _Statistics) -> tuple[State, list[str]]:
    """The state that the figures give, and the figures as text; later tests weigh more."""
    state: State = "ok"
    evidence = []
    change, gold, one = found.changes.get(rater), found.gold.get(rater), found.accuracy[rater]
    if change is not None and change.p < WATCH_P:
        state = "watch"
        evidence.append(
            f"agreement with unanimous peers changed by {change.change:+.2f} against the median "
            f"rater since last round (p {change.p:.2g}, {change.votes_now} items)"
        )
    if rater in found.twice:
        state = "suspended"
        evidence.append("fell against their peers in two rounds running")
    if rater in found.weak:
        state = "suspended" if one.low <= 0.5 or state == "suspended" else "watch"
        span = f"{one.value:.2f} ({one.low:.2f} to {one.high:.2f})"
        chance = "no better than chance" if one.low <= 0.5 else "nearer to chance than to the pool"
        evidence.append(f"accuracy {span}: {chance}")
    if rater in found.minority:
        state = "minority"
        evidence.append(found.minority[rater])
    if gold is not None and gold.p < GOLD_P:
        state = "suspended"
        evidence.append(f"{gold.right} of {gold.votes} check items right (p {gold.p:.2g})")
    return state, evidence


def _overridden(
    rater: str, state: State, evidence: list[str], override: Mapping[str, str]
) -> State:
    wanted, why = override.get("state", ""), override.get("why", "")
    for known in FACTOR:
        if wanted == known:
            evidence.append(f"set to {known} by a person (was {state}): {why}")
            return known
    raise DataError(f"inputs.json: rater_states of {rater!r}: no state {wanted!r}")


def _weight(accuracy: float, factor: float, settings: RaterSettings) -> float:
    """2a - 1, how far a vote tells the truth from its opposite, times what the state leaves."""
    if settings.weighting != "dawid_skene" or not factor:
        return factor
    return max(settings.min_weight, (2 * accuracy - 1) * factor)


def _capped(judged: list[RaterVerdict], settings: RaterSettings) -> list[RaterVerdict]:
    regions = sorted({one.region for one in judged})
    code = np.array([regions.index(one.region) for one in judged], dtype=np.int64)
    votes = np.array([one.votes for one in judged], dtype=np.float64)
    weight = np.array([one.weight for one in judged], dtype=np.float64)
    share = np.bincount(code, votes, minlength=len(regions))
    weighted = np.bincount(code, votes * weight, minlength=len(regions))
    if not weighted.sum():
        return judged
    factor = cap_regions(share / share.sum(), weighted / weighted.sum(), settings.max_region_loss)
    return [
        one._replace(weight=float(one.weight * factor[region]))
        for one, region in zip(judged, code, strict=True)
    ]


def _significant(changes: Mapping[str, PeerChange]) -> set[str]:
    passed = benjamini_hochberg(np.array([one.p for one in changes.values()]), DISCOVERY_RATE)
    return {rater for rater, significant in zip(changes, passed, strict=True) if significant}


def _minority(votes: pd.DataFrame, suspects: Sequence[str]) -> dict[str, str]:
    """Suspects who agree with their own region as the pool agrees, and less with all others."""
    one = latest(votes[votes["label"] != TIE])[["item", "rater", "region", "label"]]
    own = one[one["rater"].isin(suspects) & (one["region"] != "")]
    pairs = own.merge(one, on="item", suffixes=("", "_peer"))
    pairs = pairs[(pairs["rater"] != pairs["rater_peer"]) & (pairs["region_peer"] != "")]
    pairs = pairs.assign(
        same=pairs["label"] == pairs["label_peer"], inside=pairs["region"] == pairs["region_peer"]
    )
    usual = _usual_agreement(one)
    found = {}
    for rater, group in pairs.groupby("rater"):
        inside, outside = group.loc[group["inside"], "same"], group.loc[~group["inside"], "same"]
        if is_minority(inside.to_numpy(float), outside.to_numpy(float), usual):
            found[str(rater)] = (
                f"agrees with their own region ({inside.mean():.2f} of {len(inside)} vote pairs) "
                f"and less with others ({outside.mean():.2f} of {len(outside)}): a view, not noise"
            )
    return found


def is_minority(inside: Floats, outside: Floats, usual: float, least: int = 20) -> bool:
    """Whether vote pairs inside a rater's region and outside it (1 where equal) show a view.

    They do where the rater agrees with the region significantly more than with others (one-sided,
    0.01), and there as much as two raters of the pool usually do (`usual`, less two standard
    errors). Fewer than `least` pairs on either side show nothing.
    """
    if len(inside) < least or len(outside) < least:
        return False
    share, other = inside.mean(), outside.mean()
    error = math.sqrt(max(usual * (1 - usual), 0.01) * (1 / len(inside) + 1 / len(outside)))
    near = 2 * math.sqrt(max(usual * (1 - usual), 0.01) / len(inside))
    return bool(share - other > 2.326 * error and share > usual - near)


def _usual_agreement(votes: pd.DataFrame) -> float:
    counts = votes.groupby(["item", "label"]).size().to_numpy(float)
    size = votes.groupby("item").size().to_numpy(float)
    pairs = (size * (size - 1)).sum()
    return float((counts * (counts - 1)).sum() / pairs) if pairs else 0.5
