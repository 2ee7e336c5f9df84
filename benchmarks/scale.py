"""What one machine carries: time and memory of every step that grows with the rows.

    python -m benchmarks.scale --rows 100000 300000 1000000

Each step is the real command, in a process of its own, in a clone of this checkout's last commit:
ingest into SQLite, snapshot, the stages validate and raters, the audits. Round 1 holds a tenth
of the rows, round 2 the rest. Time is processor time of the process and its children, so that other
work on the machine matters little; memory is the peak of resident memory of the largest of them,
or of this program where that is more (a process starts as a copy of it).
Growth is the exponent between the smallest and the largest size, after what a round of 1,000 rows
costs (imports, DVC, git) is taken off: 1 is linear. Prints a table and writes JSON.
"""

import argparse
import json
import math
import os
import platform
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

PROJECT = Path(__file__).resolve().parents[1]
#: Rows of the round that tells what a step costs whatever the size.
FIXED = 1000
STEPS = (
    "ingest", "snapshot", "validate", "raters", "audit diff", "audit model", "audit rater",
    "audit file", "audit row", "audit verify",
)  # fmt: skip
#: A difference of processor seconds that measures nothing.
NOTHING = 0.3
#: Rows a rater gives, in all.
PER_RATER = 2500
#: How often a rater names the better answer.
RIGHT = 0.75
DOMAINS = ("legal", "medical", "tutoring", "moderation", "travel", "code")
REGIONS = ("IN", "KE", "BR", "DE", "US")


class Cost(NamedTuple):
    """What a process cost: processor seconds, seconds on the clock, peak megabytes."""

    cpu: float
    wall: float
    peak: float


def rows(count: int, seed: int = 1) -> Iterator[dict[str, Any]]:
    """Rows as a team gives them: five kinds, votes that overlap, texts of a few hundred bytes."""
    draw = random.Random(seed)
    sentences = _sentences(draw)
    raters = max(20, count // PER_RATER)
    items: list[tuple[str, str, str, str, int]] = []
    kinds = draw.choices(
        ("comparison", "rating", "correction", "demonstration", "flag"), (70, 12, 6, 9, 3), k=count
    )
    for number, kind in enumerate(kinds):
        # About a third of the votes judge what another rater has judged.
        if not items or draw.random() < 0.65:
            asked, one, other = (" ".join(draw.choices(sentences, k=k)) for k in (2, 3, 3))
            items.append((asked, one, other, draw.choice(DOMAINS), draw.randint(0, 1)))
        prompt, a, b, domain, better = items[-1 - int(draw.random() * min(3000, len(items)))]
        rater = int(draw.random() * raters)
        day = number * 180 // count
        row = {
            "id": f"f-{number:08d}",
            "kind": kind,
            "prompt": prompt,
            "rater": f"r{rater:05d}",
            "region": REGIONS[rater % len(REGIONS)],
            "domain": domain,
            "created_at": f"2026-{1 + day // 28:02d}-{1 + day % 28:02d}T{number % 24:02d}:10:00Z",
            "seconds": 5 + number % 90,
        }
        yield row | _judgement(kind, a, b, better, draw)


def _judgement(kind: str, a: str, b: str, better: int, draw: random.Random) -> dict[str, Any]:
    if kind == "comparison":
        right = draw.random() < RIGHT
        choice: Any = "tie" if draw.random() < 0.1 else better if right else 1 - better
        return {"responses": [a, b], "choice": choice, "position": int(draw.random() < 0.5)}
    if kind == "rating":
        return {"response": draw.choice((a, b)), "score": draw.randint(1, 5), "scale": [1, 5]}
    if kind == "correction":
        return {"response": a, "correction": b}
    return {"response": a} | ({"reason": "unsafe"} if kind == "flag" else {})


def _sentences(draw: random.Random) -> list[str]:
    letters = "etaoinshrdlucmfwypvbgkjqxz"
    words = ["".join(draw.choices(letters, k=draw.randint(2, 9))) for _ in range(5000)]
    return [
        " ".join(draw.choices(words, k=draw.randint(6, 14))).capitalize() + "."
        for _ in range(20000)
    ]


def measured(command: Sequence[str], root: Path, log: Path) -> Cost:
    """Runs a command to its end and tells what it and its children cost."""
    env = os.environ | {"PYTHONPATH": os.pathsep.join([str(root / "src"), str(root)])}
    started = time.monotonic()
    with log.open("ab") as output:
        process = subprocess.Popen(command, cwd=root, env=env, stdout=output, stderr=output)
        _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {process.returncode}: read {log}")
    wall = time.monotonic() - started
    return Cost(usage.ru_utime + usage.ru_stime, wall, usage.ru_maxrss / 1000)


def play(count: int, folder: Path) -> dict[str, Cost]:
    """All steps at one size; the checkout is removed afterwards."""
    root = folder / f"rows-{count}"
    subprocess.run(["git", "clone", "--quiet", str(PROJECT), str(root)], check=True)
    log = folder / f"rows-{count}.log"
    files = (folder / f"first-{count}.jsonl", folder / f"rest-{count}.jsonl")
    with files[0].open("w") as first, files[1].open("w") as rest:
        for number, row in enumerate(rows(count)):
            (first if number < count // 10 else rest).write(json.dumps(row) + "\n")
    command = [sys.executable, "-m", "roundhouse.cli"]
    found: dict[str, Cost] = {}
    for number, file in enumerate(files, start=1):
        ingest = [*command, "ingest", str(file), "--format", "jsonl"]
        found["ingest"] = measured(ingest, root, log)
        step = [sys.executable, "-m", "benchmarks.scale", "--root", str(root)]
        step += ["--number", str(number), "--step"]
        found["snapshot"] = measured([*step, "snapshot"], root, log)
        for stage in ("validate", "raters"):
            workspace = root / "rounds" / f"{number:04d}"
            program = [sys.executable, "-m", f"tasks.{stage}"]
            found[stage] = measured(program, workspace, log)
        measured([*step, "publish"], root, log)
    audits = {
        "audit diff": ["diff", "1", "2"],
        "audit model": ["model", "2", "--rows", str(folder / f"used-{count}.jsonl")],
        "audit rater": ["rater", "r00007"],
        "audit file": ["file", files[1].name],
        "audit row": ["row", f"f-{count - 1:08d}"],
        "audit verify": ["verify"],
    }
    for name, arguments in audits.items():
        found[name] = measured([*command, "audit", *arguments], root, log)
    shutil.rmtree(root)
    return found


def step(name: str, root: Path, number: int) -> None:
    """A round's snapshot, or its end as if its models had been trained; in a process of its own."""
    from roundhouse.ledger import Ledger  # noqa: PLC0415 - of the clone that is measured
    from roundhouse.locations import Locations, tag_name  # noqa: PLC0415
    from roundhouse.params import load  # noqa: PLC0415
    from roundhouse.rounds import decide, dvc, git, snapshot, workspace  # noqa: PLC0415
    from roundhouse.rounds.begin import Round  # noqa: PLC0415

    places, previous = Locations(root), tag_name(number - 1) if number > 1 else None
    ledger, folder = Ledger.open(places.ledger_url), places.workspace(number)
    if name == "snapshot":
        text = (root / "params.yaml").read_text(encoding="utf-8")
        ledger.take_round_number()
        workspace.create(places, number, workspace.Plan(git.head(root), previous, text, False))
    this = Round(number, places, folder, load(folder / "params.yaml"), ledger, previous, ())
    if name == "snapshot":
        snapshot.take_snapshot(this)
        return
    for stage in ("validate", "raters"):
        dvc.dvc("commit", "--force", stage, workspace=folder, root=root)
    dvc.dvc("push", workspace=folder, root=root)
    decide.write_manifest(folder)
    commit = workspace.commit(folder, number, previous, f"Round {number}")
    workspace.publish_tag(folder, places, number, None)
    ledger.record_round(number, commit=commit)
    ledger.settle(number, False, str(number), "0" * 64, expected=None)


def growth(costs: Mapping[int, Mapping[str, Cost]], name: str) -> float | None:
    """Exponent of a step's processor time in the rows; None where nothing can be compared.

    It is taken between the smallest and the largest size, less what 1,000 rows cost.
    """
    sizes = sorted(size for size in costs if size != FIXED)
    if len(sizes) < 2:
        return None
    small, large = (
        costs[size][name].cpu - costs[FIXED][name].cpu for size in (sizes[0], sizes[-1])
    )
    if small < NOTHING:
        return None
    return math.log(large / small) / math.log(sizes[-1] / sizes[0])


def main() -> None:
    """Measures every size and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, nargs="+", default=[100_000, 300_000, 1_000_000])
    parser.add_argument("--out", type=Path, default=Path("scale-benchmark.json"))
    parser.add_argument("--folder", type=Path, help="works here; default: a temporary folder")
    parser.add_argument("--jobs", type=int, default=1, help="sizes at a time")
    parser.add_argument("--step", help=argparse.SUPPRESS)
    parser.add_argument("--root", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--number", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.step:
        step(options.step, options.root, options.number)
        return
    folder = options.folder or Path(tempfile.mkdtemp(prefix="roundhouse-scale-"))
    folder.mkdir(parents=True, exist_ok=True)
    commit = subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=PROJECT, capture_output=True, text=True, check=True
    ).stdout.strip()
    sizes = [FIXED, *options.rows]
    with ThreadPoolExecutor(options.jobs) as pool:
        costs = dict(zip(sizes, pool.map(lambda count: play(count, folder), sizes), strict=True))
    report(costs, commit, options.out)


def report(costs: Mapping[int, Mapping[str, Cost]], commit: str, out: Path) -> None:
    """Prints the table and writes the same as JSON, with the machine and the commit."""
    sys.stdout.write(f"commit {commit[:12]}, Python {platform.python_version()}, ")
    sys.stdout.write(f"{os.cpu_count()} cores; processor seconds (peak MB)\n{'':<14}")
    sys.stdout.write("".join(f"{f'{count:,} rows':>20}" for count in costs) + f"{'growth':>8}\n")
    for name in STEPS:
        cells = [
            f"{costs[count][name].cpu:.1f} ({costs[count][name].peak:,.0f})" for count in costs
        ]
        exponent = growth(costs, name)
        shown = "" if exponent is None else f"{exponent:.2f}"
        sys.stdout.write(f"{name:<14}{''.join(f'{cell:>20}' for cell in cells)}{shown:>8}\n")
    found = {
        "commit": commit,
        "cores": os.cpu_count(),
        "steps": {n: {k: cost._asdict() for k, cost in part.items()} for n, part in costs.items()},
        "growth": {name: growth(costs, name) for name in STEPS},
    }
    out.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
