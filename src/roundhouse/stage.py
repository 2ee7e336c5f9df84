"""What every program in tasks/ runs: one stage, in the round's clone, and how it tells its end."""

import contextlib
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from roundhouse import failpoints, jsonl, processes, storage
from roundhouse.errors import RoundhouseError, SettingsError, StorageError
from roundhouse.journal import Journal, Log, silent
from roundhouse.params import ROOT_VARIABLE, load
from roundhouse.settings import Settings

OUT = Path("out")
#: States of trainings; a stage's are deleted once its results are kept.
CHECKPOINTS = Path("checkpoints")
#: Where a stage that ends with one of our errors says so: DVC passes on no exit code.
FAILURE = Path("logs") / "failure.json"


class Stage(NamedTuple):
    """What a stage gets.

    Attributes:
        settings: the round's settings.
        inputs: the round's inputs.json; a stage may read only the keys that dvc.yaml lists for it.
        log: its journal; says nothing in processes other than the first.
        out: its folder, `out/NAME`.
        checkpoints: folder for states of its training, which DVC leaves alone.
    """

    settings: Settings
    inputs: dict[str, Any]
    log: Log
    out: Path
    checkpoints: Path

    def of(self, name: str) -> Path:
        """The folder of an earlier stage."""
        return OUT / name


def run(name: str, work: Callable[[Stage], None], launch: bool = False) -> None:
    """Does a stage's work; an error of ours ends it with one line and its exit code.

    Args:
        name: of the stage, and of its program in tasks/.
        work: what it does.
        launch: whether the work is shared by processes, where `compute.accelerate` is set.
    """
    journal, checkpoints = Path("logs") / f"{name}.jsonl", CHECKPOINTS / name
    member = int(os.environ.get("RANK", "0")) if launch else 0
    if member == 0 and not checkpoints.exists():
        journal.unlink(missing_ok=True)
    try:
        processes.end_with_owner()
        settings, inputs = load(Path("params.yaml")), jsonl.read_json(Path("inputs.json"))
        if launch and settings.compute.accelerate and "RANK" not in os.environ:
            _launch(name, settings.compute.accelerate)
            return
        # Of several processes the first one writes.
        log = silent if member else Journal(journal)
        failpoints.hit("stage.begin", of=name)
        work(Stage(settings, inputs, log, OUT / name, checkpoints))
        failpoints.hit("stage.end", of=name)
    except RoundhouseError as error:
        _fail(error)
    except OSError as error:
        _fail(storage.worded(error, Path(error.filename or OUT / name)) or error)


def _launch(name: str, configuration: str) -> None:
    """Runs this stage's program as several processes, which end when this one does.

    Raises:
        SettingsError: there is no such configuration.
        SystemExit: a process failed; what it said stands in the stage's log.
    """
    path = Path(os.environ.get(ROOT_VARIABLE, ".")) / configuration
    if not path.is_file():
        raise SettingsError(f"compute.accelerate {configuration}: no such file")
    # Port 0: any free one.
    own = ["--config_file", str(path), "--main_process_port", "0", "-m", f"tasks.{name}"]
    done = subprocess.run(
        [sys.executable, "-m", "accelerate.commands.launch", *own],
        env=os.environ | {processes.OWNER: processes.owner()},
        check=False,
    )
    if done.returncode:
        raise SystemExit(done.returncode)


def _fail(error: Exception) -> None:
    """Ends the stage: an error of ours with its one line, any other as it is.

    Raises:
        SystemExit: with the error's exit code.
    """
    if not isinstance(error, RoundhouseError):
        raise error
    note = {"kind": type(error).__name__, "message": str(error)}
    sys.stderr.write(f"{error}\n")
    # On a full disk even the note may find no place; the flow then looks at the disk itself.
    with contextlib.suppress(StorageError):
        jsonl.write_json(FAILURE, note | {"check": getattr(error, "check", "")})
    raise SystemExit(error.exit_code) from None
