"""A round of rating: who rates which pair, the check items in between, and what else people send.

Of the pairs, a part is rated by three people and the rest by one. Beside choices, raters send
stars, corrections, demonstrations and flags. No label is wasted on the wrong side of the split.
"""

from collections import Counter
from collections.abc import Iterable
from random import Random
from typing import Any

from roundhouse.feedback import Side, normalise, prompt_key, side
from roundhouse.settings import Settings
from roundhouse.simulate.answers import AUTHORS, draw
from roundhouse.simulate.bank import CheckItem, bank
from roundhouse.simulate.team import Choice, Item, Rater, choose, drifters, eligible, stars, team
from roundhouse.simulate.week import Week
from roundhouse.simulate.world import assess, understand

#: Prompt, one answer, another answer.
Pair = tuple[str, str, str]

SIDES: tuple[Side, ...] = ("train", "judge", "eval")
#: Share of the pairs that three people rate.
OVERLAP = 0.3

#: Check items for each piece of work, and the most a rater meets in a round.
GOLD_SHARE, MOST_GOLD = 0.15, 30
ANCHOR_SHARE, MOST_ANCHORS = 0.10, 20

#: Shares of the pairs that also bring stars, a correction, a demonstration; of the reckless answers
#: that are flagged.
STARRED, CORRECTED, DEMONSTRATED, FLAGGED = 0.03, 0.03, 0.02, 0.12

#: What a rating is about, most often the whole.
ASPECTS = ("helpfulness", "helpfulness", "helpfulness", "tone", "safety")


def work(
    week: Week,
    pairs: Iterable[Pair],
    settings: Settings,
    round_number: int,
    seed: int,
    policy: str,
) -> None:
    """Puts a round's rating into `week`."""
    _Shift(week, settings, round_number, seed).run(pairs, policy)


class _Shift:
    """The team at work in one round."""

    def __init__(self, week: Week, settings: Settings, round_number: int, seed: int) -> None:
        self._week = week
        self._split = settings.split
        self._team = team(settings.simulate.raters)
        self._flip = settings.simulate.drift.flip
        self._drifters = drifters(self._team, settings.simulate.drift, round_number)
        self._rng = Random(f"{seed}/{round_number}/rating")
        # Drift draws from a stream of its own: without it every other number stays the same.
        self._drift = Random(f"{seed}/{round_number}/drift")
        self._able = {where: eligible(self._team, where, self._split) for where in SIDES}
        self._votes: Counter[str] = Counter()

    def run(self, pairs: Iterable[Pair], policy: str) -> None:
        for prompt, one, other in pairs:
            if normalise(one) == normalise(other) or not (one.strip() and other.strip()):
                continue
            item = Item(prompt, (one, other), first=self._rng.choice((0, 1)))
            self._pair(item, side(prompt_key({"prompt": prompt}), self._split), policy)
        for rater in self._team:
            self._checks(rater)

    def _pair(self, item: Item, where: Side, policy: str) -> None:
        able = self._able[where]
        wanted = 3 if self._rng.random() < OVERLAP else 1
        raters = self._rng.sample(able, min(wanted, len(able)))
        for rater in raters:
            self._votes[rater.name] += 1
            self._compare(rater, item, policy=policy)
        self._more(raters[0], item, where, policy)

    def _compare(self, rater: Rater, item: Item, **fields: Any) -> None:
        choice = self._drifted(rater, choose(rater, item, self._rng))
        self._week.add(
            rater,
            "comparison",
            item.prompt,
            responses=list(item.answers),
            choice=choice,
            position=item.first,
            **fields,
        )

    def _drifted(self, rater: Rater, choice: Choice) -> Choice:
        if choice == "tie" or rater.name not in self._drifters:
            return choice
        if self._drift.random() >= self._flip:
            return choice
        return 1 if choice == 0 else 0

    def _more(self, rater: Rater, item: Item, where: Side, policy: str) -> None:
        """What the first rater of a pair sends beside the choice."""
        starred, corrected, demonstrated = (self._rng.random() for _ in range(3))
        if starred < STARRED:
            self._rate(rater, item, policy)
        if where == "train" and understand(item.prompt) is not None:
            if corrected < CORRECTED:
                self._correct(rater, item, policy)
            if demonstrated < DEMONSTRATED and policy != "archive":
                better = draw(item.prompt, AUTHORS[0], self._rng)
                self._week.add(rater, "demonstration", item.prompt, effort=2.5, response=better)
        for answer in item.answers:
            reckless = assess(item.prompt, answer).safe == 0.0
            if self._rng.random() < FLAGGED and reckless:
                self._week.add(
                    rater,
                    "flag",
                    item.prompt,
                    effort=0.5,
                    response=answer,
                    reason="unsafe",
                    policy=policy,
                )

    def _rate(self, rater: Rater, item: Item, policy: str) -> None:
        aspect = self._rng.choice(ASPECTS)
        for answer in item.answers:
            self._week.add(
                rater,
                "rating",
                item.prompt,
                effort=0.7,
                response=answer,
                score=stars(rater, assess(item.prompt, answer), aspect, self._rng),
                scale=[1, 5],
                aspect=aspect,
                policy=policy,
            )

    def _correct(self, rater: Rater, item: Item, policy: str) -> None:
        worse = min(item.answers, key=lambda answer: assess(item.prompt, answer).utility)
        better = draw(item.prompt, AUTHORS[0], self._rng)
        if normalise(better) != normalise(worse):
            self._week.add(
                rater,
                "correction",
                item.prompt,
                effort=2.0,
                response=worse,
                correction=better,
                policy=policy,
            )

    def _checks(self, rater: Rater) -> None:
        for where in SIDES[:2]:
            if rater in self._able[where]:
                golds, anchors = bank(where, self._split)
                self._meet(rater, golds, GOLD_SHARE, MOST_GOLD)
                self._meet(rater, anchors, ANCHOR_SHARE, MOST_ANCHORS)
                return

    def _meet(self, rater: Rater, items: tuple[CheckItem, ...], share: float, most: int) -> None:
        count = min(round(share * self._votes[rater.name]), most, len(items))
        for check in self._rng.sample(items, count):
            marks: dict[str, Any] = {"anchor": True} if check.gold is None else {"gold": check.gold}
            self._compare(rater, check.item, policy="archive", **marks)
