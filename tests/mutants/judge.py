"""Runs mutants in a program of their own and says which of them no test saw."""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from tests.mutants.catalogue import Mutant

PROJECT = Path(__file__).resolve().parents[2]
SOURCE = PROJECT / "src"


def survivors(mutants: Sequence[Mutant], folder: Path) -> list[str]:
    """Names of the mutants under which their test stayed green.

    Raises:
        AssertionError: a mutant's test could not run at all, which says nothing about the mutant.
    """
    done = subprocess.run(
        [sys.executable, "-W", "ignore", str(Path(__file__).with_name("run.py")), str(folder)],
        input=json.dumps([mutant._asdict() for mutant in mutants]),
        # One thread: the process forks after torch is imported.
        env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    results = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(results) == len(mutants), done.stderr
    for number, result in enumerate(results):
        log = (folder / str(number) / "log.txt").read_text(encoding="utf-8", errors="replace")
        assert result["code"] in (0, 1), f"{result['name']}: {log[-2000:]}"
    return [result["name"] for result in results if result["code"] == 0]
