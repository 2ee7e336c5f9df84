"""How hard the simulated world is: rater agreement, the true ceiling, the quality of its texts.

    python -m benchmarks.simulated_team [--seeds 5] [--params params.yaml]

Prints a table and, as its last line, the same as JSON. The constants of `simulate/` were frozen at
these figures: two raters agree in 73 to 74 of 100 votes, 81 to 82 of 100 labels are truly right.
"""

import argparse
import json
import statistics
import sys
from pathlib import Path

from roundhouse import params
from roundhouse.feedback import Row
from roundhouse.simulate import archive, truth
from roundhouse.simulate.world import BEST, all_prompts, vocabulary


def main() -> None:
    """Measures the archive under several seeds."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=5, help="archives to measure")
    parser.add_argument("--params", type=Path, default=Path("params.yaml"), help="settings")
    arguments = parser.parse_args()
    loaded = params.load(arguments.params)
    runs = [figures(list(archive.archive(loaded, seed))) for seed in range(arguments.seeds)]
    table = {name: [run[name] for run in runs] for name in runs[0]}
    fixed = {"best_utility": BEST, "prompts": len(all_prompts()), "words": len(vocabulary())}
    for name, values in table.items():
        line = f"{name:32}{statistics.mean(values):9.3f} +- {spread(values):.3f}"
        sys.stdout.write(f"{line}\n")
    for name, value in fixed.items():
        sys.stdout.write(f"{name:32}{value:9.3f}\n")
    sys.stdout.write(json.dumps({"seeds": arguments.seeds, **table, **fixed}) + "\n")


def figures(rows: list[Row]) -> dict[str, float]:
    """The figures of one archive."""
    votes = [row for row in rows if row["kind"] == "comparison"]
    pairs = [row for row in votes if "gold" not in row and "anchor" not in row]
    golds = [row for row in votes if "gold" in row]
    shown = [row for row in rows if row["kind"] == "demonstration"]
    found = {
        "agreement": truth.agreement(pairs),
        "labels_true": truth.label_accuracy(pairs),
        "ties": statistics.mean(row["choice"] == "tie" for row in pairs),
        "gold_right": statistics.mean(row["choice"] == row["gold"] for row in golds),
    }
    written = truth.quality([row["prompt"] for row in shown], [row["response"] for row in shown])
    rated = truth.quality(
        [row["prompt"] for row in pairs for _ in row["responses"]],
        [answer for row in pairs for answer in row["responses"]],
    )
    for name in truth.Quality._fields:
        found[f"demonstrations/{name}"] = getattr(written, name)
        found[f"rated_answers/{name}"] = getattr(rated, name)
    return found


def spread(values: list[float]) -> float:
    """Standard error of the mean; 0 for a single value."""
    return statistics.stdev(values) / len(values) ** 0.5 if len(values) > 1 else 0.0


if __name__ == "__main__":
    main()
