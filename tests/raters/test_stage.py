"""The raters stage from files to files."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from roundhouse import feedback, jsonl
from roundhouse.errors import Blocked
from roundhouse.raters import stage
from roundhouse.settings import RaterSettings, SplitSettings

INPUTS: dict[str, Any] = {"round": 2, "seed": 17}


def partition(number: int, skill: float, raters: int = 10, items: int = 240) -> list[feedback.Row]:
    """Comparisons of `items` pairs by three raters each, and some of every other kind."""
    generator = np.random.default_rng(number)
    rows: list[feedback.Row] = []

    def add(kind: str, rater: int, prompt: int, **fields: Any) -> None:
        rows.append(
            {
                "id": f"{number}-{len(rows)}", "kind": kind, "rater": f"r{rater}",
                "prompt": f"Question {prompt} of {number}",
                "domain": ["legal", "medical"][prompt % 2],
                "created_at": "2026-01-31T16:59:52Z", **fields,
            }
        )  # fmt: skip

    for prompt in range(items):
        for rater in generator.choice(raters, 3, replace=False):
            choice = int(generator.random() > skill)
            add("comparison", int(rater), prompt, responses=["good", "bad"], choice=choice)
        if prompt % 10 == 0:
            add("demonstration", 0, prompt, response="shown")
            add("correction", 1, prompt, response="bad", correction="mended")
            add("flag", 2, prompt, response="bad", reason="unsafe")
            add("rating", 3, prompt, response="good", score=5, scale=[1, 5])
            add("rating", 3, prompt, response="poor", score=2, scale=[1, 5])
            add("rating", 4, prompt, response="good", score=5, scale=[1, 5])
    return rows


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Two partitions of which the second agrees less, and one excluded row."""
    for number, skill in ((1, 0.92), (2, 0.7)):
        jsonl.write(tmp_path / f"data/{number:04d}.jsonl", partition(number, skill))
    gone = {"id": "1-0", "partition": 1, "check": "duplicate"}
    jsonl.write(tmp_path / "validate/excluded.jsonl", [gone])
    return tmp_path


def run(
    root: Path, settings: RaterSettings, split: SplitSettings, **inputs: Any
) -> dict[str, float]:
    stage.run(root / "data", root / "validate", root / "out", settings, split, {**INPUTS, **inputs})
    figures: dict[str, float] = jsonl.read_json(root / "out/figures.json")
    return figures


def test_ratings_that_a_later_comparison_replaced_are_repeated(
    data: Path, rater_settings: RaterSettings, split: SplitSettings
) -> None:
    rows = list(jsonl.read(data / "data/0001.jsonl"))
    rated = [row for row in rows if row["kind"] == "rating"]
    later = [
        {**row, "id": f"later-{row['id']}", "kind": "comparison", "choice": 1,
         "responses": ["good", "poor"]}
        for row in rated if row["response"] == "poor"
    ]  # fmt: skip
    jsonl.write(data / "data/0003.jsonl", later)
    run(data, rater_settings, split)
    unused = {line["id"]: line["reason"] for line in jsonl.read(data / "out/unused.jsonl")}
    paired = [unused[row["id"]] for row in rated if row["rater"] == "r3"]
    assert set(paired) <= {"repeated", "panel"} and "repeated" in paired
    assert {unused[row["id"]] for row in rated if row["rater"] == "r4"} <= {"unpaired", "panel"}
    newest = [line for line in jsonl.read(data / "out/pairs.jsonl") if line["partition"] == 3]
    assert newest and all(line["since"] == 1 for line in newest)
    assert {row for line in newest for row in line["rows"]} <= {row["id"] for row in later}


def test_every_row_is_used_unused_or_excluded(
    data: Path, rater_settings: RaterSettings, split: SplitSettings
) -> None:
    figures = run(data, rater_settings, split)
    rows = [row for number in (1, 2) for row in jsonl.read(data / f"data/{number:04d}.jsonl")]
    used = {
        name
        for file in ("pairs", "demonstrations", "flags")
        for line in jsonl.read(data / f"out/{file}.jsonl")
        for name in line["rows"]
    }
    unused = {line["id"]: line["reason"] for line in jsonl.read(data / "out/unused.jsonl")}
    assert "1-0" not in used and "1-0" not in unused
    assert not used & unused.keys()
    assert used | unused.keys() | {"1-0"} == {row["id"] for row in rows}
    assert figures["raters/used"] == len(used)
    assert figures["raters/unused"] == len(unused)
    assert figures["raters/excluded"] == 1
    assert set(unused.values()) == {"panel", "unpaired"}
    assert any(row["kind"] == "rating" and row["id"] in used for row in rows)


def test_figures_are_finite_and_complete(
    data: Path, rater_settings: RaterSettings, split: SplitSettings
) -> None:
    figures = run(data, rater_settings, split)
    assert all(math.isfinite(value) for value in figures.values())
    for name in ("alpha", "agreement", "alpha_change"):
        value = figures[f"raters/{name}"]
        assert figures[f"raters/{name}_low"] < value < figures[f"raters/{name}_high"]
    assert {"raters/alpha/domain/legal", "raters/alpha/domain/medical"} <= figures.keys()
    assert figures["raters/alpha_change"] < -0.3
    assert figures["raters/alarm"] == 1
    assert 0.75 < figures["raters/ceiling"] < 0.9
    assert figures["raters/raters"] == 10
    assert figures["raters/panel"] == sum(feedback.on_panel(f"r{n}", split) for n in range(10)) > 0
    assert figures["raters/judge_overlap"] == 0
    lines = list(jsonl.read(data / "out/pairs.jsonl"))
    assert figures["raters/pairs"] == len(lines)
    for side in ("train", "judge", "eval"):
        assert figures[f"raters/pairs_{side}"] == sum(line["side"] == side for line in lines) > 0
    assert jsonl.read_json(data / "out/verdict.json")["state"] == "warn"
    table = jsonl.read_json(data / "out/raters.json")
    assert [line["rater"] for line in table] == sorted(f"r{number}" for number in range(10))
    assert all(0.4 < line["accuracy"] < 1 for line in table)
    assert all([part["round"] for part in line["rounds"]] == [1, 2] for line in table)


def test_a_fall_blocks_after_writing_until_it_is_accepted(
    data: Path, rater_settings: RaterSettings, split: SplitSettings
) -> None:
    strict = rater_settings.model_copy(update={"block_on_alarm": True})
    with pytest.raises(Blocked, match="agree less") as caught:
        run(data, strict, split)
    assert caught.value.check == "agreement-drop"
    assert jsonl.read_json(data / "out/verdict.json")["state"] == "block"
    run(data, strict, split, accepted=["agreement-drop"])
    assert jsonl.read_json(data / "out/verdict.json")["state"] == "warn"


def test_the_same_input_gives_the_same_bytes(
    data: Path, rater_settings: RaterSettings, split: SplitSettings
) -> None:
    run(data, rater_settings, split)
    first = {path.name: path.read_bytes() for path in (data / "out").iterdir()}
    run(data, rater_settings, split)
    assert first == {path.name: path.read_bytes() for path in (data / "out").iterdir()}
    assert sorted(first) == [
        "demonstrations.jsonl", "figures.json", "flags.jsonl", "pairs.jsonl", "poisoning.json",
        "raters.json", "rounds.json", "story.json", "unused.jsonl", "verdict.json",
    ]  # fmt: skip


def test_a_persons_word_reaches_training(
    data: Path, rater_settings: RaterSettings, split: SplitSettings
) -> None:
    word = {feedback.rater_key("r0", split.salt): {"state": "suspended", "why": "asked to leave"}}
    figures = run(data, rater_settings, split, rater_states=word)
    assert figures["raters/suspended"] == 1
    assert figures["raters/demonstrations"] == 48, "those of r0 are gone, corrections stay"
    reasons = {line["reason"] for line in jsonl.read(data / "out/unused.jsonl")}
    assert reasons == {"panel", "suspended", "unpaired"}


def test_without_overlap_no_agreement_is_claimed(
    tmp_path: Path, rater_settings: RaterSettings, split: SplitSettings
) -> None:
    rows = [row for row in partition(1, 0.9) if row["kind"] == "comparison"][::3]
    jsonl.write(tmp_path / "data/0001.jsonl", rows)
    jsonl.write(tmp_path / "validate/excluded.jsonl", [])
    figures = run(tmp_path, rater_settings, split)
    for name in ("alpha", "agreement", "ceiling", "accuracy", "alpha_change"):
        assert f"raters/{name}" not in figures
    assert figures["raters/overlap"] == 0
    assert figures["raters/pairs"] > 0
    assert all(line["accuracy"] is None for line in jsonl.read_json(tmp_path / "out/raters.json"))


def test_demonstrations_alone_are_enough(
    tmp_path: Path, rater_settings: RaterSettings, split: SplitSettings
) -> None:
    rows = [row for row in partition(1, 0.9) if row["kind"] == "demonstration"]
    jsonl.write(tmp_path / "data/0001.jsonl", rows)
    jsonl.write(tmp_path / "validate/excluded.jsonl", [])
    figures = run(tmp_path, rater_settings, split)
    assert figures["raters/demonstrations"] == len(rows) == figures["raters/used"]
    assert figures["raters/pairs"] == 0
