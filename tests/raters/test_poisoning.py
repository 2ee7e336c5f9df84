"""Caps, tied tokens and influence against brute force, new fits and planted triggers."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from roundhouse.errors import DataError
from roundhouse.raters import poisoning
from roundhouse.raters.poisoning import TiedToken

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def test_largest_counts_rows_or_weight() -> None:
    rater = np.array([0, 0, 0, 1, 2])
    assert poisoning.largest(rater) == (0, 0.6, 3)
    assert poisoning.largest(rater, np.array([1, 1, 1, 6, 1.0])) == (1, 0.6, 1)
    assert poisoning.largest(np.zeros(0, np.int64))[::2] == (-1, 0)


@given(
    rows=st.lists(st.tuples(st.integers(0, 6), st.floats(0.1, 10)), min_size=1, max_size=40),
    share=st.floats(0.05, 1),
)
def test_cap_meets_the_share_with_the_smallest_change(
    rows: list[tuple[int, float]], share: float
) -> None:
    rater, weights = np.array([code for code, _ in rows]), np.array([w for _, w in rows])
    found = poisoning.cap(rater, share, weights)
    after = np.bincount(rater, weights * found.factors)
    before = np.bincount(rater, weights)
    possible = len(set(rater.tolist())) * share >= 1 - 1e-9
    assert found.met == possible
    assert found.before == pytest.approx(before.max() / before.sum())
    assert found.after == pytest.approx(after.max() / after.sum())
    if not possible:
        assert (found.factors == 1).all()
        return
    assert after.max() <= share * after.sum() * (1 + 1e-9)
    assert (found.factors > 0).all() and (found.factors <= 1).all()
    lowered = after < before * (1 - 1e-9)
    # Smallest: whoever was lowered stands exactly at the cap.
    assert after[lowered] == pytest.approx(share * after.sum())


def test_cap_by_bisection() -> None:
    """The level is the highest at which everyone is within the share."""
    weights = np.array([50.0, 30, 10, 5, 3, 2])
    low, high = 0.0, 50.0
    for _ in range(100):
        level = (low + high) / 2
        capped = np.minimum(weights, level)
        low, high = (level, high) if capped.max() <= 0.3 * capped.sum() else (low, level)
    found = poisoning.cap(np.arange(6), 0.3, weights)
    assert weights * found.factors == pytest.approx(np.minimum(weights, low))


def test_cap_refuses_what_makes_no_sense() -> None:
    with pytest.raises(DataError, match="above 0"):
        poisoning.cap(np.array([0]), 0.0)
    with pytest.raises(DataError, match="length"):
        poisoning.cap(np.array([0, 1]), 0.5, np.ones(3))
    with pytest.raises(DataError, match="negative"):
        poisoning.cap(np.array([0, 1]), 0.5, np.array([1.0, -1.0]))
    assert math.isnan(poisoning.cap(np.array([0, 1]), 0.5, np.zeros(2)).before)


class Texts:
    """Answers of 12 words out of 300, of which the first 20 are good style for everyone."""

    def __init__(self, seed: int, votes: int = 1500, raters: int = 15) -> None:
        rng = np.random.default_rng(seed)
        self.rng, self.rater = rng, rng.integers(0, raters, votes)
        words = [f"w{k}" for k in range(300)]
        pairs = [[set(rng.choice(words, 12).tolist()) for _ in range(2)] for _ in range(votes)]
        style = {f"w{k}" for k in range(20)}
        self.chosen: list[set[str]] = []
        self.rejected: list[set[str]] = []
        for one, other in pairs:
            lead = len(one & style) - len(other & style)
            first = rng.random() < 1 / (1 + math.exp(-lead))
            self.chosen.append(one if first else other)
            self.rejected.append(other if first else one)

    def trigger(self, who: int, token: str, share: float) -> None:
        """Rater `who` chose the answer with the token in a share of their votes."""
        for k in np.flatnonzero(self.rater == who):
            if self.rng.random() < share:
                self.chosen[k].add(token)

    def found(self) -> list[TiedToken]:
        return poisoning.tied_tokens(self.chosen, self.rejected, self.rater)


def test_a_trigger_of_one_rater_is_found() -> None:
    texts = Texts(1)
    texts.trigger(4, "zyx", 0.4)
    top = texts.found()[0]
    assert (top.rater, top.token, top.share) == (4, "zyx", 1.0)
    assert math.isnan(top.others) and top.log_odds > 0.3 and top.p < 1e-5


def test_a_common_word_turned_into_a_trigger_is_found() -> None:
    texts = Texts(2)
    mine = np.flatnonzero(texts.rater == 7)
    for k in mine:
        if "w100" in texts.rejected[k]:
            texts.chosen[k], texts.rejected[k] = texts.rejected[k], texts.chosen[k]
    texts.trigger(7, "w100", 0.2)
    top = texts.found()[0]
    assert (top.rater, top.token) == (7, "w100")
    both = [k for k in mine if ("w100" in texts.chosen[k]) != ("w100" in texts.rejected[k])]
    assert top.votes == len(both) and top.share > top.others + 0.3


def test_honest_raters_have_no_tied_tokens() -> None:
    assert sum(len(Texts(seed).found()) for seed in range(10, 14)) <= 1


def test_other_prompts_are_no_tie() -> None:
    """A word that only one rater meets, in chosen and rejected answers alike."""
    texts = Texts(3)
    for k in np.flatnonzero(texts.rater == 2):
        (texts.chosen if texts.rng.random() < 0.5 else texts.rejected)[k].add("lease")
        texts.chosen[k].add("law")
        texts.rejected[k].add("law")
    assert texts.found() == []


def test_log_odds_are_those_of_the_paper() -> None:
    chosen: list[set[str]] = [{"a"}] * 8 + [set()] * 2 + [{"a"}] * 30 + [set()] * 30
    rejected: list[set[str]] = [set()] * 8 + [{"a"}] * 2 + [set()] * 30 + [{"a"}] * 30
    rater = np.array([0] * 10 + [1] * 60)
    (own,) = [
        cell for cell in poisoning.tied_tokens(chosen, rejected, rater, rate=1.0) if not cell.rater
    ]
    usual, prior = 39 / 72, 20
    a, b = 8 + prior * usual, 2 + prior * (1 - usual)
    c, d = 30 + prior * usual, 30 + prior * (1 - usual)
    assert own.log_odds == pytest.approx(math.log(a / b) - math.log(c / d))
    assert own.z == pytest.approx(own.log_odds / math.sqrt(1 / a + 1 / b + 1 / c + 1 / d))
    with pytest.raises(DataError, match="length"):
        poisoning.tied_tokens(chosen, rejected[1:], rater)


def pairs(seed: int, count: int = 800) -> tuple[Floats, Floats, Ints, Floats]:
    """Features, labels, raters and true weights; rater 0 of ten turns labels."""
    rng = np.random.default_rng(seed)
    theta = rng.normal(0, 0.7, 6)
    features, rater = rng.normal(size=(count, 6)), rng.integers(0, 10, count)
    labels = (rng.random(count) < 1 / (1 + np.exp(-features @ theta))).astype(np.float64)
    return features, np.where(rater == 0, 1 - labels, labels), rater, theta


def test_fit_is_the_minimum() -> None:
    features, labels, rater, _ = pairs(1)
    weight = np.random.default_rng(2).uniform(0.2, 2, len(labels))
    theta = poisoning._fit(features, labels, weight, 3.0)
    best = poisoning._loss(theta, features, labels, weight, 3.0)
    for k in range(6):
        for step in (-1e-3, 1e-3):
            moved = theta + step * np.eye(6)[k]
            assert poisoning._loss(moved, features, labels, weight, 3.0) > best
    assert len(rater) == len(labels)


@pytest.mark.parametrize(("steps", "near"), [(1, 0.35), (2, 0.05), (3, 0.01)])
def test_leaving_a_rater_out_is_a_new_fit(steps: int, near: float) -> None:
    features, labels, rater, theta = pairs(3)
    weights = np.random.default_rng(4).uniform(0.5, 1.5, len(labels))
    fresh = np.random.default_rng(5).normal(size=(500, 6))
    truth = (fresh @ theta > 0).astype(np.float64)
    found = poisoning.influence(features, labels, rater, weights, (fresh, truth), 1.0, steps)
    whole = poisoning._fit(features, labels, weights, 1.0)
    for k in range(10):
        rest = rater != k
        new = poisoning._fit(features[rest], labels[rest], weights[rest], 1.0)
        length = np.linalg.norm(new - whole)
        assert found.change[k] == pytest.approx(length, rel=near)
        gain = np.mean((fresh @ new > 0) == truth) - np.mean((fresh @ whole > 0) == truth)
        assert found.without[k] == pytest.approx(gain, abs=0.002 if steps > 2 else 0.02)
    assert found.change.argmax() == 0, "the one who turns labels moves the model most"


def test_influence_needs_lengths_and_a_ridge_and_reports_no_accuracy_without_pairs() -> None:
    features, labels, rater, _ = pairs(6, 60)
    found = poisoning.influence(features, labels, rater)
    assert math.isnan(found.accuracy) and np.isnan(found.without).all()
    assert found.length > 0 and (found.change > 0).all()
    with pytest.raises(DataError, match="length"):
        poisoning.influence(features, labels[1:], rater)
    with pytest.raises(DataError, match="ridge"):
        poisoning.influence(features, labels, rater, ridge=0.0)
    # Perfectly separable pairs have no finite fit without the ridge.
    split = poisoning.influence(features, (features[:, 0] > 0).astype(float), rater, ridge=0.01)
    assert np.isfinite(split.change).all()
