"""States, weights and the share of regions."""

import numpy as np
import pandas as pd
import pytest

from roundhouse.errors import DataError
from roundhouse.feedback import rater_keys
from roundhouse.raters import table, verdict
from roundhouse.raters.notes import shielded
from roundhouse.raters.verdict import RaterVerdict
from roundhouse.settings import RaterSettings
from roundhouse.simulate import votes as simulated
from roundhouse.simulate.votes import Fault, Pool, draw
from tests.raters.conftest import Simulate

SMALL = Pool(raters=12, votes=90, overlap=1.0, gold=10, anchors=0, bank=0)


def judged(
    votes: pd.DataFrame,
    settings: RaterSettings,
    overrides: dict[str, dict[str, str]] | None = None,
) -> dict[str, RaterVerdict]:
    full = table.tidy(votes)
    regions = dict(zip(full["rater"], full["region"], strict=True))
    return {one.rater: one for one in verdict.judge_raters(full, settings, regions, overrides)}


def test_a_guesser_is_suspended_and_the_good_weigh_by_accuracy(
    simulate: Simulate, rater_settings: RaterSettings
) -> None:
    skill = np.full(16, 0.85)
    skill[:2] = 0.5, 0.7
    found = judged(simulate(3000, 3, skill, 1).votes, rater_settings)
    assert found["r0000"].state == "suspended" and found["r0000"].newest.weight == 0
    assert "votes look random" in found["r0000"].newest.evidence
    assert found["r0001"].state == "ok"
    assert found["r0001"].newest.weight == pytest.approx(0.4, abs=0.1)
    # Mistakes fall on all items alike here; the model, which expects them on close calls, reads a
    # little less skill from them.
    assert found["r0005"].newest.weight == pytest.approx(0.65, abs=0.1)
    assert [one.state for one in found.values()].count("suspended") == 1


def test_an_honest_team_stays_ok(simulate: Simulate, rater_settings: RaterSettings) -> None:
    skill = np.random.default_rng(3).uniform(0.68, 0.92, 40)
    found = judged(simulate(4000, 3, skill, 2).votes, rater_settings)
    assert {one.state for one in found.values()} == {"ok"}


def test_no_weight_falls_below_the_floor(simulate: Simulate, rater_settings: RaterSettings) -> None:
    skill = np.array([0.56, *[0.9] * 9])
    settings = rater_settings.model_copy(update={"min_weight": 0.3})
    found = judged(simulate(400, 3, skill, 4).votes, settings, {"r0000": {"state": "watch"}})
    assert found["r0000"].newest.weight == pytest.approx(0.3)
    assert found["r0001"].newest.weight > 0.6


def test_few_votes_stand_near_the_pool(simulate: Simulate, rater_settings: RaterSettings) -> None:
    world = simulate(800, 3, np.full(12, 0.9), 5)
    newcomer = pd.DataFrame({"item": range(60), "rater": "new", "label": 1 - world.truth[:60]})
    few = judged(pd.concat([world.votes, newcomer[:6]], ignore_index=True), rater_settings)
    many = judged(pd.concat([world.votes, newcomer], ignore_index=True), rater_settings)
    usual = few["r0000"].newest.weight
    assert few["new"].state == "ok"
    assert 0 < few["new"].newest.weight < usual
    assert many["new"].newest.weight == 0


def test_ties_say_nothing_of_accuracy(simulate: Simulate, rater_settings: RaterSettings) -> None:
    """One rater calls a tie half of the time and is right whenever they decide."""
    votes = simulate(8000, 3, np.array([0.95, *[0.8] * 9]), 3).votes
    shy = (votes["rater"] == "r0000") & (votes["item"] % 2 == 0)
    found = judged(votes.assign(label=np.where(shy, table.TIE, votes["label"])), rater_settings)
    assert found["r0000"].newest.accuracy.value > 0.85
    assert found["r0001"].newest.accuracy.value == pytest.approx(0.8, abs=0.06)


def test_votes_before_a_change_keep_their_weight(rater_settings: RaterSettings) -> None:
    drawn = simulated.draw(simulated.Pool(anchors=0), 3, 5, [Fault(range(4), "flip", 0.5, since=2)])
    found = judged(drawn.votes, rater_settings)
    for name in ("r000", "r001", "r002", "r003"):
        first, second, third = found[name].epochs
        assert first.state == "ok" and first.weight > 0.4
        assert second.state != "ok" and second.weight < first.weight / 2
        assert third.weight < first.weight / 2
        assert found[name].since == 2
        assert found[name].at(1) == first and found[name].at(0) == first
        assert found[name].at(9) == third
    honest = [one for name, one in found.items() if name > "r003"]
    assert np.mean([e.state != "ok" for one in honest for e in one.epochs]) < 0.05
    line = found["r000"].as_json()
    assert [part["round"] for part in line["rounds"]] == [1, 2, 3]
    assert line["since"] == 2 and line["votes"] == sum(part["votes"] for part in line["rounds"])


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
    assert once["r0000"].state == "watch" and once["r0000"].newest.factor == 0.5
    assert once["r0000"].newest.weight < once["r0001"].newest.weight / 1.8
    late = judged(history(0.9, 0.9, 0.72), rater_settings)
    assert late["r0000"].state == "watch", "one fall, although there are three rounds"
    twice = judged(history(0.98, 0.83, 0.62), rater_settings)
    assert twice["r0000"].state == "suspended"
    assert any("two rounds" in line for line in twice["r0000"].newest.evidence)
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
    assert "0 of 25 check items" in found["r0004"].newest.evidence[-1]
    assert found["r0003"].state == "ok"


def test_few_wrong_check_items_of_a_rater_far_from_chance_are_watched(
    simulate: Simulate, rater_settings: RaterSettings
) -> None:
    """19 of 25 right where the others make no mistake: too few, though no coin's share."""
    world = simulate(600, 3, np.full(10, 0.9), 9)
    votes = world.votes.assign(gold=-1)
    gold = votes.index[votes["rater"] == "r0004"][:25]
    rest = votes.index[votes["rater"] != "r0004"][:200]
    votes.loc[rest, "gold"] = votes.loc[rest, "label"]
    votes.loc[gold, "gold"] = votes.loc[gold, "label"]
    votes.loc[gold[:6], "gold"] = 1 - votes.loc[gold[:6], "label"]
    found = judged(votes, rater_settings)
    assert found["r0004"].state == "watch"
    assert "19 of 25 check items" in found["r0004"].newest.evidence[-1]


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
    assert found["r12"].newest.weight > 0.4
    assert "own region" in found["r12"].newest.evidence[-1]
    assert {found[f"r{n:02d}"].state for n in range(12)} == {"ok"}


def test_a_view_does_not_show_on_items_beyond_dispute(rater_settings: RaterSettings) -> None:
    """r12 shares the region's view, and gets half of the check items wrong."""
    votes = two_regions(1, taste=True).assign(gold=-1)
    for name, wrong in (("r12", 4), *((f"r{n:02d}", 0) for n in range(12))):
        gold = votes.index[votes["rater"] == name][:8]
        votes.loc[gold, "gold"] = votes.loc[gold, "label"]
        votes.loc[gold[:wrong], "gold"] = 1 - votes.loc[gold[:wrong], "label"]
    found = judged(votes, rater_settings)
    assert found["r12"].state in ("watch", "suspended")
    assert {found[f"r{n}"].state for n in (13, 14, 15)} == {"minority"}


def test_guessers_of_one_region_are_no_minority(rater_settings: RaterSettings) -> None:
    found = judged(two_regions(2, taste=False), rater_settings)
    states = [found[f"r{n}"].state for n in (12, 13, 14, 15)]
    assert states.count("suspended") >= 3
    assert set(states) <= {"suspended", "watch"}


def test_a_persons_word_stands(simulate: Simulate, rater_settings: RaterSettings) -> None:
    skill = np.array([0.5, *[0.9] * 9])
    votes = simulate(1500, 3, skill, 7).votes
    word = {
        "r0000": {"state": "ok", "why": "spoke to them"},
        "r0001": {"state": "suspended", "why": "left"},
        "gone": {"state": "ok", "why": ""},
    }
    found = judged(votes, rater_settings, word)
    assert found["r0000"].state == "ok" and found["r0000"].newest.tested == "suspended"
    # Who is said to be ok weighs no less than the pool; it is not what was found of them.
    assert found["r0000"].newest.weight > 0.6 and found["r0000"].newest.accuracy.value < 0.6
    assert found["r0002"].newest.tested is None
    assert shielded(list(found.values()), "salt") == [
        f"Rater {rater_keys(found, 'salt')['r0000']} stands at ok by a person's word; by the tests "
        "they would be suspended in round 0."
    ]
    assert (
        found["r0000"].newest.evidence[-1] == "set to ok by a person (was suspended): spoke to them"
    )
    assert found["r0001"].newest.weight == 0 and found["r0001"].newest.factor == 0
    assert "gone" not in found
    plain = rater_settings.model_copy(update={"weighting": "majority"})
    assert judged(votes, plain)["r0000"].newest.weight == 1
    assert judged(votes, plain, word)["r0001"].newest.weight == 0
    with pytest.raises(DataError, match="no state 'banned'"):
        judged(votes, rater_settings, {"r0000": {"state": "banned"}})


@pytest.mark.parametrize("absent", [False, True])
def test_a_sum_that_crosses_rounds_begins_where_it_rose(
    rater_settings: RaterSettings, absent: bool
) -> None:
    """A few votes of round 2 are turned and more of later ones: the alarm comes in round 4."""
    votes = draw(SMALL, 4, 5, [Fault([3], "flip", 0.35, since=2, after=0.7)]).votes
    if absent:
        votes = votes[(votes["rater"] != "r003") | (votes["round"] != 3)]
    *earlier, last = judged(votes, rater_settings)["r003"].epochs
    assert {one.state for one in earlier} == {"ok"} and last.state == "watch"
    assert last.followed is not None and last.followed.begin is not None
    assert last.followed.begin.round == 2 and last.followed.begin.vote > 60
    assert any("(an earlier round)" in words for words in last.evidence)


def test_a_sum_after_a_round_that_was_found_says_that_it_is_counted_anew(
    rater_settings: RaterSettings,
) -> None:
    votes = draw(SMALL, 4, 6, [Fault([3], "flip", 0.6, since=2)]).votes
    votes = votes[(votes["rater"] != "r003") | (votes["round"] != 3)]
    _, found, last = judged(votes, rater_settings)["r003"].epochs
    assert found.followed is not None and found.followed.begin is not None
    assert found.followed.begin.round == 2 and last.round == 4
    assert any("counted anew in this round" in words for words in last.evidence)
    assert not any("counted anew" in words for words in found.evidence)


def test_the_state_of_a_rater_without_votes_began_in_no_round(
    rater_settings: RaterSettings,
) -> None:
    word = {"new": {"state": "suspended", "why": "left before the first vote"}}
    votes = table.tidy(pd.DataFrame({"item": [0], "rater": ["a"], "label": [0]}))[:0]
    [one] = verdict.judge_raters(votes, rater_settings, {"new": "IN"}, word)
    line = one.as_json()
    assert (line["state"], line["votes"], line["since"]) == ("suspended", 0, None)


def test_regions_of_verdicts_keep_their_share(
    simulate: Simulate, rater_settings: RaterSettings
) -> None:
    skill = np.array([0.9] * 8 + [0.62] * 4)
    votes = simulate(3000, 3, skill, 12).votes
    votes = votes.assign(region=np.where(votes["rater"] >= "r0008", "NZ", "IN"))
    for most, low in ((0.2, 0.8), (1.0, 0.0)):
        settings = rater_settings.model_copy(update={"max_region_loss": most})
        found = judged(votes, settings).values()
        each = [
            (one.region, one.newest.weight * one.newest.votes, one.newest.votes) for one in found
        ]
        total = sum(weight for _, weight, _ in each)
        part = sum(weight for region, weight, _ in each if region == "NZ") / total
        counted = sum(size for region, _, size in each if region == "NZ") / len(votes)
        assert part >= low * counted - 1e-9
        if most == 1.0:
            assert part < 0.6 * counted
