"""The study of the rater statistics on simulated votes: power, false alarms, errors, with aims.

    python -m benchmarks.raters.study --replicates 100 --out study.json
    python -m benchmarks.raters.study --case "flips 30%"      # cases whose name has the words

Every case draws its own votes (`roundhouse.simulate.votes`) again and again from the seed, so the
table is the same on every run, up to the seconds. A figure stands with its standard error over
replicates. Cases that FILE already holds are shown from it and not run again, so a study that was
stopped goes on where it stood. `--case` takes capitals or not, and % with or without a space; one
that no case has prints all names. Set OMP_NUM_THREADS=1 for one core.
"""

import json
import math
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.raters import change, poorest, regions, reliability, spam, speed, verdicts
from benchmarks.raters.case import Case, Figure, has, options

TOPICS = (speed, reliability, change, spam, regions, poorest, verdicts)
HEAD = "| case | replicates | figure | measured (standard error) | aim | met |"
_MET = {None: "", True: "yes", False: "**no**"}


def cases(word: str = "") -> list[Case]:
    """All cases whose name has the word (`case.has`), in the order of the topics."""
    return [case for topic in TOPICS for case in topic.CASES if has(case.name, word)]


def done(case: Case, replicates: int, seed: int) -> dict[str, Any]:
    """A case's figures, how many replicates they are from, and the processor seconds it took."""
    size = _size(case, replicates)
    start = time.process_time()
    figures = case.run(size, seed)
    return {
        "replicates": size,
        "seed": seed,
        "cpu_seconds": round(time.process_time() - start, 1),
        "figures": [figure._asdict() | {"met": figure.met} for figure in figures],
    }


def _size(case: Case, replicates: int) -> int:
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


def held(file: Path) -> dict[str, Any]:
    """The cases that FILE holds, none where it is not there; ends the program where it cannot be
    the file of a study."""
    if not file.parent.is_dir():
        sys.exit(f"--out {file}: there is no folder {file.parent}")
    if not file.exists():
        return {}
    try:
        found = json.loads(file.read_text("utf-8"))
    except (OSError, ValueError) as error:
        sys.exit(f"--out {file}: cannot be read ({error}); move it away, or name another file")
    if not isinstance(found, dict) or not all(
        isinstance(one, dict) and "figures" in one for one in found.values()
    ):
        sys.exit(f"--out {file}: is not the file of a study; name another file")
    return found


def study(chosen: Sequence[Case], replicates: int, seed: int, file: Path | None) -> dict[str, Any]:
    """Runs the cases that FILE lacks, prints all of them, and keeps FILE up to date."""
    known = held(file) if file else {}
    sys.stdout.write(f"{HEAD}\n| --- | ---: | --- | ---: | ---: | --- |\n")
    for case in chosen:
        wanted = {"replicates": _size(case, replicates), "seed": seed}
        if not wanted.items() <= known.get(case.name, {}).items():
            known[case.name] = done(case, replicates, seed)
            if file:
                file.write_text(json.dumps(known, indent=1), encoding="utf-8")
        sys.stdout.write("\n".join(rows(case.name, known[case.name])) + "\n")
        sys.stdout.flush()
    return {case.name: known[case.name] for case in chosen}


def main() -> None:
    """Runs the cases whose name has the given word."""
    args = options(__doc__, 100, cases())
    found = study(args.cases, len(args.seeds), args.seeds.start, args.out)
    seconds = math.fsum(one["cpu_seconds"] for one in found.values())
    sys.stdout.write(f"\n{len(found)} cases, {seconds:.0f} processor seconds\n")


if __name__ == "__main__":
    main()
