"""Votes to pairs: who may speak where, what a vote weighs, and what never appears."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from roundhouse import feedback, settings
from roundhouse.raters import aggregate, table
from roundhouse.raters.agreement import UNKNOWN
from roundhouse.raters.evidence import State
from roundhouse.raters.verdict import FACTOR, Epoch, RaterVerdict
from tests.raters.conftest import PARAMS, Compare

RATERS = [f"r{number}" for number in range(8)]
#: With this salt r0 to r7 hold panel members and others.
SPLIT = PARAMS.split
PLAIN = PARAMS.raters.model_copy(update={"weighting": "none"})

VOTES = st.lists(
    st.tuples(
        st.integers(0, 11), st.sampled_from(RATERS), st.sampled_from([0, 1, "tie"]), st.booleans()
    ),
    min_size=1,
    max_size=40,
)


def believe(
    weights: dict[str, float] | None = None, states: dict[str, State] | None = None
) -> list[RaterVerdict]:
    weights, states = weights or {}, states or {}
    return [
        RaterVerdict(name, "", [
            Epoch(
                1, 1, 1, UNKNOWN, weights.get(name, 1.0), FACTOR[states.get(name, "ok")],
                states.get(name, "ok"), [],
            )
        ])
        for name in RATERS
    ]  # fmt: skip


def row(number: int, prompt: int, rater: str, choice: int | str, swapped: bool) -> dict[str, Any]:
    answers = [f"answer a{prompt}", f"answer b{prompt}"]
    turned = choice if choice == "tie" or not swapped else 1 - int(choice)
    return {
        "id": f"f{number}", "kind": "comparison", "prompt": f"Prompt {prompt}",
        "responses": answers[::-1] if swapped else answers, "choice": turned, "rater": rater,
        "created_at": "2026-01-31T16:59:52Z",
    }  # fmt: skip


def pairs(
    rows: list[dict[str, Any]],
    verdicts: list[RaterVerdict],
    rater_settings: settings.RaterSettings = PLAIN,
    excluded: frozenset[str] = frozenset(),
    split: settings.SplitSettings = SPLIT,
) -> list[dict[str, Any]]:
    found = table.judgements({1: rows}, split, excluded)
    return aggregate.pairs(table.build(found), verdicts, rater_settings, split)


def test_the_panel_of_these_tests_holds_some_and_not_all() -> None:
    on = [rater for rater in RATERS if feedback.on_panel(rater, SPLIT)]
    assert 0 < len(on) < len(RATERS)


@hypothesis_settings(deadline=None)
@given(VOTES, st.sets(st.integers(0, 39)))
def test_only_who_may_speak_speaks_and_excluded_rows_never_appear(
    votes: list[tuple[int, str, int | str, bool]], gone: set[int]
) -> None:
    rows = [row(number, *vote) for number, vote in enumerate(votes)]
    excluded = frozenset(f"f{number}" for number in gone)
    found = pairs(rows, believe(), excluded=excluded)
    by_id = {one["id"]: one for one in rows}
    voting = {one["rater"] for one in rows if one["id"] not in excluded}
    panel = {rater for rater in voting if feedback.on_panel(rater, SPLIT)}
    split_panel = panel not in (set(), voting)
    sides = feedback.sides({feedback.prompt_key(one) for one in rows}, SPLIT)
    used = set()
    for pair in found:
        used |= set(pair["rows"])
        assert not set(pair["rows"]) & excluded
        assert pair["votes"] == len(pair["rows"]) >= 1
        for one in (by_id[name] for name in pair["rows"]):
            assert sides[feedback.prompt_key(one)] == pair["side"]
            if split_panel and pair["side"] != "eval":
                assert (one["rater"] in panel) == (pair["side"] == "judge")
    may = {
        one["id"]
        for one in rows
        if one["id"] not in excluded
        and (
            not split_panel
            or sides[feedback.prompt_key(one)] == "eval"
            or (one["rater"] in panel) == (sides[feedback.prompt_key(one)] == "judge")
        )
    }
    latest = {(by_id[name]["prompt"], by_id[name]["rater"]): name for name in sorted(
        may, key=lambda name: int(name[1:])
    )}  # fmt: skip
    assert used == set(latest.values()), "nothing that may be used is lost"


@hypothesis_settings(deadline=None)
@given(VOTES, st.sampled_from(["none", "majority", "reliability"]))
def test_the_order_in_which_answers_stood_changes_nothing(
    votes: list[tuple[int, str, int | str, bool]], mode: str
) -> None:
    rater_settings = PARAMS.raters.model_copy(update={"weighting": mode})
    weights = {rater: 0.2 + number / 10 for number, rater in enumerate(RATERS)}
    rows = [row(number, *vote) for number, vote in enumerate(votes)]
    turned = [row(number, *vote[:3], not vote[3]) for number, vote in enumerate(votes)]
    found = pairs(rows, believe(weights), rater_settings)
    assert found == pairs(turned, believe(weights), rater_settings)
    for side in {pair["side"] for pair in found}:
        chosen = [pair for pair in found if pair["side"] == side]
        assert sum(pair["weight"] for pair in chosen) == pytest.approx(len(chosen))
    for pair in found:
        assert 0 <= pair["p"] <= 1 and pair["weight"] > 0
        number = pair["prompt"][0]["content"].removeprefix("Prompt ")
        assert {pair["a"], pair["b"]} == {f"answer a{number}", f"answer b{number}"}


def chance(pair: dict[str, Any], answer: str) -> float:
    """The pair's probability that this answer is the better one."""
    p: float = pair["p"] if pair["a"] == answer else 1 - pair["p"]
    assert answer in (pair["a"], pair["b"])
    return p


def one_side(votes: list[tuple[str, int | str]], prompt: int = 1) -> list[dict[str, Any]]:
    return [row(number, prompt, *vote, False) for number, vote in enumerate(votes)]


NO_PANEL = SPLIT.model_copy(update={"judge_rater_share": 0.0})


@pytest.mark.parametrize(
    ("mode", "p"), [("none", (1 + 0 + 0.5) / 3), ("majority", 0.5), ("reliability", 1.0 / 1.7)]
)
def test_labels_by_mode(mode: str, p: float) -> None:
    rows = one_side([("r0", 0), ("r1", 1), ("r2", "tie")])
    weights = {"r0": 0.8, "r1": 0.5, "r2": 0.4}
    rater_settings = PARAMS.raters.model_copy(update={"weighting": mode})
    verdicts = believe(weights if mode == "reliability" else {})
    found = pairs(rows, verdicts, rater_settings, split=NO_PANEL)
    assert chance(found[0], "answer a1") == pytest.approx(p)


def test_majority_takes_a_side_and_none_takes_the_share() -> None:
    rows = one_side([("r0", 0), ("r1", 0), ("r2", 1)])
    majority = PARAMS.raters.model_copy(update={"weighting": "majority"})
    for mode, p in ((majority, 1.0), (PLAIN, 2 / 3)):
        found = pairs(rows, believe(), mode, split=NO_PANEL)
        assert chance(found[0], "answer a1") == pytest.approx(p)


def test_more_votes_weigh_more_by_the_root_and_doubtful_raters_less() -> None:
    rows = [
        row(0, 1, "r0", 0, False), row(1, 2, "r0", 0, False), row(2, 2, "r1", 0, False),
        row(3, 2, "r2", 0, False), row(4, 2, "r3", 0, False), row(5, 3, "r4", 0, False),
    ]  # fmt: skip
    for one in rows:
        one["group"] = "same"
    found = pairs(rows, believe({"r4": 0.25}), PARAMS.raters, split=NO_PANEL)
    single, four, doubtful = (pair["weight"] for pair in found)
    assert four == pytest.approx(2 * single)
    assert doubtful == pytest.approx(single / 4)
    counted = [pair["weight"] for pair in pairs(rows, believe(), PLAIN, split=NO_PANEL)]
    assert counted[1] == pytest.approx(4 * counted[0])


def test_a_suspended_rater_has_no_vote() -> None:
    rows = one_side([("r0", 0), ("r1", 1)])
    found = pairs(rows, believe({"r1": 0.0}), split=NO_PANEL)
    assert chance(found[0], "answer a1") == 1.0
    assert found[0]["rows"] == ["f0"]
    assert pairs(rows, believe({"r0": 0.0, "r1": 0.0}), split=NO_PANEL) == []


def test_no_panel_and_all_panel_let_everybody_speak() -> None:
    rows = [row(number, number % 12, RATERS[number % 8], 0, False) for number in range(48)]
    for share in (0.0, 1.0):
        split = SPLIT.model_copy(update={"judge_rater_share": share})
        found = pairs(rows, believe(), split=split)
        assert sum(pair["votes"] for pair in found) == len(
            {(one["prompt"], one["rater"]) for one in rows}
        )
        assert {pair["side"] for pair in found} == {"train", "judge", "eval"}


def test_a_rater_heard_on_both_sides_is_named() -> None:
    rows = [row(number, number % 12, RATERS[number % 8], 0, False) for number in range(48)]
    found = table.judgements({1: rows}, SPLIT)
    apart = aggregate.pairs(table.build(found), believe(), PLAIN, SPLIT)
    assert aggregate.in_both(apart, found) == set()
    mixed = aggregate.pairs(table.build(found), believe(), PLAIN, NO_PANEL)
    assert len(aggregate.in_both(mixed, found)) > 2
    # One panel member's vote that slipped into a pair that trains.
    judged = next(pair for pair in apart if pair["side"] == "judge")
    training = next(pair for pair in apart if pair["side"] == "train")
    training["rows"].append(judged["rows"][0])
    by_id = {one["id"]: one["rater"] for one in rows}
    assert aggregate.in_both(apart, found) == {by_id[judged["rows"][0]]}


def test_a_correction_is_a_pair_that_may_be_wrong(compare: Compare) -> None:
    base = {"rater": "r0", "created_at": "2026-01-31T16:59:52Z", "prompt": "Why?"}
    rows: list[dict[str, Any]] = [
        {**base, "id": "c", "kind": "correction", "response": "a", "correction": "z"}
    ]
    found = pairs(rows, believe(), PARAMS.raters, split=NO_PANEL)
    assert found[0]["rows"] == ["c"]
    assert chance(found[0], "z") == pytest.approx(1 - aggregate.MISTAKE)
    rows.append(compare("r1", 0, prompt="Why?", responses=["a", "z"]))
    found = pairs(rows, believe(), PARAMS.raters, split=NO_PANEL)
    assert chance(found[0], "z") == pytest.approx((1 - aggregate.MISTAKE + 0) / 2)


def test_a_pair_names_the_partitions_of_its_newest_and_its_oldest_vote() -> None:
    rows = one_side([("r0", 0), ("r1", 1)])
    # The second rater changes their mind: only the last vote counts, and the first came before.
    again = [row | {"id": "later", "choice": 0} for row in rows[1:]]
    for partitions, oldest in (({2: rows[:1], 5: rows[1:]}, 2), ({3: rows[1:], 5: again}, 3)):
        found = table.judgements(partitions, NO_PANEL)
        line = aggregate.pairs(table.build(found), believe(), PLAIN, NO_PANEL)[0]
        assert (line["partition"], line["since"]) == (5, oldest)


def test_strength_is_the_mean_of_those_who_gave_one_and_absent_where_nobody_did() -> None:
    rows = one_side([("r0", 0), ("r1", 0), ("r2", "tie")])
    said = [rows[0] | {"strength": 3}, rows[1] | {"strength": 1}, rows[2]]

    def lines(given: list[dict[str, Any]]) -> list[dict[str, Any]]:
        found = table.build(table.judgements({1: given}, NO_PANEL))
        return aggregate.pairs(found, believe(), PLAIN, NO_PANEL)

    assert lines(said[:2])[0]["strength"] == pytest.approx(2)
    # Who calls it a tie says that neither is better, at strength 0.
    assert lines(said)[0]["strength"] == pytest.approx(4 / 3)
    assert lines([said[0], rows[1]])[0]["strength"] == pytest.approx(3)
    assert "strength" not in lines(rows)[0]
    assert lines(said)[0]["p"] == lines(rows)[0]["p"]


def test_demonstrations_and_flags() -> None:
    base = {"created_at": "2026-01-31T16:59:52Z", "prompt": "Why?", "domain": "legal"}
    rows: list[dict[str, Any]] = [
        {**base, "id": "a", "kind": "demonstration", "response": "so", "rater": "r0"},
        {**base, "id": "b", "kind": "demonstration", "response": "so", "rater": "r1"},
        {
            **base,
            "id": "c",
            "kind": "correction",
            "response": "x",
            "correction": "y",
            "rater": "r1",
        },
        {**base, "id": "d", "kind": "demonstration", "response": "spam", "rater": "r2"},
        {**base, "id": "e", "kind": "flag", "response": "x", "reason": "unsafe", "rater": "r2"},
        {**base, "id": "f", "kind": "flag", "response": "x", "reason": "rude", "rater": "r3"},
    ]
    found = table.judgements({4: rows}, SPLIT)
    verdicts = believe(states={"r1": "watch", "r2": "suspended"})
    shown = aggregate.demonstrations(found, verdicts)
    assert [(one["response"], one["weight"], one["rows"]) for one in shown] == [
        ("so", 1.0, ["a", "b"]),
        ("y", 0.5, ["c"]),
    ]
    assert shown[0]["prompt"] == [{"role": "user", "content": "Why?"}]
    assert (shown[0]["domain"], shown[0]["partition"]) == ("legal", 4)
    flags = aggregate.flags(found)
    assert [(one["response"], one["reason"], one["rows"]) for one in flags] == [
        ("x", "unsafe; rude", ["e", "f"])
    ]
    assert set(flags[0]) == {"prompt", "response", "reason", "side", "domain", "rows"}


def test_votes_before_a_change_within_the_round_keep_their_weight() -> None:
    """Of two votes of r0, one each side of the change, against one of r1."""
    times = ("2026-01-31T10:00:00Z", "2026-01-31T20:00:00Z")
    rows = [
        {**row(2 * n + k, n, f"r{k}", k, False), "created_at": time}
        for n, time in enumerate(times)
        for k in (0, 1)
    ]
    changed = table.seconds_of("2026-01-31T12:00:00Z")
    verdicts = [
        one._replace(
            epochs=[one.newest._replace(weight=0.25, changed=changed, before=1, weight_before=1.0)]
        )
        if one.rater == "r0"
        else one
        for one in believe()
    ]
    first, second = pairs(rows, verdicts, split=SPLIT.model_copy(update={"judge_rater_share": 0.0}))
    for line, weight in ((first, 1.0), (second, 0.25)):
        share = weight / (weight + 1)
        assert line["p"] == pytest.approx(share if line["a"].startswith("answer a") else 1 - share)
