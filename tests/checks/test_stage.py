"""The validate stage from files to files."""

from pathlib import Path
from typing import Any

import pytest

from roundhouse import jsonl
from roundhouse.checks import stage
from roundhouse.checks.suite import Outcome
from roundhouse.errors import Blocked
from roundhouse.settings import SplitSettings, ValidateSettings

Row = dict[str, Any]


class Stage:
    """Writes partitions, runs the stage, reads what it wrote."""

    def __init__(self, root: Path, limits: ValidateSettings, split: SplitSettings) -> None:
        self.root, self.limits, self.split = root, limits, split

    def run(self, *partitions: list[Row], **inputs: Any) -> None:
        for number, rows in enumerate(partitions, start=1):
            jsonl.write(self.root / f"data/{number:04d}.jsonl", rows)
        (self.root / "data").mkdir(exist_ok=True)
        stage.run(self.root / "data", self.root / "out", self.limits, self.split, inputs)

    def block(self, *partitions: list[Row], **inputs: Any) -> str:
        """Runs, and gives the name of the check that blocked."""
        with pytest.raises(Blocked) as caught:
            self.run(*partitions, **inputs)
        report = jsonl.read_json(self.root / "out/report.json")
        assert report["blocked"] == {"check": caught.value.check, "message": str(caught.value)}
        assert "\n" not in str(caught.value)
        return caught.value.check

    @property
    def excluded(self) -> list[Row]:
        return list(jsonl.read(self.root / "out/excluded.jsonl"))

    @property
    def figures(self) -> dict[str, float]:
        found: dict[str, float] = jsonl.read_json(self.root / "out/figures.json")
        return found


@pytest.fixture
def validate(tmp_path: Path, limits: ValidateSettings, split: SplitSettings) -> Stage:
    """The stage with the shipped limits."""
    return Stage(tmp_path, limits, split)


def test_sound_partitions_pass(validate: Stage, rows: list[Row]) -> None:
    validate.run(rows[100:], rows[:100])
    assert validate.excluded == []
    report = jsonl.read_json(validate.root / "out/report.json")
    assert report["success"] and report["blocked"] is None
    names = [one["check"] for one in report["expectations"]]
    assert {"rows", "min-rows", "choice-balance", "rater-share", "excluded-share"} <= set(names)
    assert validate.figures == {
        "validate/rows": 120, "validate/usable": 120, "validate/excluded": 0,
        "validate/newest_rows": 100, "validate/newest_usable": 100, "validate/raters": 6,
        "validate/choice_first": 0.5, "validate/largest_rater": 0.17,
    }  # fmt: skip


def test_a_row_is_excluded_once_by_its_first_failing_check(
    validate: Stage, rows: list[Row]
) -> None:
    rows[3] |= {"choice": 9, "responses": ["same", "same"]}
    rows[90] |= {"created_at": "1970-01-01T00:00:00Z"}
    validate.run(rows[:60], rows[60:])
    assert validate.excluded == [
        {"id": "f3", "partition": 1, "check": "choice-value"},
        {"id": "f90", "partition": 2, "check": "time"},
    ]
    assert validate.figures["validate/excluded/choice-value"] == 1
    assert validate.figures["validate/excluded"] == 2
    assert validate.figures["validate/newest_usable"] == 59


def test_the_time_of_the_snapshot_bounds_the_future(validate: Stage, rows: list[Row]) -> None:
    rows[3]["created_at"] = "2026-02-02T00:00:00Z"
    validate.run(rows, at="2026-02-01T00:00:00Z")
    assert [line["check"] for line in validate.excluded] == ["time"]


def test_the_report_quotes_no_text(validate: Stage, rows: list[Row]) -> None:
    rows[3] |= {"responses": ["SECRET words", "SECRET  words"]}
    rows[4] |= {"kind": "SECRET kind"}
    rows[5] |= {"choice": "SECRET choice"}
    validate.run(rows)
    assert len(validate.excluded) == 3
    for path in (validate.root / "out").iterdir():
        assert "SECRET" not in path.read_text()


def test_nothing_at_all_blocks(validate: Stage) -> None:
    assert validate.block() == "rows"
    assert validate.block([]) == "rows"


def test_a_batch_without_a_usable_row_blocks(validate: Stage, rows: list[Row]) -> None:
    for row in rows:
        row["created_at"] = "1970-01-01T00:00:00Z"
    assert validate.block(rows) == "rows"
    assert len(validate.excluded) == 120


def test_too_few_new_rows_block_and_zero_is_a_setting(validate: Stage, rows: list[Row]) -> None:
    assert validate.block(rows[:80], rows[80:120]) == "min-rows"
    validate.limits = validate.limits.model_copy(update={"min_rows": 0})
    validate.run(rows, [])
    assert validate.figures["validate/newest_rows"] == 0


def test_many_bad_rows_block_replaced_ones_do_not(validate: Stage, rows: list[Row]) -> None:
    for row in rows[:30]:
        row["choice"] = 5
    assert validate.block(rows) == "excluded-share"
    for number, row in enumerate(rows[:30]):
        row |= {
            "choice": number % 2,
            "prompt": f"Question {number + 30}",
            "rater": rows[number + 30]["rater"],
        }
        row["supersedes"] = f"f{number + 30}"
    validate.run(rows)
    assert validate.figures["validate/excluded/superseded"] == 30


def test_a_leaning_choice_blocks_unless_position_explains_it(
    validate: Stage, rows: list[Row]
) -> None:
    for row in rows[:80]:
        row["choice"] = 0
    assert validate.block(rows) == "choice-balance"
    for number, row in enumerate(rows[:80]):
        row["position"] = number % 2
    validate.run(rows)


def test_one_rater_may_not_be_most_of_a_partition(validate: Stage, rows: list[Row]) -> None:
    for row in rows[:70]:
        row["rater"] = "r0"
    assert validate.block(rows) == "rater-share"
    for row in rows:
        row["rater"] = "r0"
    validate.run(rows)
    assert validate.figures["validate/largest_rater"] == 1.0, "one rater alone is a small team"


def test_an_accepted_check_does_not_block_another_one_still_does(
    validate: Stage, rows: list[Row]
) -> None:
    for row in rows[:80]:
        row["choice"] = 0
    validate.run(rows, accepted=["choice-balance"])
    report = jsonl.read_json(validate.root / "out/report.json")
    assert not report["success"] and report["blocked"] is None
    assert validate.block(rows, accepted=["rater-share"]) == "choice-balance"


def test_a_row_check_that_names_no_row_blocks() -> None:
    named = Outcome("time", "expect", {}, False, [3], 1, None)
    blind = Outcome("duplicate", "expect", {}, False, None, 0, None)
    fine = Outcome("kind", "expect", {}, True, None, 0, None)
    assert stage.judge([fine, named], [], ()) is None
    blocked = stage.judge([named, blind], [], ())
    assert blocked is not None and blocked.check == "duplicate"
    assert "could not be computed" in str(blocked)
    assert stage.judge([named, blind], [], ("duplicate",)) is None


def test_only_the_newest_partition_is_judged_as_a_batch(validate: Stage, rows: list[Row]) -> None:
    old = [
        {**row, "id": f"x{row['id']}", "prompt": f"Old {row['id']}", "choice": 0}
        for row in rows[:80]
    ]
    validate.run(old, rows)
    validate.block(rows, old)


def test_the_same_input_gives_the_same_bytes(validate: Stage, rows: list[Row]) -> None:
    rows[3]["choice"] = 9
    validate.run(rows)
    first = {path.name: path.read_bytes() for path in (validate.root / "out").iterdir()}
    validate.run(rows)
    assert first == {path.name: path.read_bytes() for path in (validate.root / "out").iterdir()}
    assert sorted(first) == ["excluded.jsonl", "figures.json", "report.json"]
