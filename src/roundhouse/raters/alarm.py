"""Did the pool change since the last round? An alarm that says which: the raters, or the items.

Alpha falls when the raters change and when the items get harder. Anchors, items that come back,
tell the two apart (`anchors`); so do check items that come back. So

- **raters changed**: an alarm, whether or not alpha fell by `raters.alarm_drop`;
- **new guideline**: they changed, all of it came with a new guideline, and they agree as before or
  alpha did not fall that far: a note, since that is what a guideline is for;
- **items got harder**, raters as before: a note, however far alpha fell;
- **neither shown**, **cannot be told**: an alarm where alpha fell, which says what is missing.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

import pandas as pd

from roundhouse.raters import agreement, anchors, guidelines
from roundhouse.raters.agreement import UNKNOWN, CountRows, Estimate
from roundhouse.raters.anchors import LEAST, POOL_P, PoolChange
from roundhouse.raters.change import alpha_change
from roundhouse.raters.table import LABELS, latest
from roundhouse.settings import RaterSettings

AGREEMENT_DROP = "agreement-drop"
#: Part of the newest round's votes that must state a new guideline for the change to be its.
MOST = 0.9
#: What the message asks for: anchors that each rater votes on again in every round.
AGAIN = 20

Cause = anchors.Cause | Literal["new guideline"]


class Compared(NamedTuple):
    """The newest round against the one before.

    alpha: the difference; pool: what anchors say, and check items that came back; guideline: the
    version that (nearly) all votes of the newest round state and none before, where some was
    stated, or empty; gold: shares of right answers on check items before and now, NaN where there
    are none.
    """

    alpha: Estimate
    pool: PoolChange
    guideline: str
    gold: tuple[float, float]


class PoolVerdict(NamedTuple):
    """The pool as a whole.

    state: `warn` is reported, `block` waits for a person; check: the name that a person accepts;
    message: of an alarm, else empty; cause: what anchors say; figures: behind it, null where not
    known; notes: plain sentences on the round, in which nothing is wrong or nothing can be known;
    warnings: those that a person should look at, though they block nothing.
    """

    state: Literal["ok", "warn", "block"]
    check: str
    message: str
    cause: Cause
    figures: Mapping[str, float | None]
    notes: Sequence[str] = ()
    warnings: Sequence[str] = ()

    def as_json(self) -> dict[str, Any]:
        """The content of verdict.json."""
        return {**self._asdict(), "notes": list(self.notes), "warnings": list(self.warnings)}


NOTHING = Compared(
    UNKNOWN,
    PoolChange(0, "cannot tell", UNKNOWN, math.nan, math.nan, UNKNOWN, math.nan),
    "",
    (math.nan, math.nan),
)


def compare(votes: pd.DataFrame, settings: RaterSettings, seed: int) -> Compared:
    """The newest round of these votes against the one before; `NOTHING` of a single round.

    Args:
        votes: comparisons of all rounds.
        settings: draws and coverage of the intervals.
        seed: of the draws.
    """
    rounds = sorted(votes["round"].unique())
    if len(rounds) < 2:
        return NOTHING
    before, now = (votes[votes["round"] == number] for number in rounds[-2:])
    draws, sure = settings.bootstrap_draws, settings.confidence
    alpha = alpha_change(counts(now), counts(before), draws, sure, seed)
    guideline = _new_guideline(now, votes[votes["round"] < rounds[-1]])
    if not guideline:
        # Easy items that come back move with the raters as anchors do, and hardly by chance. But
        # they were chosen for being easy under the old guideline.
        before, now = (
            part.assign(anchor=part["anchor"] | (part["gold"] >= 0)) for part in (before, now)
        )
    pool = anchors.pool_change(now, before, sure)
    return Compared(alpha, pool, guideline, (_right(before), _right(now)))


def counts(votes: pd.DataFrame) -> CountRows:
    """Items by their numbers of labels, a rater's last vote on each counting."""
    return agreement.from_table(latest(votes), LABELS)


def judge_pool(found: Compared, settings: RaterSettings, accepted: Sequence[str]) -> PoolVerdict:
    """Whether the raters changed, or agree so much less that a person should look.

    Args:
        found: the newest round against the last.
        settings: `alarm_drop` and `block_on_alarm`.
        accepted: checks that a person has signed.
    """
    alpha, pool = found.alpha, found.pool
    fell = alpha.known and -alpha.value >= settings.alarm_drop and alpha.high < 0
    moved = bool(found.guideline) and pool.cause == "raters changed"
    # A p of noise that is NaN shows no noise.
    guided = moved and not (pool.p < POOL_P and fell)
    cause: Cause = "new guideline" if guided else pool.cause
    figures = {
        **_named("alpha_change", alpha), **_named("flipped", pool.flipped),
        **_named("harder", pool.harder), "anchors": pool.anchors, "p": _number(pool.p),
        "p_shift": _number(pool.p_shift), "p_harder": _number(pool.p_harder),
    }  # fmt: skip
    drop = (
        f"raters agree less than last round: alpha changed by {_said(alpha, '+.3f')}"
        if fell
        else ""
    )
    if cause in ("new guideline", "items got harder"):
        note = _because(cause, found)
        note = f"{drop}; {note}" if drop else note
        return PoolVerdict("ok", AGREEMENT_DROP, "", cause, figures, [_sentence(note)])
    if not fell and cause != "raters changed":
        return PoolVerdict("ok", AGREEMENT_DROP, "", cause, figures)
    message = "; ".join(part for part in (drop, _because(cause, found)) if part)
    block = settings.block_on_alarm and AGREEMENT_DROP not in accepted
    return PoolVerdict("block" if block else "warn", AGREEMENT_DROP, message, cause, figures)


def _because(cause: Cause, found: Compared) -> str:
    pool = found.pool
    with_new = f", together with guideline {found.guideline}" if found.guideline else ""
    if cause == "new guideline" and pool.p < POOL_P:
        return (
            f"with guideline {found.guideline} the raters answer otherwise, and less alike: as if "
            f"{_said(pool.flipped, '.0%')} of all votes were turned ({pool.anchors} items that "
            f"came back, p {pool.p:.2g}); alpha changed by {_said(found.alpha, '+.3f')}"
        )
    if cause == "new guideline":
        return (
            f"with guideline {found.guideline} the raters agree as before, on other answers "
            f"({pool.anchors} items that came back, p {pool.p_shift:.2g})"
        )
    if cause == "raters changed" and pool.p < POOL_P:
        turned = f"as if {_said(pool.flipped, '.0%')} of all votes were turned"
        return (
            f"the raters changed{with_new}: on {pool.anchors} items that came back they vote "
            f"{turned} (p {pool.p:.2g})"
        )
    if cause == "raters changed":
        return (
            f"the raters changed{with_new}: on {pool.anchors} items that came back they agree "
            f"with each other, but less with what they said before (p {pool.p_shift:.2g})"
        )
    if cause == "items got harder":
        return (
            f"the items got harder, the raters are as before ({pool.anchors} items that came "
            f"back): agreement beyond chance is {_said(pool.harder, '.2f')} of what it was"
        )
    if cause == "neither":
        return (
            f"{pool.anchors} items that came back show neither changed raters nor harder items "
            f"for certain, please look (let each rater vote on {AGAIN} anchors in every round)"
        )
    return f"{_untold(found)}, please look"


def _untold(found: Compared) -> str:
    back = found.pool.anchors
    if back >= LEAST:
        why = "on other items too few votes of two raters meet, or they agree hardly above chance"
    else:
        came = f"only {back} of {LEAST} items" if back else "no item"
        why = f"{came} came back (let each rater vote on {AGAIN} anchors again in every round)"
    text = f"changed raters or harder items, it cannot be told which: {why}"
    if all(map(math.isfinite, found.gold)):
        old, new = found.gold
        text += f"; {new:.2f} of the answers to check items are right, {old:.2f} before"
    return text


def _new_guideline(now: pd.DataFrame, earlier: pd.DataFrame) -> str:
    """The version that (nearly) all votes now state and none before, where some was stated before:
    a first mention, or one that is dropped, says nothing of what raters were told."""
    known = set(guidelines.versions(earlier))
    shares = now["guideline"].value_counts(normalize=True)
    version, share = str(shares.index[0]), float(shares.iloc[0])
    is_new = bool(version and known) and version not in known
    return version if is_new and share >= MOST else ""


def _right(votes: pd.DataFrame) -> float:
    gold = votes[votes["gold"] >= 0]
    return float((gold["label"] == gold["gold"]).mean()) if len(gold) else math.nan


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}."


def _said(one: Estimate, form: str) -> str:
    if not one.known:
        return "an unknown part"
    value, low, high = (format(part, form) for part in one)
    return f"{value} ({low} to {high})"


def _named(name: str, one: Estimate) -> dict[str, float | None]:
    return {
        f"{name}{end}": _number(part) for end, part in zip(("", "_low", "_high"), one, strict=True)
    }


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None
