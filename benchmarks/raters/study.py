"""The study of the rater statistics on simulated votes: power, false alarms, errors, with aims.

    .venv/bin/python benchmarks/raters/study.py --replicates 200 --out study.json
    .venv/bin/python benchmarks/raters/study.py --case anchors        # rows whose name has the word

Every case draws its own votes (`roundhouse.simulate.votes`) again and again from the seed, so the
table is the same on every run, up to the seconds. A figure stands with its standard error over
replicates.
"""

import argparse
import importlib
import json
import sys
import time
from pathlib import Path

from case import Case, Figure

TOPICS = ("reliability", "change", "spam", "regions", "verdicts")


def cases() -> list[Case]:
    """All rows, in the order of the topics."""
    return [case for topic in TOPICS for case in importlib.import_module(topic).CASES]


def show(case: Case, figures: list[Figure], seconds: float) -> None:
    """Prints the rows of one case."""
    sys.stdout.write(f"\n{case.name}  ({seconds:.0f} s)\n")
    for figure in figures:
        value = f"{figure.value:.4f} ({figure.error:.4f})"
        sys.stdout.write(f"  {figure.what:58} {value:20} {figure.aim}\n")


def main() -> None:
    """Runs the cases whose name has the given word."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--replicates", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--case", default="")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    found = {}
    for case in cases():
        if args.case not in case.name:
            continue
        start = time.monotonic()
        figures = case.run(args.replicates, args.seed)
        show(case, figures, time.monotonic() - start)
        found[case.name] = [figure._asdict() for figure in figures]
    if not found:
        sys.exit(f"no case has {args.case!r} in its name: {', '.join(c.name for c in cases())}")
    if args.out:
        args.out.write_text(json.dumps(found, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
