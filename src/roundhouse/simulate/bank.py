"""The check items: a small fixed bank that the raters meet every round among their work.

Gold items have one answer that is plainly better; anchors are ordinary pairs, re-rated every round,
so that harder items can be told from worse raters. None of them lies on the evaluation side, whose
figures would otherwise look better than they are.
"""

from functools import lru_cache
from random import Random
from typing import Literal, NamedTuple

from roundhouse.feedback import Side, prompt_key, side
from roundhouse.settings import SplitSettings
from roundhouse.simulate.answers import EARLIER_ASSISTANT, draw
from roundhouse.simulate.team import Item
from roundhouse.simulate.world import all_prompts, utility

#: Items of each kind for each side; a rater sees a part of them a round.
GOLD_ITEMS, ANCHOR_ITEMS = 60, 40

#: Difference in utility that makes an item plain enough for gold.
PLAIN = 2.2


class CheckItem(NamedTuple):
    """An item of the bank."""

    item: Item
    gold: Literal[0, 1] | None
    """The answer known to be right; None on anchors."""


@lru_cache(maxsize=4)
def bank(where: Side, split: SplitSettings) -> tuple[tuple[CheckItem, ...], tuple[CheckItem, ...]]:
    """Gold items and anchors on prompts of one side; the same in every round and run."""
    rng = Random(f"roundhouse bank {where}")
    golds: list[CheckItem] = []
    anchors: list[CheckItem] = []
    # Half of the world's prompts at most: a split so narrow that it yields fewer gets fewer items.
    for prompt in rng.sample(all_prompts(), len(all_prompts()) // 2):
        if len(golds) == GOLD_ITEMS and len(anchors) == ANCHOR_ITEMS:
            break
        if side(prompt_key({"prompt": prompt}), split) != where:
            continue
        check = _check(prompt, rng)
        kind, most = (golds, GOLD_ITEMS) if check.gold is not None else (anchors, ANCHOR_ITEMS)
        if len(kind) < most:
            kind.append(check)
    return tuple(golds), tuple(anchors)


def _check(prompt: str, rng: Random) -> CheckItem:
    while True:
        answers = (draw(prompt, EARLIER_ASSISTANT, rng), draw(prompt, EARLIER_ASSISTANT, rng))
        if answers[0] != answers[1]:
            break
    item = Item(prompt, answers, first=rng.choice((0, 1)))
    gain = utility(prompt, answers[0]) - utility(prompt, answers[1])
    if abs(gain) < PLAIN:
        return CheckItem(item, None)
    return CheckItem(item, 0 if gain > 0 else 1)
