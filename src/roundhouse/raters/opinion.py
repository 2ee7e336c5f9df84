"""What a small model of the answers' words says about items that it has not seen.

A logistic regression on the difference of two answers: their words and pairs of words, hashed,
how many of the prompt's words they take up, and their length. It costs a second, needs no weights
and knows only what votes taught it. It is always fitted *out of fold*: items of one prompt lie in
one fold, and what is said of a fold was learned from the others, so that no vote confirms itself.

    opinion.out_of_fold(opinion.features(items), p, weight, opinion.folds(items))

`worth.fit` takes it as the prior mean of single-voted items and finds out how far to trust it.

Labels that borrow from it do not train: they are right more often, and still teach a reward model
less than the plain votes, where some items are rated twice (`benchmarks/raters/effect.py`, arm
`borrowing`). It repeats what such a model finds out from the votes by itself.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from sklearn.feature_extraction.text import HashingVectorizer
from sklearn.linear_model import LogisticRegression

from roundhouse.raters.table import Item

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

#: Columns of hashed words; inverse strength of the ridge penalty; folds.
WIDTH, RIDGE, FOLDS = 2**14, 0.03, 5
#: What makes lengths and shared words about as large as the presence of a word.
_WORDS, _SHARED = 20.0, 10.0


class Model(NamedTuple):
    """coef: [columns] log-odds that the first answer is better, a unit of each feature."""

    coef: Floats

    def score(self, features: sparse.csr_array) -> Floats:
        """[items] log-odds that the first answer is better."""
        return np.asarray(features @ self.coef, np.float64)


def features(items: Sequence[Item]) -> sparse.csr_array:
    """[items, columns] of the first answer less those of the second; exchanged answers turn the
    sign."""
    prompts = [" ".join(turn["content"] for turn in item.prompt) for item in items]
    first, second = ([getattr(item, name) for item in items] for name in ("a", "b"))
    return sparse.csr_array(_answers(prompts, first) - _answers(prompts, second))


def prompts(items: Sequence[Item]) -> Ints:
    """[items] number of each one's prompt, in the order in which prompts come."""
    seen: dict[tuple[str, ...], int] = {}
    keys = [tuple(turn["content"] for turn in item.prompt) for item in items]
    return np.array([seen.setdefault(key, len(seen)) for key in keys], dtype=np.int64)


def folds(items: Sequence[Item], count: int = FOLDS) -> Ints:
    """[items] fold of each, the same for all items of a prompt; prompts are dealt in turn."""
    return prompts(items) % count


def fit(features: sparse.csr_array, p: Floats, weight: Floats) -> Model:
    """The ridge regression on soft labels.

    Args:
        features: [items, columns].
        p: [items] probability that the first answer is better.
        weight: [items] of each; only their proportions matter.
    """
    both = sparse.vstack([features, features], format="csr")
    label = np.repeat([1, 0], len(p))
    each = np.concatenate([weight * p, weight * (1 - p)])
    used = each > 0
    if len(set(label[used])) < 2:
        return Model(np.zeros(features.shape[1]))
    each = each * len(p) / weight.sum()
    model = LogisticRegression(C=RIDGE, fit_intercept=False, max_iter=200)
    model.fit(both[used], label[used], sample_weight=each[used])
    return Model(np.asarray(model.coef_[0], np.float64))


def out_of_fold(features: sparse.csr_array, p: Floats, weight: Floats, fold: Ints) -> Floats:
    """[items] score of each by the model of the other folds."""
    said = np.zeros(len(p))
    for number in np.unique(fold):
        rest = fold != number
        if weight[rest].sum() > 0:
            said[~rest] = fit(features[rest], p[rest], weight[rest]).score(features[~rest])
    return said


def _answers(prompts: Sequence[str], answers: Sequence[str]) -> sparse.csr_array:
    words = _hasher(2).transform(answers)
    asked, said = _hasher(1).transform(prompts), _hasher(1).transform(answers)
    shared = np.asarray(asked.multiply(said).sum(axis=1)).ravel() / _SHARED
    length = np.array([len(answer.split()) for answer in answers]) / _WORDS
    return sparse.hstack([words, np.stack([shared, length, length**2], axis=1)], format="csr")


def _hasher(longest: int) -> HashingVectorizer:
    return HashingVectorizer(
        n_features=WIDTH, ngram_range=(1, longest), norm=None, alternate_sign=False, binary=True
    )
