"""No rater stands for more than a set share of the weight of a round's pairs.

Poisoned feedback needs few rows, and a round in which one person gave a third of them is that
person's taste. The cap acts on the votes' weights before pairs are made, in each round and on each
side that trains for itself (the judge's panel is small and often has few rounds).
"""

import math
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from roundhouse.raters import poisoning

Floats = NDArray[np.float64]

#: A cap never binds below so many times an even share: of eight raters each may have 37.5 %, of
#: sixty 5 %.
#: Without this a cap at or near an even share would make all weights of a small team equal.
AMPLE = 3.0
#: Sides whose pairs train something: the reward model, and the judge.
_TRAINED = ("train", "judge")


class Capped(NamedTuple):
    """factors: [votes] between 0 and 1; before, after: the largest share of one rater in the weight
    of a round's pairs that train the reward model, NaN where there are none."""

    factors: Floats
    before: float
    after: float


def capped(votes: pd.DataFrame, weight: Floats, side: NDArray[np.str_], share: float) -> Capped:
    """Factors on votes so that no rater has more than `share` of a round's weight on a side.

    Args:
        votes: rater and round of each.
        weight: [votes] what each adds to the weight of its pair, above 0.
        side: [votes] of the item.
        share: above 0, at most 1, which caps nothing; at least `AMPLE` times an even share counts.
    """
    rater, _ = pd.factorize(votes["rater"])
    number = votes["round"].to_numpy()
    factors = np.ones(len(votes))
    shares: list[tuple[float, float]] = []
    for name in _TRAINED:
        for one in np.unique(number[side == name]):
            at = np.flatnonzero((side == name) & (number == one))
            people, code = np.unique(rater[at], return_inverse=True)
            found = poisoning.cap(code, min(1.0, max(share, AMPLE / len(people))), weight[at])
            factors[at] = found.factors
            if name == "train":
                shares.append((found.before, found.after))
    if not shares:
        return Capped(factors, math.nan, math.nan)
    before, after = map(max, zip(*shares, strict=True))
    return Capped(factors, before, after)
