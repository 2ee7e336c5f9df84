"""A round's raters as plain data, which tables, plots and the page for their lead are made of.

Raters stand under keys, `feedback.rater_keys`: what is shown goes where names
from feedback do not (MLflow, Prefect), and outlives an erasure. Nobody's words are in it.

`tell` returns (an estimate is [value, low, high], or null where it is not known):

    rounds      numbers of the rounds with votes; newest: the last one, or null
    weighting   the setting; confidence: of the intervals; max_region_loss: the setting
    pool        verdict on the pool: state, check, message; change: of alpha against the last round
    agreement   all, round, domain, region, guideline: list of {name, items, raters, votes, and
                agreement, alpha, ac1: each {items, raters, widest}: over items, over raters,
                and from the lower to the higher of both, where raters are many enough}
    confusion   labels; shown: whether they are by place; pool and raters (by key):
                [what the others say][what was voted] counts
    cusum       threshold; raters: by key {path, vote, round, alarm, change} (see `_path`)
    regions     list of {round, region, votes, weight}: shares; the round is null for all rounds
    raters      list, see `_rater`; those who need attention first
"""

import math
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from roundhouse.feedback import rater_keys
from roundhouse.metrics import domain_part
from roundhouse.raters import breakdown, confusion, cusum
from roundhouse.raters.agreement import Estimate
from roundhouse.raters.alarm import PoolVerdict
from roundhouse.raters.breakdown import Breakdown, Interval
from roundhouse.raters.evidence import Begin
from roundhouse.raters.table import LABELS
from roundhouse.raters.verdict import Epoch, RaterVerdict
from roundhouse.settings import RaterSettings

Totals = Mapping[int | None, Sequence[float]]

#: Rounds, and values of domain, region and guideline, of which agreement is told.
MOST_ROUNDS, MOST_PARTS = 30, 12
#: Rounds that the sums of those flagged run through, raters with a sum, points of a path.
CUSUM_ROUNDS, MOST_PATHS, MOST_POINTS = 3, 12, 300
_PARTS = ("domain", "region", "guideline")
#: The day in what `verdict` says of a state that a person set.
_DAY = re.compile(r"set to \w+ by a person .*\b(\d{4}-\d\d-\d\d)(?!\d)")
_GRAVITY = {"suspended": 0, "watch": 1, "minority": 2, "ok": 3}


class Told(NamedTuple):
    """story: see the module; figures: those of them that are metrics, name to number."""

    story: dict[str, Any]
    figures: dict[str, float]


def tell(
    votes: pd.DataFrame,
    verdicts: Sequence[RaterVerdict],
    pool: PoolVerdict,
    change: Estimate,
    settings: RaterSettings,
    seed: int,
    salt: str,
) -> Told:
    """What is to be seen of a round.

    Args:
        votes: all votes in which a rater chose (a tidy table); agreement is that of comparisons.
        verdicts: on all raters; pool: on the pool; change: of its alpha against the last round.
        seed: of the bootstraps.
        salt: of the keys.
    """
    named = rater_keys((one.rater for one in verdicts), salt)
    compared = votes[votes["kind"] == "comparison"]
    agreed = _agreement(compared, settings, seed)
    rounds = sorted(int(number) for number in votes["round"].unique())
    totals = _totals(verdicts)
    told = _raters(verdicts, named, totals)
    by_key = {key: rater for rater, key in named.items()}
    flagged = {one["rater"]: by_key[one["rater"]] for one in told if one["attention"]}
    since = {by_key[one["rater"]]: one["since"] or one["last"] for one in told}
    story = {
        "rounds": rounds,
        "newest": rounds[-1] if rounds else None,
        "weighting": settings.weighting,
        "confidence": settings.confidence,
        "max_region_loss": settings.max_region_loss,
        "pool": {**pool.as_json(), "change": _estimate(change)},
        "agreement": {
            axis: [_shown(name, one) for name, one in parts.items()]
            for axis, parts in agreed.items()
        },
        "confusion": _confusion(compared, dict(list(flagged.items())[:MOST_PATHS]), since),
        "cusum": _cusum(verdicts, flagged),
        "regions": _regions(verdicts, rounds, totals),
        "raters": told,
    }
    return Told(story, _figures(agreed))


def _agreement(
    votes: pd.DataFrame, settings: RaterSettings, seed: int
) -> dict[str, dict[str, Breakdown]]:
    """Axis to name to figures; of each axis the newest rounds, or the names with most votes."""
    draws, sure = settings.bootstrap_draws, settings.confidence

    def of(part: pd.DataFrame) -> Breakdown:
        return breakdown.whole(part, draws, sure, seed, LABELS)

    found = {"all": {"all": of(votes)}}
    newest = sorted(votes["round"].unique())[-MOST_ROUNDS:]
    found["round"] = {str(number): of(votes[votes["round"] == number]) for number in newest}
    for axis in _PARTS:
        stated = votes.loc[votes[axis] != "", axis]
        names = sorted(str(name) for name in stated.value_counts().index[:MOST_PARTS])
        found[axis] = {name: of(votes[votes[axis] == name]) for name in names}
    return found


def _figures(agreed: Mapping[str, Mapping[str, Breakdown]]) -> dict[str, float]:
    whole = agreed["all"]["all"]
    found = _metric("ac1", "", whole.ac1.items)
    for axis in _PARTS:
        for name, one in agreed[axis].items():
            part = f"/{axis}/{domain_part(name)}"
            found |= _metric("agreement", part, one.agreement.items)
            if axis != "domain":
                found |= _metric("alpha", part, one.alpha.items, ends=False)
    return found


def _metric(what: str, part: str, one: Estimate, ends: bool = True) -> dict[str, float]:
    if not one.known:
        return {}
    value = {f"raters/{what}{part}": one.value}
    if not ends:
        return value
    return value | {f"raters/{what}_low{part}": one.low, f"raters/{what}_high{part}": one.high}


def _shown(name: str, one: Breakdown) -> dict[str, Any]:
    def both(interval: Interval) -> dict[str, list[float] | None]:
        widest = interval.widest if interval.raters.known else interval.items
        parts = {"items": interval.items, "raters": interval.raters, "widest": widest}
        return {name: _estimate(part) for name, part in parts.items()}

    return {
        "name": name, "items": one.items, "raters": one.raters, "votes": one.votes,
        "agreement": both(one.agreement), "alpha": both(one.alpha), "ac1": both(one.ac1),
    }  # fmt: skip


def _confusion(
    votes: pd.DataFrame, flagged: Mapping[str, str], since: Mapping[str, int]
) -> dict[str, Any]:
    """Of all rounds, and of those flagged since the round in which that began."""
    found = confusion.compare(votes)
    rater, number = found.rows["rater"], found.rows["round"]
    return {
        "labels": ["first", "second", "tie"],
        "shown": found.shown,
        "pool": found.table().tolist(),
        "raters": {
            key: found.table(((rater == name) & (number >= since[name])).to_numpy(bool)).tolist()
            for key, name in flagged.items()
        },
    }


def _cusum(verdicts: Sequence[RaterVerdict], flagged: Mapping[str, str]) -> dict[str, Any]:
    """Sums of those flagged over the newest rounds, the highest first, as they were judged by."""
    by_name = {one.rater: one for one in verdicts}
    found = [(key, _path(by_name[name])) for key, name in flagged.items()]
    paths = [(key, one) for key, one in found if one]
    paths.sort(key=lambda pair: -max(pair[1]["path"]))
    return {"threshold": cusum.THRESHOLD, "raters": dict(paths[:MOST_PATHS])}


def _path(one: RaterVerdict) -> dict[str, Any] | None:
    """path: the sum over their last rounds, at most `MOST_POINTS` points, each the highest of its
    stretch; vote: the number of the vote at each, from 1; round: of each; alarm and change: null,
    or {vote, round, date} of the vote at which the sum passed the threshold, and at which it likely
    began, in the run of rounds that ends with the newest (`_begin`). A vote before the
    path has a number below 1. None without any sum."""
    epochs = [epoch for epoch in one.epochs if epoch.followed and len(epoch.followed.values)]
    sums = [epoch.followed for epoch in epochs if epoch.followed]
    if not sums:
        return None
    values, times = (np.concatenate(part) for part in zip(*(s[:2] for s in sums), strict=True))
    number = np.repeat([epoch.round for epoch in epochs], [len(s.values) for s in sums])
    first = len(values) - sum(len(s.values) for s in sums[-CUSUM_ROUNDS:])
    stretch = -(-(len(values) - first) // MOST_POINTS)
    starts = range(first, len(values), stretch)
    at = [start + int(values[start : start + stretch].argmax()) for start in starts]
    begin = _begin(one)
    change = alarm = None
    if begin is not None:
        change = int(np.searchsorted(number, begin.round)) + begin.vote
        alarm = change + int((values[change:] > cusum.THRESHOLD).argmax())

    def moment(place: int | None) -> dict[str, Any] | None:
        if place is None:
            return None
        date = _date(times[place])
        return {"vote": place - first + 1, "round": int(number[place]), "date": date}

    return {
        "path": [round(float(values[k]), 3) for k in at],
        "vote": [k - first + 1 for k in at],
        "round": [int(number[k]) for k in at],
        "alarm": moment(alarm),
        "change": moment(change),
    }


def _begin(one: RaterVerdict) -> Begin | None:
    """Of the change that was found in the newest round: where it was found in the rounds before
    too, in the first of them, since a sum begins anew after each."""
    begin = None
    for epoch in reversed(one.epochs):
        if epoch.followed is None or epoch.followed.begin is None:
            break
        begin = epoch.followed.begin
    return begin


def _date(seconds: float) -> str | None:
    if not math.isfinite(seconds):
        return None
    return datetime.fromtimestamp(seconds, UTC).date().isoformat()


def _totals(verdicts: Sequence[RaterVerdict]) -> Totals:
    """Round, or None for all of them, to its votes and their weight."""
    totals: dict[int | None, list[float]] = defaultdict(lambda: [0.0, 0.0])
    for epoch in (epoch for one in verdicts for epoch in one.epochs):
        for number in (epoch.round, None):
            totals[number][0] += epoch.votes
            totals[number][1] += epoch.total
    return totals


def _regions(
    verdicts: Sequence[RaterVerdict], rounds: Sequence[int], totals: Totals
) -> list[dict[str, Any]]:
    """Each region's share of the votes and of their weight, by round and over all of them."""
    epochs: dict[int | None, dict[str, list[Epoch]]] = defaultdict(lambda: defaultdict(list))
    for one in verdicts:
        for epoch in one.epochs:
            for number in (epoch.round, None) if epoch.votes else ():
                epochs[number][one.region].append(epoch)
    return [
        {"round": number, "region": region, **_shares(epochs[number][region], totals[number])}
        for number in (*rounds[-MOST_ROUNDS:], None)
        for region in sorted(epochs[number])
    ]


def _raters(
    verdicts: Sequence[RaterVerdict], named: Mapping[str, str], totals: Totals
) -> list[dict[str, Any]]:
    """All raters, those who need attention first, the most recent and the gravest of them."""
    return sorted((_rater(one, named[one.rater], totals) for one in verdicts), key=_order)


def _order(one: Mapping[str, Any]) -> tuple[Any, ...]:
    low = one["accuracy"][0] if one["accuracy"] else 2.0
    return (not one["attention"], _GRAVITY[one["state"]], -one["last"], low, one["rater"])


def _rater(one: RaterVerdict, key: str, totals: Totals) -> dict[str, Any]:
    """A rater: rater (the key), region, state, since, was (in the round before), word (a person's:
    was, the state that the tests gave, and date; else None), attention, changed (the state, in the
    last round in which they voted), last (that round; 0 without votes), evidence and
    evidence_before, accuracy, weight and factor of a vote in that round, kept (the part of the
    weight that the cap on one rater's share left), votes in all rounds, share of votes and of
    weight in that round and in all, and the figures of every round.
    """
    now, before = one.newest, one.epochs[-2] if len(one.epochs) > 1 else None
    changed = before is not None and before.state != now.state
    word = {"was": now.tested, "date": _day(now.evidence)} if now.tested else None
    return {
        "rater": key, "region": one.region, "state": now.state, "since": one.since,
        "was": before.state if before else None, "word": word,
        "attention": changed or now.state != "ok" or word is not None, "changed": changed,
        "last": now.round,
        "evidence": now.evidence, "evidence_before": before.evidence if changed and before else [],
        "accuracy": _estimate(now.accuracy),
        "weight": now.weight, "factor": now.factor, "kept": now.kept,
        "votes": sum(epoch.votes for epoch in one.epochs),
        "share": {
            "round": _shares([now], totals[now.round]),
            "all": _shares(one.epochs, totals[None]),
        },
        "rounds": [
            {
                "round": epoch.round, "votes": epoch.votes, "accuracy": _estimate(epoch.accuracy),
                "state": epoch.state, "weight": epoch.weight,
            }
            for epoch in one.epochs
        ],
    }  # fmt: skip


def _day(evidence: Iterable[str]) -> str | None:
    """Of a person's word.

    >>> _day(["set to ok by a person (was watch): a person's word of 2026-01-31T16:59:52Z"])
    '2026-01-31'
    """
    found = [day[1] for words in evidence if (day := _DAY.match(words))]
    return found[-1] if found else None


def _shares(epochs: Iterable[Epoch], totals: Sequence[float]) -> dict[str, float]:
    each = [(epoch.votes, epoch.total) for epoch in epochs]
    votes, weight = (math.fsum(column) for column in zip(*each, strict=True))
    return {
        "votes": votes / totals[0] if totals[0] else 0.0,
        "weight": weight / totals[1] if totals[1] else 0.0,
    }


def _estimate(one: Estimate) -> list[float] | None:
    return list(one) if one.known else None
