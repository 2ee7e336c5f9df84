"""How often each rater is right, without knowing the truth: Dawid and Skene's model with priors.

Each item has a true label; rater j gives label l to an item of truth k with probability
`confusion[j, k, l]`. Expectation maximisation alternates between the items' posteriors and the
raters' confusions (Dawid and Skene 1979). Two forms:

- one coin: a rater has one accuracy; wrong labels are spread as the whole pool spreads them, so
  that a rare third label (a tie) does not distort it.
- two coins: a full confusion matrix a rater, with Dirichlet priors centred on the pool's.

Priors matter: a rater with few votes stands near the pool, and how near follows from how much
raters differ (empirical Bayes). Items differ in difficulty, which the model does not know; its
posteriors are then somewhat too sure.
"""

import math
from typing import Literal, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from roundhouse.raters.agreement import Estimate, ceiling, count_rows, reach
from roundhouse.raters.table import needs

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Coins = Literal["one", "two"]

#: Accuracy assumed of a pool that shares no items: nothing in the data can tell.
ASSUMED_ACCURACY = 0.75
_FLOOR = 1e-4


class Reliability(NamedTuple):
    """What the model found.

    raters: [raters] names, sorted; accuracy: [raters] probability of the true label; effective:
    [raters] votes' worth of information behind it (single-rated items give none); overlap: [raters]
    votes on items that another rater saw too; confusion: [raters, truth, label]; pool: accuracy of
    the pool; prior: [labels] share of items; soft: [items, labels] posteriors, in the order of the
    sorted items; spread: [truth, label] what the pool makes of an error.
    """

    raters: list[str]
    accuracy: Floats
    effective: Floats
    overlap: Ints
    confusion: Floats
    pool: float
    prior: Floats
    soft: Floats
    spread: Floats
    iterations: int

    def interval(self, confidence: float) -> list[Estimate]:
        """Each rater's accuracy with a Wilson interval on the effective number of votes.

        Raises:
            DataError: `confidence` is no share between 0 and 1.
        """
        pairs = zip(self.accuracy, self.effective, strict=True)
        return [wilson(float(share), float(size), confidence) for share, size in pairs]


class _Votes(NamedTuple):
    """Ratings sorted by item: codes, where each item starts, and each vote's weight."""

    item: Ints
    rater: Ints
    label: Ints
    weight: Floats
    items: int
    raters: int
    labels: int


def dawid_skene(
    votes: pd.DataFrame,
    coins: Coins = "one",
    labels: int | None = None,
    symmetric: bool = False,
    tolerance: float = 1e-4,
    most: int = 200,
) -> Reliability:
    """Fits the model to a tidy table (item, rater, label; an optional `weight` of each vote).

    Args:
        coins: one accuracy a rater, or a confusion matrix.
        labels: how many labels there are; by default the highest one tells.
        symmetric: labels 0 and 1 are exchangeable (answers in an arbitrary order), so that neither
            may have a higher share, or another confusion, than the other.
        tolerance: ends when no accuracy moves more in an iteration.
        most: iterations, at most, of each of the two passes (the second has the fitted prior).

    Raises:
        DataError: a column is missing, or a label is not below `labels`.
    """
    needs(votes, "item", "rater", "label", labels=labels)
    names = sorted(votes["rater"].unique())
    data = _codes(votes, names, labels)
    single = _single_rated(data)
    centre = _pool_guess(data)
    state = _State(data, coins, symmetric, centre, strength=8.0)
    iterations = state.run(tolerance, most)
    if not single.all():
        state.strength = _strength(state, single)
        iterations += state.run(tolerance, most)
    return Reliability(
        raters=[str(name) for name in names],
        accuracy=state.accuracy,
        effective=_effective(data, state, single),
        overlap=np.bincount(data.rater[~single], minlength=data.raters),
        confusion=state.confusion,
        pool=state.centre,
        prior=state.prior,
        soft=state.soft,
        spread=state.spread,
        iterations=iterations,
    )


def wilson(share: float, size: float, confidence: float) -> Estimate:
    """Wilson's interval of a share seen in `size` trials (which may be a fraction); unknown at 0.

    Raises:
        DataError: `confidence` is no share between 0 and 1.

    >>> [round(part, 3) for part in wilson(0.8, 100, 0.95)]
    [0.8, 0.711, 0.867]
    """
    z = reach(confidence)
    if size <= 0 or not math.isfinite(share):
        return Estimate(share, 0.0, 1.0)
    middle = (share + z * z / (2 * size)) / (1 + z * z / size)
    half = z / (1 + z * z / size) * math.sqrt(share * (1 - share) / size + (z / (2 * size)) ** 2)
    return Estimate(share, max(0.0, middle - half), min(1.0, middle + half))


class _State:
    """Parameters of one fit, and the two steps that improve them."""

    def __init__(
        self, data: _Votes, coins: Coins, symmetric: bool, centre: float, strength: float
    ) -> None:
        self.data, self.coins, self.symmetric = data, coins, symmetric
        self.centre, self.strength = centre, strength
        labels = data.labels
        self.prior = np.full(labels, 1 / labels)
        self.spread = (1 - np.eye(labels)) / max(1, labels - 1)
        self.accuracy = np.full(data.raters, centre)
        self.confusion = self._confusion()
        self.soft = self._expect()

    def run(self, tolerance: float, most: int) -> int:
        for iteration in range(1, most + 1):
            before = self.accuracy
            self._maximise()
            self.soft = self._expect()
            if np.abs(self.accuracy - before).max(initial=0.0) < tolerance:
                return iteration
        return most

    def _expect(self) -> Floats:
        data = self.data
        # Posterior of each item: prior times the product of its votes' likelihoods, in logs.
        seen = np.log(self.confusion).transpose(0, 2, 1)[data.rater, data.label]
        seen *= data.weight[:, None]
        logs = np.log(self.prior)[None, :] + _sum_by(data.item, seen, data.items)
        logs -= logs.max(axis=1, keepdims=True)
        soft = np.exp(logs)
        soft /= soft.sum(axis=1, keepdims=True)
        return np.asarray(soft, np.float64)

    def _maximise(self) -> None:
        data, labels = self.data, self.data.labels
        share = self.soft[data.item] * data.weight[:, None]
        cell = data.rater * labels + data.label
        seen = _sum_by(cell, share, data.raters * labels)
        # counts[j, k, l]: expected votes l of rater j on items of truth k.
        counts = seen.reshape(data.raters, labels, labels).transpose(0, 2, 1)
        pooled = counts.sum(axis=0)
        self.prior = self._balanced(self.soft.sum(axis=0) + 1.0)
        self.spread = self._wrong(pooled)
        total = counts.sum(axis=(1, 2))
        right = np.trace(counts, axis1=1, axis2=2)
        self.accuracy = (right + self.strength * self.centre) / (total + self.strength)
        if total.sum() > 0:
            self.centre = float(np.clip(right.sum() / total.sum(), 0.5, 0.99))
        self.confusion = self._confusion() if self.coins == "one" else self._matrices(counts)

    def _confusion(self) -> Floats:
        right = np.clip(self.accuracy, _FLOOR, 1 - _FLOOR)[:, None, None]
        return _one_coin(right, self.spread)

    def _matrices(self, counts: Floats) -> Floats:
        if self.symmetric:
            turned = _exchanged(counts)
            counts = (counts + turned) / 2
        centre = np.eye(self.data.labels) * self.centre + (1 - self.centre) * self.spread
        filled = counts + self.strength * centre
        matrices = np.clip(filled / filled.sum(axis=2, keepdims=True), _FLOOR, 1.0)
        matrices /= matrices.sum(axis=2, keepdims=True)
        diagonal = np.einsum("jkk,k->j", matrices, self.prior)
        self.accuracy = np.asarray(diagonal, np.float64)
        return np.asarray(matrices, np.float64)

    def _wrong(self, pooled: Floats) -> Floats:
        labels = self.data.labels
        if self.symmetric:
            pooled = (pooled + _exchanged(pooled[None])[0]) / 2
        wrong = (pooled + 1.0) * (1 - np.eye(labels))
        return np.asarray(wrong / np.maximum(wrong.sum(axis=1, keepdims=True), _FLOOR), np.float64)

    def _balanced(self, share: Floats) -> Floats:
        if self.symmetric:
            share = share.copy()
            share[:2] = share[:2].mean()
        return np.asarray(share / share.sum(), np.float64)


def _one_coin(accuracy: Floats, spread: Floats) -> Floats:
    """[..., truth, label] one-coin confusion from accuracies [..., 1, 1] and the pool's errors."""
    eye = np.eye(len(spread))
    return np.asarray(accuracy * eye + (1 - accuracy) * np.maximum(spread, _FLOOR) * (1 - eye))


def _exchanged(matrices: Floats) -> Floats:
    """[..., truth, label] with labels 0 and 1 exchanged on both axes."""
    order = np.arange(matrices.shape[-1])
    order[:2] = order[:2][::-1]
    return matrices[:, order][:, :, order]


def _codes(votes: pd.DataFrame, names: list[str], labels: int | None) -> _Votes:
    item, _ = pd.factorize(votes["item"], sort=True)
    rater = pd.Categorical(votes["rater"], categories=names).codes
    label = votes["label"].to_numpy(np.int64)
    weight = np.ones(len(votes))
    if "weight" in votes:
        weight = np.asarray(votes["weight"], np.float64)
    size = labels or (int(label.max()) + 1 if len(label) else 2)
    return _Votes(
        item.astype(np.int64), rater.astype(np.int64), label, weight,
        int(item.max()) + 1 if len(item) else 0, len(names), max(2, size),
    )  # fmt: skip


def _sum_by(code: Ints, values: Floats, size: int) -> Floats:
    """[size, columns] sums of the rows of `values` that share a code."""
    columns = [np.bincount(code, values[:, k], minlength=size) for k in range(values.shape[1])]
    return np.stack(columns, axis=1)


def _single_rated(data: _Votes) -> NDArray[np.bool_]:
    """[votes] True where no other rater voted on the item."""
    pairs = np.unique(data.item * max(1, data.raters) + data.rater)
    raters = np.bincount(pairs // max(1, data.raters), minlength=data.items)
    return np.asarray(raters[data.item] < 2)


def _pool_guess(data: _Votes) -> float:
    share = ceiling(count_rows(data.item, data.label, data.labels)) if len(data.item) else math.nan
    return float(np.clip(share, 0.55, 0.95)) if math.isfinite(share) else ASSUMED_ACCURACY


def _information(data: _Votes, state: _State) -> Floats:
    """[votes] how much a vote tells of its rater's accuracy: 1 where the truth is known, 0 where
    the rater's own vote is all there is (complete less missing information, Louis 1982)."""
    right = state.soft[data.item, data.label]
    spread = np.clip(state.accuracy * (1 - state.accuracy), _FLOOR, None)[data.rater]
    told = np.clip(1 - right * (1 - right) / spread, 0.0, 1.0) * data.weight
    return np.asarray(told, np.float64)


def _effective(data: _Votes, state: _State, single: NDArray[np.bool_]) -> Floats:
    told = np.where(single, 0.0, _information(data, state))
    return np.bincount(data.rater, told, minlength=data.raters).astype(np.float64)


def _strength(state: _State, single: NDArray[np.bool_]) -> float:
    """How many votes the pool counts for: from the variance between raters beyond sampling.

    Method of moments for a beta distribution, m (1 - m) / v - 1, held between 2 and 40: among
    many alike raters more would be right for those, but the one who differs must stay visible.
    """
    size = _effective(state.data, state, single)
    kept = size >= 5
    if kept.sum() < 3:
        return state.strength
    size, shrunk = size[kept], state.accuracy[kept]
    raw = shrunk + (shrunk - state.centre) * state.strength / size
    mean = float(np.average(raw, weights=size))
    noise = float(np.average(shrunk * (1 - shrunk) / size, weights=size))
    between = float(np.average((raw - mean) ** 2, weights=size)) - noise
    if between <= 0:
        return 40.0
    return float(np.clip(mean * (1 - mean) / between - 1, 2.0, 40.0))
