"""What of a stage's journal has reached MLflow: a byte position and the last step of each metric.

The position lies in a file beside the journals. It is written after MLflow took the lines; lines
that are sent twice because a process died in between have the same key, step, time and value, and
MLflow keeps one of each. A stage that starts again repeats steps with later times: those are left
out.
"""

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from roundhouse import jsonl


class Point(NamedTuple):
    """One metric at one step; `time` in milliseconds since 1970."""

    name: str
    step: int
    time: int
    value: float


#: Metric name to its (step, value) pairs in order of step.
History = dict[str, list[tuple[int, float]]]


class Spool:
    """The unsent part of a journal, as seen by one MLflow run."""

    def __init__(self, run_id: str, journal: Path) -> None:
        self._run_id = run_id
        self._journal = journal
        self._state_path = journal.with_name(f"{journal.stem}.sent.json")
        self._first = _first_line(journal)
        state = self._load()
        # A stage that starts again may begin a new file; its steps stay sent.
        self._offset: int = state["offset"] if state["first"] == self._first else 0
        self._steps: dict[str, int] = state["steps"]

    def unsent(self) -> list[Point]:
        """Finite points that MLflow does not have yet; call `sent` once it took them."""
        points = []
        for line, end in lines(self._journal, self._offset):
            self._offset = end
            for point in _points(line):
                if point.step > self._steps.get(point.name, -1) and math.isfinite(point.value):
                    self._steps[point.name] = point.step
                    points.append(point)
        return points

    def sent(self) -> None:
        """Remembers that everything up to here arrived."""
        position: dict[str, Any] = {"offset": self._offset, "steps": self._steps}
        jsonl.write_json(self._state_path, position | {"run": self._run_id, "first": self._first})

    def _load(self) -> dict[str, Any]:
        try:
            state: dict[str, Any] = jsonl.read_json(self._state_path)
        except (FileNotFoundError, ValueError):
            state = {}
        if state.get("run") != self._run_id:
            return {"first": self._first, "offset": 0, "steps": {}}
        return state


def lines(journal: Path, offset: int = 0) -> Iterator[tuple[dict[str, Any], int]]:
    """Whole lines of a journal from a byte position on, each with the position after it.

    A line torn by a killed writer is passed over; one that is still being written waits.
    """
    if not journal.exists():
        return
    with journal.open("rb") as file:
        file.seek(offset)
        for raw in file:
            if not raw.endswith(b"\n"):
                return
            offset += len(raw)
            try:
                line = json.loads(raw)
            except ValueError:
                continue
            if isinstance(line, dict):
                yield line, offset


def history(journal: Path) -> History:
    """Every finite metric of a journal over its steps; of a repeated step, the last value."""
    values: dict[str, dict[int, float]] = {}
    for line, _ in lines(journal):
        for point in _points(line):
            if math.isfinite(point.value):
                values.setdefault(point.name, {})[point.step] = point.value
    return {name: sorted(steps.items()) for name, steps in values.items()}


def span(journal: Path) -> tuple[int, int] | None:
    """First and last time in a journal, in milliseconds since 1970."""
    times = [int(1000 * line["time"]) for line, _ in lines(journal)]
    return (min(times), max(times)) if times else None


def _points(line: dict[str, Any]) -> Iterator[Point]:
    time = int(1000 * line["time"])
    for name, value in line["metrics"].items():
        yield Point(name, int(line["step"]), time, float(value))


def _first_line(journal: Path) -> str:
    """The first line, whole; it carries a time, so it tells one file from the next."""
    return next((jsonl.dumps(line["time"]) for line, _ in lines(journal)), "")
