"""Votes reduced to pairs of raters: sums, weights, chunks."""

import numpy as np
import pandas as pd
import pytest

from roundhouse.raters import bootstrap, pairs


def frame(votes: dict[tuple[int, str], int]) -> pd.DataFrame:
    rows = [(item, rater, label) for (item, rater), label in votes.items()]
    return pd.DataFrame(rows, columns=["item", "rater", "label"])


def test_chunks_of_vote_pairs_add_up(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = np.random.default_rng(2)
    item, rater = np.divmod(np.arange(3000), 10)
    votes = pd.DataFrame(
        {"item": item, "rater": rater.astype(str), "label": generator.integers(0, 2, 3000)}
    )
    whole = pairs.rater_pairs(votes)
    monkeypatch.setattr(pairs, "_CHUNK", 500)
    monkeypatch.setattr(pairs, "_HELD", 2)
    parts = pairs.rater_pairs(votes)
    assert parts.first.tolist() == whole.first.tolist()
    assert parts.second.tolist() == whole.second.tolist()
    assert parts.sums == pytest.approx(whole.sums)


def test_weights_of_items_count_their_pairs() -> None:
    votes = frame({(0, "a"): 0, (0, "b"): 0, (1, "a"): 0, (1, "b"): 1})
    heavy = pairs.rater_pairs(votes, weight=pd.Series({0: 3.0, 1: 1.0}))
    assert bootstrap.figures(heavy).agreement[0] == pytest.approx(0.75)


def test_sums_by_numbers_of_the_item_equal_those_of_its_weight() -> None:
    """`item_sums` of some numbers is `rater_pairs` weighed by them."""
    generator = np.random.default_rng(3)
    item = np.repeat(np.arange(60), 4)
    rater = np.argsort(generator.random((60, 9)), axis=1)[:, :4].ravel().astype(str)
    votes = pd.DataFrame({"item": item, "rater": rater, "label": generator.integers(0, 2, 240)})
    numbers = pd.DataFrame({"u": generator.random(60), "v": generator.random(60)})
    equal, total = pairs.item_sums(pairs.rater_pairs(votes), votes, numbers)
    for column, name in enumerate("uv"):
        weighed = pairs.rater_pairs(votes, weight=numbers[name])
        assert equal[:, column] == pytest.approx(weighed.sums[:, pairs.EQUAL])
        assert total[:, column] == pytest.approx(weighed.sums[:, pairs.TOTAL])


def test_each_two_raters_stand_once_with_their_vote_pairs() -> None:
    votes = frame({(0, "b"): 0, (0, "a"): 0, (1, "a"): 0, (1, "b"): 1, (1, "c"): 1, (2, "c"): 0})
    found = pairs.rater_pairs(votes)
    assert found.raters == ["a", "b", "c"]
    assert list(zip(found.first.tolist(), found.second.tolist(), strict=True)) == [
        (0, 1),
        (0, 2),
        (1, 2),
    ]
    assert found.sums[:, pairs.EQUAL].tolist() == [1, 0, 1]
    assert found.sums[:, pairs.TOTAL].tolist() == [2, 1, 1]
    assert found.use.sum() == pytest.approx(3), "every item weighs one"
