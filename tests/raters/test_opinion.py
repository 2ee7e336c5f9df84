"""The small text model, and that nothing it says comes from the item's own votes."""

from random import Random

import numpy as np
import pytest
from numpy.typing import NDArray

from roundhouse.raters import opinion
from roundhouse.raters.table import Item
from roundhouse.simulate.answers import EARLIER_ASSISTANT, draw
from roundhouse.simulate.archive import prompts
from roundhouse.simulate.world import utility
from tests.raters.conftest import PARAMS

Floats = NDArray[np.float64]


@pytest.fixture(scope="module")
def items() -> list[Item]:
    """Pairs of answers of the simulated world, three a prompt."""
    rng, found = Random(1), []
    for asked in prompts(PARAMS, 400, 1):
        for _ in range(3):
            one, other = draw(asked, EARLIER_ASSISTANT, rng), draw(asked, EARLIER_ASSISTANT, rng)
            found.append(Item([{"role": "user", "content": asked}], one, other, "train", ""))
    return found


def truth(items: list[Item]) -> Floats:
    worth = [
        utility(i.prompt[0]["content"], i.a) - utility(i.prompt[0]["content"], i.b) for i in items
    ]
    return np.where(np.array(worth) > 0, 1.0, 0.0)


def test_exchanged_answers_turn_the_sign(items: list[Item]) -> None:
    turned = [item._replace(a=item.b, b=item.a) for item in items[:50]]
    assert abs(opinion.features(items[:50]) + opinion.features(turned)).max() == 0
    assert abs(opinion.features(items[:50])).sum() > 0


def test_items_of_a_prompt_lie_in_one_fold(items: list[Item]) -> None:
    fold = opinion.folds(items)
    assert set(fold) == set(range(opinion.FOLDS))
    assert (fold.reshape(-1, 3) == fold[::3, None]).all()


def test_it_learns_what_answers_are_better(items: list[Item]) -> None:
    p = truth(items)
    said = opinion.out_of_fold(opinion.features(items), p, np.ones(len(p)), opinion.folds(items))
    assert ((said > 0) == (p > 0.5)).mean() > 0.65


def test_nothing_is_said_of_an_item_by_its_own_votes(items: list[Item]) -> None:
    """Turning all labels of one fold changes what is said of the others, and nothing of it."""
    features, fold, p = opinion.features(items), opinion.folds(items), truth(items)
    weight = np.ones(len(p))
    said = opinion.out_of_fold(features, p, weight, fold)
    turned = opinion.out_of_fold(features, np.where(fold == 2, 1 - p, p), weight, fold)
    assert turned[fold == 2] == pytest.approx(said[fold == 2], abs=1e-9)
    assert np.abs(turned - said)[fold != 2].mean() > 0.05


def test_weights_count(items: list[Item]) -> None:
    features, p = opinion.features(items), truth(items)
    half = np.arange(len(p)) < len(p) // 2
    one = opinion.fit(features[half], p[half], np.ones(half.sum()))
    other = opinion.fit(features, p, half.astype(float))
    # The penalty is for all items, half of them without weight: another strength, one direction.
    cosine = one.coef @ other.coef / np.linalg.norm(one.coef) / np.linalg.norm(other.coef)
    assert cosine > 0.95


def test_one_label_alone_gives_no_opinion(items: list[Item]) -> None:
    model = opinion.fit(opinion.features(items[:20]), np.ones(20), np.ones(20))
    assert not model.coef.any()
