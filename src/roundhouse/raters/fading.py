"""Does old feedback still help? By what it does to accuracy on the newest, not by its age.

For each earlier round the small text model (`opinion`) is fitted with and without the round's
pairs, and both are asked about the newest round's items. Accuracy is over items that several people
voted on, whose label is known best, and which no fold's model has seen. A round's pairs fade only
where the model is better off without them.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from roundhouse.raters import opinion
from roundhouse.raters.agreement import UNKNOWN, Estimate, interval

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

#: Newest items below which nothing is said, and the weight of a round that does harm.
LEAST, FADED = 100, 0.5


class Use(NamedTuple):
    """What an earlier round's pairs are worth now.

    Attributes:
        round: its number.
        pairs: how many it has.
        gain: accuracy on the newest items with them less without, with its interval.
        factor: on their weight: 1, or `FADED` where the whole interval lies below 0.
    """

    round: int
    pairs: int
    gain: Estimate
    factor: float


def usefulness(
    features: sparse.csr_array,
    p: Floats,
    weight: Floats,
    partition: Ints,
    votes: Ints,
    fold: Ints,
    draws: int = 1000,
    confidence: float = 0.95,
    seed: int = 0,
) -> list[Use]:
    """The use of each round before the newest.

    Args:
        features: [pairs, columns] of `opinion.features`.
        p: [pairs] probability that the first answer is better.
        weight: [pairs] in training.
        partition: [pairs] the round that each came in.
        votes: [pairs] how many people voted on it.
        fold: [pairs] of `opinion.folds`.
        draws, confidence, seed: of the bootstrap over the newest items.
    """
    newest = partition.max()
    asked = np.flatnonzero((partition == newest) & (votes > 1) & (p != 0.5))
    every = _right(features, p, weight, fold, asked)
    uses = []
    for number in np.unique(partition[partition < newest]):
        gain = UNKNOWN
        if len(asked) >= LEAST:
            without = _right(features, p, np.where(partition == number, 0.0, weight), fold, asked)
            gain = _mean(every - without, draws, confidence, seed)
        harmful = gain.known and gain.high < 0
        size = int((partition == number).sum())
        uses.append(Use(int(number), size, gain, FADED if harmful else 1.0))
    return uses


def _right(
    features: sparse.csr_array, p: Floats, weight: Floats, fold: Ints, asked: Ints
) -> Floats:
    """[asked] 1 where the model of the other folds names the answer that people prefer."""
    right = np.zeros(len(asked))
    for number in np.unique(fold[asked]):
        rest, here = fold != number, fold[asked] == number
        if weight[rest].sum() > 0:
            model = opinion.fit(features[rest], p[rest], weight[rest])
            said = model.score(features[asked[here]])
            right[here] = (said > 0) == (p[asked[here]] > 0.5)
    return right


def _mean(values: Floats, draws: int, confidence: float, seed: int) -> Estimate:
    """The mean with the percentile interval of a bootstrap."""
    rng = np.random.default_rng(seed)
    levels, counts = np.unique(values, return_counts=True)
    drawn = rng.multinomial(len(values), counts / len(values), size=draws) @ levels
    return interval(float(values.mean()), drawn / len(values), confidence)
