"""Choosing pairs to label: each method's order, the random share, the greedy design."""

import numpy as np
import pytest
from numpy.typing import NDArray

from roundhouse.raters import choosing
from roundhouse.raters.table import Item

Floats = NDArray[np.float64]


def case(size: int = 60, width: int = 4) -> tuple[Floats, Floats, Floats]:
    rng = np.random.default_rng(1)
    return rng.normal(size=(size, width)), rng.normal(size=size), rng.random(size)


def test_a_fifth_is_drawn_at_random_and_no_pair_twice() -> None:
    features, margin, doubt = case()
    for method in ("margin", "disagreement", "information"):
        found = choosing.choose(method, 20, 3, margin, doubt, features)
        assert len(set(found)) == 20
        assert (found[:4] == choosing.choose("random", 4, 3, margin)).all()


def test_never_less_than_a_fifth() -> None:
    for count in range(1, 60):
        drawn = choosing.at_random("margin", count)
        assert count <= 5 * drawn < count + 5


def test_the_rest_is_the_closest_and_the_most_doubtful() -> None:
    _, margin, doubt = case()
    close = choosing.choose("margin", 20, 3, margin=margin)
    left = np.setdiff1d(np.arange(60), close)
    assert np.abs(margin[close[4:]]).max() < np.abs(margin[left]).min()
    unsure = choosing.choose("disagreement", 20, 3, disagreement=doubt)
    left = np.setdiff1d(np.arange(60), unsure)
    assert doubt[unsure[4:]].min() > doubt[left].max()


def test_each_telling_pick_raises_the_determinant_most() -> None:
    features, margin, _ = case(30)
    known = choosing.information(features[:5], margin[:5])
    picked = choosing._telling(features, margin, 6, known)
    scale = np.square(features).sum(axis=1).mean()
    matrix = known + np.eye(4) * scale / 4
    for number, best in enumerate(picked):
        free = [k for k in range(30) if k not in picked[:number]]
        gains = {
            k: np.linalg.slogdet(matrix + choosing.information(features[[k]], margin[[k]]))[1]
            for k in free
        }
        assert gains[best] == pytest.approx(max(gains.values()))
        matrix = matrix + choosing.information(features[[best]], margin[[best]])


def test_telling_pairs_spread_over_directions_that_the_closest_miss() -> None:
    rng = np.random.default_rng(2)
    features = rng.normal(size=(400, 6)) * np.array([3.0, 1, 1, 1, 1, 1])
    features[:200, 3:] = 0.0
    margin = np.where(np.arange(400) < 200, 0.0, 1.0)
    telling = choosing.choose("information", 50, 1, margin, features=features)[10:]
    close = choosing.choose("margin", 50, 1, margin)[10:]
    assert (telling >= 200).mean() > 0.5
    assert (close >= 200).mean() == 0


def test_more_than_there_are_is_all_of_them_and_nothing_to_choose_by_is_an_error() -> None:
    assert sorted(choosing.choose("margin", 99, 1, margin=np.arange(5.0))) == [0, 1, 2, 3, 4]
    with pytest.raises(ValueError, match="information"):
        choosing.choose("information", 3, 1, margin=np.zeros(5))


def test_by_text_the_pairs_with_unseen_words_tell_most() -> None:
    rng = np.random.default_rng(1)

    def item(words: list[str], number: int) -> Item:
        a, b = (" ".join(rng.choice(words, 4)) for _ in range(2))
        return Item([{"role": "user", "content": f"why {number}"}], a, b, "", "")

    common, rare = [f"c{k}" for k in range(20)], [f"r{k}" for k in range(20)]
    items = [item(rare if k >= 100 else common, k) for k in range(200)]
    taught = [item(common, k) for k in range(400)]
    label = rng.integers(0, 2, 400).astype(np.float64)
    found = choosing.by_text(items, taught, label, np.ones(400))
    assert found.features.shape == (200, choosing.WIDTH)
    assert found.known.shape == (choosing.WIDTH, choosing.WIDTH)
    picked = choosing.choose("information", 40, 1, found.margin, None, *found[1:])[8:]
    assert (picked >= 100).mean() > 0.7


@pytest.mark.parametrize("known", [0, 1, 30])
@pytest.mark.parametrize("size", [1, 2, 3, 4, 5])
def test_by_text_a_handful_of_pairs_is_enough_and_labels_are_not_needed(
    size: int, known: int
) -> None:
    items = [
        Item([{"role": "user", "content": f"why {k}"}], "word " * (k + 2), "no", "", "")
        for k in range(size + known)
    ]
    free, taught = items[:size], items[size:]
    found = choosing.by_text(free, taught, np.full(known, 0.7), np.ones(known))
    # Under four pairs have no main directions: lengths and shared words stay.
    assert found.features.shape == (size, 3 + max(0, size - 3))
    # A column in which no pair differs is not blown up.
    assert np.abs(found.features).max() < 10
    assert bool(found.known.any()) == bool(found.margin.any()) == bool(known)
    picked = choosing.choose("information", size, 1, found.margin, None, *found[1:])
    assert sorted(picked) == list(range(size))


def test_by_text_answers_that_do_not_differ_can_be_chosen_from() -> None:
    same = [Item([{"role": "user", "content": f"why {k}"}], "so", "so", "", "") for k in range(6)]
    found = choosing.by_text(same, same, np.full(6, 0.7), np.ones(6))
    assert not found.features.any() and not found.margin.any()
    picked = choosing.choose("information", 6, 1, found.margin, None, *found[1:])
    assert sorted(picked) == list(range(6))
