"""A real MLflow store, and a round's folder in which align has finished."""

import json
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient

from roundhouse import jsonl
from roundhouse.projection import Data
from roundhouse.tracking import Tracker

PROBE = "What should a customer know about late payment?"
DIGEST = "0123456789abcdef0123456789abcdef.dir"
LEDGER = "0" * 32
SETTINGS = {"seed": 17, "ppo": {"steps": 3, "lr": 0.0005}, "probes": [PROBE]}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> str:
    return f"sqlite:///{tmp_path_factory.mktemp('store') / 'mlflow' / 'mlflow.db'}"


@pytest.fixture
def client(store: str) -> MlflowClient:
    return MlflowClient(tracking_uri=store, registry_uri=store)


@pytest.fixture
def tracker(store: str, request: pytest.FixtureRequest) -> Tracker:
    """One experiment a test, in one store: making a store takes seconds."""
    return Tracker(store, LEDGER, request.node.name)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A round's folder in which align has finished."""
    journal = [
        line(step, {"ppo/loss": 1 / step, "ppo/kl": 0.2 * step, "ppo/score": 0.1 * step})
        for step in (1, 2, 3)
    ]
    write_journal(tmp_path / "logs" / "align.jsonl", journal)
    jsonl.write_json(tmp_path / "out/align/figures.json", {"ppo/kl": 0.6, "ppo/eos_rate": 0.9})
    jsonl.write(
        tmp_path / "out/align/samples.jsonl",
        [
            {"prompt": PROBE, "response": "Pay within thirty days."},
            {"prompt": "my name is Zorblax", "response": "hello Zorblax"},
        ],
    )
    jsonl.write_json(tmp_path / "params.yaml", SETTINGS)
    jsonl.write_json(tmp_path / "decision.json", {"decision": "promoted"})
    jsonl.write_json(tmp_path / "out/align/model/config.json", {})
    return tmp_path


def line(step: int, metrics: dict[str, float], time: float | None = None) -> str:
    at = time if time is not None else 1767225600.0 + step
    return json.dumps({"step": step, "total": 3, "time": at, "metrics": metrics}) + "\n"


def write_journal(path: Path, lines: list[str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(lines), encoding="utf-8")


def whole_round(tracker: Tracker, folder: Path, number: int = 1) -> tuple[str, str, str]:
    run = tracker.round_run(number, {"data_version": DIGEST}, SETTINGS)
    stage = tracker.stage_run(run, "align", params=SETTINGS["ppo"])  # type: ignore[arg-type]
    tracker.stream(stage, folder / "logs" / "align.jsonl")
    data = Data("feedback", DIGEST, "data/feedback @ round-0001", {"rows": 100})
    tracker.finish_stage(stage, folder, cached=False, data=data)
    version = tracker.register(run, folder / "out/align/model", f"m{number}", {"sha256": "ff"})
    tracker.show_decisions({(number, version): "promoted"})
    assert tracker.show_champion(f"m{number}", version)
    late = {"commit": "abc123"}
    tracker.finish_round(run, folder, "promoted", ["win rate above 0.5"], {"align": 28.0}, late)
    return run, stage, version


def runs(client: MlflowClient, tracker: Tracker) -> list[Any]:
    experiment = client.get_experiment_by_name(tracker.experiment)
    assert experiment is not None
    return list(client.search_runs([experiment.experiment_id]))


def artifacts(client: MlflowClient, run_id: str, path: str = "") -> set[str]:
    found: set[str] = set()
    for entry in client.list_artifacts(run_id, path):
        found |= artifacts(client, run_id, entry.path) if entry.is_dir else {entry.path}
    return found


def datasets(client: MlflowClient, run_id: str) -> list[tuple[str, str]]:
    inputs = client.get_run(run_id).inputs
    assert inputs is not None
    return [(each.dataset.name, each.dataset.digest) for each in inputs.dataset_inputs]
