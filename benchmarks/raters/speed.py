"""Processor time and memory of the statistics at size, each measured in a process of its own.

    python -m benchmarks.raters.speed agreement --ratings 1000000 --raters 500

Three votes an item, two labels, raters of different skill. Memory is the peak above what the
process held after its imports, so it counts the table itself.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.peers.measure import Meter
from benchmarks.raters.case import Case, Figure, share
from roundhouse.raters import breakdown, collusion, reliability, worth

JOBS: dict[str, Callable[[pd.DataFrame], object]] = {
    "agreement": partial(breakdown.whole, draws=1000, confidence=0.95, seed=1),
    "collusion": collusion.groups,
    "worth": worth.fit,
    "dawid-skene": partial(reliability.dawid_skene, labels=2, symmetric=True),
}
PROJECT = Path(__file__).resolve().parents[2]


def main() -> None:
    """Prints one measurement, or writes it to a file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("job", choices=JOBS)
    for name, value in (("ratings", 1_000_000), ("raters", 500), ("together", 3)):
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--out", type=Path, default=Path("/dev/stdout"))
    wanted = parser.parse_args()
    meter = Meter()
    votes = table(wanted.ratings, wanted.raters, wanted.together)
    meter.lap()
    JOBS[wanted.job](votes)
    meter.lap()
    meter.write(wanted.out, job=wanted.job, ratings=len(votes))


def table(ratings: int, raters: int, together: int) -> pd.DataFrame:
    """A table of about so many ratings; each item is seen by `together` different raters."""
    rng = np.random.default_rng(1)
    items = ratings // together
    # Distinct raters: a first one, and the others at distinct distances from them.
    gap = np.argsort(rng.random((1024, raters - 1)), axis=1)[:, : together - 1] + 1
    first = rng.integers(0, raters, items)
    rest = first[:, None] + gap[rng.integers(0, len(gap), items)]
    who = np.concatenate([first[:, None], rest], axis=1).ravel() % raters
    item = np.repeat(np.arange(items), together)
    truth, skill = rng.integers(0, 2, items), rng.uniform(0.7, 0.95, raters)
    label = np.where(rng.random(len(item)) < skill[who], truth[item], 1 - truth[item])
    names = pd.Index([f"r{number:04d}" for number in range(raters)])
    return pd.DataFrame({"item": item, "rater": names[who], "label": label})


def measured(job: str, ratings: int) -> dict[str, Any]:
    """What a fresh process notes: processor seconds of the table and of the job, peak memory."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "found.json"
        command = [sys.executable, "-m", "benchmarks.raters.speed", job, "--out", str(file)]
        paths = [str(PROJECT), str(PROJECT / "src"), os.environ.get("PYTHONPATH", "")]
        env = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(paths)}
        subprocess.run([*command, "--ratings", str(ratings)], cwd=PROJECT, env=env, check=True)
        found: dict[str, Any] = json.loads(file.read_text("utf-8"))
        return found


def speed(replicates: int, seed: int, job: str, ratings: int, aims: Sequence[str]) -> list[Figure]:
    """Seconds and memory of `job`; the table is the same in every replicate."""
    found = [measured(job, ratings) for _ in range(replicates)]
    return [
        share("processor seconds", [one["cpu_seconds"][1] for one in found], aims[0]),
        share("peak memory with the table, MB", [one["peak_mb"] for one in found], aims[1]),
    ]


CASES: list[Case] = [
    Case(
        f"speed: {name}, {ratings:,} votes of 500 raters",
        partial(speed, job=job, ratings=ratings, aims=aims),
        part=0.03,
    )
    for name, job, ratings, aims in (
        ("agreement with 1,000 draws over items and over raters", "agreement", 1_000_000,
         ("< 5", "< 300")),
        ("worth", "worth", 100_000, ("< 2", "")),
        ("Dawid-Skene", "dawid-skene", 100_000, ("< 2", "")),
    )
]  # fmt: skip


if __name__ == "__main__":
    main()
