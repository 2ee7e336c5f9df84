"""Two programs that do the same work, measured in turn: processes, figures, tables.

Each run is a process of its own, with its own virtual environment; sides alternate, so that a
machine that is slower for a while is slower for both.
"""

import json
import os
import platform
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import transformers
from transformers.utils import logging

PROJECT = Path(__file__).resolve().parents[1]
PEERS = PROJECT / ".venv-peers" / "bin" / "python"

#: What one process noted (`peers/measure.py`), by side a list of them.
Runs = dict[str, list[dict[str, Any]]]


def need_peers() -> None:
    """Ends with what to do where TRL is not installed."""
    if not PEERS.exists():
        sys.exit("no .venv-peers here: `make peers` installs TRL there")


def quiet() -> None:
    """No bars of progress from transformers."""
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]


def alternate(
    sides: Mapping[str, Sequence[object]], result: Path, threads: int, repeats: int
) -> Runs:
    """Runs each side's command `repeats` times, in turn; a command gets `result` as last argument.

    Returns what each process wrote there.
    """
    found: Runs = {side: [] for side in sides}
    own = {"OMP_NUM_THREADS": str(threads), "TOKENIZERS_PARALLELISM": "false"}
    for turn in range(repeats):
        # Who begins changes too: the first of a pair finds the machine as the last one left it.
        for side in list(sides)[:: 1 if turn % 2 == 0 else -1]:
            result.unlink(missing_ok=True)
            command = [str(part) for part in (*sides[side], result)]
            done = subprocess.run(
                command,
                cwd=PROJECT,
                env=os.environ | own,
                check=False,
                capture_output=True,
                text=True,
            )
            if done.returncode:
                sys.exit(f"{side} did not finish: {done.stderr[-3000:]}")
            found[side].append(json.loads(result.read_text(encoding="utf-8")))
    return found


def spread(values: Sequence[float]) -> dict[str, float]:
    """Median, smallest and largest."""
    return {"median": statistics.median(values), "min": min(values), "max": max(values)}


def laps(runs: Sequence[Mapping[str, Any]], of: str, warm_up: int) -> dict[str, float]:
    """Of all laps of all processes, but each one's first `warm_up`."""
    return spread([lap for run in runs for lap in run[of][warm_up:]])


def megabytes(runs: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Peak memory above the interpreter with its imports, over all processes."""
    return spread([run["peak_mb"] for run in runs])


def machine() -> dict[str, Any]:
    """What the figures depend on and the command line does not say."""
    changed = _git("status", "--porcelain", "--untracked-files=no")
    return {
        "commit": _git("rev-parse", "--short=12", "HEAD") + (" and changes" if changed else ""),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "cores": os.cpu_count(),
        "load": os.getloadavg()[0],
    }


def write(out: Path | None, content: Mapping[str, Any]) -> None:
    """The figures as JSON, where a file is wanted."""
    if out:
        out.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def table(rows: Sequence[Mapping[str, str]]) -> str:
    """Rows as Markdown, all with the columns of the first."""
    names = list(rows[0])
    lines = [f"| {' | '.join(names)} |", "| --- |" + " ---: |" * (len(names) - 1)]
    lines += [f"| {' | '.join(row[name] for name in names)} |" for row in rows]
    return "\n".join(lines)


def tell(
    cases: Iterable[dict[str, Any]],
    row: Callable[[dict[str, Any]], dict[str, str]],
    told: Mapping[str, Any],
    out: Path | None,
) -> None:
    """Prints the table as it grows, and writes the figures each time.

    Args:
        cases: what was measured, a case after the other.
        row: a case as a line of the table.
        told: the settings of all.
        out: file for the figures, as JSON.
    """
    found: list[dict[str, Any]] = []
    facts = machine()
    for case in cases:
        found.append(case)
        lines = table([row(case)]).splitlines()
        sys.stdout.write("\n".join(lines[2 if len(found) > 1 else 0 :]) + "\n")
        sys.stdout.flush()
        write(out, {"machine": facts, "told": told, "cases": found})
    sys.stdout.write(f"\n{facts}\n")


def shown(found: Mapping[str, float], digits: int = 2) -> str:
    """`median (min to max)`."""
    low, high = f"{found['min']:.{digits}f}", f"{found['max']:.{digits}f}"
    return f"{found['median']:.{digits}f} ({low} to {high})"


def _git(*arguments: str) -> str:
    done = subprocess.run(
        ["git", *arguments], cwd=PROJECT, capture_output=True, text=True, check=False
    )
    return done.stdout.strip()
