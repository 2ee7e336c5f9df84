"""Whole rounds through the real Prefect, DVC, MLflow, Great Expectations, ledger and git."""

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from roundhouse import jsonl
from roundhouse.hashes import sha256_folder
from roundhouse.locations import tag_name
from roundhouse.rounds import audit, dvc, git, objects
from roundhouse.rounds.shelf import Shelf
from roundhouse.rounds.stages import STAGES
from roundhouse.rounds.stores import Folder
from roundhouse.tracking import Tracker
from tests.conftest import outward_log
from tests.rounds.conftest import Command, Played, tracked_state

pytestmark = pytest.mark.round


def _client(played: Played) -> Any:
    from mlflow import MlflowClient  # noqa: PLC0415 - the real client, only here

    uri = played.places.tracking_uri
    return MlflowClient(tracking_uri=uri, registry_uri=uri)


def _runs(played: Played) -> list[Any]:
    client = _client(played)
    experiment = client.get_experiment_by_name("roundhouse")
    return list(client.search_runs([experiment.experiment_id], max_results=100))


def test_both_rounds_reach_a_decision(played: Played) -> None:
    assert [record["decision"] for record in played.records] == ["promoted", "promoted"]
    assert [record["round"] for record in played.records] == [1, 2]


def test_the_checkout_is_as_it_was(played: Played) -> None:
    assert tracked_state(played.root) == played.before
    assert git.round_tags(played.root) == [1, 2]


def test_a_round_adds_one_partition_and_rewrites_none(played: Played) -> None:
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "dvc",
            "diff",
            "--json",
            "round-0001",
            "round-0002",
            "--targets",
            "data/feedback",
        ],
        cwd=played.root,
        capture_output=True,
        text=True,
        check=True,
        env=dvc.process_environment(played.root, played.root),
    )
    diff = json.loads(done.stdout)
    assert [entry["path"] for entry in diff["added"]] == ["data/feedback/0002.jsonl"]
    assert diff["deleted"] == diff["renamed"] == []
    assert [entry["path"] for entry in diff["modified"]] in ([], ["data/feedback/"])


def test_every_row_is_accounted_for(played: Played) -> None:
    with played.ledger() as ledger:
        counts = ledger.counts()
        rows = list(ledger.rows())
    assert counts.received == counts.accepted + counts.duplicate + counts.quarantined
    assert counts.quarantined == counts.duplicate == 0
    first, second = played.records
    assert second["feedback"] == counts._asdict() and first["feedback_since"] == {}
    whole = {fate: n + second["feedback_since"][fate] for fate, n in first["feedback"].items()}
    assert whole == counts._asdict()
    assert counts.accepted == len(rows) == sum(played.records[1]["partitions"].values())
    clone = played.places.workspace(2)
    used = [row for path in sorted((clone / "data/feedback").iterdir()) for row in jsonl.read(path)]
    assert used == rows
    excluded = {row["id"] for row in jsonl.read(clone / "out/validate/excluded.jsonl")}
    figures = played.records[1]["metrics"]
    assert figures["raters/used"] + figures["raters/unused"] + len(excluded) == len(rows)


def test_later_pairs_come_from_the_champion(played: Played) -> None:
    rows = list(jsonl.read(played.places.workspace(2) / "data/feedback/0002.jsonl"))
    policies = Counter(row.get("policy") for row in rows if row["kind"] == "comparison")
    assert policies["round-0001"] > 50


def test_stages_run_the_clones_own_code(played: Played) -> None:
    clone = played.places.workspace(2)
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            "import roundhouse, tasks.sft; print(roundhouse.__file__); print(tasks.sft.__file__)",
        ],
        cwd=clone,
        capture_output=True,
        text=True,
        check=True,
        env=dvc.process_environment(clone, played.root),
    )
    assert all(line.startswith(str(clone)) for line in done.stdout.split())


def test_one_parent_and_six_children_a_round_in_mlflow(played: Played) -> None:
    runs = _runs(played)
    parents = {run.info.run_id: run for run in runs if run.data.tags["roundhouse.kind"] == "round"}
    children = Counter(run.data.tags.get("mlflow.parentRunId") for run in runs)
    assert len(parents) == 2
    assert [children[run_id] for run_id in parents] == [6, 6]
    assert {run.info.status for run in runs} == {"FINISHED"}
    stages = {run.data.tags.get("roundhouse.stage") for run in runs} - {None}
    assert stages == set(STAGES)


def test_mlflow_knows_the_data_by_dvcs_digest_and_no_text(played: Played) -> None:
    versions = {record["data_version"] for record in played.records}
    digests = {item.dataset.digest for run in _runs(played) for item in run.inputs.dataset_inputs}
    assert digests == versions
    database = (played.places.state / "mlflow" / "mlflow.db").read_bytes()
    rows = list(jsonl.read(played.places.workspace(2) / "data/feedback/0002.jsonl"))
    said = [row["responses"][0] for row in rows if row["kind"] == "comparison"]
    probes = " ".join(_settings(played)["probes"])
    assert not any(
        text.encode() in database for text in said if len(text) > 40 and text not in probes
    )


def test_ledger_tag_registry_and_bytes_carry_the_same_digests(played: Played) -> None:
    client = _client(played)
    with played.ledger() as ledger:
        rounds, decisions = ledger.rounds(), ledger.decisions()
    for row, decision, record in zip(rounds, decisions, played.records, strict=True):
        tag = f"round-{row.number:04d}"
        version = client.get_model_version("roundhouse", decision.version)
        assert row.commit == git.git("rev-parse", f"{tag}^{{commit}}", cwd=played.root)
        assert version.tags["roundhouse.commit"] == row.commit == record["commit"]
        assert version.tags["roundhouse.sha256"] == decision.sha256
        folder = played.places.workspace(row.number) / "out/align/model"
        assert sha256_folder(folder) == decision.sha256
        artifacts = client.download_artifacts(version.run_id, "model")
        assert sha256_folder(Path(artifacts)) == decision.sha256
        assert version.tags["roundhouse.data_version"] == row.data_version
    alias = client.get_model_version_by_alias("roundhouse", "champion")
    assert str(alias.version) == decisions[-1].version


def test_nothing_left_the_machine(played: Played) -> None:
    log = outward_log(played.root)
    assert not log.exists(), log.read_text(encoding="utf-8")


def test_progress_is_plain_lines_in_a_log(played: Played) -> None:
    assert "\r" not in played.output
    for stage in STAGES:
        assert f" {stage} " in played.output


def test_rounds_lists_what_scripts_expect(played: Played, roundhouse: Command) -> None:
    done = roundhouse(played.root, "rounds", "--json")
    rows = json.loads(done.stdout)
    assert [row["round"] for row in rows] == [1, 2]
    for row, record in zip(rows, played.records, strict=True):
        assert set(row) == {"round", "decision", "reasons", "data_version", "metrics"}
        assert row["decision"] == "promoted"
        assert row["metrics"] == record["metrics"]
        assert all(isinstance(value, int | float) for value in row["metrics"].values())


def test_audit_leads_back_to_everything(played: Played, roundhouse: Command) -> None:
    found = json.loads(roundhouse(played.root, "audit", "round", "2", "--json").stdout)
    assert found["code"] == git.head(played.root)
    assert found["previous"] == "round-0001"
    assert found["champion_before"]["round"] == 1
    assert found["rows"]["accepted"] == found["rows"]["used"] + sum(
        found["rows"]["excluded"].values()
    )
    assert found["rows"]["accepted"] == sum(played.records[1]["partitions"].values())
    assert {rater["rater"] for rater in found["raters"]} > {"sim-01", "sim-02"}
    version = json.loads(roundhouse(played.root, "audit", "model", "2", "--json").stdout)
    assert version["round"] == 2


def test_raters_are_seen_in_mlflow_on_a_page_and_at_the_terminal(
    played: Played, roundhouse: Command, tmp_path: Path
) -> None:
    store = played.places.state / "mlflow"
    shown = [path.name for path in store.rglob("raters_*.png")]
    assert shown.count("raters_agreement.png") == shown.count("raters_accuracy.png") == 2
    pages = [path.read_text(encoding="utf-8") for path in store.rglob("raters.html")]
    assert len(pages) == 4, "on the stage's run and on the round's, twice"
    assert not any("sim-0" in page for page in pages)
    done = roundhouse(played.root, "raters", "--page", str(tmp_path / "page.html"))
    assert done.returncode == 0, done.stderr
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert page in pages
    found = json.loads(roundhouse(played.root, "raters", "--json").stdout)
    assert all(one["key"] in page for one in found)
    told = played.records[1]["raters"]
    assert {one["rater"] for one in told} == {one["key"] for one in found if one["state"] != "ok"}
    shelf = Shelf(played.places)
    for given in (found[0]["key"], found[0]["rater"]):
        assert audit.named(shelf, tag_name(2), given) == found[0]["rater"]
    assert audit.named(shelf, tag_name(2), "a newcomer") == "a newcomer"


def test_audit_leads_forward_from_a_rater(played: Played, roundhouse: Command) -> None:
    found = json.loads(roundhouse(played.root, "audit", "rater", "sim-01", "--json").stdout)
    assert [entry["round"] for entry in found["rounds"]] == [1, 2]
    assert found["rounds"][1]["rows"] > found["rounds"][0]["rows"] > 0


def test_audit_diff_tells_what_came(played: Played, roundhouse: Command) -> None:
    found = json.loads(roundhouse(played.root, "audit", "diff", "1", "2", "--json").stdout)
    added = played.records[1]["partitions"]["0002.jsonl"]
    assert found["partitions_added"] == {"0002.jsonl": added}
    assert sum(found["rows_added_by_kind"].values()) == found["rows_added"] == added
    assert found["settings_changed"] == {}
    assert "reward/accuracy" in found["figures_changed"]


def test_a_flipped_bit_is_found_by_name(played: Played, roundhouse: Command) -> None:
    clean = roundhouse(played.root, "audit", "verify", "--json")
    assert clean.returncode == 0, clean.stdout
    assert json.loads(clean.stdout)["findings"] == []
    remote = dvc.stores(played.places)[-1]
    name = "out/align/model/model.safetensors"
    assert isinstance(remote, Folder)
    path = remote.path(objects.published(played.places, "round-0001")[name])
    whole = path.read_bytes()
    path.chmod(0o644)
    try:
        path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
        found = roundhouse(played.root, "audit", "verify", "--json")
        assert found.returncode == 1
        findings = json.loads(found.stdout)["findings"]
        assert [(f["round"], f["what"], f["problem"]) for f in findings] == [(1, name, "altered")]
    finally:
        path.write_bytes(whole)


def test_chat_answers(played: Played, roundhouse: Command) -> None:
    done = roundhouse(played.root, "chat", "--prompt", "may i sign this ?", "--json")
    assert done.returncode == 0, done.stderr
    assert isinstance(json.loads(done.stdout)["response"], str)


def test_rollback_puts_the_first_champion_back_and_records_it(
    played: Played, roundhouse: Command
) -> None:
    done = roundhouse(played.root, "rollback", "1", "--why", "trying", "--json")
    assert done.returncode == 0, done.stderr
    client = _client(played)
    try:
        with played.ledger() as ledger:
            last = ledger.decisions()[-1]
            champion = ledger.champion()
        assert (last.action, last.why, last.model_round) == ("rollback", "trying", 1)
        assert champion is not None
        assert champion.round == 1
        alias = client.get_model_version_by_alias("roundhouse", "champion")
        assert str(alias.version) == last.version
    finally:
        assert roundhouse(played.root, "rollback", "2").returncode == 0


def test_resuming_a_finished_round_does_nothing_and_says_so(
    played: Played, roundhouse: Command
) -> None:
    done = roundhouse(played.root, "resume", "2")
    assert done.returncode == 0
    assert "round 2 is finished (promoted)" in done.stdout


def test_no_figure_of_the_simulation_is_among_those_the_gate_read(played: Played) -> None:
    for record in played.records:
        assert any(name.startswith("simulation/") for name in record["metrics"])
        clone = played.places.workspace(record["round"])
        for stage in STAGES:
            figures = jsonl.read_json(clone / "out" / stage / "figures.json")
            assert not any(name.startswith("simulation") for name in figures)


def test_the_tracker_sees_nothing_dead(played: Played) -> None:
    with played.ledger() as ledger:
        assert Tracker(played.places.tracking_uri, ledger.identity()).reconcile(alive=()) == []


def _settings(played: Played) -> dict[str, Any]:
    import yaml  # noqa: PLC0415 - only here

    loaded: dict[str, Any] = yaml.safe_load((played.root / "params.yaml").read_text("utf-8"))
    return loaded
