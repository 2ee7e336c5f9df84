"""Change of the pool and of single raters, and the tests behind it."""

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from scipy import stats

from roundhouse.raters import agreement, change
from tests.raters.conftest import Simulate

Floats = NDArray[np.float64]


def rounds(simulate: Simulate, before: Floats, now: Floats, seed: int) -> tuple[pd.DataFrame, ...]:
    return (
        simulate(1200, 3, before, seed).votes,
        simulate(1200, 3, now, seed + 1000).votes,
    )


def test_alpha_change_finds_a_fall_and_covers_no_change(simulate: Simulate) -> None:
    good, worse = np.full(20, 0.85), np.full(20, 0.7)
    before, now = rounds(simulate, good, worse, 1)
    fell = change.alpha_change(
        agreement.from_table(now, 2), agreement.from_table(before, 2), 300, 0.95, 7
    )
    assert fell.value < -0.2 and fell.high < -0.15
    hits = 0
    for seed in range(60):
        before, now = rounds(simulate, good, good, seed)
        same = change.alpha_change(
            agreement.from_table(now, 2), agreement.from_table(before, 2), 200, 0.9, seed
        )
        hits += same.low <= 0 <= same.high
    assert 48 <= hits <= 59, "90 % interval over 60 worlds without change"


def test_a_rater_who_turns_is_found_among_steady_peers(simulate: Simulate) -> None:
    before = np.full(20, 0.85)
    now = before.copy()
    now[3] = 0.6
    old, new = rounds(simulate, before, now, 5)
    found = change.peer_changes(new, old)
    assert found["r0003"].p < 1e-3
    assert found["r0003"].change < -0.1
    assert sorted(found.values(), key=lambda one: one.p)[1].p > found["r0003"].p * 3


def test_harder_items_alarm_nobody(simulate: Simulate) -> None:
    """All raters fall alike: raw agreement would accuse each of them."""
    alarms = 0
    for seed in range(10):
        old, new = rounds(simulate, np.full(20, 0.85), np.full(20, 0.72), seed)
        found = change.peer_changes(new, old)
        assert len(found) == 20
        assert np.mean([one.now - one.before for one in found.values()]) < -0.08
        alarms += sum(one.p < 0.01 for one in found.values())
    assert alarms <= 8, "200 raters, 2 expected by chance"


def test_peer_shares_need_two_other_raters_of_one_mind() -> None:
    votes = pd.DataFrame(
        [
            ("x", "a", 0), ("x", "b", 0), ("x", "c", 1),
            ("y", "a", 1), ("y", "b", 1),
            ("z", "a", 2), ("z", "b", 2), ("z", "c", 0),
        ],
        columns=["item", "rater", "label"],
    )  # fmt: skip
    shares = change.peer_shares(votes)
    assert shares["votes"].to_dict() == {"a": 0, "b": 0, "c": 1}
    assert shares["agree"].to_dict() == {"a": 0, "b": 0, "c": 0}


def test_two_raters_are_too_few_to_compare(simulate: Simulate) -> None:
    old, new = rounds(simulate, np.full(3, 0.9), np.full(3, 0.9), 3)
    assert len(change.peer_changes(new, old)) == 3
    few = new[new["rater"] != "r0002"]
    assert change.peer_changes(few, old) == {}


def test_gold_test_accuses_the_rater_who_misses_check_items(simulate: Simulate) -> None:
    skill = np.full(10, 0.95)
    skill[4] = 0.5
    world = simulate(300, 2, skill, 8)
    votes = world.votes.assign(gold=world.truth[world.votes["item"]])
    found = change.gold_tests(votes)
    assert found["r0004"].p < 1e-6
    assert min(one.p for name, one in found.items() if name != "r0004") > 1e-3
    assert found["r0004"].votes == (votes["rater"] == "r0004").sum()
    assert change.gold_tests(votes.assign(gold=-1)) == {}


def test_a_set_of_labels_of_which_every_row_has_a_right_answer_is_tested() -> None:
    """A model that rates gives thousands of such votes in a round."""
    item = np.arange(5000)
    rows = [
        pd.DataFrame({"item": item, "rater": rater, "label": (item % slips == 0).astype(int)})
        for rater, slips in (("ai", 8), ("a", 10), ("b", 10))
    ]
    found = change.gold_tests(pd.concat(rows, ignore_index=True).assign(gold=0))
    assert (found["ai"].right, found["ai"].votes) == (4375, 5000)
    assert found["ai"].p == pytest.approx(stats.binom.cdf(4375, 5000, 9001 / 10002), rel=1e-6)
    assert found["a"].p > 0.5


def test_benjamini_hochberg_steps_up() -> None:
    p = np.array([0.04, 0.001, 0.03, 0.9])
    assert change.benjamini_hochberg(p, 0.05).tolist() == [False, True, False, False]
    assert change.benjamini_hochberg(p, 0.06).tolist() == [True, True, True, False]
    assert change.benjamini_hochberg(np.array([0.03, 0.04]), 0.05).tolist() == [True, True]
    assert change.benjamini_hochberg(np.zeros(0), 0.05).tolist() == []
