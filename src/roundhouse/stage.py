"""What every program in tasks/ runs: one stage, in the round's clone, and how it tells its end."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from roundhouse import jsonl
from roundhouse.errors import RoundhouseError
from roundhouse.journal import Journal
from roundhouse.settings import Settings, load

OUT = Path("out")
#: Where a stage that ends with one of our errors says so: DVC passes on no exit code.
FAILURE = Path("logs") / "failure.json"


class Stage(NamedTuple):
    """What a stage gets.

    Attributes:
        settings: the round's settings.
        inputs: the round's inputs.json; a stage may read only the keys that dvc.yaml lists for it.
        log: its journal.
        out: its folder, `out/NAME`.
    """

    settings: Settings
    inputs: dict[str, Any]
    log: Journal
    out: Path

    def of(self, name: str) -> Path:
        """The folder of an earlier stage."""
        return OUT / name


def run(name: str, work: Callable[[Stage], None]) -> None:
    """Does a stage's work; an error of ours ends it with one line and its exit code."""
    # A new file each time: the flow sees by it that the stage ran, and was not found done already.
    journal = Path("logs") / f"{name}.jsonl"
    journal.unlink(missing_ok=True)
    log = Journal(journal)
    try:
        work(
            Stage(load(Path("params.yaml")), jsonl.read_json(Path("inputs.json")), log, OUT / name)
        )
    except RoundhouseError as error:
        note = {"kind": type(error).__name__, "message": str(error), "check": ""}
        note["check"] = getattr(error, "check", "")
        jsonl.write_json(FAILURE, note)
        sys.stderr.write(f"{error}\n")
        raise SystemExit(error.exit_code) from None
