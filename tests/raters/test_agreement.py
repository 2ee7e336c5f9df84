"""Agreement against independent implementations, and its bootstrap against simulation."""

import math
from itertools import combinations

import krippendorff
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from roundhouse.raters import agreement
from roundhouse.raters.agreement import CountRows

Ints = NDArray[np.int64]

RATINGS = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 3)), min_size=4, max_size=60)


def rows_of(ratings: list[tuple[int, int]], labels: int = 4) -> CountRows:
    item, label = np.array(ratings, dtype=np.int64).T
    return agreement.count_rows(item, label, labels)


def dense(rows: CountRows) -> Ints:
    return np.repeat(rows.counts, rows.items, axis=0)


@given(RATINGS, st.sampled_from(["nominal", "ordinal"]))
def test_alpha_equals_the_krippendorff_package(
    ratings: list[tuple[int, int]], level: agreement.Level
) -> None:
    rows = rows_of(ratings)
    table = dense(rows)
    table = table[table.sum(axis=1) >= 2]
    if (table.sum(axis=0) > 0).sum() < 2:
        assert math.isnan(agreement.alpha(rows, level))
        return
    expected = krippendorff.alpha(
        value_counts=table, value_domain=list(range(4)), level_of_measurement=level
    )
    assert agreement.alpha(rows, level) == pytest.approx(expected, abs=1e-12)


@given(RATINGS)
def test_percent_agreement_and_ac1_equal_a_loop_over_vote_pairs(
    ratings: list[tuple[int, int]],
) -> None:
    rows = rows_of(ratings)
    pairs = [(one[1], other[1]) for one, other in combinations(ratings, 2) if one[0] == other[0]]
    if not pairs:
        assert math.isnan(agreement.agreement(rows)) and math.isnan(agreement.ac1(rows))
        return
    equal = sum(one == other for one, other in pairs) / len(pairs)
    assert agreement.agreement(rows) == pytest.approx(equal)
    by_item = [[label for item, label in ratings if item == one] for one in range(7)]
    by_item = [labels for labels in by_item if labels]
    shares = [
        np.mean([one == other for one, other in combinations(labels, 2)])
        for labels in by_item
        if len(labels) > 1
    ]
    use = [np.mean([labels.count(k) / len(labels) for labels in by_item]) for k in range(4)]
    chance = sum(share * (1 - share) for share in use) / 3
    expected = (np.mean(shares) - chance) / (1 - chance)
    assert agreement.ac1(rows) == pytest.approx(expected)


def test_ac1_where_one_label_is_rare() -> None:
    """Two raters, 118 items both positive, 5 and 2 mixed: AC1 is 0.94 and kappa below 0."""
    rows = CountRows(np.array([[2, 0], [1, 1]]), np.array([118, 7]))
    assert agreement.ac1(rows) == pytest.approx(0.9408, abs=5e-4)
    assert agreement.alpha(rows) < 0, "alpha punishes the rare label, which is why AC1 is there"


def test_count_rows_are_the_same_for_huge_counts() -> None:
    """The fast path packs a row into one integer; many votes on one item must not overflow it."""
    label = np.concatenate([np.arange(9), np.zeros(5000, np.int64)])
    item = np.concatenate([np.zeros(9, np.int64), np.ones(5000, np.int64)])
    rows = agreement.count_rows(item, label, 9)
    assert sorted(map(tuple, dense(rows).tolist())) == [(1,) * 9, (5000,) + (0,) * 8]


def test_bootstrap_interval_covers_the_true_alpha() -> None:
    """Coverage of the 90 % interval over 300 worlds whose alpha is known from a large sample."""
    generator = np.random.default_rng(5)

    def world(items: int) -> CountRows:
        hard = generator.beta(4, 2, items)
        label = generator.random((items, 3)) < hard[:, None]
        return agreement.count_rows(
            np.repeat(np.arange(items), 3), label.ravel().astype(np.int64), 2
        )

    truth = agreement.alpha(world(400_000))
    hits = 0
    for seed in range(300):
        found = agreement.alpha_interval(world(150), 200, 0.9, seed)
        hits += found.low <= truth <= found.high
    # Binomial standard error 0.017; the percentile interval is a little short at 150 items.
    assert 0.85 <= hits / 300 <= 0.94


def test_interval_narrows_with_confidence_and_repeats_with_the_seed() -> None:
    rows = CountRows(np.array([[3, 0], [2, 1], [1, 2], [0, 3]]), np.array([30, 9, 8, 25]))
    wide = agreement.alpha_interval(rows, 500, 0.99, seed=3)
    narrow = agreement.alpha_interval(rows, 500, 0.5, seed=3)
    assert wide.low < narrow.low < narrow.value < narrow.high < wide.high
    assert agreement.alpha_interval(rows, 500, 0.5, seed=3) == narrow
    assert agreement.alpha_interval(rows, 500, 0.5, seed=4) != narrow


def test_what_cannot_be_known_is_unknown() -> None:
    single = agreement.count_rows(np.arange(5), np.array([0, 1, 0, 1, 1]), 2)
    assert not agreement.alpha_interval(single, 50, 0.95, 1).known
    assert math.isnan(agreement.ceiling(single))
    nothing = agreement.count_rows(np.zeros(0, np.int64), np.zeros(0, np.int64), 2)
    assert not agreement.agreement_interval(nothing, 50, 0.95, 1).known


def test_ceiling_drops_ties_and_bounds_equal_raters() -> None:
    generator = np.random.default_rng(2)
    truth = generator.integers(0, 2, 20_000)
    label = np.where(generator.random((20_000, 3)) < 0.84, truth[:, None], 1 - truth[:, None])
    item = np.repeat(np.arange(20_000), 3)
    exact = agreement.count_rows(item, label.ravel(), 3)
    assert agreement.ceiling(exact) == pytest.approx(0.84, abs=0.01)
    tied = np.where(generator.random(label.shape) < 0.3, 2, label)
    rows = agreement.count_rows(item, tied.ravel(), 3)
    assert agreement.ceiling(rows, tie=2) == pytest.approx(0.84, abs=0.01)
    assert agreement.ceiling(rows) < 0.75
    opposed = CountRows(np.array([[1, 1]]), np.array([10]))
    assert agreement.ceiling(opposed) == 0.5
