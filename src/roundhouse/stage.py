"""What every program in tasks/ runs: one stage, in the round's clone, and how it tells its end."""

import contextlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from roundhouse import failpoints, jsonl, launch, processes, storage
from roundhouse.errors import RoundhouseError, StorageError
from roundhouse.journal import Journal, Log, silent
from roundhouse.params import load
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


def run(name: str, work: Callable[[Stage], None], shared: bool = False) -> None:
    """Does a stage's work; an error of ours ends it with one line and its exit code.

    Args:
        name: of the stage, and of its program in tasks/.
        work: what it does.
        shared: whether several processes do the work, where `compute.processes` says so.
    """
    journal, checkpoints = Path("logs") / f"{name}.jsonl", CHECKPOINTS / name
    if launch.first() and not checkpoints.exists():
        journal.unlink(missing_ok=True)
    try:
        processes.end_with_owner()
        settings, inputs = load(Path("params.yaml")), jsonl.read_json(Path("inputs.json"))
        if shared and settings.compute.processes > 1 and not launch.launched():
            launch.launch(name, settings.compute)
            return
        log = Journal(journal) if launch.first() else silent
        failpoints.hit("stage.begin", of=name)
        work(Stage(settings, inputs, log, OUT / name, checkpoints))
        failpoints.hit("stage.end", of=name)
    except RoundhouseError as error:
        _fail(error)
    except OSError as error:
        _fail(storage.worded(error, Path(error.filename or OUT / name)) or error)


def _fail(error: Exception) -> None:
    """Ends the stage: an error of ours with its one line, any other as it is.

    Raises:
        SystemExit: with the error's exit code.
    """
    if not isinstance(error, RoundhouseError):
        raise error
    note = {"kind": type(error).__name__, "message": str(error)}
    sys.stderr.write(f"{error}\n")
    # On a full disk even the note may find no place; the flow then looks at the disk itself. Of
    # several processes that fail alike one writes it.
    with contextlib.suppress(StorageError, FileNotFoundError):
        jsonl.write_json(FAILURE, note | {"check": getattr(error, "check", "")})
    raise SystemExit(error.exit_code) from None
