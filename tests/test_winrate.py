"""Intervals cover what they claim, ties are halves, and domains are corrected for their number."""

import numpy as np
import pytest

from roundhouse.metrics import domain_part
from roundhouse.winrate import OTHER, Bootstrap, by_domain, interval, win

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
    domains = [domain_part(name) for name in ["other"] * 30 + ["other-"] * 30 + ["a"] * 20]
    found = by_domain([1.0] * 60 + [0.0] * 20, domains, BOOTSTRAP, 25)
    assert {name: (n, i.value) for name, (n, i) in found.items()} == {"other": (60, 1.0)}
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
