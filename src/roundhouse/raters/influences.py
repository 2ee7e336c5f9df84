"""What one rater does to training, of every rater: poisoning.json.

Looks at the votes that train the reward model, with what each adds to the weight of its pair
(before earlier rounds fade): each rater's share, the words that they prefer whatever the others do
(`poisoning.tied_tokens`), and what a small linear reward model would be without them
(`poisoning.influence`), on the words most used and those that are tied to somebody. Of people's
texts nothing but single words is kept, and no number long enough to be a telephone's. It is shown
and acts on nothing: a person looks.
"""

import re
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from roundhouse import jsonl
from roundhouse.raters import opinion, poisoning
from roundhouse.raters.table import SECOND, TIE, Item

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Words = frozenset[str]

#: Most votes that words are counted in, and that the linear model is fitted on, drawn by the seed.
MOST_VOTES, MOST_FITTED = 50_000, 5000
#: Words that the linear model sees, and the raters with the most weight who are left out of it.
WORDS, MOST_RATERS = 48, 100
#: Words tied to somebody that it sees beside them, and the part of the prompts that is held out.
_TIED, _HELD = 16, 0
_WORD = re.compile(r"[^\W_]+")
_LONG_NUMBER = re.compile(r"\d{5}")


def of_votes(votes: pd.DataFrame, items: Sequence[Item], seed: int) -> list[dict[str, Any]]:
    """One entry a rater, the largest share first.

    Args:
        votes: of `aggregate.weighed`; those on the training side are used.
        items: what they are about.
        seed: of the samples.

    Each entry has `rater`, `share` (of the weight of all votes that train), `tied` (a list of
    token, votes, share, others, p), `influence` (change of the linear model's weights without the
    rater, as a part of their length) and `accuracy_change` (its held-out accuracy without the rater
    less that with everyone); the last two are null where they were not computed.
    """
    train = votes[votes["side"] == "train"]
    if not len(train):
        return []
    rater, names = pd.factorize(train["rater"], sort=True)
    weight = train["part"].to_numpy(np.float64)
    share = np.bincount(rater, weight) / weight.sum()
    rng = np.random.default_rng(seed)
    named = np.flatnonzero(train["label"].to_numpy() != TIE)
    shown = np.sort(rng.permutation(named)[:MOST_VOTES])
    words = _Words(items)
    tied = _tied(train.iloc[shown], rater[shown], words)
    change, without = _influence(train, rater, weight, share, items, words, tied, rng)
    found = [
        {
            "rater": str(name),
            "share": float(share[k]),
            "tied": [
                {
                    "token": one.token, "votes": one.votes, "share": one.share,
                    "others": jsonl.number(one.others), "p": one.p,
                }
                for one in tied
                if one.rater == k
            ],
            "influence": jsonl.number(change[k]),
            "accuracy_change": jsonl.number(without[k]),
        }
        for k, name in enumerate(names)
    ]  # fmt: skip
    return sorted(found, key=lambda one: (-one["share"], one["rater"]))


class _Words:
    """The words of an item's answers, each looked up once."""

    def __init__(self, items: Sequence[Item]) -> None:
        self._items = items
        self._known: dict[int, tuple[Words, Words]] = {}

    def of(self, item: int) -> tuple[Words, Words]:
        """Words of the first answer alone, and of the second alone."""
        if item not in self._known:
            first, second = (_set(text) for text in (self._items[item].a, self._items[item].b))
            self._known[item] = (first - second, second - first)
        return self._known[item]


def _set(text: str) -> Words:
    return frozenset(
        word for word in _WORD.findall(text.casefold()) if not _LONG_NUMBER.search(word)
    )


def _tied(votes: pd.DataFrame, rater: Ints, words: _Words) -> list[poisoning.TiedToken]:
    chosen, rejected = [], []
    for item, label in zip(votes["item"], votes["label"], strict=True):
        first, second = words.of(item)
        chosen.append(second if label == SECOND else first)
        rejected.append(first if label == SECOND else second)
    return poisoning.tied_tokens(chosen, rejected, rater)


def _influence(
    train: pd.DataFrame,
    rater: Ints,
    weight: Floats,
    share: Floats,
    items: Sequence[Item],
    words: _Words,
    tied: Sequence[poisoning.TiedToken],
    rng: np.random.Generator,
) -> tuple[Floats, Floats]:
    """([raters] relative change, [raters] change of held-out accuracy), NaN where not computed."""
    shown = np.sort(rng.permutation(len(train))[:MOST_FITTED])
    item = train["item"].to_numpy()[shown]
    label = train["label"].to_numpy()[shown]
    chance = np.where(label == TIE, 0.5, (label == SECOND).astype(np.float64))
    features = _features(item, words, tied)
    codes, of_vote = np.unique(item, return_inverse=True)
    held = opinion.folds([items[k] for k in codes])[of_vote] == _HELD
    # Everybody below the most weighty is one rater more, who is not reported.
    order = np.argsort(-share, kind="stable")[:MOST_RATERS]
    place = np.full(len(share), len(order))
    place[order] = np.arange(len(order))
    change, without = np.full((2, len(share)), np.nan)
    if not (~held).any():
        return change, without
    found = poisoning.influence(
        features[~held], chance[~held], place[rater[shown]][~held], weight[shown][~held],
        (features[held & (label != TIE)], chance[held & (label != TIE)]), steps=2,
    )  # fmt: skip
    seen = order[: len(found.change)]
    change[seen] = found.change[: len(seen)] / max(found.length, 1e-12)
    without[seen] = found.without[: len(seen)]
    return change, without


def _features(item: Ints, words: _Words, tied: Sequence[poisoning.TiedToken]) -> Floats:
    """[votes, words] 1 where the second answer alone has the word, -1 where the first alone has."""
    used: Counter[str] = Counter()
    for one in item.tolist():
        for part in words.of(one):
            used.update(part)
    names = [word for word, _ in sorted(used.items(), key=lambda kv: (-kv[1], kv[0]))[:WORDS]]
    names += [token for token in dict.fromkeys(one.token for one in tied) if token not in names][
        :_TIED
    ]
    column = {name: k for k, name in enumerate(names)}
    features = np.zeros((len(item), len(names)))
    for row, one in enumerate(item.tolist()):
        for part, sign in zip(words.of(one), (-1.0, 1.0), strict=True):
            for word in part & column.keys():
                features[row, column[word]] = sign
    return features
