"""What a round says of its raters in plain sentences: regions, guidelines, newcomers, and what
cannot be known.

Each sentence stands on its own, with its figures; the figures that are numbers of a round go to
figures.json as well. Nothing here changes a state or a weight.
"""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import pandas as pd

from roundhouse.feedback import rater_keys
from roundhouse.raters import guidelines, onboarding, regions
from roundhouse.raters.agreement import Estimate
from roundhouse.raters.alarm import AGAIN
from roundhouse.raters.guidelines import GuidelineChange
from roundhouse.raters.onboarding import Onboarding
from roundhouse.raters.regions import STEP_P, RegionShare, RegionTaste
from roundhouse.raters.table import TIE
from roundhouse.raters.verdict import FACTOR, RaterVerdict
from roundhouse.settings import RaterSettings

#: What is asked for where something is missing: check items a rater, and the share of items that
#: three people see (benchmarks/raters/change.py measures what is found with them).
GOLD, SHARED = 30, "30 %"


class Notes(NamedTuple):
    """said: sentences; warned: others, which a person should look at; figures: metric names to
    numbers, known ones only."""

    said: list[str]
    warned: list[str]
    figures: dict[str, float]


def notes(
    votes: pd.DataFrame, home: Mapping[str, str], settings: RaterSettings, seed: int
) -> Notes:
    """All sentences on these votes.

    Args:
        votes: all votes in which raters chose, of all rounds.
        home: every rater of the feedback with their region, empty where none is stated.
        settings: draws, coverage and the population that the raters stand for.
        seed: of draws and permutations.
    """
    draws, sure = settings.bootstrap_draws, settings.confidence
    warned: list[str] = []
    said: list[str] = []
    if settings.population:
        newest = votes["round"].max() if len(votes) else None
        present = votes.loc[votes["round"] == newest, "rater"].unique() if len(votes) else home
        stated = {rater: home[rater] for rater in present if home.get(rater)}
        shares = regions.missing(stated, settings.population, sure)
        warned = [_short(one, len(stated)) for one in shares if one.state != "ok"]
    figures: dict[str, float] = {}
    decided = votes[votes["label"] != TIE]
    for one in regions.tastes(decided, draws, draws, sure, seed) if len(decided) else []:
        if one.p < STEP_P:
            said.append(_taste(one))
    for change in _newest_guideline(votes, draws, sure, seed):
        said.append(f"{change.said[0].upper()}{change.said[1:]}.")
        figures |= _figures("raters/guideline_change", change.agreement)
    if len(votes):
        curve = onboarding.onboarding(votes, draws, sure, seed)
        said += _newcomers(curve)
        if curve.steps:
            figures |= _figures("raters/onboarding_gap", curve.steps[0].gap)
    return Notes([*said, *unknown(votes)], warned, figures)


def shielded(verdicts: Sequence[RaterVerdict], salt: str) -> list[str]:
    """Raters whom a person's word leaves more weight than the tests of the newest round would."""
    named = rater_keys((one.rater for one in verdicts), salt)
    newest = max((one.newest.round for one in verdicts), default=0)
    return [
        f"Rater {named[one.rater]} stands at {now.state} by a person's word; by the tests they "
        f"would be {now.tested} in round {newest}."
        for one in verdicts
        for now in (one.newest,)
        if now.round == newest and now.tested and FACTOR[now.tested] < now.factor
    ]


def unknown(votes: pd.DataFrame) -> list[str]:
    """What these votes cannot show, and what to do about it: a sentence each.

    >>> unknown(pd.DataFrame())
    []
    """
    if not len(votes):
        return []
    found = []
    decided = votes[votes["label"] != TIE]
    if decided.groupby("item")["rater"].nunique().max() < 2:
        found.append(
            "No item was seen by two raters: agreement, accuracy and change of raters cannot be "
            f"known, and all votes weigh the same. Let {SHARED} of the items be seen by three."
        )
    checked = bool((votes["gold"] >= 0).any())
    if not checked:
        found.append(
            "No row is a check item (`gold`): a mistake that all raters share cannot be seen. "
            f"Give each rater {GOLD} easy ones a round."
        )
    if not votes["anchor"].any():
        found.append(
            f"No row is an anchor: should agreement fall, it {'may not' if checked else 'cannot'} "
            "be told whether the raters changed or the items got harder. Let each rater vote on "
            f"{AGAIN} anchors in every round."
        )
    for column, missing, what in (
        ("position", votes["position"] < 0, "a liking for the answer shown first"),
        ("seconds", votes["seconds"].isna(), "haste"),
    ):
        if missing.all():
            found.append(f"No row gives `{column}`: {what} cannot be seen.")
    return found


def _newest_guideline(
    votes: pd.DataFrame, draws: int, confidence: float, seed: int
) -> list[GuidelineChange]:
    two = guidelines.versions(votes)[-2:]
    chosen = votes[votes["guideline"].isin(two)]
    return guidelines.changes(chosen, draws, confidence, seed) if len(two) == 2 else []


def _short(one: RegionShare, raters: int) -> str:
    if one.state == "missing":
        return (
            f"Region {one.region} is missing: none of {raters} raters, {one.expected:.1f} expected "
            f"of the stated population (p {one.p:.2g})."
        )
    return (
        f"Region {one.region} is short: {one.raters} of {raters} raters, {one.expected:.1f} "
        f"expected of the stated population (p {one.p:.2g})."
    )


def _taste(one: RegionTaste) -> str:
    lost = "by an amount that so few raters do not show"
    if one.effect.known:
        value, low, high = one.effect
        lost = f"by {value:.2f} ({low:.2f} to {high:.2f})"
    return (
        f"Region {one.region} ({one.raters} raters) sees items otherwise than the others: they "
        f"agree less with each other than inside, {lost} (p {one.p:.2g})."
    )


def _newcomers(curve: Onboarding) -> list[str]:
    if curve.reached == 0:
        return ["New raters agree as much as the others do, from the first vote on."]
    if curve.reached > 0:
        return [f"After {curve.reached} votes new raters agree as much as the others do."]
    if curve.below >= 0:
        gap = next(step.gap for step in curve.steps if step.first == curve.below)
        agree, when = "agree less than the others", f"after {curve.below} votes"
        said = f"still {agree} {when}" if curve.below else f"{agree} in their first votes"
        return [f"New raters {said}: {gap.value:+.2f} ({gap.low:+.2f} to {gap.high:+.2f})."]
    return []


def _figures(name: str, one: Estimate) -> dict[str, float]:
    ends = zip(("", "_low", "_high"), one, strict=True)
    return {f"{name}{end}": part for end, part in ends if math.isfinite(part)}
