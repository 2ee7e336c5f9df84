"""What a round tells: figures as their own functions give them, shares that add up, no names."""

import json
from typing import Any

import numpy as np
import pandas as pd
import pytest

from roundhouse.feedback import KEY, rater_key, rater_keys
from roundhouse.metrics import domain_part
from roundhouse.raters import agreement, confusion, cusum, story, table
from roundhouse.raters.agreement import UNKNOWN, Estimate
from roundhouse.raters.alarm import PoolVerdict
from roundhouse.raters.evidence import Begin, Followed
from roundhouse.raters.verdict import Epoch, RaterVerdict, judge_raters
from roundhouse.settings import RaterSettings
from roundhouse.simulate.votes import Fault, Pool, draw
from tests.raters.conftest import PARAMS

POOL = PoolVerdict("ok", "agreement-drop", "", "cannot tell", {})
SALT = "salt"
SETTINGS = PARAMS.raters.model_copy(update={"bootstrap_draws": 200})
SMALL = Pool(raters=12, votes=90, overlap=1.0, gold=10, anchors=0, bank=0, regions=3)


def told(votes: pd.DataFrame, settings: RaterSettings) -> story.Told:
    regions = dict(zip(votes["rater"], votes["region"], strict=True))
    verdicts = judge_raters(votes, settings, regions)
    change = Estimate(-0.02, -0.05, 0.01)
    found = story.tell(votes, verdicts, POOL, change, settings, seed=3, salt=SALT)
    json.dumps(found.story, allow_nan=False)
    return found


@pytest.fixture(scope="module")
def flipped() -> pd.DataFrame:
    """Three rounds; in the last one Zorblax-3 turns most votes."""
    drawn = draw(SMALL, 3, 5, [Fault([3], "flip", 0.8, since=3)])
    names = drawn.votes["rater"].str.replace("r0", "Zorblax-")
    return drawn.votes.assign(rater=names, domain="legal", row="secret")


@pytest.fixture(scope="module")
def changed(flipped: pd.DataFrame) -> story.Told:
    """The story of these rounds."""
    return told(flipped, SETTINGS)


def test_who_changed_comes_first_with_when_and_what_it_costs(
    flipped: pd.DataFrame, changed: story.Told
) -> None:
    found = changed.story
    key = rater_keys(flipped["rater"], SALT)["Zorblax-03"]
    one = found["raters"][0]
    assert (one["rater"], one["state"], one["since"], one["was"]) == (key, "watch", 3, "ok")
    assert one["attention"] and one["changed"] and one["evidence"]
    assert one["share"]["round"]["weight"] < one["share"]["round"]["votes"] / 2
    assert one["share"]["all"]["weight"] < one["share"]["all"]["votes"]
    order = [other["attention"] for other in found["raters"]]
    assert order == sorted(order, reverse=True)
    path = found["cusum"]["raters"][key]
    assert max(path["path"]) > cusum.THRESHOLD
    assert path["alarm"]["round"] == 3
    assert path["change"]["vote"] < path["alarm"]["vote"]
    assert len(path["path"]) == len(path["vote"]) == len(path["round"]) <= story.MOST_POINTS
    seen = np.array(found["confusion"]["raters"][key])
    pool = np.array(found["confusion"]["pool"])
    assert np.trace(seen) / seen.sum() < 0.5 < np.trace(pool) / pool.sum()


def test_a_change_begins_where_the_state_says_and_not_anew_in_a_later_round() -> None:
    """Round 1 of record, votes turned from round 2 on: the sum begins anew in round 3."""
    votes = draw(SMALL, 3, 6, [Fault([3], "flip", 0.45, since=2)]).votes
    verdicts = judge_raters(votes, SETTINGS, dict.fromkeys(votes["rater"], ""))
    [one] = [one for one in verdicts if one.rater == "r003"]
    assert [epoch.state for epoch in one.epochs] == ["ok", "suspended", "suspended"]
    assert one.since == 2
    few = SETTINGS.model_copy(update={"bootstrap_draws": 20})
    told = story.tell(votes, verdicts, POOL, UNKNOWN, few, 3, SALT).story
    found = told["cusum"]["raters"][rater_keys(votes["rater"], SALT)["r003"]]
    began, newest = "; ".join(one.epochs[1].evidence), "; ".join(one.newest.evidence)
    assert found["change"]["date"] is not None
    assert f"turns votes since {found['change']['date']}" in began
    assert "counted anew" not in began and ", counted anew in this round)" in newest
    assert found["change"]["round"] == found["alarm"]["round"] == 2
    assert f"the sum over votes reached {max(found['path'][-90:]):.1f}, " in newest
    assert set(found["round"]) == {2, 3}


def test_a_persons_word_leaves_the_beginning_of_the_change() -> None:
    votes = draw(SMALL, 2, 5, [Fault([3], "flip", 0.8, since=2)]).votes
    regions = dict(zip(votes["rater"], votes["region"], strict=True))
    word = {"r003": {"state": "suspended", "why": "so it is"}}
    begins = []
    for words in ({}, word):
        verdicts = judge_raters(votes, SETTINGS, regions, words)
        told = story.tell(votes, verdicts, POOL, UNKNOWN, SETTINGS, 1, SALT).story
        begins.append(told["cusum"]["raters"][rater_keys(regions, SALT)["r003"]]["change"])
    assert begins[0] is not None and begins[1] == begins[0]


def test_the_sum_is_told_as_it_was_judged_by_and_marks_may_lie_before_it() -> None:
    drop = [2.0, 9.0, 9.5]
    begin = Begin(2, 1, 86400.0)
    followed = [None, Followed(np.array([0.0, *drop]), np.arange(0.0, 4 * 86400, 86400), begin)]
    followed += [Followed(np.array(drop), np.zeros(3), Begin(n, 0, 0.0)) for n in range(3, 7)]
    states = ["ok", *["watch"] * 5]
    epochs = [
        epoch(k + 1, 4 if k == 1 else 3, 0.5, state)._replace(followed=one)
        for k, (state, one) in enumerate(zip(states, followed, strict=True))
    ]
    votes = table.tidy(pd.DataFrame({"item": [0], "rater": ["a"], "label": [0], "round": [6]}))
    verdicts = [RaterVerdict("a", "IN", epochs)]
    found = story.tell(votes, verdicts, POOL, UNKNOWN, SETTINGS, 1, SALT).story["cusum"]["raters"]
    [one] = found.values()
    assert one["path"] == drop * 3 and one["round"] == [4, 4, 4, 5, 5, 5, 6, 6, 6]
    assert one["vote"] == list(range(1, 10))
    assert one["change"] == {"vote": -5, "round": 2, "date": "1970-01-02"}
    assert one["alarm"] == {"vote": -4, "round": 2, "date": "1970-01-03"}
    # What is found in the newest round is another matter: its beginning is not known.
    other = [
        *epochs[:-1],
        epochs[-1]._replace(followed=Followed(np.array(drop), np.zeros(3), None)),
    ]
    told = story.tell(votes, [RaterVerdict("a", "IN", other)], POOL, UNKNOWN, SETTINGS, 1, SALT)
    [one] = told.story["cusum"]["raters"].values()
    assert one["change"] is None and one["alarm"] is None


def test_names_and_ids_of_rows_stay_out(changed: story.Told) -> None:
    text = json.dumps([changed.story, changed.figures])
    assert "Zorblax" not in text and "secret" not in text
    assert rater_key("Zorblax-03", SALT)[:KEY] in text


def test_figures_are_those_of_their_functions(flipped: pd.DataFrame, changed: story.Told) -> None:
    found = changed
    rows = agreement.from_table(table.latest(flipped), table.LABELS)
    assert found.figures["raters/ac1"] == pytest.approx(agreement.ac1(rows))
    ends = (found.figures["raters/ac1_low"], found.figures["raters/ac1_high"])
    assert ends[0] < found.figures["raters/ac1"] < ends[1]
    region = str(flipped["region"].iloc[0])
    inside = table.latest(flipped[flipped["region"] == region])
    share = agreement.agreement(agreement.from_table(inside, table.LABELS))
    assert found.figures[f"raters/agreement/region/{region}"] == pytest.approx(share)
    assert "raters/agreement_low/domain/legal" in found.figures
    assert not any("guideline" in name for name in found.figures), "no row states one"
    parts = found.story["agreement"]
    assert [one["name"] for one in parts["round"]] == ["1", "2", "3"]
    for one in (*parts["all"], *parts["round"]):
        value, low, high = one["alpha"]["widest"]
        assert low <= min(one["alpha"]["items"]) and max(one["alpha"]["raters"]) <= high
        assert low < value < high


def test_shares_of_regions_add_up(flipped: pd.DataFrame, changed: story.Told) -> None:
    found = pd.DataFrame(changed.story["regions"])
    sums = found.groupby("round", dropna=False)[["votes", "weight"]].sum()
    assert np.allclose(sums, 1.0)
    assert len(sums) == 4
    counts = flipped["region"].value_counts(normalize=True)
    every = found[found["round"].isna()].set_index("region")["votes"]
    assert np.allclose(every.sort_index(), counts.sort_index())


def test_a_person_s_word_calls_for_a_look_whatever_the_state(
    flipped: pd.DataFrame, changed: story.Told
) -> None:
    """Of a rater whom the tests watch, and of one in whom they find nothing."""
    names = ("Zorblax-03", "Zorblax-05")
    why = "a person's word of 2026-01-31T16:59:52.123Z"
    words = {name: {"state": "ok", "why": why} for name in names}
    verdicts = judge_raters(flipped, SETTINGS, dict.fromkeys(flipped["rater"], ""), words)
    few = SETTINGS.model_copy(update={"bootstrap_draws": 20})
    found = story.tell(flipped, verdicts, POOL, UNKNOWN, few, 3, SALT).story["raters"]
    keys = rater_keys(flipped["rater"], SALT)
    told = {one["rater"]: one for one in found}
    for name, was in zip(names, ("watch", "ok"), strict=True):
        one = told[keys[name]]
        assert one["word"] == {"was": was, "date": "2026-01-31"}
        assert one["attention"] and one["state"] == "ok" and not one["changed"]
    assert sum(one["word"] is not None for one in found) == 2
    assert all(one["word"] is None for one in changed.story["raters"])


def epoch(number: int, votes: int, weight: float, state: Any) -> Epoch:
    words = [] if state == "ok" else ["votes changed (p 0.004)"]
    return Epoch(number, votes, votes, Estimate(0.8, 0.7, 0.9), weight, 1.0, state, words)


def test_shares_of_a_rater_by_hand(rater_settings: RaterSettings) -> None:
    verdicts = [
        RaterVerdict("a", "IN", [epoch(1, 30, 0.6, "watch"), epoch(2, 10, 0.5, "ok")]),
        RaterVerdict("b", "KE", [epoch(1, 30, 0.2, "ok"), epoch(2, 30, 0.1, "watch")]),
        RaterVerdict("c", "KE", [epoch(1, 5, 0.2, "ok")]),
    ]
    votes = table.tidy(pd.DataFrame({"item": [0], "rater": ["a"], "label": [0], "round": [2]}))
    found = story.tell(votes, verdicts, POOL, UNKNOWN, rater_settings, 1, SALT).story
    keys = rater_keys("abc", SALT)
    assert [one["rater"] for one in found["raters"]] == [keys["b"], keys["a"], keys["c"]]
    shares = {one["rater"]: one["share"] for one in found["raters"]}
    assert shares[keys["a"]]["round"] == {"votes": 0.25, "weight": pytest.approx(5 / 8)}
    assert shares[keys["b"]]["all"]["votes"] == pytest.approx(60 / 105)
    assert shares[keys["b"]]["all"]["weight"] == pytest.approx(9 / 33)
    back = next(one for one in found["raters"] if one["rater"] == keys["a"])
    assert (back["state"], back["was"], back["changed"]) == ("ok", "watch", True)
    assert back["evidence_before"] == ["votes changed (p 0.004)"]
    assert found["pool"]["change"] is None


@pytest.mark.parametrize("raters", [0, 1])
def test_nobody_and_a_single_rater_are_told_without_claims(
    raters: int, rater_settings: RaterSettings
) -> None:
    items = {"item": range(30), "rater": "only", "label": 0, "round": 1}
    votes = table.tidy(pd.DataFrame(items)).iloc[: 30 * raters]
    found = told(votes, rater_settings)
    assert found.figures == {}
    assert len(found.story["raters"]) == raters
    assert found.story["newest"] == (1 if raters else None)
    assert all(one["accuracy"] is None for one in found.story["raters"])
    assert found.story["agreement"]["all"][0]["alpha"]["widest"] is None
    assert sum(map(sum, found.story["confusion"]["pool"])) == 0


def test_many_domains_are_told_of_the_largest_ones(
    flipped: pd.DataFrame,
) -> None:
    names = [f"d{item % 40}" if item % 2 else "largest" for item in flipped["item"]]
    votes = flipped.assign(domain=names)
    parts = story.tell(votes, [], POOL, UNKNOWN, SETTINGS, 1, SALT).story["agreement"]["domain"]
    assert len(parts) == story.MOST_PARTS
    assert "largest" in [one["name"] for one in parts]


def test_domains_and_regions_of_like_names_have_figures_of_their_own(
    flipped: pd.DataFrame,
) -> None:
    names = np.where(flipped["item"] % 2 == 0, "R & D", "R-D")
    votes = flipped.assign(domain=names, region=names)
    found = story.tell(votes, [], POOL, UNKNOWN, SETTINGS, 1, SALT).figures
    for axis in ("domain", "region"):
        for name in ("R & D", "R-D"):
            inside = table.latest(votes[votes[axis] == name])
            share = agreement.agreement(agreement.from_table(inside, table.LABELS))
            figure = f"raters/agreement/{axis}/{domain_part(name)}"
            assert found[figure] == pytest.approx(share)


def test_keys_tell_all_raters_apart() -> None:
    names = [f"r{number}" for number in range(150_000)]
    short = {rater_key(name, SALT)[:KEY] for name in names}
    assert len(short) < len(names), "the test needs two that share their first signs"
    found = rater_keys(names, SALT)
    assert len(set(found.values())) == len(names)
    assert {len(key) for key in rater_keys(names[:100], SALT).values()} == {KEY}


def test_confusion_is_that_of_a_loop() -> None:
    generator = np.random.default_rng(2)
    votes = pd.DataFrame(
        {
            "item": generator.integers(0, 60, 300),
            "rater": generator.integers(0, 9, 300).astype(str),
            "label": generator.integers(0, 3, 300),
            "position": generator.integers(0, 2, 300),
        }
    )
    votes.loc[:20, "position"] = -1
    wanted = np.zeros((3, 3), int)
    once = table.latest(votes)
    for _, one in once.iterrows():
        others = once[(once["item"] == one["item"]) & (once["rater"] != one["rater"])]["label"]
        counts = np.bincount(others, minlength=3)
        lead = np.flatnonzero(counts == counts.max())
        if len(lead) > 1 or one["position"] < 0:
            continue
        pair = (lead[0], one["label"])
        placed = [2 if label == 2 else int(label != one["position"]) for label in pair]
        wanted[placed[0], placed[1]] += 1
    found = confusion.compare(votes)
    assert found.shown
    assert found.table().tolist() == wanted.tolist()
    assert not confusion.compare(votes.assign(position=-1)).shown
