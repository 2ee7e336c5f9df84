"""Dawid-Skene against simulations whose truth is known."""

import numpy as np
import pandas as pd
import pytest

from roundhouse.raters.reliability import ASSUMED_ACCURACY, Coins, dawid_skene, wilson
from tests.raters.conftest import Simulate


@pytest.mark.parametrize("labels", [2, 3])
def test_recovers_the_accuracy_of_raters(simulate: Simulate, labels: int) -> None:
    """100,000 ratings of 50 raters, of whom some are near chance."""
    skill = np.random.default_rng(1).uniform(0.5, 0.97, 50)
    world = simulate(33_334, 3, skill, seed=2, labels=labels)
    found = dawid_skene(world.votes, labels=labels)
    assert found.raters == sorted(set(world.votes["rater"]))
    assert np.abs(found.accuracy - skill).mean() <= 0.02
    assert (found.soft.argmax(axis=1) == world.truth).mean() > 0.85
    assert found.soft.sum(axis=1) == pytest.approx(1.0)


@pytest.mark.parametrize("coins", ["one", "two"])
def test_soft_labels_beat_the_majority_where_a_third_guesses(
    simulate: Simulate, coins: Coins
) -> None:
    skill = np.where(np.arange(30) < 10, 0.5, 0.9)
    world = simulate(4000, 5, skill, seed=3)
    found = dawid_skene(world.votes, coins=coins)
    ones = np.bincount(world.votes["item"], world.votes["label"], minlength=4000)
    majority = (ones > 2.5).astype(int)
    right = (found.soft.argmax(axis=1) == world.truth).mean()
    assert right > (majority == world.truth).mean() + 0.02


def test_soft_labels_are_calibrated_where_the_model_holds(simulate: Simulate) -> None:
    world = simulate(20_000, 3, np.full(20, 0.75), seed=4)
    soft = dawid_skene(world.votes).soft[:, 1]
    for low in (0.0, 0.2, 0.7, 0.9):
        chosen = (soft >= low) & (soft < low + 0.1)
        if chosen.sum() > 500:
            assert world.truth[chosen].mean() == pytest.approx(soft[chosen].mean(), abs=0.03)


def test_two_coins_see_a_rater_who_prefers_one_label(simulate: Simulate) -> None:
    world = simulate(6000, 4, np.full(12, 0.85), seed=5)
    lazy = world.votes["rater"] == "r0000"
    votes = world.votes.assign(label=np.where(lazy, 0, world.votes["label"]))
    confusion = dawid_skene(votes, coins="two").confusion
    assert confusion[0, 1, 0] > 0.95
    assert confusion[1, 1, 1] == pytest.approx(0.85, abs=0.05)


def test_a_rater_with_few_votes_stands_near_the_pool(simulate: Simulate) -> None:
    world = simulate(3000, 3, np.full(20, 0.8), seed=6)
    newcomer = pd.DataFrame({"item": [0, 1], "rater": "new", "label": 1 - world.truth[:2]})
    found = dawid_skene(pd.concat([world.votes, newcomer], ignore_index=True))
    place = found.raters.index("new")
    assert found.pool - 0.12 < found.accuracy[place] < found.pool
    assert found.effective[place] < 2
    interval = found.interval(0.95)[place]
    assert interval.high - interval.low > 0.3


def test_intervals_cover_the_truth_at_their_level(simulate: Simulate) -> None:
    """400 raters with 120 votes each; binomial standard error of the coverage 0.015."""
    skill = np.random.default_rng(7).uniform(0.6, 0.95, 400)
    world = simulate(16_000, 3, skill, seed=8)
    intervals = dawid_skene(world.votes).interval(0.9)
    hits = [one.low <= a <= one.high for one, a in zip(intervals, skill, strict=True)]
    assert 0.85 <= np.mean(hits) <= 0.95


def test_single_rated_items_tell_nothing_of_their_rater(simulate: Simulate) -> None:
    world = simulate(500, 1, np.full(5, 0.9), seed=9)
    found = dawid_skene(world.votes)
    assert found.overlap.sum() == 0
    assert found.effective.sum() == 0
    assert found.accuracy == pytest.approx(ASSUMED_ACCURACY, abs=0.01)


def test_repeats_of_one_rater_are_no_overlap() -> None:
    votes = pd.DataFrame({"item": [0, 0, 1], "rater": ["a", "a", "b"], "label": [0, 0, 1]})
    assert dawid_skene(votes).overlap.tolist() == [0, 0]


def test_weights_of_votes_count(simulate: Simulate) -> None:
    world = simulate(2000, 3, np.full(10, 0.8), seed=10)
    noisy = world.votes["rater"] == "r0000"
    flipped = world.votes.assign(
        label=np.where(noisy, 1 - world.votes["label"], world.votes["label"])
    )
    silent = dawid_skene(flipped.assign(weight=np.where(noisy, 0.0, 1.0)))
    without = dawid_skene(flipped[~noisy].reset_index(drop=True))
    assert silent.effective[0] == 0
    assert silent.accuracy[1:] == pytest.approx(without.accuracy, abs=0.003)


def test_symmetric_labels_have_no_favourite(simulate: Simulate) -> None:
    """Answers stand in an arbitrary order: turning all items round turns all posteriors round."""
    world = simulate(400, 3, np.linspace(0.6, 0.9, 8), seed=11)
    votes = world.votes.assign(label=np.where(world.votes["item"] < 300, 0, world.votes["label"]))
    found = dawid_skene(votes, symmetric=True)
    turned = dawid_skene(votes.assign(label=1 - votes["label"]), symmetric=True)
    assert found.soft[:, 0] == pytest.approx(turned.soft[:, 1], abs=1e-9)
    assert found.prior == pytest.approx([0.5, 0.5])
    assert dawid_skene(votes).prior[0] > 0.7


def test_nobody_and_nothing() -> None:
    empty = pd.DataFrame({"item": [], "rater": [], "label": []}).astype({"label": int})
    found = dawid_skene(empty)
    assert found.raters == []
    assert found.soft.shape == (0, 2)
    assert found.pool == ASSUMED_ACCURACY


def test_wilson_stays_within_bounds_and_widens_without_votes() -> None:
    assert wilson(1.0, 20, 0.95).high == 1.0
    assert wilson(1.0, 20, 0.95).low == pytest.approx(0.839, abs=0.001)
    assert wilson(0.5, 0, 0.95)[1:] == (0.0, 1.0)
