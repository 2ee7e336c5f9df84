"""How much better one answer is than the other, and how sharply each rater sees it.

Dawid and Skene's model takes all items for equally hard, so it believes two votes against one too
much and raters too good. Here an item has a worth w, the difference between its two answers, and
most mistakes fall where it is small. A vote of rater j follows Bradley and Terry's model with ties
(Davidson 1970), with odds

    first : second : tie  =  exp(s_j w / 2) : exp(-s_j w / 2) : nu_j

where the sharpness s_j is 0 for a rater who tosses a coin and below 0 for one who means the
opposite, and nu_j says how soon a rater calls a tie. Both have normal priors over raters (nu in
logs), whose means and variances are fitted too (empirical Bayes). The worth has the prior

    w_i ~ Normal(beta x_i, 1)

where x_i is an opinion from elsewhere, such as the score difference of a reward model that never
saw the item: how far it can be trusted, beta, follows from the votes, so that items with one vote
borrow strength, and from a useless opinion nothing. Without one the mean is 0.

Fitted by expectation maximisation with the worths integrated out on a grid (Bock and Aitkin 1981,
Marginal maximum likelihood estimation of item parameters).
"""

import math
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import sparse

from roundhouse.errors import DataError
from roundhouse.raters.agreement import UNKNOWN, Estimate, reach
from roundhouse.raters.table import FIRST, LABELS, SECOND, TIE, needs

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

#: Worths that are summed over, in prior standard deviations.
GRID = np.linspace(-4.0, 4.0, 21)
#: Iterations before the priors over raters move.
_TURN = 4
#: Where the priors start: sharpness, log of nu and the variance of the latter.
_SHARPNESS, _TIES, _TIES_VARIANCE = 1.7, math.log(0.3), 1.0
#: Variances of sharpness that are tried, and what is expected over persons and over epochs.
VARIANCES = np.geomspace(0.01, 4.0, 25)
_BETWEEN, _WITHIN = 0.25, 0.1
#: Variance of the pool's sharpness around the start, and the largest sharpness of a rater.
_POOL, _MOST = 1.0, 10.0
#: Least information on a rater that is looked at, and the variance that stands for less.
_LEAST, _UNKNOWN = 0.02, 1e9
_FAR = 50.0


class Worth(NamedTuple):
    """What the model found.

    Attributes:
        raters: names, sorted.
        sharpness: [raters] log-odds a unit of worth.
        error: [raters] its standard error, as far as the votes tell (infinite where they do not).
        ties: [raters] nu, the odds of a tie between equal answers over each of the two.
        accuracy: [raters] chance of naming the better answer when naming one.
        items: the sorted items.
        first: [items] chance that the first answer is the better one.
        worth: [items] posterior mean of the worth, in its prior standard deviations.
        liked: [items] chance that a middling rater who names one names the first.
        trust: beta, worth a unit of the opinion; 0 without one.
        pool: mean sharpness.
        iterations: of the fit.
        soft: [items, grid] posterior over the worths of `GRID`.
    """

    raters: list[str]
    sharpness: Floats
    error: Floats
    ties: Floats
    accuracy: Floats
    items: Ints
    first: Floats
    worth: Floats
    liked: Floats
    trust: float
    pool: float
    iterations: int
    soft: Floats

    def chance(self, item: pd.Series, rater: pd.Series, label: pd.Series) -> Floats:
        """[votes] how likely these labels are of raters and items that were fitted."""
        row = pd.Index(self.items).get_indexer(pd.Index(item))
        who = pd.Index(self.raters).get_indexer(pd.Index(rater))
        code = np.asarray(label, np.int64)
        each = _chances(self.sharpness, np.log(self.ties))
        of_vote = each.transpose(0, 2, 1)[who, code]
        return np.asarray(np.einsum("vq,vq->v", self.soft[row], of_vote), np.float64)

    def interval(self, confidence: float) -> list[Estimate]:
        """Each rater's accuracy with the interval that follows from the error of the sharpness.

        Raises:
            DataError: `confidence` is no share between 0 and 1.
        """
        away = np.minimum(reach(confidence) * self.error, _FAR)
        low = _accuracy(self.sharpness - away, self.ties)
        high = _accuracy(self.sharpness + away, self.ties)
        return [
            Estimate(*map(float, one)) if math.isfinite(error) else UNKNOWN
            for *one, error in zip(self.accuracy, low, high, self.error, strict=True)
        ]


def fit(
    votes: pd.DataFrame,
    opinion: pd.Series | None = None,
    tolerance: float = 2e-3,
    most: int = 100,
) -> Worth:
    """Fits the model to a tidy table (item, rater, label 0, 1 or 2 for a tie).

    Args:
        votes: at least one; a `weight` column counts a vote more or less. With a `person` column
            `rater` names an epoch of a person (a round, or what follows a change): epochs vary
            around their person, persons around the pool, so that a change shows as soon as votes
            tell of it and a quiet epoch borrows from the others.
        opinion: item to the score difference (first less second) of something that knew nothing of
            its votes; items it lacks have none.
        tolerance: ends when no sharpness moves more in an iteration.
        most: iterations, at most.

    Raises:
        DataError: there are no votes, a column is missing, or a label is none of the three.
    """
    needs(votes, "item", "rater", "label", labels=LABELS)
    if not len(votes):
        raise DataError("ratings table: no votes; worth.fit needs one or more")
    data = _data(votes, opinion)
    state = _State(data)
    iterations = state.run(tolerance, most)
    first = state.soft[:, len(GRID) // 2 + 1 :].sum(axis=1) + state.soft[:, len(GRID) // 2] / 2
    return Worth(
        raters=data.names,
        sharpness=state.sharpness,
        error=state.error(),
        ties=np.exp(state.ties),
        accuracy=_accuracy(state.sharpness, np.exp(state.ties)),
        items=data.items,
        first=first,
        worth=state.soft @ GRID,
        liked=state.soft @ _sigmoid(state.pool * GRID),
        trust=state.trust,
        pool=state.pool,
        iterations=iterations,
        soft=state.soft,
    )


class _Data(NamedTuple):
    """Codes of items and of cells (rater and label), a vote each; and weights summed by both."""

    names: list[str]
    items: Ints
    item: Ints
    cell: Ints
    weight: Floats
    table: sparse.csr_array
    opinion: Floats
    person: Ints | None


def _data(votes: pd.DataFrame, opinion: pd.Series | None) -> _Data:
    names = sorted(votes["rater"].unique())
    item, items = pd.factorize(votes["item"], sort=True)
    rater = pd.Categorical(votes["rater"], categories=names).codes.astype(np.int64)
    cell = rater * 3 + votes["label"].to_numpy(np.int64)
    weight = np.ones(len(votes))
    if "weight" in votes:
        weight = votes["weight"].to_numpy(np.float64)
    x = np.zeros(len(items))
    if opinion is not None:
        x = opinion.reindex(items).fillna(0.0).to_numpy(np.float64)
    table = sparse.csr_array((weight, (item, cell)), shape=(len(items), 3 * len(names)))
    person = None
    if "person" in votes:
        of_name = votes.drop_duplicates("rater").set_index("rater")["person"].reindex(names)
        person = np.asarray(pd.factorize(of_name, sort=True)[0], dtype=np.int64)
    return _Data(
        [str(name) for name in names], np.asarray(items), item, cell, weight, table, x, person
    )


class _State:
    """Parameters of one fit: [raters] sharpness and log nu, their priors, [items, grid] soft."""

    def __init__(self, data: _Data) -> None:
        self.data = data
        self.pool, self.variance = _SHARPNESS, _BETWEEN
        self.centre = np.full(len(data.names), _SHARPNESS)
        self.usual = _TIES
        self.sharpness = self.centre.copy()
        self.ties = np.full(len(data.names), _TIES)
        self.trust = 0.0
        self.soft = self._expect()

    def run(self, tolerance: float, most: int) -> int:
        """Priors over raters move slowly and cost most: they are fitted every few iterations.

        Their variances lie on a grid and may go to and fro between neighbours for ever, so that
        being where one was two turns ago is an end too.
        """
        turns: list[Floats] = []
        for iteration in range(1, most + 1):
            before, turn = self.sharpness, iteration % _TURN == 0
            self._maximise(turn)
            self.soft = self._expect()
            if turn:
                if any(np.abs(self.sharpness - one).max() < tolerance for one in (before, *turns)):
                    return iteration
                turns = [*turns, self.sharpness][-2:]
        return most

    def error(self) -> Floats:
        """[raters] standard error of the sharpness without its prior."""
        known = self.information()
        return np.where(known > 1e-6, 1 / np.sqrt(np.maximum(known, 1e-6)), np.inf)

    def information(self) -> Floats:
        """[raters] Fisher information on the sharpness: of each vote, given what the item's other
        votes say, if it names an answer. A vote on an item that nobody else saw, and of which no
        opinion knows, tells nothing."""
        data = self.data
        chance, score = self._chances(), self._scores()
        own = _by_cell(np.log(chance))[data.cell] * data.weight[:, None]
        others = self.soft[data.item] * np.exp(-own)
        others /= others.sum(axis=1, keepdims=True)
        rater, steep = data.cell // 3, chance * score
        likely, slope = (
            [np.einsum("vq,vq->v", others, part[:, :, label][rater]) for label in (FIRST, SECOND)]
            for part in (chance, steep)
        )
        # Of the direction alone: how often a rater names none says little about their eyes.
        told = slope[0] ** 2 / likely[0] + slope[1] ** 2 / likely[1]
        told -= (slope[0] + slope[1]) ** 2 / (likely[0] + likely[1])
        return np.bincount(rater, data.weight * told, minlength=len(data.names)).astype(np.float64)

    def _expect(self) -> Floats:
        data = self.data
        total = data.table @ _by_cell(np.log(self._chances()))
        total -= (GRID[None, :] - self.trust * data.opinion[:, None]) ** 2 / 2
        total -= total.max(axis=1, keepdims=True)
        soft = np.exp(total)
        soft /= soft.sum(axis=1, keepdims=True)
        return np.asarray(soft, np.float64)

    def _maximise(self, turn: bool) -> None:
        data = self.data
        # counts[j, q, l]: expected votes l of rater j on items of worth GRID[q].
        counts = (data.table.T @ self.soft).reshape(-1, 3, len(GRID)).transpose(0, 2, 1)
        alone = self._alone(counts) if turn else None
        self._step(counts)
        self.usual = float(self.ties.mean())
        if alone is not None:
            found = spread(*alone, self.data.person)
            self.pool, self.centre, self.variance = found.pool, found.centre, found.within
        square = float(data.opinion @ data.opinion)
        if square:
            self.trust = float(data.opinion @ (self.soft @ GRID)) / square

    def _step(self, counts: Floats) -> None:
        """One Newton step on both parameters of each rater."""
        chance, size = self._chances(), counts.sum(axis=2)
        by_s, half = self._scores(), GRID / 2
        tie = chance[:, :, TIE]
        pull = (
            np.einsum("jql,jql->j", counts, by_s) - (self.sharpness - self.centre) / self.variance
        )
        toward = counts[:, :, TIE].sum(axis=1) - (size * tie).sum(axis=1)
        toward -= (self.ties - self.usual) / _TIES_VARIANCE
        lean = chance[:, :, FIRST] - chance[:, :, SECOND]
        a = (size * half**2 * (1 - tie - lean**2)).sum(axis=1) + 1 / self.variance
        b = (size * tie * (1 - tie)).sum(axis=1) + 1 / _TIES_VARIANCE
        c = -(size * half * lean * tie).sum(axis=1)
        det = a * b - c * c
        self.sharpness = self.sharpness + np.clip((b * pull - c * toward) / det, -1.0, 1.0)
        self.ties = self.ties + np.clip((a * toward - c * pull) / det, -1.0, 1.0)

    def _alone(self, counts: Floats) -> tuple[Floats, Floats]:
        """([raters] sharpness as the votes alone have it, [raters] variance of its error).

        One scoring step without the prior. The gradient is that of what was observed (Fisher's
        identity), so votes that nobody else saw push nowhere, however slowly the steps of the
        maximisation, which take the worths for known, move a rater who has many of them.
        """
        told = self.information()
        error = np.where(told > _LEAST, 1 / np.maximum(told, _LEAST), _UNKNOWN)
        score = np.einsum("jql,jql->j", counts, self._scores())
        moved = np.where(told > _LEAST, score * error, 0.0)
        return np.clip(self.sharpness + moved, -_MOST, _MOST), error

    def _chances(self) -> Floats:
        return _chances(self.sharpness, self.ties)

    def _scores(self) -> Floats:
        """[raters, grid, labels] derivative of the log chance by the sharpness."""
        chance, half = self._chances(), GRID / 2
        centre = half * (chance[:, :, FIRST] - chance[:, :, SECOND])
        own = np.stack([half, -half, np.zeros(len(GRID))], axis=1)
        return np.asarray(own[None] - centre[:, :, None])


class Spread(NamedTuple):
    """How raters differ: pool, the mean; centre: [raters] where each is expected; within: variance
    around it."""

    pool: float
    centre: Floats
    within: float


def spread(value: Floats, error: Floats, person: Ints | None) -> Spread:
    """Fits how values known up to variances `error` vary: over raters, or, with persons, over
    persons and around each.

    value = pool + Normal(0, between) of the person + Normal(0, within) of the epoch + error; the
    variances maximise the marginal likelihood on a grid, with a weak prior on each.
    """
    if person is None:
        each = np.arange(len(value))
        _, between, pool, _ = max(_tried(value, error, each, b, 0.0) for b in VARIANCES)
        return Spread(pool, np.full(len(value), pool), between)
    tried = (_tried(value, error, person, b, w) for b in VARIANCES for w in VARIANCES)
    _, between, pool, within = max(tried)
    weight = 1 / (within + error)
    size = np.bincount(person, weight)
    mean = np.bincount(person, weight * value) / size
    middle = (size * mean + pool / between) / (size + 1 / between)
    return Spread(pool, middle[person], within)


def _tried(
    value: Floats, error: Floats, person: Ints, between: float, within: float
) -> tuple[float, float, float, float]:
    """(log of likelihood and prior, between, pool, within) of one pair of variances."""
    weight = 1 / (within + error)
    size = np.bincount(person, weight)
    mean = np.bincount(person, weight * value) / size
    around = float(np.bincount(person, weight * (value - mean[person]) ** 2).sum())
    total = between + 1 / size
    pool = ((mean / total).sum() + _SHARPNESS / _POOL) / ((1 / total).sum() + 1 / _POOL)
    logs = -around + np.log(weight).sum() - np.log(size).sum()
    logs -= ((mean - pool) ** 2 / total + np.log(total)).sum()
    logs -= (pool - _SHARPNESS) ** 2 / _POOL
    logs += _expected(between, _BETWEEN) + (_expected(within, _WITHIN) if within else 0.0)
    return float(logs) / 2, between, float(pool), within


def _expected(variance: float, scale: float) -> float:
    """Twice the log of a scaled inverse chi-square density with two degrees of freedom."""
    return -4 * math.log(variance) - 2 * scale / variance


def _chances(sharpness: Floats, ties: Floats) -> Floats:
    """[raters, grid, labels] chance of each label; `ties` is the log of nu."""
    lean = np.exp(sharpness[:, None] * GRID / 2)
    odds = np.stack([lean, 1 / lean, np.broadcast_to(np.exp(ties)[:, None], lean.shape)])
    return np.asarray((odds / odds.sum(axis=0)).transpose(1, 2, 0))


def _accuracy(sharpness: Floats, ties: Floats) -> Floats:
    """[raters] chance of naming the better answer when naming one, over worths as the prior has."""
    worth = np.abs(GRID)
    mass = np.exp(-(GRID**2) / 2)
    right = np.exp(sharpness[:, None] * worth / 2)
    total = right + 1 / right + ties[:, None]
    named = ((right + 1 / right) / total) @ mass
    return np.asarray(((right / total) @ mass) / named)


def _by_cell(values: Floats) -> Floats:
    """[raters * labels, grid] of [raters, grid, labels]."""
    return np.ascontiguousarray(values.transpose(0, 2, 1)).reshape(-1, len(GRID))


def _sigmoid(x: Floats) -> Floats:
    return np.asarray(1 / (1 + np.exp(-x)))
