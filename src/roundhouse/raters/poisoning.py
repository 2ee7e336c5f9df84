"""How much one rater can do to a model, and marks of somebody trying.

Poisoned preference data need few rows: a rater who always prefers the answer with a certain word
teaches the reward model that word. Three looks at it, on plain arrays:

- the largest share of the weight that comes from one rater, and factors that cap it;
- tokens that one rater prefers far beyond what all others do;
- what a linear reward model would be without each rater.

Raters are codes from 0 (`pandas.factorize`). None of it proves intent.

Sources: Monroe, Colaresi and Quinn (2008), Fightin' words, section 3.4 (log-odds with an
informative Dirichlet prior); Koh and Liang (2017), Understanding black-box predictions via
influence functions; Rando and Tramer (2024), Universal jailbreak backdoors from poisoned human
feedback.
"""

import math
from collections.abc import Collection, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from roundhouse.errors import DataError
from roundhouse.raters.change import benjamini_hochberg
from roundhouse.raters.pool import normal_tail, tails

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

#: What all tokens say of one counts for so many of its votes: at least, where hardly anything is
#: known of how tokens differ, and at most. What the others say of a token counts for no more
#: either: honest raters differ in taste, however many of them there are.
_LEAST_PRIOR, _MOST_PRIOR = 20.0, 200.0
#: Tokens with fewer votes do not say how tokens differ.
_TOLD = 20
#: Newton steps of a fit at most, and the gradient (a weighted pair) that ends it.
_STEPS, _FLAT = 50, 1e-9


class Largest(NamedTuple):
    """The rater with the most weight: code, share of all weight, rows; rater -1 where none is."""

    rater: int
    share: float
    rows: int


class Cap(NamedTuple):
    """Factors that keep everyone at or below a share.

    factors: [rows] between 0 and 1; before, after: largest share of one rater; met: False where
    there are too few raters for such a cap, and then nothing is changed.
    """

    factors: Floats
    before: float
    after: float
    met: bool


class TiedToken(NamedTuple):
    """A token that one rater prefers.

    rater: code; token; votes: of this rater between an answer with and one without it; share: of
    those, how often the one with it was chosen; others: the same share of everyone else; log_odds,
    z: of the two shares, with the prior (Monroe et al., equations 16 and 22); p: chance of so high
    a share for a rater like the others (beta-binomial).
    """

    rater: int
    token: str
    votes: int
    share: float
    others: float
    log_odds: float
    z: float
    p: float


class Influence(NamedTuple):
    """A linear reward model without each rater.

    change: [raters] length of the change of the weights; length: of the weights with everyone;
    accuracy: held-out accuracy with everyone, NaN without held-out pairs; without: [raters]
    held-out accuracy without the rater, less that with everyone.
    """

    change: Floats
    length: float
    accuracy: float
    without: Floats


def largest(rater: Ints, weights: Floats | None = None) -> Largest:
    """The rater with the largest share of the rows' weight (of rows, without weights).

    >>> largest(np.array([0, 1, 1, 2]))
    Largest(rater=1, share=0.5, rows=2)
    """
    each = _by_rater(rater, weights)
    if not each.sum():
        return Largest(-1, math.nan, 0)
    top = int(each.argmax())
    return Largest(top, float(each[top] / each.sum()), int((rater == top).sum()))


def cap(rater: Ints, share: float, weights: Floats | None = None) -> Cap:
    """Factors on rows so that no rater has more than `share` of the weight that is left.

    Raters above a common level are lowered to it, the others stay: the smallest change that meets
    the cap. k raters at the level t beside the rest R have t = share (k t + R).

    Args:
        rater: [rows] codes.
        share: above 0, at most 1; of the weight after capping.
        weights: [rows] not negative; 1 each by default.

    Raises:
        DataError: a share out of bounds, negative weights, or arrays of different lengths.

    >>> cap(np.array([0, 0, 0, 0, 1, 2]), 0.5).factors.tolist()
    [0.5, 0.5, 0.5, 0.5, 1.0, 1.0]
    """
    if not 0 < share <= 1:
        raise DataError(f"cap of one rater: the share {share} is not above 0 and at most 1")
    each = _by_rater(rater, weights)
    total = float(each.sum())
    before = float(each.max() / total) if total else math.nan
    level = _level(each, share)
    if level is None:
        return Cap(np.ones(len(rater)), before, before, met=not total)
    lowered = np.minimum(each, level)
    factor = lowered / np.where(each > 0, each, 1.0)
    factor[each == 0] = 1.0
    return Cap(factor[rater], before, float(lowered.max() / lowered.sum()), met=True)


def tied_tokens(
    chosen: Sequence[Collection[str]],
    rejected: Sequence[Collection[str]],
    rater: Ints,
    least: int = 5,
    rate: float = 0.01,
) -> list[TiedToken]:
    """Tokens that a rater chooses far more than everyone else does, smallest p first.

    Only votes between an answer with the token and one without it count, so that a rater who got
    other prompts stands out by nothing. Each token of each rater is one test; they are corrected
    together (Benjamini-Hochberg).

    Args:
        chosen: [votes] tokens of the better answer, each a set.
        rejected: [votes] tokens of the other.
        rater: [votes] codes.
        least: such votes of the rater, for a token to be tested.
        rate: false discovery rate.

    Raises:
        DataError: the arguments differ in length.
    """
    if not len(chosen) == len(rejected) == len(rater):
        raise DataError("tokens: chosen, rejected and rater differ in length")
    cells = _cells(chosen, rejected, rater)
    tested = [cell for cell in cells if cell.votes >= least]
    p = np.array([cell.p for cell in tested], dtype=np.float64)
    passed = benjamini_hochberg(p, rate)
    found = [cell for cell, tied in zip(tested, passed, strict=True) if tied]
    return sorted(found, key=lambda cell: (cell.p, cell.rater, cell.token))


def influence(
    features: Floats,
    labels: Floats,
    rater: Ints,
    weights: Floats | None = None,
    held: tuple[Floats, Floats] | None = None,
    ridge: float = 1.0,
    steps: int = 3,
) -> Influence:
    """Leaves each rater out of a linear reward model (logistic loss) by Newton steps.

    Args:
        features: [pairs, d] second answer's less first's.
        labels: [pairs] probability that the second is better, 0 to 1.
        rater: [pairs] codes from 0.
        weights: [pairs] not negative; 1 each by default.
        held: (features, labels) of pairs to measure accuracy on.
        ridge: weight of half the squared length of the weights; above 0.
        steps: Newton steps from the weights with everyone. One is the influence function with the
            Hessian of the others, and falls a third short for a tenth of the pairs with turned
            labels; two come within five per cent of a new fit there, three within one.

    Raises:
        DataError: lengths differ, or the ridge is not above 0.
    """
    if not len(features) == len(labels) == len(rater):
        raise DataError("influence: features, labels and rater differ in length")
    if ridge <= 0:
        raise DataError("influence: the ridge must be above 0, or the fit may not end")
    _by_rater(rater, weights)
    weight = np.ones(len(labels)) if weights is None else np.asarray(weights, np.float64)
    whole = _fit(features, labels, weight, ridge)
    raters = int(rater.max()) + 1 if len(rater) else 0
    accuracy = _accuracy(whole, held)
    change, without = np.zeros(raters), np.full(raters, np.nan)
    for k in range(raters):
        rest = np.where(rater == k, 0.0, weight)
        theta = whole
        for _ in range(steps):
            theta = theta - _newton(theta, features, labels, rest, ridge)
        change[k] = float(np.linalg.norm(theta - whole))
        without[k] = _accuracy(theta, held) - accuracy
    return Influence(change, float(np.linalg.norm(whole)), accuracy, without)


def _by_rater(rater: Ints, weights: Floats | None) -> Floats:
    """[raters] sum of weights."""
    if weights is None:
        return np.bincount(rater).astype(np.float64)
    if len(weights) != len(rater):
        raise DataError("weights and rater differ in length")
    if len(weights) and not np.min(weights) >= 0:
        raise DataError("weights must not be negative or NaN")
    return np.bincount(rater, weights).astype(np.float64)


def _level(each: Floats, share: float) -> float | None:
    """The weight to which the heaviest raters are lowered; None where no level meets the share."""
    heavy = np.sort(each)[::-1]
    for count in range(len(heavy)):
        rest = float(heavy[count:].sum())
        if count * share >= 1 or not rest:
            return None
        level = share * rest / (1 - count * share)
        if heavy[count] <= level * (1 + 1e-12):
            return level
    return None


def _cells(
    chosen: Sequence[Collection[str]], rejected: Sequence[Collection[str]], rater: Ints
) -> list[TiedToken]:
    """Every (rater, token) with a vote that the token could have decided."""
    counts: dict[tuple[int, str], list[int]] = {}
    for good, bad, who in zip(chosen, rejected, rater.tolist(), strict=True):
        for token in set(good) ^ set(bad):
            cell = counts.setdefault((who, token), [0, 0])
            cell[0] += token in good
            cell[1] += 1
    whole: dict[str, list[int]] = {}
    for (_, token), (hits, trials) in counts.items():
        cell = whole.setdefault(token, [0, 0])
        cell[0] += hits
        cell[1] += trials
    names = list(counts)
    own = np.array([counts[key] for key in names], np.float64).reshape(-1, 2)
    every = np.array([whole[token] for _, token in names], np.float64).reshape(-1, 2)
    prior = _prior(np.array(list(whole.values()), np.float64).reshape(-1, 2))
    return _compared(names, own, every - own, prior)


def _prior(whole: Floats) -> Floats:
    """(hits, trials) that stand for a token of which nothing is known, from all [tokens, 2].

    The trials follow from how much tokens differ beyond chance (empirical Bayes, by moments).
    """
    told = whole[whole[:, 1] >= _TOLD]
    mean = (float(whole[:, 0].sum()) + 1) / (float(whole[:, 1].sum()) + 2)
    trials = _LEAST_PRIOR
    if len(told) >= 3:
        noise = float(np.mean(mean * (1 - mean) / told[:, 1]))
        between = float(np.mean((told[:, 0] / told[:, 1] - mean) ** 2)) - noise
        trials = mean * (1 - mean) / max(between, 1e-6)
    trials = min(max(trials, _LEAST_PRIOR), _MOST_PRIOR)
    return np.array([min(max(mean, 0.05), 0.95) * trials, trials])


def _compared(
    names: list[tuple[int, str]], own: Floats, others: Floats, prior: Floats
) -> list[TiedToken]:
    a, b = own + prior, others + prior
    log_odds = _logit(a) - _logit(b)
    variance = 1 / a[:, 0] + 1 / (a[:, 1] - a[:, 0]) + 1 / b[:, 0] + 1 / (b[:, 1] - b[:, 0])
    z = log_odds / np.sqrt(variance)
    p = normal_tail(z)
    # The exact chance matters where the normal one might be small.
    for k in np.flatnonzero(z > 1.0):
        spread = 1 / min(float(b[k, 1]), _MOST_PRIOR)
        p[k] = tails(int(own[k, 0]), int(own[k, 1]), float(b[k, 0] / b[k, 1]), spread)[1]
    share = own[:, 0] / own[:, 1]
    other = others[:, 0] / np.where(others[:, 1] > 0, others[:, 1], np.nan)
    return [
        TiedToken(
            who, token, int(own[k, 1]), float(share[k]), float(other[k]), float(log_odds[k]),
            float(z[k]), float(p[k]),
        )
        for k, (who, token) in enumerate(names)
    ]  # fmt: skip


def _logit(count: Floats) -> Floats:
    """[rows] log-odds of counts [rows, (hits, trials)]."""
    return np.asarray(np.log(count[:, 0]) - np.log(count[:, 1] - count[:, 0]), np.float64)


def _fit(features: Floats, labels: Floats, weight: Floats, ridge: float) -> Floats:
    theta = np.zeros(features.shape[1])
    for _ in range(_STEPS):
        step = _newton(theta, features, labels, weight, ridge)
        before, size = _loss(theta, features, labels, weight, ridge), 1.0
        while size > 1e-6 and _loss(theta - size * step, features, labels, weight, ridge) > before:
            size /= 2
        theta = theta - size * step
        if np.abs(step).max(initial=0.0) < _FLAT:
            break
    return theta


def _loss(theta: Floats, features: Floats, labels: Floats, weight: Floats, ridge: float) -> float:
    logit = features @ theta
    # Cross-entropy of a logit: log(1 + e^s) - y s, without overflow.
    each = np.logaddexp(0.0, logit) - labels * logit
    return float(weight @ each + ridge / 2 * theta @ theta)


def _newton(
    theta: Floats, features: Floats, labels: Floats, weight: Floats, ridge: float
) -> Floats:
    chance = 1 / (1 + np.exp(-np.clip(features @ theta, -500, 500)))
    gradient = features.T @ (weight * (chance - labels)) + ridge * theta
    curved = (features * (weight * chance * (1 - chance))[:, None]).T @ features
    return np.asarray(np.linalg.solve(curved + ridge * np.eye(len(theta)), gradient), np.float64)


def _accuracy(theta: Floats, held: tuple[Floats, Floats] | None) -> float:
    if held is None or not len(held[1]):
        return math.nan
    features, labels = held
    return float(np.mean((features @ theta > 0) == (np.asarray(labels) > 0.5)))
