"""Pairs of raters against what skill and items predict: the statistic behind `regions.tastes`.

Two raters of one taste agree on an item with probability chance + b s_i s_j: s their skills, b how
easy the item is. What is left of their equal votes, weighed by s_i s_j, is the score of that model
for "of different taste". Raters of one region who share a taste leave more inside than outside.

Items differ, and a region may have items of its own. So an item with three or more votes is
compared with itself: b is its own, and what it says is which of its voters stands apart. An item
with two votes cannot be; it is compared with the others of its *block*, those of the same domain
and kind (check item, anchor, other). Where raters rate by twos, a region must not have harder
items of its own within a domain.
"""

import math
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from roundhouse.raters.bootstrap import draw_raters, weighted
from roundhouse.raters.pairs import EQUAL, TOTAL, RaterPairs, item_sums, rater_pairs
from roundhouse.raters.table import TIE, latest

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

#: Vote pairs of average skill that stand behind every rater's fitted skill.
_PRIOR = 10.0


class Meetings(NamedTuple):
    """Everything that the test needs of the votes.

    Attributes:
        votes: one decided vote a rater and item, on items with two or more.
        pairs: of their raters.
        items: one row an item: `many` votes, `equal` share of equal vote pairs, `block`, and
            `usual` share of equal vote pairs in the block.
        ease: [pairs] sum over items of b, the item's agreement above chance (mean 1 a vote pair).
        chance: agreement of two who choose blindly.
    """

    votes: pd.DataFrame
    pairs: RaterPairs
    items: pd.DataFrame
    ease: Floats
    chance: float


def meetings(votes: pd.DataFrame) -> Meetings:
    """Reduces a tidy table; labels 0 and 1 count, ties are left out."""
    once = latest(votes[votes["label"] != TIE])
    many = once.groupby("item")["label"].transform("size")
    once = once[(many >= 2).to_numpy(bool)]
    items = _items(once)
    second = float(once["label"].mean()) if len(once) else 0.5
    chance = second**2 + (1 - second) ** 2
    equal = block_mean(items, items["equal"])
    above = equal - chance
    mean = float(np.average(above, weights=_vote_pairs(items))) if len(items) else 0.0
    ease = above / mean if mean > 0 else above * 0.0 + 1.0
    pairs = rater_pairs(once, 2)
    _, total = item_sums(pairs, once, pd.DataFrame({"ease": ease}))
    return Meetings(once, pairs, items.assign(usual=equal), total[:, 0], chance)


def block_mean(items: pd.DataFrame, values: pd.Series) -> pd.Series:
    """Per item the mean of its block's values, each weighing by its vote pairs."""
    weight, block = _vote_pairs(items), items["block"]
    total = (values * weight).groupby(block).transform("sum")
    return total / weight.groupby(block).transform("sum")


def _vote_pairs(items: pd.DataFrame) -> pd.Series:
    return items["many"] * (items["many"] - 1) / 2.0


def _items(once: pd.DataFrame) -> pd.DataFrame:
    grouped = once.groupby("item")
    items = grouped.agg(
        many=("label", "size"), second=("label", "sum"), domain=("domain", "first"),
        gold=("gold", "max"), anchor=("anchor", "max"),
    )  # fmt: skip
    first = items["many"] - items["second"]
    same = first * (first - 1) + items["second"] * (items["second"] - 1)
    kind = items.groupby(["domain", items["gold"] >= 0, "anchor"]).ngroup()
    own = np.arange(len(items)) + (int(kind.max()) + 1 if len(items) else 0)
    return pd.DataFrame(
        {
            "many": items["many"],
            "equal": same / (items["many"] * (items["many"] - 1)),
            "block": np.where(items["many"] >= 3, own, kind),
        }
    )


def scores(found: Meetings) -> Floats:
    """[pairs, 2] the score of each two raters against the model of one taste, and its variance by
    the votes alone."""
    pairs = found.pairs
    total = pairs.sums[:, TOTAL]
    above = pairs.sums[:, EQUAL] - found.chance * total
    skill = _skills(pairs, above, found.ease)
    product = skill[pairs.first] * skill[pairs.second]
    p = np.clip(found.chance + product * found.ease / np.maximum(total, 1), 0.02, 0.98)
    score = product * (above - product * found.ease)
    return np.stack([score, product**2 * total * p * (1 - p)], axis=1)


def _skills(pairs: RaterPairs, above: Floats, ease: Floats, iterations: int = 40) -> Floats:
    """[raters] s with above_ij near ease_ij s_i s_j: alternating least squares, held near the pool
    by a few pairs of average skill, none below 0."""
    first, second, raters = pairs.first, pairs.second, len(pairs.raters)
    usual = math.sqrt(max(float(above.sum()) / max(1.0, float(ease.sum())), 0.01))
    skill = np.full(raters, usual)
    size = np.maximum(ease, 0.0)
    for _ in range(iterations):
        one, other = skill[first], skill[second]
        top = np.bincount(first, other * above, minlength=raters)
        top += np.bincount(second, one * above, minlength=raters)
        below = np.bincount(first, other**2 * size, minlength=raters)
        below += np.bincount(second, one**2 * size, minlength=raters)
        fitted = (top + _PRIOR * usual**3) / (below + _PRIOR * usual**2)
        skill = (skill + np.maximum(fitted, 0.0)) / 2
    return np.asarray(skill, np.float64)


def lost_between(found: Meetings, inside: Bools, draws: int, seed: int) -> Floats:
    """[1 + draws] agreement lost between two groups of raters; the first is the estimate.

    Least squares for y = block + b level - loss cross over vote pairs: y whether both votes are
    equal, level how many of both raters are of the group, cross whether one is. That is the average
    agreement inside both groups less that between them, on the same items. NaN where no block has
    pairs of both kinds. The draws redraw raters inside each group; the blocks' means are kept.

    Args:
        found: the votes.
        inside: [raters] True for raters of the group.
        draws: how many.
        seed: of the draws.
    """
    weights = np.ones((draws + 1, len(inside)))
    for group, side in enumerate((inside, ~inside)):
        weights[1:, side] = draw_raters(int(side.sum()), draws, seed + group)
    pairs = found.pairs
    products = weighted(pairs.first, pairs.second, _products(found, inside), weights)
    level, both, cross, level_y, cross_y = products.T
    scale = level * cross - both**2
    known = scale > 1e-9 * np.maximum(level, 1.0) ** 2
    loss = np.full(draws + 1, math.nan)
    np.divide(both * level_y - level * cross_y, scale, out=loss, where=known)
    return loss


def _products(found: Meetings, inside: Bools) -> Floats:
    """[pairs, 5] products of level, cross and y, each less its block's mean, summed over items:
    level level, level cross, cross cross, level y, cross y."""
    pairs, items = found.pairs, found.items
    home, away = inside[pairs.first].astype(np.float64), inside[pairs.second].astype(np.float64)
    level, cross = home + away, np.abs(home - away)
    names = {name for name, one in zip(pairs.raters, inside, strict=True) if one}
    shared = found.votes["rater"].isin(names).groupby(found.votes["item"]).sum()
    shared, many, y = shared.reindex(items.index), items["many"], items["usual"]
    u = block_mean(items, 2 * shared / many)
    v = block_mean(items, shared * (many - shared) / _vote_pairs(items))
    means = {
        "y": y,
        "u": u,
        "v": v,
        "uu": u * u,
        "uv": u * v,
        "vv": v * v,
        "uy": u * y,
        "vy": v * y,
    }
    equal, total = item_sums(pairs, found.votes, pd.DataFrame(means))
    n, e = pairs.sums[:, TOTAL], pairs.sums[:, EQUAL]
    y_left = e - total[:, 0]
    columns = (
        level * level * n - 2 * level * total[:, 1] + total[:, 3],
        level * cross * n - level * total[:, 2] - cross * total[:, 1] + total[:, 4],
        cross * cross * n - 2 * cross * total[:, 2] + total[:, 5],
        level * y_left - equal[:, 1] + total[:, 6],
        cross * y_left - equal[:, 2] + total[:, 7],
    )
    return np.stack(columns, axis=1)
