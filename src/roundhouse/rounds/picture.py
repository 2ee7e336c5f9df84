"""A round's picture in MLflow, made from the files of its workspace, as often as is needed."""

import socket
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

import yaml

from roundhouse import jsonl
from roundhouse.ledger import Ledger
from roundhouse.locations import Locations, tag_name
from roundhouse.projection import Data
from roundhouse.rounds import record as record_module
from roundhouse.rounds.inputs import FILE as INPUTS_FILE
from roundhouse.tracking import Tracker

RECORD_FILE = Path("logs") / "record.json"
#: Says which stages' figures a finished round could not send, and of each whether it was unchanged.
UNSENT_FILE = Path("logs") / "untracked.json"


def open_tracker(places: Locations, ledger: Ledger) -> Tracker:
    """The tracker of a checkout; nothing is connected yet.

    Its runs are told from those of other machines, and of other checkouts on this one.
    """
    checkout = sha256(str(places.root).encode()).hexdigest()[:8]
    host = f"{socket.gethostname()}-{checkout}"
    return Tracker(places.tracking_uri, ledger.identity(), host=host)


def round_run(tracker: Tracker, workspace: Path, number: int, tags: Mapping[str, str]) -> str:
    """The round's run, found or made; raises TrackingError."""
    settings = yaml.safe_load((workspace / "params.yaml").read_text(encoding="utf-8"))
    return tracker.round_run(number, {"tag": tag_name(number), **tags}, settings)


def finish_stage(tracker: Tracker, run_id: str, workspace: Path, number: int, cached: bool) -> None:
    """Everything a finished stage left, into its run; raises TrackingError."""
    tracker.finish_stage(run_id, workspace, cached, data(workspace, number))


def finish_round(tracker: Tracker, run_id: str, workspace: Path, record: Mapping[str, Any]) -> None:
    """The decision and its figures, from the round's record; raises TrackingError."""
    metrics = record["metrics"].items()
    tracker.finish_round(
        run_id,
        workspace,
        record["decision"],
        record["reasons"],
        record["seconds"],
        {"commit": record["commit"], "data_version": record["data_version"]},
        {name: value for name, value in metrics if name.startswith("simulation/")},
    )


def make_up(tracker: Tracker, workspace: Path) -> None:
    """Sends what a finished round could not send while MLflow was away; raises TrackingError."""
    record, unsent = jsonl.read_json(workspace / RECORD_FILE), workspace / UNSENT_FILE
    number = record["round"]
    run_id = round_run(tracker, workspace, number, {"previous": record["previous"] or "none"})
    for stage, cached in jsonl.read_json(unsent).items():
        finish_stage(tracker, tracker.stage_run(run_id, stage), workspace, number, cached)
    finish_round(tracker, run_id, workspace, record)
    unsent.unlink(missing_ok=True)


def behind(places: Locations) -> list[Path]:
    """Workspaces of finished rounds whose picture is not whole."""
    return sorted(path.parents[1] for path in places.rounds.glob(f"[0-9]*/{UNSENT_FILE}"))


def data(workspace: Path, number: int) -> Data | None:
    """The feedback as MLflow may know it: name, digest and counts."""
    inputs = workspace / INPUTS_FILE
    if not inputs.exists():
        return None
    partitions = jsonl.read_json(inputs)["partitions"]
    return Data(
        name="feedback",
        digest=record_module.data_version(workspace),
        source=f"data/feedback @ {tag_name(number)}",
        profile={
            "rows": sum(part["rows"] for part in partitions.values()),
            "partitions": len(partitions),
        },
    )
