"""How a stage tells how far it is: JSON lines that the flow shows and passes on to tracking.

A line is `{"step": 3, "total": 30, "time": 1767225600.0, "metrics": {"ppo/kl": 0.8}}`. The file
lies outside the stage's outputs, so that times never enter the hash of a result.
"""

import json
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from roundhouse import failpoints

#: Called as `log(step, total, metrics)`; steps count from 1.
Log = Callable[[int, int, Mapping[str, float]], None]


class Journal:
    """Appends one line a step to `path`; each line is flushed, so that a reader sees it at once.

    A line that a killed process tore is closed first: readers pass over it.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._name = path.stem
        torn = path.exists() and not (b"\n" + path.read_bytes()).endswith(b"\n")
        self._file = path.open("a", encoding="utf-8")
        # The flow sees by the file's time that the stage ran, and was not found done already.
        os.utime(path)
        if torn:
            self._file.write("\n")

    def __call__(self, step: int, total: int, metrics: Mapping[str, float]) -> None:
        line = {"step": step, "total": total, "time": time.time(), "metrics": dict(metrics)}
        failpoints.write("stage.step", self._file, json.dumps(line) + "\n", of=self._name)
        self._file.flush()


def silent(step: int, total: int, metrics: Mapping[str, float]) -> None:
    """A `Log` that keeps nothing, for use in a notebook."""
