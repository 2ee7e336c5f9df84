"""A whole round on real people's votes: convert, ingest, round, report.

    python examples/convincing_arguments/run.py --data DIR --model DIR

The four commands that it runs, which you could type as well, are printed as they start.
"""

import argparse
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
#: The converted rows; that they are here says that this checkout's ledger is the example's own.
ROWS = ROOT / "state" / "convincing_arguments"


def commands(data: Path, model: Path) -> list[list[str]]:
    """The steps, each a command line that works in the checkout's top folder."""
    here, rows = HERE.relative_to(ROOT), ROWS.relative_to(ROOT)
    files = [f"{rows}/votes.jsonl", f"{rows}/demonstrations.jsonl"]
    return [
        ["python", f"{here}/convert.py", "--data", str(data), "--out", str(rows)],
        ["roundhouse", "ingest", *files, "--format", "jsonl"],
        [
            *("roundhouse", "round", "--params", f"{here}/params.yaml"),
            *("--set", f"model.base={model}"),
        ],
        ["python", f"{here}/report.py"],
    ]


def run(command: list[str]) -> None:
    """Prints and runs one step; one that fails ends the example with its exit code."""
    sys.stdout.write(f"$ {' '.join(command)}\n")
    sys.stdout.flush()
    program, *arguments = command
    start = ["-m", "roundhouse.cli"] if program == "roundhouse" else []
    code = subprocess.run([sys.executable, *start, *arguments], cwd=ROOT, check=False).returncode
    if code:
        raise SystemExit(code)


def main() -> None:
    """Runs the steps in order."""
    options = argparse.ArgumentParser(description="A round on the votes of UKPConvArg1.")
    options.add_argument("--data", type=Path, required=True, metavar="DIR")
    options.add_argument("--model", type=Path, required=True, metavar="DIR")
    chosen = options.parse_args()
    if (ROOT / "state" / "ledger.db").exists() and not ROWS.exists():
        raise SystemExit(
            f"{ROOT / 'state'}: this checkout holds other feedback, which would train with these "
            "votes: run the example in a clone of its own (git clone . ../arguments)"
        )
    for command in commands(chosen.data.resolve(), chosen.model.resolve()):
        run(command)


if __name__ == "__main__":
    main()
