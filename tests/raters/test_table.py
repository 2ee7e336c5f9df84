"""The one door: rows become items and votes."""

import pandas as pd
import pytest

from roundhouse import feedback
from roundhouse.errors import DataError
from roundhouse.raters import table
from roundhouse.raters.table import FIRST, SECOND, TIE
from roundhouse.settings import SplitSettings
from tests.raters.conftest import Compare

ROW = {"rater": "r1", "created_at": "2026-01-31T16:59:52Z", "prompt": "Why?"}


def won(votes: pd.DataFrame, items: list[table.Item]) -> list[str]:
    """Each vote as "better>worse"."""
    pairs = [(items[k].a, items[k].b) for k in votes["item"]]
    return [
        ">".join(pair if label == FIRST else pair[::-1])
        for pair, label in zip(pairs, votes["label"], strict=True)
    ]


def test_swapped_order_is_one_item_and_the_labels_turn(
    compare: Compare, split: SplitSettings
) -> None:
    one, two = ["A contract.", "A tree."], ["A tree.", "A contract."]
    rows = [
        compare("r1", 0, responses=one, position=1, gold=0),
        compare("r2", 1, responses=two, position=1, gold=1),
        compare("r3", 0, responses=two, gold="tie"),
        compare("r4", "tie", responses=[" A  tree.", "A\ncontract."]),
    ]
    votes, items = table.build(table.judgements({1: rows}, split))
    assert len(items) == 1
    contract, tree = (FIRST, SECOND) if items[0].a == "A contract." else (SECOND, FIRST)
    assert votes["item"].tolist() == [0, 0, 0, 0]
    assert votes["label"].tolist() == [contract, contract, tree, TIE]
    assert votes["position"].tolist() == [tree, contract, -1, -1]
    assert votes["longer"].tolist() == [contract] * 4
    assert votes["gold"].tolist() == [contract, contract, TIE, -1]


def test_the_order_of_answers_does_not_go_with_their_text(
    compare: Compare, split: SplitSettings
) -> None:
    rows = [
        compare("r1", 0, prompt=f"Question {number}", responses=["aaa", "zzzzzz"])
        for number in range(400)
    ]
    ratings = table.build(table.judgements({1: rows}, split))
    assert 150 < (ratings.votes["label"] == FIRST).sum() < 250
    again = table.build(table.judgements({1: rows}, split))
    assert ratings.votes.equals(again.votes)


def test_prompts_that_differ_in_case_and_space_are_one_item_other_prompts_are_not(
    compare: Compare, split: SplitSettings
) -> None:
    same = [compare("r1", 0), compare("r2", 0, prompt=" what IS  a lease?")]
    chat = compare("r3", 0, prompt=[{"role": "user", "content": "What is a lease?"}])
    other = compare("r4", 0, prompt="What is a loan?")
    aspect = compare("r5", 0, aspect="tone")
    rows = [*same, chat, other, aspect]
    votes, items = table.build(table.judgements({1: rows}, split))
    assert votes["item"].tolist() == [0, 0, 0, 1, 2]
    assert items[0].prompt == [{"role": "user", "content": "What is a lease?"}]


def test_names_stay_text(compare: Compare, split: SplitSettings) -> None:
    rows = [compare("00123", 0, region="NA", domain="null"), compare("NA", 0)]
    votes, _ = table.build(table.judgements({3: rows}, split))
    assert votes["rater"].tolist() == ["00123", "NA"]
    assert votes["region"].tolist() == ["NA", ""]
    assert votes["domain"].tolist() == ["null", ""]
    assert votes["round"].tolist() == [3, 3]


def test_two_scores_of_one_rater_on_one_prompt_are_a_vote(split: SplitSettings) -> None:
    def rate(name: str, answer: str, score: float, **more: object) -> feedback.Row:
        return {
            **ROW, "id": name, "kind": "rating", "response": answer, "score": score,
            "scale": [1, 5], **more,
        }  # fmt: skip

    rows = [
        rate("f1", "good", 4),
        rate("f2", "bad", 2),
        rate("f3", "ugly", 2),
        rate("f4", "bad", 5, rater="r2"),
        rate("f5", "good", 1, aspect="tone"),
        rate("f6", "short", 90, scale=[0, 100]),
    ]
    votes, items = table.build(table.judgements({1: rows}, split))
    assert set(won(votes, items)) == {
        "good>bad",
        "good>ugly",
        "short>good",
        "short>bad",
        "short>ugly",
    }
    assert set(votes["share"]) == {2 / 4}
    assert set(votes["kind"]) == {"rating"}
    assert {row for ids in votes["row"] for row in ids.split("\0")} == {"f1", "f2", "f3", "f6"}


def test_corrections_and_flags_vote_for_the_better_answer(split: SplitSettings) -> None:
    rows = [
        {**ROW, "id": "d", "kind": "demonstration", "response": "zebra"},
        {**ROW, "id": "c", "kind": "correction", "response": "bad", "correction": "mended"},
        {**ROW, "id": "f", "kind": "flag", "response": "awful", "reason": "unsafe"},
        {**ROW, "id": "g", "kind": "flag", "response": "awful", "reason": "x", "prompt": "Who?"},
        {**ROW, "id": "h", "kind": "flag", "response": " mended", "reason": "x"},
    ]
    votes, items = table.build(table.judgements({1: rows}, split))
    assert votes["row"].tolist() == ["c", "f"]
    assert won(votes, items) == ["mended>bad", "mended>awful"]


def test_a_demonstration_beats_a_flagged_answer_where_nothing_was_corrected(
    split: SplitSettings,
) -> None:
    rows = [
        {**ROW, "id": "f", "kind": "flag", "response": "awful", "reason": "unsafe"},
        {**ROW, "id": "d", "kind": "demonstration", "response": "zebra"},
    ]
    votes, items = table.build(table.judgements({1: rows}, split))
    assert won(votes, items) == ["zebra>awful"]


def test_excluded_rows_are_gone_and_move_no_side(compare: Compare, split: SplitSettings) -> None:
    rows = [compare("r1", 0, prompt=f"Question {number}") for number in range(4)]
    whole = table.judgements({1: rows}, split)
    part = table.judgements({1: rows}, split, {rows[0]["id"], rows[1]["id"]})
    assert [one.row["id"] for one in part] == [rows[2]["id"], rows[3]["id"]]
    assert [one.side for one in part] == [one.side for one in whole[2:]]
    assert {one.side for one in whole} == {"train", "judge", "eval"}


def test_the_last_vote_of_a_rater_on_an_item_stands(compare: Compare, split: SplitSettings) -> None:
    rows = [compare("r1", 0, anchor=True), compare("r2", 0), compare("r1", 1, anchor=True)]
    votes = table.latest(table.build(table.judgements({1: rows}, split)).votes)
    assert votes["row"].tolist() == [rows[1]["id"], rows[2]["id"]]


def scored(name: str, answer: str, score: int, **fields: object) -> feedback.Row:
    fixed = {"kind": "rating", "prompt": "What is a lease?", "scale": [1, 5]}
    return {**ROW, **fixed, "id": name, "response": answer, "score": score, **fields}


def kept(rows: list[feedback.Row], split: SplitSettings) -> dict[str, str]:
    """The row that stands of each rater, of rows that all are about one item; it is the same
    whether the rows came in one round or each in its own."""
    found = []
    for parts in ({1: rows}, {number: [row] for number, row in enumerate(rows, 1)}):
        votes = table.latest(table.build(table.judgements(parts, split)).votes)
        found.append(dict(zip(votes["rater"], votes["row"], strict=True)))
    assert found[0] == found[1]
    return found[0]


def test_the_later_of_a_comparison_and_ratings_of_the_same_answers_stands(
    compare: Compare, split: SplitSettings
) -> None:
    """Ratings are two rows: their vote came with the second."""
    one, two = scored("f1", "A contract.", 5), scored("f2", "A tree.", 1)
    against, other = compare("r1", 1), compare("r2", 0)
    for rows, stands in (
        ([other, one, two, against], against["id"]),
        ([one, two, against, other], against["id"]),
        ([one, against, two, other], "f1\0f2"),
        ([against, one, other, two], "f1\0f2"),
    ):
        assert kept(rows, split) == {"r1": stands, "r2": other["id"]}


def test_a_flag_does_not_beat_a_later_comparison(compare: Compare, split: SplitSettings) -> None:
    lease = {**ROW, "prompt": "What is a lease?"}
    flag = {**lease, "id": "f", "kind": "flag", "response": "A tree.", "reason": "off"}
    shown = {**lease, "id": "d", "kind": "demonstration", "response": "A contract."}
    against = compare("r1", 1)
    assert kept([shown, flag, against], split) == {"r1": against["id"]}
    assert kept([shown, against, flag], split) == {"r1": "f"}


def test_votes_that_nobody_repeats_keep_their_places(
    compare: Compare, split: SplitSettings
) -> None:
    """Comparisons and corrections as they came, ratings by who rated, flags at the end."""
    rows = [
        {**ROW, "id": "f", "kind": "flag", "prompt": "Why?", "response": "bad", "reason": "off"},
        scored("f1", "A contract.", 5, prompt="Where?"),
        scored("f3", "good", 1, rater="r2"),
        compare("r1", 0, prompt="When?"),
        scored("f4", "better", 4, rater="r2"),
        scored("f2", "A tree.", 1, prompt="Where?"),
        {**ROW, "id": "c", "kind": "correction", "response": "bad", "correction": "mended"},
        {**ROW, "id": "d", "kind": "correction", "response": "worse", "correction": "better"},
        compare("r1", 1),
        scored("f5", "A contract.", 5, rater="r1"),
        scored("f6", "A tree.", 5, rater="r1"),
    ]
    votes = table.build(table.judgements({1: rows}, split)).votes
    assert votes["row"].tolist() == [
        rows[3]["id"], "c", "d", rows[8]["id"], "f1\0f2", "f4\0f3", "f",
    ]  # fmt: skip


def test_a_table_made_by_hand_is_checked_and_filled() -> None:
    full = table.tidy(pd.DataFrame({"item": ["x", "x"], "rater": ["a", "b"], "label": [0, 1]}))
    assert list(full.columns) == list(table.COLUMNS)
    assert full["gold"].tolist() == [-1, -1]
    with pytest.raises(DataError, match="no column rater"):
        table.tidy(pd.DataFrame({"item": [1], "label": [0]}))
    with pytest.raises(DataError, match="empty cells"):
        table.tidy(pd.DataFrame({"item": [1], "label": [0], "rater": [None]}))
    with pytest.raises(DataError, match="whole numbers"):
        table.tidy(pd.DataFrame({"item": [1], "label": [0.5], "rater": ["a"]}))
    with pytest.raises(DataError, match="whole numbers"):
        table.tidy(pd.DataFrame({"item": [1], "label": [-1], "rater": ["a"]}))


def test_empty_cells_are_filled_as_if_the_column_were_not_there() -> None:
    given = {"item": [1, 2], "rater": ["a", "b"], "label": [0, 1]}
    without = table.tidy(pd.DataFrame(given))
    empty = [name for name, default in table.COLUMNS.items() if default is not None]
    for nothing in (None, float("nan")):
        full = table.tidy(pd.DataFrame({**given, **{name: [nothing] * 2 for name in empty}}))
        pd.testing.assert_frame_equal(full, without)
    some = {
        "region": ["north", None],
        "round": [2, None],
        "gold": [1, float("nan")],
        "anchor": [True, None],
        "position": [float("nan"), 1],
        "seconds": [None, 3],
    }
    full = table.tidy(pd.DataFrame({**given, **some}, index=[7, 7]))
    assert full["region"].tolist() == ["north", ""]
    assert full["round"].tolist() == [2, 0]
    assert full["gold"].tolist() == [1, -1]
    assert full["anchor"].tolist() == [True, False]
    assert full["position"].tolist() == [-1, 1]
    assert full["seconds"].isna().tolist() == [True, False]
    regions = pd.Categorical(["north", None])
    full = table.tidy(pd.DataFrame({**given, "region": regions, "domain": [1, 2]}))
    assert full["region"].tolist() == ["north", ""]
    assert full["domain"].tolist() == ["1", "2"]


@pytest.mark.parametrize(
    ("column", "cells", "told"),
    [
        ("round", ["w1", "w2"], "column round has no numbers; give whole numbers in the order"),
        ("gold", ["a", "b"], "column gold has no numbers; give whole numbers: the right label"),
        ("gold", [0.5, 1.0], "column gold: give whole numbers: the right label"),
        ("at", ["2026-01-31", None], "column at has no numbers; give seconds since 1970"),
        ("at", pd.to_datetime(["2026-01-31"] * 2), "column at has no numbers; give seconds"),
        ("anchor", ["yes", "no"], "column anchor has no numbers; give True or False"),
        ("label", ["a", "b"], "column label has no numbers; give whole numbers from 0"),
    ],
)
def test_tidy_refuses_columns_of_another_type(column: str, cells: object, told: str) -> None:
    given = {"item": [1, 2], "rater": ["a", "b"], "label": [0, 1], column: cells}
    with pytest.raises(DataError, match=told):
        table.tidy(pd.DataFrame(given))


def test_a_function_says_what_its_table_lacks() -> None:
    votes = pd.DataFrame({"item": [1, 2], "rater": ["a", "b"], "label": [0, 2], "gold": [1, None]})
    table.needs(votes, "item", "rater", "label", labels=3)
    for columns, told in (
        (("item", "anchor"), r"no column anchor; table.tidy\(votes\) fills it in"),
        (("gold",), r"column gold has empty cells; table.tidy\(votes\) fills it in"),
        (("colour",), "no column colour; it has item, rater, label, gold"),
    ):
        with pytest.raises(DataError, match=told):
            table.needs(votes, *columns)
    with pytest.raises(DataError, match="no column rater; give item, rater and label"):
        table.needs(votes[["item"]], "item", "rater")
    with pytest.raises(DataError, match=r"labels go from 0 to 2, but here 2 are known, from 0"):
        table.needs(votes, "label", labels=2)
    table.needs(table.tidy(votes), *table.COLUMNS)


def test_times_need_a_zone() -> None:
    assert table.seconds_of("1970-01-01T00:01:00Z") == 60.0
    assert pd.isna(table.seconds_of("2026-01-31T16:59:52"))
    assert pd.isna(table.seconds_of("soon"))


def test_a_time_is_told_in_utc_to_the_second() -> None:
    assert table.moment(table.seconds_of("2026-01-31T17:59:52+01:00")) == "2026-01-31T16:59:52Z"
    assert table.moment(float("nan")) is None
