"""One rater's change: exact parts against scipy, the whole against simulated pools."""

import math
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from roundhouse.errors import DataError
from roundhouse.raters import drift
from roundhouse.raters.change import benjamini_hochberg
from roundhouse.simulate.votes import Fault, Pool, draw

DEFAULT = Pool()


def found(
    pool: Pool,
    seed: int,
    faults: list[Fault] | None = None,
    harder: dict[int, float] | None = None,
) -> dict[str, drift.Drift]:
    votes = draw(pool, 2, seed, faults or [], harder).votes
    return drift.drifts(votes[votes["round"] == 2], votes[votes["round"] == 1])


@settings(deadline=None)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=20), st.floats(0.01, 0.5))
def test_adjusted_p_pass_where_benjamini_and_hochberg_do(p: list[float], rate: float) -> None:
    values = np.array(p)
    adjusted = drift.adjust(values)
    assert adjusted == pytest.approx(stats.false_discovery_control(values))
    clear = np.abs(adjusted - rate) > 1e-9
    assert ((adjusted <= rate) == benjamini_hochberg(values, rate))[clear].all()


def test_beta_binomial_is_scipys() -> None:
    size = np.array([30, 5, 0])
    wrong, right = np.array([3.5, 0.4, 2.0]), np.array([96.5, 12.0, 50.0])
    chance = drift.beta_binomial(size, wrong, right)
    for row, n, a, b in zip(chance, size, wrong, right, strict=True):
        assert row == pytest.approx(stats.betabinom.pmf(np.arange(31), n, a, b), abs=1e-12)


def test_one_rater_with_very_many_check_items_costs_the_others_nothing() -> None:
    """One with 20,000 among 500 with 30: a table as wide as the one for all would be 80 MB."""
    size = np.full(500, 30)
    size[7] = 20_000
    missed = np.where(np.arange(500) == 7, 2300, np.arange(500) % 8)
    z, error = np.linspace(-2, 3, 500), np.full(500, 0.07)
    peers = drift._Peers(size, z * error, error, z)
    tracemalloc.start()
    try:
        gold = drift._Gold(size, missed, np.tile([10.0, 90.0], (500, 1)))
        joint, tail = drift._joint(peers, gold), drift._tail(gold)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 10e6
    assert tail == pytest.approx(stats.betabinom.sf(missed - 1, size, 10, 90), rel=1e-8)
    for rows in ([7], [3, 4]):
        alone = drift._Gold(size[rows], missed[rows], gold.prior[rows])
        few = drift._Peers(size[rows], (z * error)[rows], error[rows], z[rows])
        assert drift._joint(few, alone) == pytest.approx(joint[rows], rel=1e-12)


def test_a_skewed_figure_has_the_tail_of_a_gamma_distribution() -> None:
    z, skew = np.array([-1.0, 0.0, 1.0, 2.5, 5.0]), np.array([0.3, 1.0, 2.0, 1.5, 0.01])
    found = drift.normal(z, skew)
    assert stats.norm.sf(found) == pytest.approx(stats.pearson3.sf(z, skew), rel=1e-6)
    assert np.isnan(drift.normal(np.array([math.nan]), np.array([0.0]))).all()
    assert np.isfinite(drift.normal(np.array([-9.0, 90.0]), np.array([1.0, 0.5]))).all()


def test_the_joint_p_is_uniform_without_change() -> None:
    """Drawn from the very null: z spread by the inflation, mistakes beta-binomial."""
    rng = np.random.default_rng(5)
    cases = 20_000
    wrong, right = 4.0, 120.0
    missed = stats.betabinom.rvs(30, wrong, right, size=cases, random_state=rng)
    z = rng.normal(size=cases)
    full = np.full(cases, 30)
    prior = np.tile([wrong, right], (cases, 1))
    error = np.full(cases, 0.07)
    gold = drift._Gold(full, missed, prior)
    joint = drift._joint(drift._Peers(full, z * error, error, z), gold)
    raw = stats.norm.sf(stats.norm.isf(joint) * drift.INFLATION)
    for level in (0.005, 0.02, 0.1, 0.5):
        spread = math.sqrt(level * (1 - level) / cases)
        assert (raw <= level).mean() == pytest.approx(level, abs=4 * spread)
    likelier = np.lexsort((z, missed))
    same = missed[likelier][1:] == missed[likelier][:-1]
    assert (np.diff(joint[likelier])[same] <= 1e-12).all(), "more dissent, smaller p"


def test_one_test_alone_is_that_test() -> None:
    no_gold = found(Pool(raters=12, gold=0), 3)
    assert len(no_gold) == 12
    for one in no_gold.values():
        assert one.gold == 0 and math.isnan(one.p_gold)
        z = stats.norm.isf(one.p_peers) / drift.INFLATION
        assert one.p == pytest.approx(stats.norm.sf(z), abs=1e-9)
    no_peers = found(Pool(raters=12, overlap=0.0, anchors=0), 3)
    for one in no_peers.values():
        assert one.peers == 0 and math.isnan(one.p_peers)
        assert one.p == pytest.approx(one.p_gold)


def test_no_figure_without_data() -> None:
    assert found(Pool(raters=6, overlap=0.0, gold=0, anchors=0), 1) == {}
    assert found(Pool(raters=6, votes=20, gold=4, anchors=0), 1) == {}, "too few of either"
    two = found(Pool(raters=2, overlap=1.0, together=2, gold=0, anchors=0), 1)
    assert two == {}, "two raters have no median to stand against"


def test_the_order_of_rows_does_not_matter() -> None:
    votes = draw(Pool(raters=10, votes=80), 2, 2).votes
    mixed = votes.sample(frac=1.0, random_state=1)
    first, second = (
        drift.drifts(frame[frame["round"] == 2], frame[frame["round"] == 1])
        for frame in (votes, mixed)
    )
    assert list(first) == list(second)
    for name, one in first.items():
        assert second[name].p == pytest.approx(one.p) and second[name].flipped == one.flipped


def test_a_rater_who_flips_is_found_with_the_share() -> None:
    """Thirty worlds at 30 %: power is 0.99 or more, coverage 0.95."""
    hits = covered = first = 0
    for seed in range(30):
        one = found(DEFAULT, 300 + seed, [Fault([7], "flip", 0.3, since=2)])
        hits += one["r007"].p < drift.ALARM_P
        first += min(one, key=lambda name: one[name].p) == "r007"
        covered += one["r007"].flipped.low <= 0.3 <= one["r007"].flipped.high
    assert hits >= 28
    assert first >= 27
    assert covered >= 24


def test_harder_items_alarm_nobody() -> None:
    """Twenty worlds, 1000 raters: 15 expected at the level, 11 to 19 within a standard error."""
    alarms = wrong = 0
    for seed in range(20):
        one = found(DEFAULT, 700 + seed, harder={2: 0.5})
        alarms += sum(rater.p < drift.ALARM_P for rater in one.values())
        wrong += sum(rater.q < 0.05 for rater in one.values())
    assert 3 <= alarms <= 29
    assert wrong <= 8


def test_earlier_rounds_do_not_pass_as_now() -> None:
    votes = draw(Pool(raters=5, votes=20), 2, 1).votes
    with pytest.raises(DataError, match="earlier ones as `before`"):
        drift.drifts(votes[votes["round"] == 1], votes[votes["round"] == 2])


def test_poor_raters_and_many_with_a_handful_of_votes_are_no_change() -> None:
    """A pool as crowds are: most people give a few votes, and some always were half as careful."""
    z = []
    for seed in range(6):
        poor = Fault(range(0, 300, 3), "random", 0.5)
        pool = Pool(raters=300, votes=60, overlap=1.0, gold=0, anchors=0)
        votes = draw(pool, 2, seed, [poor]).votes
        busy = votes["rater"].isin([f"r{number:03d}" for number in range(40)])
        seen = np.random.default_rng(seed).random(len(votes)) < 0.05
        votes = votes[busy | seen]
        now = votes["round"] == 2
        z += [stats.norm.isf(one.p) for one in drift.drifts(votes[now], votes[~now]).values()]
    assert len(z) > 40
    assert 0.7 < np.std(z) < 1.3
