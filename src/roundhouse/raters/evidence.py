"""What each round shows of each rater: the tests of a round, turned into a state for that round.

Every round is looked at with what came before it, so a rater who changed in round 2 was watched in
round 2 whatever they do later, and the votes of that round stay down-weighted. A rater's rounds in
which something was found are left out of what later rounds are compared with: a fall that lasts is
found again, and is then a fall in two rounds running.
"""

from collections.abc import Iterable, Mapping
from typing import Literal, NamedTuple

import pandas as pd

from roundhouse.raters import drift, minority, spam
from roundhouse.raters.agreement import UNKNOWN, Estimate
from roundhouse.raters.change import GoldTest, gold_tests
from roundhouse.raters.drift import ALARM_P, Drift
from roundhouse.raters.spam import Finding

State = Literal["ok", "watch", "suspended", "minority"]

#: Chance of so few right check items among raters like the rest, below which a rater is suspended.
GOLD_P = 1e-4
#: Share of false discoveries, over raters, at which a fall counts towards suspension.
DISCOVERY_RATE = 0.05
_GRAVITY: dict[State, int] = {"ok": 0, "minority": 1, "watch": 2, "suspended": 3}


class Shown(NamedTuple):
    """A rater in one round: the state, and why, in words; empty where nothing was found."""

    state: State
    words: list[str]


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
    for number in sorted(int(number) for number in votes["round"].unique()):
        tests = _Tests(votes, number, found, least)
        for rater, size in tests.size.items():
            poor = skill.poor(rater, number) if size >= least else "ok"
            found[rater, number] = tests.shown(rater, rater in fallen, poor)
        suspects = [rater for rater in tests.size if found[rater, number].words]
        known = votes[votes["round"] <= number]
        for rater, words in minority.views(known, suspects).items():
            if tests.could_be_a_view(rater):
                found[rater, number] = Shown("minority", [*found[rater, number].words, words])
        fell = {rater for rater, one in tests.changes.items() if one.q < DISCOVERY_RATE}
        fallen = (fallen - tests.changes.keys()) | fell
    return found


class _Tests:
    """All tests of one round."""

    def __init__(
        self, votes: pd.DataFrame, number: int, found: Mapping[tuple[str, int], Shown], least: int
    ) -> None:
        now, before = votes[votes["round"] == number], _steady(votes, number, found)
        self.size = {str(k): int(n) for k, n in now["rater"].value_counts().sort_index().items()}
        self.changes: dict[str, Drift] = drift.drifts(now, before, least) if len(before) else {}
        self.signs: dict[str, Finding] = {one.rater: one for one in spam.findings(now)}
        self.gold: dict[str, GoldTest] = gold_tests(now)

    def shown(self, rater: str, fell_before: bool, poor: State) -> Shown:
        """The gravest state that any of the tests gives, with all that was found."""
        parts = [*self._change(rater, fell_before), *self._look(rater, poor), *self._checked(rater)]
        if not parts:
            return Shown("ok", [])
        state = max((part.state for part in parts), key=lambda one: _GRAVITY[one])
        return Shown(state, [word for part in parts for word in part.words])

    def could_be_a_view(self, rater: str) -> bool:
        """Whether what was found is no habit, no group's key and no known wrong answers."""
        habit = self.signs[rater].kind in ("fixed", "colluding")
        return not habit and not self._checked(rater)

    def _change(self, rater: str, fell_before: bool) -> list[Shown]:
        one = self.changes.get(rater)
        if one is None or one.p >= ALARM_P:
            return []
        value, low, high = one.flipped
        checked = f", {one.missed} of {one.gold} check items wrong" if one.gold else ""
        words = (
            f"votes changed: as if {value:.0%} ({low:.0%} to {high:.0%}) were turned; "
            f"{one.peers} votes with peers{checked} (p {one.p:.2g})"
        )
        if fell_before and one.q < DISCOVERY_RATE:
            return [Shown("suspended", [words, "changed in two rounds running"])]
        return [Shown("watch", [words])]

    def _look(self, rater: str, poor: State) -> list[Shown]:
        one = self.signs[rater]
        if one.kind == "view":
            return [Shown("minority", ["a view that a group shares", *one.evidence])]
        if one.kind in ("fixed", "colluding"):
            return [Shown("suspended", [f"votes look {one.kind}", *one.evidence])]
        if one.kind == "random" and poor != "ok":
            return [Shown(poor, ["votes look random", *one.evidence])]
        return []

    def _checked(self, rater: str) -> list[Shown]:
        one = self.gold.get(rater)
        if one is None or one.p >= GOLD_P:
            return []
        return [
            Shown("suspended", [f"{one.right} of {one.votes} check items right (p {one.p:.2g})"])
        ]


def _steady(
    votes: pd.DataFrame, number: int, found: Mapping[tuple[str, int], Shown]
) -> pd.DataFrame:
    """Votes of earlier rounds, without those in which their rater was watched or suspended."""
    before = votes[votes["round"] < number]
    bad = {key for key, one in found.items() if one.state in ("watch", "suspended")}
    if not bad:
        return before
    keys: Iterable[tuple[str, int]] = zip(before["rater"], before["round"], strict=True)
    return before[[key not in bad for key in keys]]
