"""Did the raters change? The pool against its last round, and each rater against unanimous peers.

Raw agreement falls when the items get harder, so a rater is never compared with their own past
alone: the change of their agreement with unanimous peers is centred on the median change over all
raters (difference in differences). A check item whose right answer is known tests a rater directly.
"""

import math
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from roundhouse.raters import agreement
from roundhouse.raters.agreement import CountRows, Estimate
from roundhouse.raters.binomial import at_most
from roundhouse.raters.table import TIE, latest


class PeerChange(NamedTuple):
    """A rater against unanimous peers, this round and last.

    now, before: shares of items on which they agreed; votes_now, votes_before: numbers of such
    items; change: the difference of the shares less the median rater's; p: one-sided, small for a
    fall.
    """

    now: float
    before: float
    votes_now: int
    votes_before: int
    change: float
    p: float


class GoldTest(NamedTuple):
    """A rater on check items: right answers of all, and the exact chance of so few right ones."""

    right: int
    votes: int
    p: float


def alpha_change(
    now: CountRows, before: CountRows, draws: int, confidence: float, seed: int
) -> Estimate:
    """Alpha of one set of items less that of another, with a bootstrap interval.

    Both sets are resampled independently: right for different items, and rather too wide than too
    narrow where they share items whose labels move together.
    """
    fresh = agreement.alphas(now, agreement.resample(now, draws, seed))
    old = agreement.alphas(before, agreement.resample(before, draws, seed + 1))
    value = agreement.alpha(now) - agreement.alpha(before)
    return agreement.interval(value, fresh - old, confidence)


def peer_shares(votes: pd.DataFrame, peers: int = 2) -> pd.DataFrame:
    """Per rater: `agree`, how often they gave the label that all other raters of the item gave, and
    `votes`, on how many items that could be told (at least `peers` others, all of one mind)."""
    votes = latest(votes)
    item = pd.factorize(votes["item"])[0]
    label = votes["label"].to_numpy(np.int64)
    labels = int(label.max()) + 1 if len(label) else 1
    size = int(item.max()) + 1 if len(item) else 0
    counts = np.bincount(item * labels + label, minlength=size * labels).reshape(size, labels)
    others = counts[item]
    others[np.arange(len(label)), label] -= 1
    total, top = others.sum(axis=1), others.max(axis=1, initial=0)
    told = (total >= peers) & (top == total)
    if labels > TIE:
        told &= others[:, TIE] == 0
    agree = told & (others[np.arange(len(label)), label] > 0)
    frame = pd.DataFrame({"rater": votes["rater"].to_numpy(), "agree": agree, "votes": told})
    return frame.groupby("rater", sort=True)[["agree", "votes"]].sum()


def peer_changes(now: pd.DataFrame, before: pd.DataFrame, least: int = 20) -> dict[str, PeerChange]:
    """Change of each rater's agreement with unanimous peers, centred on the median rater.

    Only raters with `least` such items on both sides appear; where fewer than three do, nobody is
    left to centre on, and the result is empty.
    """
    both = peer_shares(now).join(peer_shares(before).add_suffix("_before"), how="inner")
    both = both[(both["votes"] >= least) & (both["votes_before"] >= least)]
    if len(both) < 3:
        return {}
    size, old_size = both["votes"].to_numpy(float), both["votes_before"].to_numpy(float)
    share, old = (
        both["agree"].to_numpy(float) / size,
        both["agree_before"].to_numpy(float) / old_size,
    )
    change = share - old - np.median(share - old)
    z = change / np.sqrt(_variance(share, size) + _variance(old, old_size))
    return {
        str(rater): PeerChange(
            float(share[k]), float(old[k]), int(size[k]), int(old_size[k]), float(change[k]),
            math.erfc(-z[k] / math.sqrt(2)) / 2,
        )
        for k, rater in enumerate(both.index)
    }  # fmt: skip


def gold_tests(votes: pd.DataFrame) -> dict[str, GoldTest]:
    """Each rater with check items against the rest of the pool on theirs (an exact binomial test).

    The rest counts one right answer and one wrong one more than it gave, so that a faultless rest
    does not make a single slip impossible.
    """
    gold = votes[votes["gold"] >= 0]
    right = (gold["label"] == gold["gold"]).to_numpy(np.int64)
    rater, names = pd.factorize(gold["rater"], sort=True)
    hits = np.bincount(rater, right, minlength=len(names)).astype(np.int64)
    size = np.bincount(rater, minlength=len(names))
    rest = (hits.sum() - hits + 1) / (size.sum() - size + 2)
    return {
        str(name): GoldTest(
            int(hits[k]), int(size[k]), at_most(int(hits[k]), int(size[k]), float(rest[k]))
        )
        for k, name in enumerate(names)
    }


def benjamini_hochberg(p: NDArray[np.float64], rate: float) -> NDArray[np.bool_]:
    """[tests] True where a test is significant at this false discovery rate.

    >>> benjamini_hochberg(np.array([0.01, 0.04, 0.03, 0.5]), 0.05).tolist()
    [True, False, False, False]
    """
    order = np.argsort(p, kind="stable")
    passed = np.flatnonzero(p[order] <= rate * np.arange(1, len(p) + 1) / max(1, len(p)))
    significant = np.zeros(len(p), dtype=bool)
    if len(passed):
        significant[order[: passed[-1] + 1]] = True
    return significant


def _variance(share: NDArray[np.float64], size: NDArray[np.float64]) -> NDArray[np.float64]:
    # One success and one failure added: a share of 1 is not known exactly.
    smooth = (share * size + 1) / (size + 2)
    return np.asarray(smooth * (1 - smooth) / size, np.float64)
