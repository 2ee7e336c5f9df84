"""Intervals cover what they claim, ties are halves, and domains are corrected for their number."""

import numpy as np
import pytest
from scipy.optimize import minimize

from roundhouse.metrics import domain_part
from roundhouse.winrate import OTHER, Bootstrap, by_domain, interval, length_controlled, win

BOOTSTRAP = Bootstrap(draws=2000, confidence=0.95, seed=17)


def test_a_win_is_a_preference_and_a_tie_is_half() -> None:
    assert win(("a", 1.0), ("b", 0.5)) == 1.0
    assert win(("a", 0.5), ("b", 1.0)) == 0.0
    assert win(("a", 1.0), ("b", 1.0)) == 0.5
    # The same text twice, scored in batches of different shape.
    assert win(("a", 1.0), ("a", 1.0 + 1e-7)) == 0.5


def test_swapped_sides_mirror_the_win_rate() -> None:
    rng = np.random.default_rng(0)
    scores = rng.normal(size=(200, 2)).tolist()
    ours = interval([win(("a", a), ("b", b)) for a, b in scores], BOOTSTRAP)
    theirs = interval([win(("b", b), ("a", a)) for a, b in scores], BOOTSTRAP)
    assert ours.value == pytest.approx(1 - theirs.value)
    assert ours.low == pytest.approx(1 - theirs.high, abs=0.02)


@pytest.mark.parametrize(("truth", "prompts"), [(0.5, 60), (0.75, 100), (0.85, 400)])
def test_intervals_cover_the_truth_as_often_as_they_say(truth: float, prompts: int) -> None:
    rng = np.random.default_rng(1)
    bootstrap = BOOTSTRAP._replace(draws=400)
    covered = 0
    for _ in range(300):
        wins = (rng.random(prompts) < truth).astype(float).tolist()
        found = interval(wins, bootstrap._replace(seed=int(rng.integers(1 << 30))))
        covered += found.low <= truth <= found.high
    assert 0.91 <= covered / 300 <= 0.98


def test_a_seed_repeats_the_interval() -> None:
    wins = [1.0] * 30 + [0.0] * 20 + [0.5] * 5
    assert interval(wins, BOOTSTRAP) == interval(wins, BOOTSTRAP)
    assert interval(wins, BOOTSTRAP) != interval(wins, BOOTSTRAP._replace(seed=18))


def test_nothing_measured_has_no_interval() -> None:
    with pytest.raises(ValueError, match="no prompts"):
        interval([], BOOTSTRAP)


def test_domains_are_judged_together() -> None:
    rng = np.random.default_rng(4)
    wins = (rng.random(400) < 0.6).astype(float).tolist()
    domains = [f"d{i % 4}" for i in range(400)]
    found = by_domain(wins, domains, BOOTSTRAP, 20)
    assert list(found) == ["d0", "d1", "d2", "d3"]
    count, corrected = found["d0"]
    alone = interval(wins[::4], BOOTSTRAP)
    assert (count, corrected.value) == (100, alone.value)
    assert corrected.low < alone.low
    assert corrected.high > alone.high


def test_a_domain_called_other_is_not_the_pool_of_small_ones() -> None:
    mine = domain_part("other-")
    domains = ["other"] * 30 + [mine] * 30 + ["a"] * 20
    found = by_domain([1.0] * 60 + [0.0] * 20, domains, BOOTSTRAP, 25)
    counts = {name: (n, i.value) for name, (n, i) in found.items()}
    assert counts == {"other": (30, 1.0), mine: (30, 1.0)}
    found = by_domain([1.0] * 60 + [0.0] * 20 + [0.0] * 5, [*domains, *["b"] * 5], BOOTSTRAP, 25)
    assert found[OTHER][0] == 25
    assert domain_part(OTHER) != OTHER


def test_small_domains_are_pooled_and_too_small_a_pool_is_left_out() -> None:
    domains = ["big"] * 30 + ["a"] * 12 + ["b"] * 12
    found = by_domain([1.0] * 30 + [0.0] * 24, domains, BOOTSTRAP, 20)
    assert {name: (n, i.value) for name, (n, i) in found.items()} == {
        "big": (30, 1.0),
        "other-": (24, 0.0),
    }
    assert list(by_domain([1.0] * 42, domains[:42], BOOTSTRAP, 20)) == ["big"]
    assert by_domain([1.0] * 12, domains[:12], BOOTSTRAP, 20) == {}


def judged(
    rng: np.random.Generator, prompts: int, quality: float, length: float, longer_by: float
) -> tuple[list[float], list[float]]:
    """Preferences of a judge who likes length, and how much longer each answer is."""
    longer = rng.normal(longer_by, 10, prompts)
    chance = 1 / (1 + np.exp(-(quality + length * np.tanh(longer / longer.std()))))
    return (rng.random(prompts) < chance).astype(float).tolist(), longer.tolist()


def test_length_control_agrees_with_a_fit_by_another_method() -> None:
    rng = np.random.default_rng(6)
    for quality, length in ((0.4, 1.2), (-1.0, 0.0), (0.0, -2.0)):
        won, longer = judged(rng, 300, quality, length, 4)
        wins, reach = np.array(won), np.tanh(np.array(longer) / np.std(longer))

        def loss(at: np.ndarray, wins: np.ndarray = wins, reach: np.ndarray = reach) -> float:
            logit = at[0] + at[1] * reach
            return float((np.logaddexp(0, logit) - wins * logit).sum() + at[1] ** 2 / 18)

        best = minimize(loss, np.zeros(2), tol=1e-12).x
        found = length_controlled(won, longer, BOOTSTRAP._replace(draws=50)).value
        assert found == pytest.approx(1 / (1 + np.exp(-best[0])), abs=1e-5)


def test_a_judge_who_only_likes_length_sees_no_better_answers() -> None:
    won, longer = judged(np.random.default_rng(2), 2000, 0.0, 2.0, 8)
    raw, controlled = interval(won, BOOTSTRAP), length_controlled(won, longer, BOOTSTRAP)
    assert raw.low > 0.6
    assert controlled.low < 0.5 < controlled.high


def test_without_a_difference_in_length_it_is_the_win_rate() -> None:
    won = [1.0] * 40 + [0.5] * 10 + [0.0] * 30
    found = length_controlled(won, [3.0] * 80, BOOTSTRAP)
    plain = interval(won, BOOTSTRAP)
    assert found.value == pytest.approx(plain.value, abs=1e-6)
    assert found.low == pytest.approx(plain.low, abs=0.02)
    assert length_controlled([0.5] * 9, [float(n) for n in range(9)], BOOTSTRAP) == (0.5,) * 3


def test_swapped_sides_mirror_the_controlled_rate() -> None:
    won, longer = judged(np.random.default_rng(8), 200, 0.5, 1.0, 5)
    ours = length_controlled(won, longer, BOOTSTRAP)
    theirs = length_controlled([1 - one for one in won], [-one for one in longer], BOOTSTRAP)
    assert ours.value == pytest.approx(1 - theirs.value, abs=1e-6)
    assert ours.low == pytest.approx(1 - theirs.high, abs=1e-6)


@pytest.mark.parametrize("won", [[1.0] * 30, [0.0] * 30, [1.0] * 15 + [0.0] * 15])
def test_what_length_or_nothing_explains_ends_in_numbers(won: list[float]) -> None:
    found = length_controlled(won, [float(10 - n) for n in range(30)], BOOTSTRAP)
    assert all(0 <= end <= 1 for end in found)
    assert found.low <= found.value + 1e-9 and found.value <= found.high + 1e-9


def test_the_controlled_interval_covers_the_truth_as_often_as_it_says() -> None:
    rng, covered = np.random.default_rng(3), 0
    for trial in range(200):
        won, longer = judged(rng, 150, 0.6, 1.0, 4)
        bootstrap = BOOTSTRAP._replace(draws=300, seed=trial)
        found = length_controlled(won, longer, bootstrap)
        covered += found.low <= 1 / (1 + np.exp(-0.6)) <= found.high
    assert 0.9 <= covered / 200 <= 0.99


@pytest.mark.parametrize("lengths", [[], [1.0]])
def test_length_control_needs_a_length_for_each_win(lengths: list[float]) -> None:
    with pytest.raises(ValueError, match="one difference in length a prompt"):
        length_controlled([1.0] * (2 * len(lengths)), lengths, BOOTSTRAP)
