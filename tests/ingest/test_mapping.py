"""--map and --set: which column becomes which field, and how text cells become values."""

from typing import Any

import pytest

from roundhouse.errors import UsageError
from roundhouse.ingest import Mapping


def row(cells: dict[str, str], maps: list[str], constants: list[str] | None = None) -> Any:
    mapping = Mapping.parse(maps, constants or [])
    return mapping.typed_row(cells, mapping.sources(cells))


def test_columns_become_fields_and_lists_take_their_parts_by_place() -> None:
    cells = {"q": "May I?", "a1": "Yes.", "a2": "No.", "who": "00123", "junk": "x"}
    expected = {"prompt": "May I?", "responses": ["Yes.", "No."], "rater": "00123"}
    by_place = ["prompt=q", "responses.1=a2", "responses.0=a1", "rater=who"]
    assert row(cells, by_place) == expected
    assert row(cells, ["prompt=q", "responses=a1,a2", "rater=who"]) == expected


def test_a_column_of_a_fields_name_needs_no_map_unless_the_field_is_mapped() -> None:
    cells = {"prompt": "theirs", "q": "ours", "domain": "legal", "other": "x"}
    assert row(cells, ["prompt=q"]) == {"prompt": "ours", "domain": "legal"}
    mapping = Mapping.parse(["prompt=q"])
    assert mapping.left_out(cells) == ["prompt", "other"]
    assert mapping.missing(["prompt"]) == ["q"]


def test_without_a_map_every_column_is_kept_to_be_judged() -> None:
    assert row({"prompt": "x", "colour": "red"}, []) == {"prompt": "x", "colour": "red"}


@pytest.mark.parametrize(
    ("field", "cell", "value"),
    [
        ("choice", "0", 0),
        ("choice", " 1", 1),
        ("choice", "tie", "tie"),
        ("choice", "True", "True"),
        ("choice", "2", "2"),
        ("position", "1", 1),
        ("score", "4", 4.0),
        ("score", "3.5", 3.5),
        ("score", "four", "four"),
        ("score", "1_000", "1_000"),
        ("score", "٣", "٣"),
        ("seconds", "1e3", 1000.0),
        ("seconds", "inf", float("inf")),
        ("anchor", "TRUE", True),
        ("anchor", "false", False),
        ("anchor", "1", "1"),
        ("scale", "1,5", [1.0, 5.0]),
        ("scale", "[1, 5]", [1, 5]),
        ("responses", '["a", "b"]', ["a", "b"]),
        ("responses", "[" * 100_000, "[" * 100_000),
        ("responses", "a", "a"),
        ("rater", "00123", "00123"),
        ("rater", "NA", "NA"),
        ("id", "1.0", "1.0"),
        ("prompt", '["a"]', '["a"]'),
        ("prompt", "", ""),
        ("response", "", ""),
    ],
)
def test_a_cell_becomes_the_value_its_field_holds(field: str, cell: str, value: Any) -> None:
    assert row({field: cell}, []) == {field: value}


@pytest.mark.parametrize("field", ["region", "comment", "seconds", "rater", "choice", "supersedes"])
def test_an_empty_cell_is_an_absent_field(field: str) -> None:
    assert row({field: "", "prompt": "x"}, []) == {"prompt": "x"}


def test_gold_has_the_type_of_what_it_judges() -> None:
    assert row({"gold": "1"}, [], ["kind=comparison"])["gold"] == 1
    assert row({"gold": "4", "kind": "rating"}, [])["gold"] == 4.0
    assert row({"gold": "4", "kind": "correction"}, [])["gold"] == "4"


def test_a_constant_fills_what_is_absent_and_leaves_what_is_there() -> None:
    constants = ["kind=rating", "scale=1,5", "domain=legal", "anchor=true"]
    cells = {"domain": "medical", "scale": "", "score": "3"}
    assert row(cells, [], constants) == {
        "domain": "medical",
        "score": 3.0,
        "kind": "rating",
        "scale": [1.0, 5.0],
        "anchor": True,
    }


def test_objects_with_types_of_their_own_keep_them() -> None:
    mapping = Mapping.parse(["rater=who"], ["choice=1", "scale=0,1"])
    found = mapping.row({"who": "7", "seconds": "12", "choice": None, "x": 1})
    assert found == {"rater": "7", "seconds": "12", "choice": 1, "scale": [0.0, 1.0]}
    assert Mapping().row({"responses.0": "a", "responses.1": "b"}) == {"responses": ["a", "b"]}


@pytest.mark.parametrize(
    "text", ["prompt", "=x", "prompt=", "colour=x", "prompt.0=x", "responses.10=x", "responses.²=x"]
)
@pytest.mark.parametrize("option", ["--map", "--set"])
def test_wrong_use_is_one_line(text: str, option: str) -> None:
    with pytest.raises(UsageError, match=option) as caught:
        Mapping.parse(*([text], []) if option == "--map" else ([], [text]))
    assert caught.value.exit_code == 2 and "\n" not in str(caught.value)


def test_a_field_is_mapped_once() -> None:
    with pytest.raises(UsageError, match="twice"):
        Mapping.parse(["prompt=a", "prompt=b"])
