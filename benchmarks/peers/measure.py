"""What a benchmarked process notes of itself: time by lap, and memory above its imports.

Nothing of `roundhouse`, so that both sides of a comparison can use it.
"""

import json
import time
from pathlib import Path
from typing import Any

import torch


class Meter:
    """Seconds of each lap (wall clock, processor), and peak memory since it was made.

    Make it after all imports and before any model is loaded. Memory is Linux's own account, or
    what torch allocated on the GPU where there is one.
    """

    def __init__(self) -> None:
        # The peak so far is that of the imports: 5 sets it back to what is held now.
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
        self._base = _megabytes("VmRSS")
        self._laps: list[tuple[float, float]] = []
        self._last = time.perf_counter(), time.process_time()

    def lap(self) -> None:
        """Notes the seconds since the lap before, or since the meter was made."""
        now = time.perf_counter(), time.process_time()
        self._laps.append((now[0] - self._last[0], now[1] - self._last[1]))
        self._last = now

    def write(self, file: Path, **facts: Any) -> None:
        """Writes laps, memory and further facts as JSON."""
        peak = _megabytes("VmHWM") - self._base
        if torch.cuda.is_available():
            peak = torch.cuda.max_memory_allocated() / 2**20
        found = {
            "seconds": [wall for wall, _ in self._laps],
            "cpu_seconds": [cpu for _, cpu in self._laps],
            "imports_mb": self._base,
            "peak_mb": peak,
            **facts,
        }
        file.write_text(json.dumps(found), encoding="utf-8")


def _megabytes(name: str) -> float:
    """A line of /proc/self/status, which counts in kB."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(f"{name}:"))
