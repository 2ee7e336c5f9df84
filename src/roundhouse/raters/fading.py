"""Does old feedback still help? By what it does to the newest labels, not by its age.

    uses = fading.of_pairs(pairs, seed=17)       # lines of pairs.jsonl
    pairs = fading.faded(pairs, uses)

For each earlier round the small text model (`opinion`) is fitted with and without the round's
pairs, and both are asked about the newest round's items: those that several people voted on, whose
label is known best, and which no fold's model has seen. A round's pairs fade only where the model
is better off without them, by the log-likelihood of the newest labels: accuracy moves too little to
tell (`benchmarks/raters/fading.py`). Each model's scores are scaled first to fit best, since noisy
pairs make scores small, and small scores in the right order do no harm.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.optimize import minimize_scalar

from roundhouse import jsonl
from roundhouse.raters import opinion
from roundhouse.raters.agreement import UNKNOWN, Estimate, interval
from roundhouse.raters.table import Item

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

#: Newest items below which nothing is said, and the weight of a round that does harm.
LEAST, FADED = 100, 0.5
#: Most pairs looked at, of them most of the newest that are asked about, and most earlier rounds
#: (the newest ones): about ten seconds of one core at most.
MOST, MOST_ASKED, MOST_ROUNDS = 8000, 2000, 8
#: Scores are scaled by so much at most.
WIDEST = 20.0


class Use(NamedTuple):
    """What an earlier round's pairs are worth now.

    Attributes:
        round: its number.
        pairs: how many it has.
        gain: accuracy on the newest items with them less without, with its interval.
        likelihood: the same of the mean log-likelihood of their labels, in nats.
        factor: on their weight: 1, or `FADED` where the interval of the likelihood lies below 0.
    """

    round: int
    pairs: int
    gain: Estimate
    likelihood: Estimate
    factor: float

    def as_json(self) -> dict[str, Any]:
        """The entry of rounds.json; a gain that is not known is null."""
        found: dict[str, Any] = {"round": self.round, "pairs": self.pairs}
        for name, each in (("gain", self.gain), ("likelihood", self.likelihood)):
            value, low, high = map(jsonl.number, each)
            found |= {name: value, f"{name}_low": low, f"{name}_high": high}
        return found | {"factor": self.factor}


def of_pairs(lines: Sequence[Mapping[str, Any]], seed: int, draws: int = 1000) -> list[Use]:
    """The use of each earlier round, from the pairs that train the reward model alone.

    Of more than `MOST` pairs a sample is looked at, in which rounds keep their proportions.

    Args:
        lines: of pairs.jsonl, weights as they would train.
        seed: of sample and bootstrap.
        draws: of the bootstrap.
    """
    train = [line for line in lines if line["side"] == "train"]
    partition = np.array([line["partition"] for line in train], dtype=np.int64)
    if len(np.unique(partition)) < 2:
        return []
    votes = np.array([line["votes"] for line in train], dtype=np.int64)
    p = np.array([line["p"] for line in train], dtype=np.float64)
    shown = _looked_at((partition == partition.max()) & (votes > 1) & (p != 0.5), seed)
    items = [
        Item(one["prompt"], one["a"], one["b"], "train", "") for one in (train[k] for k in shown)
    ]
    weight = np.array([train[k]["weight"] for k in shown], dtype=np.float64)
    found = usefulness(
        opinion.features(items), p[shown], weight, partition[shown], votes[shown],
        opinion.prompts(items), draws, seed=seed, most=MOST_ROUNDS, rounds=np.unique(partition),
    )  # fmt: skip
    size = dict(zip(*np.unique(partition, return_counts=True), strict=True))
    return [use._replace(pairs=int(size[use.round])) for use in found]


def faded(lines: Sequence[dict[str, Any]], uses: Sequence[Use]) -> list[dict[str, Any]]:
    """The lines with the factors on the pairs that train; their weights still average 1."""
    factor = {use.round: use.factor for use in uses if use.factor != 1.0}
    train = [k for k, line in enumerate(lines) if line["side"] == "train"]
    if not factor or not train:
        return list(lines)
    weight = np.array([lines[k]["weight"] * factor.get(lines[k]["partition"], 1.0) for k in train])
    weight /= weight.mean()
    changed = dict(zip(train, weight.tolist(), strict=True))
    return [line | {"weight": changed[k]} if k in changed else line for k, line in enumerate(lines)]


def usefulness(
    features: sparse.csr_array,
    p: Floats,
    weight: Floats,
    partition: Ints,
    votes: Ints,
    prompt: Ints,
    draws: int = 1000,
    confidence: float = 0.95,
    seed: int = 0,
    most: int | None = None,
    rounds: Ints | None = None,
) -> list[Use]:
    """The use of each round before the newest.

    Args:
        features: [pairs, columns] of `opinion.features`.
        p: [pairs] probability that the first answer is better.
        weight: [pairs] in training.
        partition: [pairs] the round that each came in.
        votes: [pairs] how many people voted on it.
        prompt: [pairs] number of each one's prompt (`opinion.prompts`).
        draws, confidence, seed: of the bootstrap over the prompts of the newest items.
        most: earlier rounds that are tried, the newest ones; the others keep their weight.
        rounds: all that there are, in order, where the pairs are a sample: of one that it lacks
            nothing is said, and no older one is taken for the newest. By default the pairs' own.
    """
    every_round = np.unique(partition) if rounds is None else rounds
    newest = every_round[-1]
    asked = np.flatnonzero((partition == newest) & (votes > 1) & (p != 0.5))
    drawn_by, fold = np.unique(prompt[asked], return_inverse=True)[1], prompt % opinion.FOLDS
    enough = len(np.unique(drawn_by)) >= LEAST
    every = _scores(features, p, weight, fold, asked) if enough else np.zeros(0)
    earlier, uses = every_round[:-1], []
    tried = earlier if most is None else earlier[-most:]
    for number in earlier:
        gain = likelihood = UNKNOWN
        here = partition == number
        if enough and here.any() and number in tried:
            left = np.where(here, 0.0, weight)
            without = _scores(features, p, left, fold, asked)
            gain, likelihood = (
                _mean(
                    good(every, p[asked]) - good(without, p[asked]),
                    drawn_by,
                    draws,
                    confidence,
                    seed,
                )
                for good in (_right, _likelihood)
            )
        harmful = likelihood.known and likelihood.high < 0
        size, factor = int(here.sum()), FADED if harmful else 1.0
        uses.append(Use(int(number), size, gain, likelihood, factor))
    return uses


def _looked_at(asked: NDArray[np.bool_], seed: int) -> Ints:
    """Positions of a sample of at most `MOST` pairs that keeps those that are asked about."""
    if len(asked) <= MOST:
        return np.arange(len(asked))
    rng = np.random.default_rng(seed)
    kept = rng.permutation(np.flatnonzero(asked))[:MOST_ASKED]
    others = rng.permutation(np.flatnonzero(~asked))[: MOST - len(kept)]
    return np.sort(np.concatenate([kept, others]))


def _scores(
    features: sparse.csr_array, p: Floats, weight: Floats, fold: Ints, asked: Ints
) -> Floats:
    """[asked] log-odds that the first answer is better, by the model of the other folds."""
    scores = np.zeros(len(asked))
    for number in np.unique(fold[asked]):
        rest, here = fold != number, fold[asked] == number
        if weight[rest].sum() > 0:
            model = opinion.fit(features[rest], p[rest], weight[rest])
            scores[here] = model.score(features[asked[here]])
    return scores


def _right(score: Floats, p: Floats) -> Floats:
    """[asked] 1 where the score names the answer that people prefer."""
    return np.asarray(np.sign(score) == np.sign(p - 0.5), np.float64)


def _likelihood(score: Floats, p: Floats) -> Floats:
    """[asked] log-likelihood of the soft label, nats, at the scale of the scores that fits best."""

    def at(scale: float) -> Floats:
        said = scale * score
        found: Floats = -p * np.logaddexp(0.0, -said) - (1 - p) * np.logaddexp(0.0, said)
        return found

    best = minimize_scalar(lambda scale: -at(scale).mean(), bounds=(0.0, WIDEST), method="bounded")
    return at(float(best.x))


def _mean(values: Floats, group: Ints, draws: int, confidence: float, seed: int) -> Estimate:
    """The mean with the percentile interval of a bootstrap over groups: pairs of one prompt hang
    together."""
    sums, sizes = np.bincount(group, values), np.bincount(group)
    rng = np.random.default_rng(seed)
    times = rng.multinomial(len(sums), np.full(len(sums), 1 / len(sums)), size=draws)
    return interval(float(values.mean()), (times @ sums) / (times @ sizes), confidence)
