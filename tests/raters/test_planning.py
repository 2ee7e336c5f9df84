"""A plan adds up, its cost is its time, and the curve goes where past rounds point."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from roundhouse.errors import UsageError
from roundhouse.raters import planning
from roundhouse.raters.planning import Point
from roundhouse.simulate import votes as simulated


@given(st.integers(3, 200), st.integers(1, 400), st.floats(0.0, 1.0))
def test_a_plan_adds_up(raters: int, each: int, overlap: float) -> None:
    plan = planning.lay_out(raters * each, raters, overlap)
    assert plan.work + plan.gold + plan.anchors == each
    assert plan.ratings == raters * each
    used = plan.pairs + plan.shared * (plan.together - 1)
    assert 0 <= plan.work * raters - used <= 2 * plan.together


def test_two_hundred_and_fifty_ratings_are_the_usual_round() -> None:
    plan = planning.lay_out(50 * 250, 50)
    assert (plan.work, plan.gold, plan.anchors) == (200, 30, 20)
    drawn = simulated.draw(plan.pool(), 1, 1).votes
    assert abs(len(drawn) - plan.ratings) < 0.01 * plan.ratings
    assert (drawn["gold"] >= 0).sum() == 50 * 30


@pytest.mark.parametrize(
    ("raters", "each", "bank"), [(50, 250, 200), (24, 250, 96), (5, 250, 30), (5, 3, 0)]
)
def test_the_bank_is_as_large_as_its_anchors_can_be_seen_by_several(
    raters: int, each: int, bank: int
) -> None:
    plan = planning.lay_out(raters * each, raters)
    assert plan.bank == bank
    if bank:
        drawn = simulated.draw(plan.pool(), 1, 1).votes
        seen = drawn[drawn["anchor"]].groupby("item")["rater"].nunique()
        assert seen.mean() >= 3


def test_cost_is_time() -> None:
    plan = planning.lay_out(10_000, 50)
    found = planning.cost(plan, seconds=36.0, wage=20.0)
    assert found.hours == pytest.approx(100)
    assert found.money == pytest.approx(2000)
    assert math.isnan(planning.cost(plan).money)
    assert planning.affordable(money=2000, wage=20, seconds=36) == 10_000
    assert planning.affordable(hours=100, seconds=36) == 10_000


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({}, "how much"),
        ({"money": 5.0}, "--wage"),
        ({"hours": 0.0}, "above 0"),
        ({"hours": math.inf}, "above 0"),
    ],
)
def test_what_cannot_be_planned_is_said(wrong: dict[str, float], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        planning.affordable(**wrong)


def test_too_few_of_anything_is_said() -> None:
    with pytest.raises(UsageError, match="seen by 3"):
        planning.lay_out(100, 2)
    with pytest.raises(UsageError, match="at least one each"):
        planning.lay_out(10, 50)
    with pytest.raises(UsageError, match="ask more people"):
        planning.lay_out(60_000, 5)
    for overlap in (-0.1, 1.1, math.nan):
        with pytest.raises(UsageError, match="from 0 to 1"):
            planning.lay_out(1000, 5, overlap)
    with pytest.raises(UsageError, match="2 or more"):
        planning.lay_out(1000, 5, together=1)


def curve(pairs: int) -> float:
    return 0.85 - 4.0 / math.sqrt(pairs)


def test_the_curve_goes_on_where_its_points_lead() -> None:
    points = [Point(n, curve(n), 0.002) for n in (1000, 2000, 4000, 8000)]
    found = planning.accuracy_after(points, 16_000)
    assert found.value == pytest.approx(curve(16_000), abs=0.003)
    assert found.low < curve(16_000) < found.high
    assert found.high - found.low < 0.03


def test_its_interval_covers() -> None:
    rng, covered = np.random.default_rng(1), 0
    for seed in range(100):
        points = [Point(n, curve(n) + 0.01 * rng.normal(), 0.01) for n in (1000, 2000, 4000, 8000)]
        found = planning.accuracy_after(points, 12_000, confidence=0.9, seed=seed)
        covered += found.low <= curve(12_000) <= found.high
    assert covered >= 82


def test_two_rounds_are_no_curve_and_nothing_falls_with_more_pairs() -> None:
    assert not planning.accuracy_after([Point(1, 0.5, 0.1), Point(2, 0.6, 0.1)], 3).known
    falling = [Point(1000, 0.8, 0.01), Point(2000, 0.75, 0.01), Point(4000, 0.7, 0.01)]
    found = planning.accuracy_after(falling, 8000)
    assert found.value == pytest.approx(0.75, abs=0.01)
