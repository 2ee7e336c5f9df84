"""The rater statistics on real people: UKPConvArg1 and HateCheck.

    python -m benchmarks.raters.people --data DIR --out people.json

DIR holds `ukpconvarg1/` (70,668 timed votes of 3,795 people on which of two arguments convinces
more, with ties, and each person's published competence) and `hatecheck/` (five of ten people on
each of 3,901 sentences whose right label is known). Both are public; no row leaves the machine.

Intervals are of 95 %; a figure in brackets alone is a standard error.
"""

import argparse
import json
import math
import sys
import time
from pathlib import Path

from benchmarks.raters import debates, sentences
from benchmarks.raters.told import Told


def show(name: str, figures: list[Told]) -> None:
    """Prints one table."""
    lines = "\n".join(one.line() for one in figures)
    sys.stdout.write(f"\n### {name}\n\n| figure | measured |\n| --- | ---: |\n{lines}\n")


def main() -> None:
    """Prints the report; writes it as JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--draws", type=int, default=1000, help="of each bootstrap")
    parser.add_argument("--shuffles", type=int, default=200, help="of times within raters")
    parser.add_argument("--replicates", type=int, default=20, help="of turned labels")
    parser.add_argument("--out", type=Path)
    wanted = parser.parse_args()
    start = time.process_time()
    found = debates.report(wanted.data, wanted.draws, wanted.shuffles)
    found |= sentences.report(wanted.data, wanted.replicates)
    for name, figures in found.items():
        show(name, figures)
    sys.stdout.write(f"\n{time.process_time() - start:.0f} processor seconds\n")
    if wanted.out:
        plain = {name: [_plain(one) for one in figures] for name, figures in found.items()}
        wanted.out.write_text(json.dumps(plain, indent=1), encoding="utf-8")


def _plain(one: Told) -> dict[str, str | float | None]:
    """A figure for JSON, which has no NaN."""
    return {
        name: None if isinstance(value, float) and not math.isfinite(value) else value
        for name, value in one._asdict().items()
    }


if __name__ == "__main__":
    main()
