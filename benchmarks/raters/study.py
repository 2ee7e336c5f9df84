"""The study of the rater statistics on simulated votes: power, false alarms, errors, with aims.

    python -m benchmarks.raters.study --replicates 100 --out study.json
    python -m benchmarks.raters.study --case anchors      # cases whose name has the word

Every case draws its own votes (`roundhouse.simulate.votes`) again and again from the seed, so the
table is the same on every run, up to the seconds. A figure stands with its standard error over
replicates. Cases that FILE already holds are shown from it and not run again, so a study that was
stopped goes on where it stood. Set OMP_NUM_THREADS=1 for one core.
"""

import argparse
import json
import math
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.raters import change, poorest, regions, reliability, spam, speed, verdicts
from benchmarks.raters.case import Case, Figure

TOPICS = (speed, reliability, change, spam, regions, poorest, verdicts)
HEAD = "| case | replicates | figure | measured (standard error) | aim | met |"
_MET = {None: "", True: "yes", False: "**no**"}


def cases(word: str = "") -> list[Case]:
    """All cases whose name has the word, in the order of the topics."""
    return [case for topic in TOPICS for case in topic.CASES if word in case.name]


def done(case: Case, replicates: int, seed: int) -> dict[str, Any]:
    """A case's figures, how many replicates they are from, and the processor seconds it took."""
    count = _count(case, replicates)
    start = time.process_time()
    figures = case.run(count, seed)
    return {
        "replicates": count,
        "seed": seed,
        "cpu_seconds": round(time.process_time() - start, 1),
        "figures": [figure._asdict() | {"met": figure.met} for figure in figures],
    }


def _count(case: Case, replicates: int) -> int:
    return max(2, round(replicates * case.part))


def rows(name: str, found: dict[str, Any]) -> list[str]:
    """The lines of a case in the table."""
    lines = []
    for number, one in enumerate(found["figures"]):
        figure = Figure(one["what"], one["value"], one["error"], one["aim"])
        first = (name, str(found["replicates"])) if not number else ("", "")
        error = f" ({figure.error:.4f})" if math.isfinite(figure.error) else ""
        told = (*first, figure.what, f"{figure.value:.4f}{error}", figure.aim, _MET[figure.met])
        lines.append("| " + " | ".join(told) + " |")
    return lines


def study(chosen: Sequence[Case], replicates: int, seed: int, file: Path | None) -> dict[str, Any]:
    """Runs the cases that FILE lacks, prints all of them, and keeps FILE up to date."""
    known: dict[str, Any] = json.loads(file.read_text("utf-8")) if file and file.exists() else {}
    sys.stdout.write(f"{HEAD}\n| --- | ---: | --- | ---: | ---: | --- |\n")
    for case in chosen:
        wanted = {"replicates": _count(case, replicates), "seed": seed}
        if not wanted.items() <= known.get(case.name, {}).items():
            known[case.name] = done(case, replicates, seed)
            if file:
                file.write_text(json.dumps(known, indent=1), encoding="utf-8")
        sys.stdout.write("\n".join(rows(case.name, known[case.name])) + "\n")
        sys.stdout.flush()
    return {case.name: known[case.name] for case in chosen}


def main() -> None:
    """Runs the cases whose name has the given word."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--replicates", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--case", default="")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    chosen = cases(args.case)
    if not chosen:
        sys.exit(f"no case has {args.case!r} in its name: {', '.join(c.name for c in cases())}")
    found = study(chosen, args.replicates, args.seed, args.out)
    seconds = math.fsum(one["cpu_seconds"] for one in found.values())
    sys.stdout.write(f"\n{len(found)} cases, {seconds:.0f} processor seconds\n")


if __name__ == "__main__":
    main()
