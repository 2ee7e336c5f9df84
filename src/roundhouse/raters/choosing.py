"""Which pairs to have labelled next: at random, the closest, the most doubtful, the most telling.

Every choice keeps a share of random pairs: what a model chose for itself can measure neither the
model nor the raters.

Source of the last: Das et al. (2024), Active preference optimization for sample efficient RLHF;
Kiefer (1959), Optimum experimental designs (D-optimality).
"""

import math
from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from sklearn.utils.extmath import randomized_svd

from roundhouse.raters import opinion
from roundhouse.raters.table import Item

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Method = Literal["random", "margin", "disagreement", "information"]

#: Share of the chosen pairs that is drawn at random, whatever the method.
RANDOM_SHARE = 0.2
#: Directions of the text features that stand for a last layer.
WIDTH = 100


class Telling(NamedTuple):
    """What `information` chooses by: margin [pairs], features [pairs, width], known [width, width],
    as `choose` takes them."""

    margin: Floats
    features: Floats
    known: Floats


def choose(
    method: Method,
    count: int,
    seed: int,
    margin: Floats | None = None,
    disagreement: Floats | None = None,
    features: Floats | None = None,
    known: Floats | None = None,
) -> Ints:
    """Positions of `count` pairs to label: the random ones first, then the best by the method.

    Args:
        method: `margin` takes the smallest score differences, `disagreement` what the members of a
            reward model disagree on most, `information` what tells most of the last layer.
        count: how many; no more than there are.
        seed: of the random ones.
        margin: [pairs] score difference, in log-odds; for `margin` and `information`.
        disagreement: [pairs] standard deviation over members.
        features: [pairs, width] last layer of the first answer less that of the second.
        known: [width, width] information that labelled pairs gave (`information`).
    """
    size = next(len(one) for one in (margin, disagreement, features) if one is not None)
    count = min(count, size)
    order = np.random.default_rng(seed).permutation(size)
    if method == "random":
        return order[:count]
    drawn = order[: at_random(method, count)]
    left = order[len(drawn) :]
    rest = count - len(drawn)
    if method == "margin" and margin is not None:
        best = left[np.argsort(np.abs(margin[left]), kind="stable")[:rest]]
    elif method == "disagreement" and disagreement is not None:
        best = left[np.argsort(-disagreement[left], kind="stable")[:rest]]
    elif method == "information" and features is not None and margin is not None:
        best = left[_telling(features[left], margin[left], rest, known)]
    else:
        raise ValueError(f"{method}: what it chooses by is missing")
    return np.concatenate([drawn, best])


def at_random(method: Method, count: int) -> int:
    """How many of `count` pairs are drawn at random; they come first.

    >>> at_random("margin", 20), at_random("margin", 21), at_random("random", 20)
    (4, 5, 20)
    """
    return count if method == "random" else math.ceil(round(RANDOM_SHARE * count, 6))


def information(features: Floats, margin: Floats) -> Floats:
    """[width, width] Fisher information of labelled pairs on a logistic last layer.

    A pair of margin m gives p (1 - p) x x^T, with p = sigmoid(m) and x its features.
    """
    weighted = features * _spread(margin)[:, None]
    return np.asarray(weighted.T @ features, np.float64)


def by_text(
    items: Sequence[Item], labelled: Sequence[Item], p: Floats, weight: Floats, seed: int = 0
) -> Telling:
    """The same from texts alone, by a linear reward model on their features.

    Args:
        items: [pairs] to choose from.
        labelled: pairs whose label is known.
        p: [labelled] probability that the first answer is better.
        weight: [labelled] of each.
        seed: of the search for the main directions.
    """
    size = len(items)
    every = opinion.features([*items, *labelled])
    free, taught = directions(every[:size], every[size:], seed)
    coef = opinion.fit(sparse.csr_array(taught), p, weight).coef
    return Telling(free @ coef, free, information(taught, taught @ coef))


def directions(
    items: sparse.csr_array, others: sparse.csr_array, seed: int, width: int = WIDTH
) -> tuple[Floats, Floats]:
    """Text features (`opinion.features`) of items and of others, each [pairs, up to width].

    Words stand by their main directions among the items, which needs no label; lengths and shared
    words, the last three columns, as they are: alone, where there are three items or fewer. All
    have spread 1 among the items, but for columns in which no two items differ.
    """
    both = [one[:, -3:].toarray() for one in (items, others)]
    if (wide := min(width, items.shape[0]) - 3) > 0:
        main = randomized_svd(items[:, :-3], wide, n_iter=5, random_state=seed)[2].T
        words = (one[:, :-3] @ main for one in (items, others))
        both = [np.hstack(parts) for parts in zip(words, both, strict=True)]
    spread = both[0].std(axis=0)
    spread[spread < 1e-9] = 1.0
    return both[0] / spread, both[1] / spread


def _telling(features: Floats, margin: Floats, count: int, known: Floats | None) -> Ints:
    """Greedy D-optimal design: each pick raises the determinant of the information most.

    The gain of a pair is log(1 + w x^T A^-1 x); after a pick A^-1 changes by a matrix of rank one
    (Sherman and Morrison), so that all gains are brought up to date by one product.
    """
    if count == 0:
        return np.zeros(0, dtype=np.int64)
    width = features.shape[1]
    # A weak prior, so that directions nobody has seen are told from those that do not exist.
    scale = float(np.square(features).sum(axis=1).mean()) or 1.0
    inverse = np.linalg.inv((0.0 if known is None else known) + np.eye(width) * scale / width)
    weight, picked = _spread(margin), np.zeros(count, dtype=np.int64)
    leverage = np.einsum("nd,de,ne->n", features, inverse, features)
    free = np.ones(len(features), dtype=bool)
    for place in range(count):
        best = int(np.argmax(np.where(free, weight * leverage, -1.0)))
        picked[place], free[best] = best, False
        along = inverse @ features[best]
        share = weight[best] / (1 + weight[best] * leverage[best])
        leverage = leverage - share * (features @ along) ** 2
        inverse = inverse - share * np.outer(along, along)
    return picked


def _spread(margin: Floats) -> Floats:
    """[pairs] p (1 - p) at these log-odds."""
    p = 1 / (1 + np.exp(-np.clip(margin, -30, 30)))
    return np.asarray(p * (1 - p), np.float64)
