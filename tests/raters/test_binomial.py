"""Exact binomial figures against scipy's."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from roundhouse.raters import binomial


@given(st.integers(0, 40), st.integers(1, 40), st.floats(0.0, 1.0))
def test_at_most_equals_scipy(right: int, trials: int, share: float) -> None:
    expected = stats.binom.cdf(right, trials, share)
    assert binomial.at_most(right, trials, share) == pytest.approx(expected, abs=1e-9)


def test_at_most_equals_known_figures() -> None:
    assert binomial.at_most(0, 3, 0.5) == pytest.approx(0.125)
    assert binomial.at_most(3, 3, 0.2) == pytest.approx(1.0)
    assert binomial.at_most(400, 1000, 0.5) == pytest.approx(1.364e-10, rel=1e-3)


def test_thousands_of_trials_overflow_nothing() -> None:
    assert binomial.at_most(900, 4000, 0.25) == pytest.approx(
        stats.binom.cdf(900, 4000, 0.25), rel=1e-8
    )
    assert binomial.at_most(-1, 5, 0.5) == 0.0


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 60), st.data(), st.sampled_from([0.8, 0.95]))
def test_exact_interval_equals_scipy(trials: int, data: st.DataObject, confidence: float) -> None:
    right = data.draw(st.integers(0, trials))
    found = binomial.exact_interval(right, trials, confidence)
    expected = stats.binomtest(right, trials).proportion_ci(confidence, method="exact")
    assert found.value == right / trials
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=1e-8)


@pytest.mark.timeout(60)
def test_a_million_trials_take_no_longer_than_ten() -> None:
    """Summed term by term, each interval would take minutes."""
    for right in (0, 3, 400_000, 999_999, 1_000_000):
        found = binomial.exact_interval(right, 1_000_000, 0.95)
        for end, tail in ((found.low, right - 1), (found.high, right)):
            if 0 < end < 1:
                below = stats.binom.cdf(tail, 1_000_000, end)
                assert min(below, 1 - below) == pytest.approx(0.025, rel=1e-6)
        assert found.low <= found.value <= found.high


def test_no_trials_tell_nothing() -> None:
    assert math.isnan(binomial.exact_interval(0, 0, 0.95).value)
