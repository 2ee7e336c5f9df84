"""Time and memory of agreement with intervals over items and over raters.

    python -m benchmarks.raters.agreement [--ratings N] [--raters N] [--together N] [--out FILE]

Three votes an item, two labels, raters of different skill. Memory is the peak of the process less
what it held after its imports, so it counts the table itself. Set OMP_NUM_THREADS=1 for one core.
"""

import argparse
import json
import resource
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd

from roundhouse.raters import breakdown


def main() -> None:
    """Prints the figures, and writes them as JSON where asked."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name, value in (("ratings", 1_000_000), ("raters", 500), ("draws", 1000), ("together", 3)):
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--out", type=Path)
    wanted = parser.parse_args()
    before = _peak()
    votes = table(wanted.ratings, wanted.raters, wanted.together)
    built = _peak()
    start, processor = time.perf_counter(), time.process_time()
    found = breakdown.whole(votes, wanted.draws, 0.95, 1)
    result = {
        "ratings": len(votes), "raters": found.raters, "items": found.items,
        "draws": wanted.draws, "seconds": time.perf_counter() - start,
        "processor_seconds": time.process_time() - processor,
        "table_mb": built - before, "peak_mb": _peak() - before,
        **{
            f"{name}_{over}": list(getattr(getattr(found, name), over))
            for name in ("agreement", "alpha", "ac1")
            for over in ("items", "raters")
        },
    }  # fmt: skip
    text = json.dumps(result, indent=2)
    sys.stdout.write(text + "\n")
    if wanted.out:
        wanted.out.write_text(text + "\n", encoding="utf-8")


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


def _peak() -> float:
    """The most memory that this process has held, in MB."""
    size = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return size / 1e6 if sys.platform == "darwin" else size * 1024 / 1e6


if __name__ == "__main__":
    main()
