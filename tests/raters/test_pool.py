"""What is usual in a pool, and the tails behind it, against scipy and simulation."""

import numpy as np
import pytest
from scipy import stats

from roundhouse.raters import pool


@pytest.mark.parametrize("spread", [0.0, 0.01, 0.3])
@pytest.mark.parametrize("share", [0.03, 0.5, 0.98])
@pytest.mark.parametrize("hits", [0, 1, 17, 40])
def test_tails_are_those_of_scipy(hits: int, share: float, spread: float) -> None:
    if spread:
        law = stats.betabinom(40, share / spread, (1 - share) / spread)
    else:
        law = stats.binom(40, share)
    low, high = pool.tails(hits, 40, share, spread)
    assert low == pytest.approx(law.cdf(hits), rel=1e-9)
    assert high == pytest.approx(law.sf(hits - 1), rel=1e-9)


def test_tails_of_no_trial_and_of_certainty() -> None:
    assert pool.tails(0, 0, 0.4) == (1.0, 1.0)
    assert pool.tails(9, 10, 1.0)[0] < 1e-6
    assert pool.tails(2000, 4000, 0.9, 0.0)[0] < 1e-300


def test_fisher_is_that_of_scipy_and_leaves_out_what_is_unknown() -> None:
    for p in ([0.2], [0.01, 0.6], [0.3, 0.04, 0.9]):
        expected = stats.combine_pvalues(p).pvalue
        assert pool.fisher(np.array([*p, np.nan])) == pytest.approx(expected)
    assert np.isnan(pool.fisher(np.array([np.nan])))


def test_a_fifth_who_always_hit_do_not_move_what_is_usual() -> None:
    rng = np.random.default_rng(1)
    size = np.full(50, 200)
    hits = rng.binomial(size, 0.5)
    hits[:10] = 200
    found = pool.share_tests(hits, size)
    assert found.usual == pytest.approx(np.full(50, 0.5), abs=0.02)
    assert (found.either[:10] < 1e-20).all()
    assert (found.either[10:] > 1e-4).all()


def test_p_of_alike_raters_is_uniform_enough() -> None:
    """2,000 raters in 40 pools: the share below 0.05 is 0.05 with a standard error of 0.005."""
    rng = np.random.default_rng(2)
    p = [pool.share_tests(rng.binomial(120, 0.6, 50), np.full(50, 120)).either for _ in range(40)]
    assert 0.02 <= np.mean(np.concatenate(p) < 0.05) <= 0.06


def test_raters_who_differ_by_nature_are_not_unusual() -> None:
    rng = np.random.default_rng(3)
    size = np.full(60, 1000)
    alarms = binomial = 0
    for _ in range(10):
        hits = rng.binomial(size, rng.beta(30, 30, 60))
        found = pool.share_tests(hits, size)
        alarms += int((found.either < 0.01).sum())
        binomial += sum(2 * min(pool.tails(int(h), 1000, 0.5)) < 0.01 for h in hits)
    assert binomial > 200, "a plain binomial test accuses most of them"
    assert alarms <= 15, "600 raters, 6 expected by chance"


def test_few_raters_are_no_pool() -> None:
    two = pool.share_tests(np.array([3, 4, 0]), np.array([9, 9, 0]))
    assert np.isnan(two.either).all() and np.isnan(two.spread)
    assert np.isnan(pool.standing(np.array([1.0, 2.0, np.nan]), np.ones(3)).z).all()
    three = pool.share_tests(np.array([3, 4, 5, 0]), np.array([9, 9, 9, 0]))
    assert np.isfinite(three.either[:3]).all() and np.isnan(three.either[3])


def test_standing_holds_its_level_and_finds_the_one_apart() -> None:
    rng = np.random.default_rng(4)
    low = []
    for _ in range(60):
        value = rng.normal(0, 0.3, 40) + rng.normal(0, 0.1, 40)
        low.append(pool.standing(value, np.full(40, 0.1)).low)
    assert 0.03 <= np.mean(np.concatenate(low) < 0.05) <= 0.065, "2,400 figures, error 0.0045"
    value[0] = -3.0
    found = pool.standing(value, np.full(40, 0.1))
    assert found.low[0] < 1e-6 and found.between == pytest.approx(0.3, abs=0.1)


def test_normal_scores_of_few_degrees_are_those_of_students_t() -> None:
    t = np.array([-6.0, -2.0, 0.5, 3.0])
    for degrees in (2, 5, 30):
        expected = stats.norm.isf(stats.t(degrees).sf(t))
        assert pool._normal_scores(t, degrees) == pytest.approx(expected, rel=0.03)
