"""Power of the checks under a plan: the usual round finds what it should, a tiny one says so."""

import math
from collections.abc import Iterable

import pytest

from roundhouse.raters import planning, power
from roundhouse.raters.power import Power
from roundhouse.simulate import votes


def by_check(found: Iterable[Power]) -> dict[tuple[str, str], Power]:
    return {(one.case, one.check): one for one in found}


def test_the_usual_work_finds_what_matters_and_accuses_few() -> None:
    found = by_check(power.checks(planning.lay_out(10 * 250, 10), 6, seed=3))
    turned = found["a rater turns 30%", "test of the round"]
    assert turned.found >= 4 / 6
    assert turned.false <= 0.08
    for words in ("answer by place", "answer at random"):
        assert found[f"1 of 10 {words}", "spam"].found == 1
    assert len(found) == 8


def test_more_work_finds_more() -> None:
    plans = (planning.lay_out(24 * each, 24) for each in (30, 300))
    few, many = (by_check(power._changes(plan.pool(), 6, seed=3)) for plan in plans)
    name = ("a rater turns 30%", "running sum")
    assert few[name].found < many[name].found


def test_what_cannot_be_tested_has_no_power_rather_than_0() -> None:
    pool = planning.lay_out(30, 3).pool()
    found = [*power._changes(pool, 2, seed=3), power._pool(pool, 2, seed=3)]
    assert {one.check for one in found if math.isnan(one.found)} == {"test of the round", "anchors"}
    assert math.isfinite(power._pool(planning.lay_out(24 * 250, 24).pool(), 2, seed=3).found)


def test_a_change_on_which_all_agree_is_found_by_anchors() -> None:
    """Raters of one mind then and now have no p of noise, which is no lack of anchors."""
    drawn = votes.draw(votes.Pool(raters=6, votes=40, bank=30), 2, 1)
    turned = drawn.votes.assign(label=(drawn.votes["round"] == 2).astype(int))
    assert power._by_anchors(drawn._replace(votes=turned)) is True
    assert power._by_anchors(drawn._replace(votes=drawn.votes.assign(label=0))) is False


def test_an_error_is_never_0() -> None:
    count = power._Count().plus([True, True, True, None])
    assert count.share == 0.75
    assert count.plus([True] * 10).error > 0
    assert power._Count().plus([True]).error == pytest.approx(math.sqrt(2 / 3 * 1 / 3 / 3))
    assert math.isnan(power._Count().plus([None]).share)


def test_large_plans_are_simulated_smaller_with_as_much_work_each() -> None:
    pool = power._fewer(planning.lay_out(250 * 4000, 4000), power.MOST_RATERS)
    assert (pool.raters, pool.votes, pool.anchors) == (100, 200, 20)
    pool = power._fewer(planning.lay_out(9000 * 40, 40), power.MOST_RATERS)
    assert pool.raters == 10


def test_so_many_are_simulated_as_see_a_pair_together() -> None:
    plan = planning.lay_out(60 * 100, 60, overlap=1.0, together=60)
    pool = power._fewer(plan, power.MOST_SPAM_RATERS)
    assert pool.raters == 60
    drawn = votes.draw(pool, 1, seed=3).votes
    assert len(drawn) == pytest.approx(pool.raters * plan.each, rel=0.02)
    assert power._fewer(planning.lay_out(9000 * 40, 40, together=15), 100).raters == 15
