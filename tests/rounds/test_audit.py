"""From a model back to every row, and from a row, a rater or a file forward, on two real rounds."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from roundhouse import jsonl
from roundhouse.errors import UsageError
from roundhouse.rounds import audit, traces
from roundhouse.rounds.git import show
from roundhouse.rounds.shelf import Shelf
from tests.rounds.conftest import Command, Played

pytestmark = pytest.mark.round


@pytest.fixture(scope="module")
def empty(make_checkout: Callable[..., Path]) -> Path:
    """A checkout in which nothing was done yet."""
    return make_checkout()


def _lines(played: Played, number: int, name: str) -> list[dict[str, Any]]:
    return list(jsonl.read(played.places.workspace(number) / "out" / name))


def _weights(rows: list[dict[str, Any]]) -> set[tuple[str, float]]:
    """(row, weight) of all lines that train."""
    return {
        (row, line["weight"]) for line in rows if line["side"] == "train" for row in line["rows"]
    }


def test_every_row_that_trained_a_model_is_listed_with_its_weight(
    played: Played, roundhouse: Command, tmp_path: Path
) -> None:
    file = tmp_path / "rows.jsonl"
    done = roundhouse(played.root, "audit", "model", "2", "--rows", str(file), "--json")
    assert done.returncode == 0, done.stderr
    found, listed = json.loads(done.stdout), list(jsonl.read(file))
    pairs = _lines(played, 2, "raters/pairs.jsonl")
    shown = _lines(played, 2, "raters/demonstrations.jsonl")
    for stage, lines in (("reward", pairs), ("sft", shown)):
        mine = [row for row in listed if row["stage"] == stage]
        assert {(row["row"], row["weight"]) for row in mine} == _weights(lines)
        assert found["trained"][stage]["rows"] == len({row["row"] for row in mine})
        training = [line for line in lines if line["side"] == "train"]
        assert found["trained"][stage]["things"] == len(training)
    labels = {(row, line["p"]) for line in pairs for row in line["rows"] if line["side"] == "train"}
    assert {(row["row"], row["p"]) for row in listed if row["stage"] == "reward"} == labels
    received = {row["id"] for row in played.ledger().rows()}
    assert {row["row"] for row in listed} <= received
    done = roundhouse(played.root, "audit", "model", "2", "--rows", str(file / "rows.jsonl"))
    assert done.returncode == 2
    assert "rows.jsonl cannot be written" in done.stderr and len(done.stderr.splitlines()) == 1
    whole = roundhouse(played.root, "audit", "model", "2", "--json")
    assert json.loads(whole.stdout)["trained_rows"] == listed


def test_a_model_leads_back_to_everything_it_depends_on(played: Played) -> None:
    with played.ledger() as ledger:
        found = audit.audit_model(played.places, ledger, "2")
        report = jsonl.read_json(played.places.workspace(2) / "out/validate/report.json")
        assert found["validation"]["success"] == report["success"]
        assert found["validation"]["expectations"] == len(report["expectations"])
        assert found["champion"]
        promoted = [one for one in found["history"] if one["action"] == "promote"]
        assert [one["version"] for one in promoted] == ["2"]
        assert found["seed"] == 17
        assert found["settings"]["ppo"]["steps"] == 2


def test_a_rater_a_row_and_a_file_agree_on_where_rows_went(played: Played) -> None:
    with played.ledger() as ledger:
        rater = traces.audit_rater(played.places, ledger, "sim-01")
        shelf = Shelf(played.places)
        [key] = (r["key"] for r in audit.raters(shelf, "round-0002") if r["rater"] == "sim-01")
        assert traces.audit_rater(played.places, ledger, key) == rater
        with pytest.raises(UsageError, match="has a rater sim-nobody"):
            traces.audit_rater(played.places, ledger, "sim-nobody")
        file = traces.audit_file(played.places, ledger, "simulated.jsonl")
        ids = [row["id"] for row in ledger.rows(rater="sim-01")]
        rows = [traces.audit_row(played.places, ledger, id) for id in ids[::10]]
    partitions = played.records[1]["partitions"]
    assert [one["rows"] for one in file["rounds"]] == [
        partitions["0001.jsonl"],
        sum(partitions.values()),
    ]
    assert file["waiting"] == rater["waiting"] == 0
    assert [one["version"] for one in rater["rounds"]] == ["1", "2"]
    assert [one["champion"] for one in rater["rounds"]] == [False, True]
    assert rater["rounds"][1]["rows"] == len(ids)
    for row in rows:
        assert row["file"] == "simulated.jsonl"
        assert row["rater"] == "sim-01"
        last = row["rounds"][-1]
        assert last["round"] == 2
        assert last["uses"], row["row"]
        assert {use["how"] for use in last["uses"]} <= {*rater["rounds"][1]["used"], "unused"}


def test_a_difference_counts_what_came_by_kind_region_and_domain(played: Played) -> None:
    with played.ledger() as ledger:
        found = audit.audit_diff(played.places, ledger, 1, 2)
    rows = list(jsonl.read(played.places.workspace(2) / "data/feedback/0002.jsonl"))
    for key in ("kind", "region", "domain"):
        counts = found[f"rows_added_by_{key}"]
        assert sum(counts.values()) == len(rows)
        assert counts == {name: sum(row[key] == name for row in rows) for name in counts}
    assert found["commits"] == []


def test_a_card_is_published_with_the_round_and_holds_nobodys_words(played: Played) -> None:
    card = show(played.root, "round-0002", "model-card.md")
    assert card is not None
    assert card == (played.places.workspace(2) / "model-card.md").read_text(encoding="utf-8")
    metrics = played.records[1]["metrics"]
    assert f"| {metrics['evaluate/win_rate']:.3f} |" in card
    assert "**Simulation.**" in card
    assert "simulation/" not in card
    with played.ledger() as ledger:
        rows = list(ledger.rows())
    assert not any(row["rater"] in card for row in rows)
    texts = {row["response"] for row in rows if row["kind"] == "demonstration"}
    assert not any(text in card for text in texts)


def test_the_registry_shows_the_card(played: Played) -> None:
    from mlflow import MlflowClient  # noqa: PLC0415 - the real client, only here

    uri = played.places.tracking_uri
    version = MlflowClient(uri, uri).get_model_version("roundhouse", "2")
    card = show(played.root, "round-0002", "model-card.md") or ""
    assert card.startswith(str(version.description)[:1000])
    kept = [one.path for one in MlflowClient(uri, uri).list_artifacts(str(version.run_id))]
    assert "model-card.md" in kept


@pytest.mark.parametrize(
    "command",
    [
        ("audit", "round", "1"),
        ("audit", "verify"),
        ("audit", "row", "x"),
        ("raters",),
        ("rollback",),
        ("chat", "--prompt", "x"),
    ],
)
def test_looking_makes_no_ledger(
    empty: Path, roundhouse: Command, command: tuple[str, ...]
) -> None:
    done = roundhouse(empty, *command)
    assert done.returncode == 1
    assert "there is none yet; `roundhouse ingest` makes it" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not (empty / "state").exists()


def test_no_rounds_are_listed_where_there_is_no_ledger(empty: Path, roundhouse: Command) -> None:
    assert json.loads(roundhouse(empty, "rounds", "--json").stdout) == []
    assert not (empty / "state").exists()
