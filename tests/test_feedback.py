"""The canonical row: what is accepted, what is refused and why, and what follows from a row."""

import json
import unicodedata
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roundhouse import feedback, jsonl
from roundhouse.feedback import REASONS, RowError, parse
from roundhouse.settings import SplitSettings

NOW = datetime(2026, 2, 1, tzinfo=UTC)
SPLIT = SplitSettings(salt="s", judge_share=0.15, eval_share=0.1, judge_rater_share=0.25)

COMPARISON: dict[str, Any] = {
    "id": "f-001",
    "kind": "comparison",
    "prompt": "May I?",
    "responses": ["Yes.", "No."],
    "choice": 0,
    "rater": "r17",
    "created_at": "2026-01-31T16:59:52Z",
}
RATING: dict[str, Any] = {
    "kind": "rating",
    "prompt": "May I?",
    "response": "Yes.",
    "score": 4,
    "scale": [1, 5],
    "rater": "r17",
    "created_at": "2026-01-31T16:59:52Z",
}
CORRECTION = {key: RATING[key] for key in ("prompt", "response", "rater", "created_at")} | {
    "kind": "correction",
    "correction": "Yes, please do.",
}
DEMONSTRATION = {key: CORRECTION[key] for key in ("prompt", "response", "rater", "created_at")} | {
    "kind": "demonstration"
}
FLAG = DEMONSTRATION | {"kind": "flag", "reason": "unsafe"}
KINDS = (COMPARISON, RATING, CORRECTION, DEMONSTRATION, FLAG)
OPTIONAL = {
    "region": "IN",
    "domain": "medical",
    "aspect": "empathy",
    "guideline": "v2",
    "policy": "round-0003",
    "seconds": 12.4,
    "position": 1,
    "strength": 2,
    "group": "debate 3",
    "anchor": True,
    "rater_kind": "ai",
    "source": "label-studio",
    "supersedes": "f-000",
    "comment": "",
}


def code(row: Any) -> str:
    with pytest.raises(RowError) as caught:
        parse(row, NOW)
    assert "\n" not in caught.value.message and caught.value.message.isascii()
    assert caught.value.code in REASONS
    return caught.value.code


@pytest.mark.parametrize("row", KINDS, ids=lambda row: row["kind"])
def test_every_kind_takes_every_optional_field(row: dict[str, Any]) -> None:
    full = row | OPTIONAL
    assert parse(full, NOW) == full | {"id": parse(full, NOW)["id"]}
    bare = parse(row, NOW)
    assert bare == row | {"id": bare["id"]}


@pytest.mark.parametrize("row", KINDS, ids=lambda row: row["kind"])
def test_every_required_field_is_required(row: dict[str, Any]) -> None:
    for name in row.keys() - {"id"}:
        without = {key: value for key, value in row.items() if key != name}
        assert code(without) == "missing_field", name
        assert code(row | {name: None}) == "missing_field", name


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"kind": "vote"}, "unknown_kind"),
        ({"kind": ["comparison"]}, "unknown_kind"),
        ({"chioce": 1}, "unknown_field"),
        ({"score": 3}, "unknown_field"),
        ({"\ud800": 1}, "lone_surrogate"),
        ({"choice": True}, "wrong_type"),
        ({"choice": 1.0}, "wrong_type"),
        ({"choice": 2}, "choice_out_of_range"),
        ({"choice": -1}, "choice_out_of_range"),
        ({"choice": "0"}, "choice_out_of_range"),
        ({"choice": 10**5000}, "choice_out_of_range"),
        ({"gold": 2}, "choice_out_of_range"),
        ({"gold": False}, "wrong_type"),
        ({"position": True}, "wrong_type"),
        ({"position": 2}, "wrong_value"),
        ({"anchor": 1}, "wrong_type"),
        ({"rater": 123}, "wrong_type"),
        ({"rater": ""}, "empty_name"),
        ({"rater": " "}, "empty_name"),
        ({"rater": "r17 "}, "padded_name"),
        ({"rater": "r\n17"}, "control_character"),
        ({"rater": "r17\x7f"}, "control_character"),
        ({"rater": "\u202er17"}, "control_character"),
        ({"rater": "r\u200b17"}, "control_character"),
        ({"rater": "r\u202817"}, "control_character"),
        ({"rater": "r\0"}, "nul_byte"),
        ({"rater": "r\udfff"}, "lone_surrogate"),
        ({"rater": "r" * 513}, "too_long"),
        ({"id": 7}, "wrong_type"),
        ({"id": "f\x1b[2J"}, "control_character"),
        ({"rater_kind": "robot"}, "wrong_value"),
        ({"seconds": "12"}, "wrong_type"),
        ({"seconds": True}, "wrong_type"),
        ({"seconds": -1}, "wrong_value"),
        ({"seconds": float("nan")}, "not_finite"),
        ({"seconds": float("inf")}, "not_finite"),
        ({"seconds": 10**5000}, "wrong_type"),
        ({"prompt": ""}, "empty_prompt"),
        ({"prompt": []}, "empty_prompt"),
        ({"prompt": [{"role": "user", "content": " "}]}, "empty_prompt"),
        ({"prompt": [{"role": "judge", "content": "x"}]}, "wrong_value"),
        ({"prompt": [{"role": "user"}]}, "missing_field"),
        ({"prompt": ["x"]}, "wrong_type"),
        ({"prompt": 7}, "wrong_type"),
        ({"prompt": "a\0b"}, "nul_byte"),
        ({"responses": ["Yes.", ""]}, "empty_answer"),
        ({"responses": [" \t\n", "No."]}, "empty_answer"),
        ({"responses": ["\u200b\ufeff", "No."]}, "empty_answer"),
        ({"responses": ["Yes.", "Yes."]}, "identical_answers"),
        ({"responses": ["Yes  sir.", " Yes\nsir. "]}, "identical_answers"),
        ({"responses": ["Yes."]}, "wrong_length"),
        ({"responses": ["a", "b", "c"]}, "wrong_length"),
        ({"responses": "Yes."}, "wrong_type"),
        ({"responses": ["Yes.", None]}, "wrong_type"),
        ({"responses": ["Yes.", "\ud83d"]}, "lone_surrogate"),
        ({"policy": ["a"]}, "wrong_length"),
        ({"policy": []}, "wrong_length"),
        ({"policy": ["a", 1]}, "wrong_type"),
        ({"created_at": 1767225600}, "wrong_type"),
        ({"created_at": "2026-01-31T16:59:52"}, "no_time_zone"),
        ({"created_at": "2026-02-30T00:00:00Z"}, "bad_time"),
        ({"created_at": "2026-01-31T24:00:00Z"}, "bad_time"),
        ({"created_at": "2026-01-31T16:59:60Z"}, "bad_time"),
        ({"created_at": "2026-01-31"}, "bad_time"),
        ({"created_at": "yesterday"}, "bad_time"),
        ({"created_at": "٢٠٢٦-01-31T16:59:52Z"}, "bad_time"),
        ({"created_at": "0001-01-01T00:00:00+23:59"}, "bad_time"),
        ({"created_at": "2026-02-01T00:05:01Z"}, "future_time"),
        ({"created_at": "2026-02-01T00:04:59-01:00"}, "future_time"),
        ({"created_at": "9999-12-31T23:59:59Z"}, "future_time"),
        ({"supersedes": "f-001"}, "id_conflict"),
    ],
)
def test_comparison_refuses(change: dict[str, Any], reason: str) -> None:
    assert code(COMPARISON | change) == reason


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (RATING | {"score": 6}, "score_out_of_scale"),
        (RATING | {"score": 0.999}, "score_out_of_scale"),
        (RATING | {"gold": 9}, "score_out_of_scale"),
        (RATING | {"score": True}, "wrong_type"),
        (RATING | {"score": "4"}, "wrong_type"),
        (RATING | {"score": 1e300}, "wrong_value"),
        (RATING | {"scale": [5, 1]}, "wrong_value"),
        (RATING | {"scale": [1, 2, 3]}, "wrong_length"),
        (RATING | {"response": "\u3000"}, "empty_answer"),
        (CORRECTION | {"correction": " Yes. "}, "identical_answers"),
        (CORRECTION | {"correction": ""}, "empty_answer"),
        (DEMONSTRATION | {"policy": ["a", "b"]}, "wrong_length"),
        (FLAG | {"reason": " "}, "wrong_value"),
        ([], "not_object"),
        ("row", "not_object"),
        (None, "not_object"),
        (1, "not_object"),
    ],
)
def test_other_kinds_refuse(row: Any, reason: str) -> None:
    assert code(row) == reason


@pytest.mark.parametrize(
    "name", ["00123", "NA", "null", "../../x", "-rf", "O'Brien", "<b>", "'; DROP TABLE x", "یک‌دو"]
)
def test_names_stay_text_as_they_are(name: str) -> None:
    row = parse(COMPARISON | {"id": name, "rater": name, "domain": name}, NOW)
    assert (row["id"], row["rater"], row["domain"]) == (name, name, name)


@pytest.mark.parametrize(
    "text", ["<script>alert(1)</script>", "\u202eabc", "a\tb\r\n\x07", "🙂", "ﬁ"]
)
def test_texts_are_kept_as_they_are(text: str) -> None:
    row = parse(COMPARISON | {"prompt": text, "responses": [text, "other"], "comment": text}, NOW)
    assert (row["prompt"], row["responses"][0], row["comment"]) == (text, text, text)


@pytest.mark.parametrize(
    ("given_time", "kept"),
    [
        ("2026-01-31T16:59:52Z", "2026-01-31T16:59:52Z"),
        ("2026-01-31t16:59:52z", "2026-01-31T16:59:52Z"),
        ("2026-01-31 16:59+05:30", "2026-01-31T11:29:00Z"),
        ("2026-01-31T16:59:52.120-0100", "2026-01-31T17:59:52.12Z"),
        ("2026-01-31T16:59:52.123456789Z", "2026-01-31T16:59:52.123456789Z"),
        ("2026-01-31T16:59:52.000+00:00", "2026-01-31T16:59:52Z"),
        ("2026-02-01T00:05:00Z", "2026-02-01T00:05:00Z"),
        ("0099-01-01T00:00:00Z", "0099-01-01T00:00:00Z"),
    ],
)
def test_times_become_utc(given_time: str, kept: str) -> None:
    assert parse(COMPARISON | {"created_at": given_time}, NOW)["created_at"] == kept


def test_null_is_absent_also_where_another_kind_has_the_field() -> None:
    wide = COMPARISON | {"score": None, "region": None, "correction": None}
    assert parse(wide, NOW) == COMPARISON


def test_the_given_row_is_not_changed() -> None:
    row = {key: value for key, value in COMPARISON.items() if key != "id"}
    before = json.dumps(row)
    parse(row, NOW)
    assert json.dumps(row) == before


def test_whole_numbers_are_written_one_way() -> None:
    one, other = (parse(RATING | {"score": score, "scale": [1.0, 5]}, NOW) for score in (4, 4.0))
    assert jsonl.dumps(one) == jsonl.dumps(other)
    assert '"score":4' in jsonl.dumps(one)
    assert parse(RATING | {"score": 3.5}, NOW)["score"] == 3.5


def test_content_hash_leaves_out_the_id_alone() -> None:
    first = parse(COMPARISON, NOW)
    assert feedback.content_hash(first) == feedback.content_hash(first | {"id": "other"})
    assert feedback.content_hash(first) != feedback.content_hash(first | {"choice": 1})
    unnamed = parse({key: value for key, value in COMPARISON.items() if key != "id"}, NOW)
    assert unnamed["id"] == feedback.content_hash(first)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(
    st.sampled_from(KINDS),
    st.dictionaries(
        st.sampled_from([*OPTIONAL, *COMPARISON, *RATING, "gold", "correction"]) | st.text(),
        json_values,
        max_size=3,
    ),
)
def test_any_value_is_a_canonical_row_or_a_known_reason(
    row: dict[str, Any], change: dict[str, Any]
) -> None:
    try:
        found = parse(row | change, NOW)
    except RowError as error:
        assert error.code in REASONS
        assert "\n" not in error.message and error.message.isascii()
    else:
        assert parse(found, NOW) == found
        assert json.loads(jsonl.dumps(found).encode()) == found


def test_messages_makes_a_chat_of_both_forms() -> None:
    chat = [{"role": "user", "content": "May I?"}]
    assert feedback.messages("May I?") == chat
    assert feedback.messages(chat) == chat


@pytest.mark.parametrize(
    ("one", "other"), [("A  b\n", "a B"), ("ﬁne", "FINE"), ("Straße", "STRASSE"), ("\uff41", "A")]
)
def test_normalise_joins_what_reads_the_same(one: str, other: str) -> None:
    assert feedback.normalise(one) == feedback.normalise(other)


@given(st.text())
def test_normalised_text_is_in_normal_form(text: str) -> None:
    found = feedback.normalise(text)
    assert unicodedata.is_normalized("NFKC", found)
    assert found == " ".join(found.split())


def test_prompt_key_is_one_for_text_and_chat_and_the_group_outranks_it() -> None:
    text = parse(COMPARISON | {"prompt": "May  I?"}, NOW)
    chat = parse(COMPARISON | {"prompt": [{"role": "user", "content": "may I?"}]}, NOW)
    turns = [*chat["prompt"], {"role": "assistant", "content": "What?"}]
    grouped = [parse(COMPARISON | {"prompt": p, "group": "d"}, NOW) for p in ("a", "b")]
    assert feedback.prompt_key(text) == feedback.prompt_key(chat)
    assert feedback.prompt_key(chat | {"prompt": turns}) != feedback.prompt_key(chat)
    assert len({feedback.prompt_key(row) for row in grouped}) == 1
    assert feedback.prompt_key(grouped[0]) != feedback.prompt_key(text)


def test_sides_have_their_shares_and_do_not_depend_on_other_keys() -> None:
    keys = [str(number) for number in range(20_000)]
    found = feedback.sides(keys, SPLIT)
    assert found == {key: feedback.side(key, SPLIT) for key in keys}
    taken = list(found.values())
    assert taken.count("eval") / 20_000 == pytest.approx(0.10, abs=0.01)
    assert taken.count("judge") / 20_000 == pytest.approx(0.15, abs=0.01)


def test_the_salt_moves_the_sides() -> None:
    other = SPLIT.model_copy(update={"salt": "t"})
    keys = [str(number) for number in range(100)]
    assert [feedback.side(k, SPLIT) for k in keys] != [feedback.side(k, other) for k in keys]


@given(st.sets(st.text(max_size=5), min_size=3, max_size=15))
def test_few_keys_leave_no_side_empty(keys: set[str]) -> None:
    found = feedback.sides(sorted(keys), SPLIT)
    assert set(found) == keys
    assert set(found.values()) == {"train", "judge", "eval"}
    assert found == feedback.sides(sorted(keys, reverse=True), SPLIT)
    moved = [key for key in keys if found[key] != feedback.side(key, SPLIT)]
    assert len(moved) <= 2


def test_a_panel_is_a_share_of_raters() -> None:
    raters = [f"r{number}" for number in range(10_000)]
    share = sum(feedback.on_panel(rater, SPLIT) for rater in raters) / 10_000
    assert share == pytest.approx(0.25, abs=0.02)
    none = SPLIT.model_copy(update={"judge_rater_share": 0.0})
    assert not any(feedback.on_panel(rater, none) for rater in raters)


def test_a_prompt_has_the_side_that_it_always_had() -> None:
    """Written down once: a change of these would train on what has measured."""
    split = SplitSettings(
        salt="roundhouse", judge_share=0.15, eval_share=0.1, judge_rater_share=0.25
    )
    keys = [feedback.prompt_key({"prompt": f"Prompt {number}"}) for number in range(40)]
    found = "".join(feedback.side(key, split)[0] for key in keys)
    assert found == "jttjtttjtjtettttttttjttjtttttettttttjett"
    assert [n for n in range(40) if feedback.on_panel(f"r{n}", split)] == [
        0,
        1,
        16,
        21,
        22,
        33,
        35,
        36,
    ]
