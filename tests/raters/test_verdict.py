"""States, weights and the share of regions."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from roundhouse.errors import DataError
from roundhouse.raters import table, verdict
from roundhouse.raters.agreement import UNKNOWN, Estimate
from roundhouse.raters.reliability import dawid_skene
from roundhouse.raters.verdict import RaterVerdict
from roundhouse.settings import RaterSettings
from tests.raters.conftest import Simulate

SHARES = st.lists(st.floats(0.01, 1), min_size=1, max_size=6)


def judged(
    votes: pd.DataFrame,
    settings: RaterSettings,
    overrides: dict[str, dict[str, str]] | None = None,
) -> dict[str, RaterVerdict]:
    full = table.tidy(votes)
    regions = dict(zip(full["rater"], full["region"], strict=True))
    found = dawid_skene(table.latest(full), labels=2, symmetric=True)
    return {
        one.rater: one for one in verdict.judge_raters(full, found, settings, regions, overrides)
    }


def test_a_guesser_is_suspended_and_the_good_weigh_by_accuracy(
    simulate: Simulate, rater_settings: RaterSettings
) -> None:
    skill = np.full(16, 0.85)
    skill[:2] = 0.5, 0.7
    found = judged(simulate(3000, 3, skill, 1).votes, rater_settings)
    assert found["r0000"].state == "suspended" and found["r0000"].weight == 0
    assert "no better than chance" in found["r0000"].evidence[0]
    assert found["r0001"].state == "ok"
    assert found["r0001"].weight == pytest.approx(0.4, abs=0.1)
    assert found["r0005"].weight == pytest.approx(0.7, abs=0.08)
    assert [one.state for one in found.values()].count("suspended") == 1


def test_an_honest_team_stays_ok(simulate: Simulate, rater_settings: RaterSettings) -> None:
    skill = np.random.default_rng(3).uniform(0.68, 0.92, 40)
    found = judged(simulate(4000, 3, skill, 2).votes, rater_settings)
    assert {one.state for one in found.values()} == {"ok"}


def test_no_weight_falls_below_the_floor(simulate: Simulate, rater_settings: RaterSettings) -> None:
    skill = np.array([0.56, *[0.9] * 9])
    settings = rater_settings.model_copy(update={"min_weight": 0.3})
    found = judged(simulate(400, 3, skill, 4).votes, settings, {"r0000": {"state": "ok"}})
    assert found["r0000"].weight == pytest.approx(0.3)
    assert found["r0001"].weight > 0.6


def test_few_votes_take_the_accuracy_of_the_pool(
    simulate: Simulate, rater_settings: RaterSettings
) -> None:
    world = simulate(800, 3, np.full(12, 0.9), 5)
    newcomer = pd.DataFrame({"item": range(10), "rater": "new", "label": 1 - world.truth[:10]})
    found = judged(pd.concat([world.votes, newcomer], ignore_index=True), rater_settings)
    assert found["new"].state == "ok"
    assert found["new"].weight == pytest.approx(found["r0000"].weight, abs=0.1)
    assert "10 votes overlap, fewer than 20" in found["new"].evidence[0]
    believing = rater_settings.model_copy(update={"min_votes": 5})
    found = judged(pd.concat([world.votes, newcomer], ignore_index=True), believing)
    assert found["new"].weight < found["r0000"].weight - 0.3


def test_no_overlap_says_so_instead_of_a_figure(
    simulate: Simulate, rater_settings: RaterSettings
) -> None:
    found = judged(simulate(200, 1, np.full(4, 0.9), 6).votes, rater_settings)
    line = found["r0001"].as_json()
    assert line["accuracy"] is None and line["accuracy_low"] is None
    assert line["state"] == "ok" and line["evidence"]


def test_a_fall_is_watched_and_two_falls_suspend(
    simulate: Simulate, rater_settings: RaterSettings
) -> None:
    def history(*skills: float) -> pd.DataFrame:
        parts = []
        for number, skill in enumerate(skills):
            votes = simulate(1500, 3, np.array([skill, *[0.88] * 15]), 30 + number).votes
            parts.append(votes.assign(item=votes["item"] + 10_000 * number, round=number + 1))
        return pd.concat(parts, ignore_index=True)

    once = judged(history(0.9, 0.72), rater_settings)
    assert once["r0000"].state == "watch" and once["r0000"].factor == 0.5
    assert once["r0000"].weight < once["r0001"].weight / 1.8
    late = judged(history(0.9, 0.9, 0.72), rater_settings)
    assert late["r0000"].state == "watch", "one fall, although there are three rounds"
    twice = judged(history(0.98, 0.83, 0.62), rater_settings)
    assert twice["r0000"].state == "suspended"
    assert any("two rounds" in line for line in twice["r0000"].evidence)
    assert {one.state for name, one in twice.items() if name != "r0000"} <= {"ok", "watch"}


def test_wrong_check_items_suspend_alone(simulate: Simulate, rater_settings: RaterSettings) -> None:
    """The rater's votes agree with the pool except where the answer is known."""
    world = simulate(600, 3, np.full(10, 0.9), 9)
    votes = world.votes.assign(gold=-1)
    gold = votes.index[votes["rater"] == "r0004"][:25]
    votes.loc[gold, "gold"] = 1 - votes.loc[gold, "label"]
    rest = votes.index[votes["rater"] != "r0004"][:200]
    votes.loc[rest, "gold"] = votes.loc[rest, "label"]
    found = judged(votes, rater_settings)
    assert found["r0004"].state == "suspended"
    assert "0 of 25 check items" in found["r0004"].evidence[-1]
    assert found["r0003"].state == "ok"


def two_regions(seed: int, taste: bool) -> pd.DataFrame:
    """Twelve raters of a large region; four of a small one see it the other way, or guess."""
    generator = np.random.default_rng(seed)
    truth = generator.integers(0, 2, 2500)
    order = generator.random((2500, 16)).argpartition(4, axis=1)[:, :5]
    rater, item = order.ravel(), np.repeat(np.arange(2500), 5)
    small = rater >= 12
    side = np.where(small, 1 - truth[item], truth[item]) if taste else truth[item]
    right = generator.random(len(item)) < np.where(small & (not taste), 0.5, 0.88)
    return pd.DataFrame(
        {
            "item": item,
            "rater": np.array([f"r{n:02d}" for n in range(16)])[rater],
            "label": np.where(right, side, 1 - side),
            "region": np.where(small, "NZ", "IN"),
        }
    )


def test_a_region_of_another_mind_is_a_minority_not_noise(rater_settings: RaterSettings) -> None:
    found = judged(two_regions(1, taste=True), rater_settings)
    assert {found[f"r{n}"].state for n in (12, 13, 14, 15)} == {"minority"}
    assert found["r12"].weight > 0.5
    assert "own region" in found["r12"].evidence[-1]
    assert {found[f"r{n:02d}"].state for n in range(12)} == {"ok"}


def test_guessers_of_one_region_are_no_minority(rater_settings: RaterSettings) -> None:
    found = judged(two_regions(2, taste=False), rater_settings)
    states = [found[f"r{n}"].state for n in (12, 13, 14, 15)]
    assert states.count("suspended") >= 3
    assert set(states) <= {"suspended", "watch"}


@pytest.mark.parametrize(
    ("inside", "outside", "view"),
    [
        ((80, 100), (30, 100), True),
        ((70, 100), (66, 100), False),  # agrees with everybody
        ((55, 100), (20, 100), False),  # agrees with nobody much
        ((16, 19), (30, 100), False),  # too few to tell
        ((80, 100), (2, 19), False),
    ],
)
def test_a_view_is_shared_at_home_and_not_abroad(
    inside: tuple[int, int], outside: tuple[int, int], view: bool
) -> None:
    home, abroad = ((np.arange(size) < right).astype(float) for right, size in (inside, outside))
    assert verdict.is_minority(home, abroad, usual=0.74) == view


def test_a_persons_word_stands(simulate: Simulate, rater_settings: RaterSettings) -> None:
    skill = np.array([0.5, *[0.9] * 9])
    votes = simulate(1500, 3, skill, 7).votes
    word = {
        "r0000": {"state": "ok", "why": "spoke to them"},
        "r0001": {"state": "suspended", "why": "left"},
        "gone": {"state": "ok", "why": ""},
    }
    found = judged(votes, rater_settings, word)
    assert found["r0000"].state == "ok" and found["r0000"].weight > 0
    assert found["r0000"].evidence[-1] == "set to ok by a person (was suspended): spoke to them"
    assert found["r0001"].weight == 0 and found["r0001"].factor == 0
    assert "gone" not in found
    plain = rater_settings.model_copy(update={"weighting": "majority"})
    assert judged(votes, plain)["r0000"].weight == 1
    assert judged(votes, plain, word)["r0001"].weight == 0
    with pytest.raises(DataError, match="no state 'banned'"):
        judged(votes, rater_settings, {"r0000": {"state": "banned"}})


@given(SHARES, st.data(), st.floats(0, 0.9))
def test_no_region_loses_more_than_its_part(
    raw: list[float], data: st.DataObject, most: float
) -> None:
    share: NDArray[np.float64] = np.array(raw) / sum(raw)
    loose = st.floats(0.001, 1)
    weight = np.array(data.draw(st.lists(loose, min_size=len(raw), max_size=len(raw))))
    weighted = share * weight / (share * weight).sum()
    capped = weighted * verdict.cap_regions(share, weighted, most)
    assert capped.sum() == pytest.approx(1)
    assert (capped >= share * (1 - most) - 1e-9).all()
    if (weighted >= share * (1 - most)).all():
        assert capped == pytest.approx(weighted)


def test_a_region_without_weight_stays_without() -> None:
    share, weighted = np.array([0.5, 0.5]), np.array([1.0, 0.0])
    assert verdict.cap_regions(share, weighted, 0.2).tolist() == [1.0, 1.0]


def test_regions_of_verdicts_keep_their_share(
    simulate: Simulate, rater_settings: RaterSettings
) -> None:
    skill = np.array([0.9] * 8 + [0.62] * 4)
    votes = simulate(3000, 3, skill, 12).votes
    votes = votes.assign(region=np.where(votes["rater"] >= "r0008", "NZ", "IN"))
    for most, low in ((0.2, 0.8), (1.0, 0.0)):
        settings = rater_settings.model_copy(update={"max_region_loss": most})
        found = judged(votes, settings).values()
        total = sum(one.weight * one.votes for one in found)
        part = sum(one.weight * one.votes for one in found if one.region == "NZ") / total
        counted = sum(one.votes for one in found if one.region == "NZ") / len(votes)
        assert part >= low * counted - 1e-9
        if most == 1.0:
            assert part < 0.6 * counted


def test_the_pool_alarms_on_a_sure_and_large_fall_only(rater_settings: RaterSettings) -> None:
    blocking = rater_settings.model_copy(update={"block_on_alarm": True})
    fall = Estimate(-0.2, -0.3, -0.1)
    assert verdict.judge_pool(fall, rater_settings, ()).state == "warn"
    assert verdict.judge_pool(fall, blocking, ()).state == "block"
    assert verdict.judge_pool(fall, blocking, ("agreement-drop",)).state == "warn"
    for calm in (
        Estimate(-0.05, -0.08, -0.02), Estimate(-0.2, -0.5, 0.1), Estimate(0.2, 0.1, 0.3), UNKNOWN,
    ):  # fmt: skip
        assert verdict.judge_pool(calm, blocking, ()).state == "ok"
