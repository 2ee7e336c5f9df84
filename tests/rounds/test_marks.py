"""Finding what erased rows left in files, and files without it."""

import json
from typing import Any

import pytest

from roundhouse import jsonl
from roundhouse.rounds.marks import Marks


def row(id: str, rater: str, response: str, **more: Any) -> dict[str, Any]:
    """A demonstration on a prompt that everybody answered."""
    return {
        "id": id,
        "rater": rater,
        "prompt": "What is a fair rent here?",
        "response": response,
    } | more


GONE = row("f-1", "r1x", "It is whatever the landlord and tenant say", comment="so be it")
STAYS = row("f-2", "r2x", "It is whatever the market says on that day")
MARKS = Marks([GONE], ["r1x"], [STAYS])


@pytest.mark.parametrize(
    "text",
    [
        "he wrote: whatever the landlord and ...",
        "WHATEVER THE  LANDLORD\nAND tenant",
        r"whatever\u0020the landlord\nand",
        "row f-1 failed",
        '["r1x"]',
        "rater=r1x, ok",
        "wrote votes_r1x.csv",
    ],
)
def test_it_is_found_quoted_cut_and_escaped(text: str) -> None:
    assert MARKS.in_text(text)


def test_a_script_without_spaces_is_found_in_pieces() -> None:
    gone = row("f-1", "r1x", "租金应由房东和租客商定、并写入合同。")
    stays = row("f-2", "r2x", "我认为租金应由房东和市场决定。")
    marks = Marks([gone], ["r1x"], [stays])
    assert marks.in_text("有人说、东和租客商定、并写入…")
    assert not marks.in_text("我认为租金应由房东和市场")
    assert not marks.in_text("租客商定了")


@pytest.mark.parametrize(
    "text", ["What is a fair rent here?", "It is whatever the market", "f-12", "r1xy", "f-2", ""]
)
def test_what_others_said_too_is_no_mark(text: str) -> None:
    assert not MARKS.in_text(text)


def test_lines_of_json_lose_records_and_keep_what_is_shared() -> None:
    lines = [
        {"prompt": GONE["prompt"], "rows": ["f-1", "f-2"], "votes": 2},
        {"prompt": GONE["prompt"], "rows": ["f-1"], "votes": 1},
        {"prompt": [{"role": "user", "content": GONE["response"]}], "rows": ["f-2"]},
        {"id": "f-2", "text": "a\u2028b"},
    ]
    data = "".join(jsonl.dumps(line) + "\n" for line in lines).encode()
    kept = MARKS.without(data)
    assert kept is not None
    assert [json.loads(line) for line in kept.decode().split("\n")[:-1]] == [
        lines[0] | {"rows": ["f-2"]},
        lines[3],
    ]
    assert MARKS.without(kept) == kept


def test_json_loses_entries() -> None:
    table = [{"rater": "r1x", "weight": 1}, {"rater": "r2x", "weight": 2}]
    kept = MARKS.without(json.dumps({"raters": table, "r1x": 3, "n": 2}, indent=2).encode())
    assert kept is not None
    assert json.loads(kept) == {"raters": [table[1]], "n": 2}


def test_text_loses_lines_and_other_files_go_whole() -> None:
    assert MARKS.without(b"one\nrater r1x is slow\ntwo\n") == b"one\ntwo\n"
    assert MARKS.without(b"\xff\x00 rater r1x \xfe") is None
    weights = (2).to_bytes(8, "little") + b"{}" + b" r1x "
    assert MARKS.without(weights) == weights
    assert MARKS.without(b"nothing here\r\n") == b"nothing here\r\n"


@pytest.mark.parametrize("name", ["US", "17", "choice", "anna"])
def test_a_name_that_means_other_things_counts_only_under_its_key(name: str) -> None:
    other = row("f-2", "r2x", "Ask Anna about it", region="US")
    marks = Marks([row("f-1", name, "Nobody knows the rent here")], [name], [other])
    lines = [{"region": name, "n": 1}, {"rater": name, "n": 2}, {name: 3}]
    data = "".join(jsonl.dumps(line) + "\n" for line in lines).encode()
    assert (
        marks.without(data)
        == (jsonl.dumps(lines[0]) + "\n" + jsonl.dumps(lines[2]) + "\n").encode()
    )


@pytest.mark.parametrize("key", ["rater", "raters", "row", "rows", "id", "ids", "supersedes"])
def test_a_number_counts_under_every_key_of_a_name(key: str) -> None:
    marks = Marks([row("123", "r1x", "Nobody knows")], [], [STAYS])
    lines = [{key: "123", "n": 1}, {key: ["123"], "n": 2}, {"n": "123"}]
    data = "".join(jsonl.dumps(line) + "\n" for line in lines).encode()
    assert marks.without(data) == (jsonl.dumps(lines[2]) + "\n").encode()


@pytest.mark.parametrize("name", ["r17", "votes_r17", "r_17", "anna-k", "Ann Öl", "#r17", "राम"])
def test_a_name_is_found_joined_to_other_words_and_not_inside_one(name: str) -> None:
    marks = Marks([row("f-1", name, "Nobody knows the rent here")], [name], [STAYS])
    for text in (
        "{}", "votes_{}.csv", "by {}.", "{}_2", "a-{}-b", "in/x_{}_y/z", "_{}_", "ask {}@site",
        '["votes_{}"]', "r_{}_{}",
    ):  # fmt: skip
        assert marks.in_text(text.format(name, name)), text
    for text in ("{}0", "x{}", "votes_x{}.csv", "{}a_b", "{}ा", "r-17", "r1_7", "anna_k"):
        assert not marks.in_text(text.format(name)), text


def test_a_longer_name_is_found_beside_its_own_part() -> None:
    both = Marks([], ["r17", "votes_r17"], [STAYS])
    assert both.in_text("votes_r17.csv") and both.in_text("r17.csv") and both.in_text("a_votes_r17")
    longer = Marks([], ["votes_r17"], [STAYS])
    assert longer.in_text("votes_r17.csv") and not longer.in_text("r17.csv")


@pytest.mark.parametrize(
    "other",
    [
        row("f-2", "r17_b", "No"),
        row("p-r17.2", "r2x", "No"),
        row("f-2", "r2x", "No", region="north_r17"),
        row("f-2", "r2x", "It stands in votes_r17 so far"),
    ],
)
def test_a_name_within_what_stays_counts_only_on_its_own(other: dict[str, Any]) -> None:
    marks = Marks([row("f-1", "r17", "Nobody knows the rent here")], ["r17"], [STAYS, other])
    lines = [other, {"rater": "r17"}, {"file": "in/r17"}]
    data = "".join(jsonl.dumps(line) + "\n" for line in lines).encode()
    assert marks.without(data) == (jsonl.dumps(other) + "\n").encode()


def test_a_part_of_a_settings_name_counts_only_on_its_own() -> None:
    marks = Marks([], ["max"], [STAYS])
    assert marks.in_text("rater max is slow")
    assert not marks.in_text("max_length: 512")


def test_a_short_text_counts_as_a_whole() -> None:
    marks = Marks([row("f-1", "r1x", "Never.")], [], [STAYS])
    lines = [{"b": "Never."}, {"b": "Never say never."}]
    data = "".join(jsonl.dumps(line) + "\n" for line in lines).encode()
    assert marks.without(data) == (jsonl.dumps(lines[1]) + "\n").encode()
    assert not marks.in_text("never")


def test_a_partition_loses_the_rows_and_nothing_else() -> None:
    said = row("f-3", "r2x", "r1x said f-1 is wrong")
    data = "".join(jsonl.dumps(one) + "\n" for one in (GONE, STAYS, said)).encode()
    assert MARKS.without_rows(data) == data.split(b"\n", 1)[1]
