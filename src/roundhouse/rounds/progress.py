"""How far a round is: one moving line a stage on a terminal, plain lines with times in a log."""

import json
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import TextIO

#: A log gets a line this often, in seconds.
LOG_EVERY = 15.0


class Progress:
    """Shows one step after another; `watch` is called while a stage runs."""

    def __init__(self, stream: TextIO = sys.stderr) -> None:
        self._stream = stream
        self._live = stream.isatty()
        self._name = ""
        self._started = time.monotonic()
        self._shown = 0.0

    def start(self, name: str) -> None:
        """A step begins."""
        self._name, self._started, self._shown = name, time.monotonic(), time.monotonic()
        if self._live:
            self._line(f"{name:<9} ...")

    def watch(self, journal: Path) -> None:
        """Shows the last line of a stage's journal, now and then."""
        now = time.monotonic()
        if now - self._shown < (0.5 if self._live else LOG_EVERY):
            return
        self._shown = now
        last = _last_line(journal)
        if last is not None:
            self._line(f"{self._name:<9} {self._describe(last, now - self._started)}")

    def done(self, note: str = "") -> float:
        """The step is over; returns its seconds."""
        seconds = time.monotonic() - self._started
        self.say(f"{self._name:<9} {seconds:6.1f} s  {note}".rstrip())
        return seconds

    def say(self, text: str) -> None:
        """One line that stays."""
        self._line(text, "\n")

    def _describe(self, line: dict[str, object], elapsed: float) -> str:
        step, total = int(str(line["step"])), int(str(line["total"]))
        left = elapsed / step * (total - step) if step else 0.0
        metrics = line.get("metrics")
        shown = list(metrics.items())[:2] if isinstance(metrics, dict) else []
        values = "  ".join(f"{name.rsplit('/', 1)[-1]} {value:.3g}" for name, value in shown)
        return f"{step}/{total}  {left:.0f} s left  {values}".rstrip()

    def _line(self, text: str, end: str = "") -> None:
        """Writes a line; on a terminal it moves until one has an `end`."""
        line = f"\r\x1b[2K{text}{end}" if self._live else f"{time.strftime('%H:%M:%S')} {text}\n"
        # Its terminal may be closed, its pipe have no reader: that costs no round.
        with suppress(OSError):
            self._stream.write(line)
            self._stream.flush()


def _last_line(journal: Path) -> dict[str, object] | None:
    """The last whole line of a journal, read from its end."""
    try:
        with journal.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(max(0, size - 8192))
            lines = file.read().split(b"\n")[:-1]
        line = json.loads(lines[-1])
    except (OSError, ValueError, IndexError):
        return None
    return line if isinstance(line, dict) and "step" in line else None
