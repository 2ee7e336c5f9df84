"""Regions of another taste are found and named; honest, weak and odd ones are left alone."""

import math

import numpy as np
import pandas as pd
import pytest

from roundhouse.errors import DataError
from roundhouse.raters import regions
from roundhouse.simulate.votes import Fault, Pool, draw


def alarms(found: list[regions.RegionTaste]) -> list[str]:
    return [one.region for one in found if one.p <= 0.05]


def test_a_region_of_another_taste_is_named_alone_with_what_it_costs() -> None:
    named = []
    for seed in range(6):
        fault = Fault(range(0, 50, 4), "taste", 0.6)
        votes = draw(Pool(regions=4), 1, seed, [fault]).votes
        found = regions.tastes(votes, 199, 60, 0.9, seed)
        named += alarms(found)
        assert found[0].effect.value > 0.02
        assert found[0].within > found[0].between
    assert named.count("a") >= 5
    assert len(named) - named.count("a") <= 2


def test_regions_of_one_taste_are_rarely_named() -> None:
    """20 pools; at 0.05 five or more alarms have a chance of 0.3 %."""
    hits = sum(
        bool(alarms(regions.tastes(draw(Pool(regions=3), 1, seed).votes, 99, 2, 0.9, seed)))
        for seed in range(20)
    )
    assert hits <= 4


def test_two_regions_differ_from_each_other_and_neither_is_the_odd_one() -> None:
    votes = draw(Pool(regions=2), 1, 1, [Fault(range(0, 50, 2), "taste", 0.7)]).votes
    one, other = regions.tastes(votes, 199, 100, 0.9, 1)
    assert one.p == other.p == pytest.approx(1 / 200)
    assert one.effect.value == pytest.approx(other.effect.value)
    assert one.effect.low > 0


def test_p_of_seen_divisions_counts_all_divisions_that_look_the_same() -> None:
    """Six raters in two regions of three: 10 different divisions, so p cannot fall below 0.1."""
    votes = draw(Pool(raters=6, regions=2, gold=0), 1, 2, [Fault([0, 2, 4], "taste", 1.0)]).votes
    found = regions.tastes(votes, 999, 10, 0.9, 1)
    assert found[0].p == pytest.approx(0.1, abs=0.03)
    assert not found[0].effect.known, "three raters are too few to redraw"


def test_small_regions_are_not_tested_and_unknown_ones_not_counted() -> None:
    votes = draw(Pool(raters=21, regions=3), 1, 3).votes
    few = votes.assign(region=votes["region"].where(votes["rater"] > "r001", "z"))
    few.loc[few["rater"] == "r020", "region"] = ""
    found = {one.region: one for one in regions.tastes(few, 49, 10, 0.9, 1)}
    assert math.isnan(found["z"].p) and found["z"].raters == 2
    assert 0 < found["a"].p <= 1
    assert sum(one.raters for one in found.values()) == 20
    assert regions.tastes(votes.assign(region="a"), 49, 10, 0.9, 1) == []
    assert regions.tastes(votes.assign(region=""), 49, 10, 0.9, 1) == []


def test_a_rater_lives_where_they_vote_most() -> None:
    votes = pd.DataFrame(
        {"rater": list("aaabbc"), "region": ["X", "Y", "Y", "", "Z", ""], "label": 0}
    )
    assert regions.of_raters(votes) == {"a": "Y", "b": "Z"}


TARGET = {"a": 0.25, "b": 0.25, "c": 0.25, "d": 0.25}


def homes(**counts: int) -> dict[str, str]:
    return {f"{name}{k}": name for name, count in counts.items() for k in range(count)}


def test_missing_and_short_regions_are_named_with_their_chance() -> None:
    found = {one.region: one for one in regions.missing(homes(a=22, b=20, c=5), TARGET, 0.95)}
    assert found["d"].state == "missing" and found["d"].p == pytest.approx(4 * 0.75**47)
    assert found["c"].state == "short" and found["c"].share.high < 0.25
    assert found["c"].expected == pytest.approx(47 / 4)
    assert found["a"].state == found["b"].state == "ok"
    assert found["a"].share.low < 22 / 47 < found["a"].share.high


def test_nobody_among_few_is_missing_and_may_be_chance() -> None:
    found = {one.region: one for one in regions.missing(homes(a=3, b=2, c=1), TARGET, 0.95)}
    assert found["d"].state == "missing" and found["d"].p > 0.5
    assert found["c"].state == "ok"


def test_target_may_be_part_of_the_population_and_must_be_shares() -> None:
    found = regions.missing(homes(a=5, elsewhere=40), {"a": 0.3}, 0.95)
    assert [one.state for one in found] == ["short"]
    for target in ({"a": 0.0}, {"a": 0.7, "b": 0.4}, {"a": -1.0}):
        with pytest.raises(DataError, match="target shares"):
            regions.missing(homes(a=5), target, 0.95)


def test_a_pool_drawn_from_its_target_is_rarely_short() -> None:
    generator = np.random.default_rng(1)
    named = 0
    for _ in range(100):
        lives = generator.choice(list(TARGET), 60)
        pool = {str(k): str(place) for k, place in enumerate(lives)}
        named += any(one.state != "ok" for one in regions.missing(pool, TARGET, 0.9))
    assert named <= 10
