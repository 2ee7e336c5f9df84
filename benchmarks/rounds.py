"""How well the default rounds learn, and where their time goes, over fresh seeds.

    python -m benchmarks.rounds --seeds 101 102 103 --rounds 3

Each seed plays its rounds through the real command line in a clone of this checkout's last commit.
The figures are read from the rounds' own records; true figures are on evaluation prompts, which no
training and no tuning has seen. Prints mean and standard error over seeds, and writes JSON.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).resolve().parents[1]

#: Steps that train or sample; the rest is Prefect, DVC, imports, Great Expectations and git.
LEARNING = ("sft", "reward", "align", "evaluate", "collect")

#: Row of the table to the figure of a round's record.
ROWS = {
    "agreement of vote pairs": "raters/agreement",
    "labels that agree with the truth (true ceiling)": "simulation/label_accuracy",
    "reward accuracy on held-out labels": "reward/accuracy",
    "judge accuracy on held-out labels": "reward/judge_accuracy",
    "win rate by the judge, over SFT": "evaluate/win_rate_reference",
    "true win rate over SFT": "simulation/win_rate/reference",
    "true utility, SFT": "simulation/utility/reference",
    "true utility, challenger": "simulation/utility/challenger",
    "on topic, SFT": "simulation/on_topic/reference",
    "on topic, challenger": "simulation/on_topic/challenger",
    "well-formed, SFT": "simulation/well_formed/reference",
    "well-formed, challenger": "simulation/well_formed/challenger",
    "KL, nats an answer": "evaluate/kl",
}


def play(seed: int, rounds: int, overrides: Sequence[str], folder: Path) -> list[dict[str, Any]]:
    """The records of a seed's rounds, each with the wall time of its command."""
    root = folder / f"seed-{seed}"
    subprocess.run(["git", "clone", "--quiet", str(PROJECT), str(root)], check=True)
    paths = os.pathsep.join([str(root / "src"), str(root)])
    command = [sys.executable, "-m", "roundhouse.cli", "round", "--json", "--set", f"seed={seed}"]
    for override in overrides:
        command += ["--set", override]
    records = []
    for _ in range(rounds):
        done = subprocess.run(
            command, cwd=root, env=os.environ | {"PYTHONPATH": paths}, stdout=subprocess.PIPE
        )
        if done.returncode:
            raise SystemExit(f"seed {seed}: the round ended with code {done.returncode}")
        records.append(json.loads(done.stdout))
    return records


def figures(record: dict[str, Any]) -> dict[str, float]:
    """The table's column of one round."""
    metrics, seconds = record["metrics"], record["seconds"]
    column = {row: metrics[name] for row, name in ROWS.items()}
    column["reward accuracy, share of the true ceiling"] = (
        metrics["reward/accuracy"] / metrics["simulation/label_accuracy"]
    )
    column["promoted"] = float(record["decision"] == "promoted")
    column["seconds of all steps"] = sum(seconds.values())
    column["seconds of learning steps"] = sum(seconds.get(step, 0.0) for step in LEARNING)
    return column


def main() -> None:
    """Plays the rounds and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=[101, 102, 103])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--set", action="append", default=[], dest="overrides")
    parser.add_argument("--out", type=Path, default=Path("rounds-benchmark.json"))
    parser.add_argument("--folder", type=Path, help="keeps the clones here")
    options = parser.parse_args()
    folder = options.folder or Path(tempfile.mkdtemp(prefix="roundhouse-benchmark-"))
    folder.mkdir(parents=True, exist_ok=True)
    played = {
        seed: [figures(r) for r in play(seed, options.rounds, options.overrides, folder)]
        for seed in options.seeds
    }
    options.out.write_text(json.dumps(played, indent=2) + "\n", encoding="utf-8")
    head = "".join(f"{f'round {n + 1}':>18}" for n in range(options.rounds))
    sys.stdout.write(f"{len(played)} seeds, mean (standard error)\n{'':<50}{head}\n")
    for row in next(iter(played.values()))[0]:
        cells = ""
        for number in range(options.rounds):
            values = [columns[number][row] for columns in played.values()]
            spread = statistics.stdev(values) / len(values) ** 0.5 if len(values) > 1 else 0.0
            cells += f"{f'{statistics.mean(values):.3f} ({spread:.3f})':>18}"
        sys.stdout.write(f"{row:<50}{cells}\n")


if __name__ == "__main__":
    main()
