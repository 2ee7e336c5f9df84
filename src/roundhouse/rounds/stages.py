"""Driving one DVC stage in a process group of its own, and ending what a dead round left."""

import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from roundhouse import failpoints, jsonl, processes, storage
from roundhouse.errors import Blocked, RoundhouseError, StageError
from roundhouse.locations import Locations
from roundhouse.rounds import dvc, transfer
from roundhouse.stage import CHECKPOINTS, FAILURE

#: In the order that dvc.yaml's dependencies allow.
STAGES = ("validate", "raters", "sft", "reward", "align", "evaluate")

_RUNNING = Path(".dvc") / "running.json"


@dataclass(frozen=True)
class StageResult:
    """What one stage did.

    Attributes:
        stage: its name.
        cached: DVC found its outputs already made from these inputs.
        seconds: wall time, DVC and imports with it.
        figures: its figures, metric name to number.
    """

    stage: str
    cached: bool
    seconds: float
    figures: dict[str, float]


#: Called again and again while a stage runs, with the path of its journal.
Watch = Callable[[Path], None]


def run_stage(workspace: Path, root: Path, stage: str, watch: Watch) -> StageResult:
    """Brings one stage up to date with `dvc repro` and returns its figures.

    Raises:
        Blocked: the stage asks for a person's decision.
        DataError: the stage was skipped, and what DVC brought back for it is damaged.
        StageError: its process ended badly; the message says which log to read.
    """
    journal, log = workspace / "logs" / f"{stage}.jsonl", workspace / "logs" / f"{stage}.log"
    log.parent.mkdir(exist_ok=True)
    (workspace / FAILURE).unlink(missing_ok=True)
    before = _identity(journal)
    started = time.monotonic()
    with log.open("ab") as output:
        process = subprocess.Popen(
            dvc.command("repro", "--single-item", stage),
            cwd=workspace,
            env=dvc.process_environment(workspace, root) | {processes.OWNER: processes.owner()},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            _remember(workspace, process.pid)
            failpoints.hit("stage.started", of=stage)
            guard = storage.Guard(workspace / "out" / stage)
            while process.poll() is None:
                guard.look()
                watch(journal)
                time.sleep(0.2)
        finally:
            _end_group(process.pid, process)
            (workspace / _RUNNING).unlink(missing_ok=True)
    watch(journal)
    failpoints.hit("stage.ended", of=stage)
    if process.returncode:
        raise _failure(workspace, stage, log)
    shutil.rmtree(workspace / CHECKPOINTS / stage, ignore_errors=True)
    figures = jsonl.read_json(workspace / "out" / stage / "figures.json")
    cached = _identity(journal) == before
    if cached:
        transfer.check_restored(Locations(root), workspace, stage)
    return StageResult(stage, cached, time.monotonic() - started, figures)


def reap(workspace: Path) -> None:
    """Ends the process group that a killed round left at work; the caller must own the round."""
    try:
        note = json.loads((workspace / _RUNNING).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return
    if processes.birth(note["group"]) in (note["born"], None):
        _end_group(note["group"])
    (workspace / _RUNNING).unlink(missing_ok=True)


def _identity(journal: Path) -> tuple[int, int] | None:
    """What changes when a stage starts its journal anew."""
    try:
        status = journal.stat()
    except FileNotFoundError:
        return None
    return status.st_ino, status.st_ctime_ns


def _remember(workspace: Path, group: int) -> None:
    jsonl.write_json(workspace / _RUNNING, {"group": group, "born": processes.birth(group)})


def _end_group(group: int, leader: "subprocess.Popen[bytes] | None" = None) -> None:
    """Stops a process group: politely, then for certain. A leader that is our child is reaped."""
    for number, wait in ((signal.SIGTERM, 5.0), (signal.SIGKILL, 5.0)):
        try:
            os.killpg(group, number)
        except (ProcessLookupError, PermissionError):
            return
        until = time.monotonic() + wait
        while time.monotonic() < until and _alive(group):
            if leader:
                leader.poll()
            time.sleep(0.05)


def _alive(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except (ProcessLookupError, PermissionError):
        return False
    return True


def _failure(workspace: Path, stage: str, log: Path) -> RoundhouseError:
    try:
        note = jsonl.read_json(workspace / FAILURE)
    except (OSError, ValueError):
        if storage.free(workspace) < storage.ALMOST_NOTHING:
            return storage.full(workspace / "out" / stage)
        return StageError(f"stage {stage} ended badly: read {log}")
    if note.get("check"):
        return Blocked(note["check"], note["message"])
    return StageError(f"stage {stage}: {note['message']}")
