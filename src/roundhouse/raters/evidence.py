"""What each round shows of each rater: the tests of a round, turned into a state for that round.

Every round is looked at with what came before it, so a rater who changed in round 2 was watched in
round 2 whatever they do later, and the votes of that round stay down-weighted. A rater's rounds in
which something was found are left out of what later rounds are compared with: a fall that lasts is
found again, and is then a fall in two rounds running.

A rater's sum over votes (`cusum`) runs on from round to round until something is found. It says
since when votes are turned, and makes a lesser change in the round enough for a watch; alone it
changes no state. It is handed out with what was found, so that nobody follows votes a second time.
"""

import math
from collections.abc import Collection, Iterable, Mapping
from typing import Literal, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from roundhouse.raters import cusum, drift, minority, spam
from roundhouse.raters.agreement import UNKNOWN, Estimate
from roundhouse.raters.binomial import exact_interval
from roundhouse.raters.change import GoldTest, gold_tests
from roundhouse.raters.cusum import THRESHOLD, Path
from roundhouse.raters.drift import ALARM_P, Drift
from roundhouse.raters.spam import CHECK_P, Finding
from roundhouse.raters.table import moment, shares

Floats = NDArray[np.float64]

State = Literal["ok", "watch", "suspended", "minority"]

#: Chance of so few right check items among raters like the rest, below which a rater is suspended
#: if the share of right ones may be that of a coin, else watched.
GOLD_P = 1e-4
#: The same chance, below which nothing that was found is taken for a view.
VIEW_P = 0.05
#: The level of the test of the round where the sum over votes alarms too: either alone, at its own
#: level, would add its false alarms to the other's.
BOTH_P = 0.05
#: Share of false discoveries, over raters, at which a fall counts towards suspension.
DISCOVERY_RATE = 0.05
#: States whose votes nobody is compared with.
BAD: tuple[State, ...] = ("watch", "suspended")
_GRAVITY: dict[State, int] = {"ok": 0, "minority": 1, "watch": 2, "suspended": 3}


class Begin(NamedTuple):
    """A vote with which a sum began to rise: round, place among the rater's votes of that round
    (from 0, in the order of time), time (`at`)."""

    round: int
    vote: int
    at: float


class Followed(NamedTuple):
    """A rater's sum over the votes of one round, as the round was judged by it.

    values: [votes] the sum after each, in the order of time; times: [votes] when (`at`); begin: of
    the change that was found in the round, in it or in an earlier one; None where the words do not
    speak of the sum.
    """

    values: Floats
    times: Floats
    begin: Begin | None


class Shown(NamedTuple):
    """A rater in one round.

    state, and why, in words; empty where nothing was found; changed: time (`at`) of the first vote
    after the change, where the rater is watched for a change that began within the round, else NaN;
    followed: the sum over votes, None without a record to compare with.
    """

    state: State
    words: list[str]
    changed: float = math.nan
    followed: Followed | None = None


class Skill(NamedTuple):
    """How well raters name the better answer: of each rater and round, and the pool's."""

    each: Mapping[tuple[str, int], Estimate]
    pool: float

    def poor(self, rater: str, number: int) -> State:
        """What follows from accuracy alone, where it is known to be low: suspended if it may be
        chance, watched if it is nearer to chance than to the pool; else its weight says enough."""
        span = self.each.get((rater, number), UNKNOWN)
        if not span.known or span.high >= 0.5 + (self.pool - 0.5) / 2:
            return "ok"
        return "suspended" if span.low <= 0.5 else "watch"


def by_round(votes: pd.DataFrame, skill: Skill, least: int) -> dict[tuple[str, int], Shown]:
    """(rater, round) to what was found, for every rater and round with votes.

    Args:
        votes: all votes in which raters chose, of all rounds.
        skill: of the same votes.
        least: votes before a change, or a lack of skill, can be seen.
    """
    found: dict[tuple[str, int], Shown] = {}
    fallen: set[str] = set()
    running: dict[str, _Sum] = {}
    anew: set[str] = set()
    for number in sorted(int(number) for number in votes["round"].unique()):
        tests = _Tests(votes, number, found, running, anew, least)
        for rater, size in tests.size.items():
            poor = skill.poor(rater, number) if size >= least else "ok"
            found[rater, number] = tests.shown(rater, rater in fallen, poor)
        suspects = [rater for rater in tests.size if found[rater, number].words]
        known = votes[votes["round"] <= number]
        for rater, words in minority.views(known, suspects).items():
            if tests.could_be_a_view(rater):
                one = found[rater, number]
                found[rater, number] = Shown("minority", [*one.words, words], followed=one.followed)
        fell = {rater for rater, one in tests.changes.items() if one.q < DISCOVERY_RATE}
        fallen = (fallen - tests.changes.keys()) | fell
        bad = {rater for rater in tests.size if found[rater, number].state in BAD}
        anew = (anew - tests.size.keys()) | bad
        for rater in tests.size:
            running.pop(rater, None)
            if rater not in bad and rater in tests.sums:
                running |= tests.carried(rater)
    return found


class _Sum(NamedTuple):
    """A rater's sum at the end of a round, and the first vote since it was last 0."""

    value: float
    since: Begin


class _Tests:
    """All tests of one round."""

    def __init__(
        self,
        votes: pd.DataFrame,
        number: int,
        found: Mapping[tuple[str, int], Shown],
        running: Mapping[str, _Sum],
        anew: Collection[str],
        least: int,
    ) -> None:
        self.number, self.anew = number, anew
        now, before = votes[votes["round"] == number], _steady(votes, number, found)
        self.at = now["at"].to_numpy(np.float64)
        self.running = dict(running)
        start = {rater: one.value for rater, one in running.items()}
        # Without a record a rater who is poorer than the pool would seem to have changed.
        self.sums: dict[str, Path] = cusum.paths(now, before, start=start) if len(before) else {}
        known = set(before["rater"])
        self.sums = {rater: one for rater, one in self.sums.items() if rater in known}
        # Rounded: thirds and sevenths do not sum to whole numbers.
        size = now.assign(share=shares(now)).groupby("rater")["share"].sum().round(6)
        self.size = {str(k): float(n) for k, n in size.items()}
        self.changes: dict[str, Drift] = drift.drifts(now, before, least) if len(before) else {}
        self.signs: dict[str, Finding] = {one.rater: one for one in spam.findings(now)}
        self.gold: dict[str, GoldTest] = gold_tests(now)

    def shown(self, rater: str, fell_before: bool, poor: State) -> Shown:
        """The gravest state that any of the tests gives, with all that was found."""
        change = self._change(rater, fell_before)
        others = [*self._look(rater, poor), *self._checked(rater)]
        parts = [*change, *others]
        begun = self._begun(rater) if change else None
        followed = self._followed(rater, begun)
        if not parts:
            return Shown("ok", [], followed=followed)
        state = max((part.state for part in parts), key=lambda one: _GRAVITY[one])
        # What else was found does not begin with the change.
        changed = change[-1].changed if change and state == "watch" and not others else math.nan
        return Shown(state, [word for part in parts for word in part.words], changed, followed)

    def carried(self, rater: str) -> dict[str, _Sum]:
        """The rater's sum for the next round; empty where it ends at 0."""
        one, before = self.sums[rater], self.running.get(rater)
        if one.risen is None:
            return {}
        since = self._place(one, one.risen) if one.risen or before is None else before.since
        return {rater: _Sum(float(one.path[-1]), since)}

    def could_be_a_view(self, rater: str) -> bool:
        """Whether what was found is no habit, no group's key and no known wrong answers: a view
        does not show on items whose answer is beyond dispute."""
        habit = self.signs[rater].kind in ("fixed", "colluding")
        checked = self.gold.get(rater)
        return not habit and (checked is None or checked.p >= VIEW_P)

    def _change(self, rater: str, fell_before: bool) -> list[Shown]:
        one = self.changes.get(rater)
        begun = self._begun(rater)
        if one is None or one.p >= (ALARM_P if begun is None else BOTH_P):
            return []
        value, low, high = one.flipped
        checked = f", {one.missed} of {one.gold} check items wrong" if one.gold else ""
        words = (
            f"votes changed: as if {value:.0%} ({low:.0%} to {high:.0%}) were turned; "
            f"{one.peers} votes with peers{checked} (p {one.p:.2g})"
        )
        since = [] if begun is None else [self._since(rater, begun)]
        changed = begun.at if begun and begun.round == self.number and begun.vote else math.nan
        if fell_before and one.q < DISCOVERY_RATE:
            return [Shown("suspended", [words, *since, "changed in two rounds running"])]
        return [Shown("watch", [words, *since], changed)]

    def _begun(self, rater: str) -> Begin | None:
        """Since when the rater turns votes; None without an alarm."""
        one, before = self.sums.get(rater), self.running.get(rater)
        if one is None or one.alarm is None or one.change is None:
            return None
        return self._place(one, one.change) if one.change or before is None else before.since

    def _place(self, one: Path, vote: int) -> Begin:
        return Begin(self.number, vote, float(self.at[one.row[vote]]))

    def _since(self, rater: str, begun: Begin) -> str:
        one = self.sums[rater]
        place = f"vote {begun.vote + 1} of {len(one.row)}"
        if begun.round < self.number:
            place = "an earlier round"
        elif rater in self.anew:
            # What was found before began earlier.
            place += ", counted anew in this round"
        return (
            f"turns votes since {moment(begun.at) or 'an unknown time'} ({place}): the sum over "
            f"votes reached {one.path.max():.1f}, alarm at {THRESHOLD}"
        )

    def _followed(self, rater: str, begun: Begin | None) -> Followed | None:
        one = self.sums.get(rater)
        return None if one is None else Followed(one.path, self.at[one.row], begun)

    def _look(self, rater: str, poor: State) -> list[Shown]:
        one = self.signs[rater]
        if one.kind == "view":
            return [Shown("minority", ["a view that a group shares", *one.evidence])]
        if one.kind in ("fixed", "colluding"):
            # One pool in a hundred has such a group by chance; few of its members know too little.
            sure = one.kind == "fixed" or one.random < CHECK_P
            state: State = "suspended" if sure else "watch"
            return [Shown(state, [f"votes look {one.kind}", *one.evidence])]
        if one.kind == "habit":
            return [Shown("watch", ["an odd way of working", *one.evidence])]
        if one.kind == "random" and poor != "ok":
            return [Shown(poor, ["votes look random", *one.evidence])]
        return []

    def _checked(self, rater: str) -> list[Shown]:
        one = self.gold.get(rater)
        if one is None or one.p >= GOLD_P:
            return []
        # The test takes honest raters for equally good; the poorest of them are not near chance.
        chance = exact_interval(one.right, one.votes, 0.95).low <= 0.5
        words = f"{one.right} of {one.votes} check items right (p {one.p:.2g})"
        return [Shown("suspended" if chance else "watch", [words])]


def _steady(
    votes: pd.DataFrame, number: int, found: Mapping[tuple[str, int], Shown]
) -> pd.DataFrame:
    """Votes of earlier rounds, without those in which their rater was watched or suspended."""
    before = votes[votes["round"] < number]
    bad = {key for key, one in found.items() if one.state in BAD}
    if not bad:
        return before
    keys: Iterable[tuple[str, int]] = zip(before["rater"], before["round"], strict=True)
    return before[[key not in bad for key in keys]]
