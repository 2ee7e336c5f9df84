"""How the cost of PPO grows: with the episodes of a batch, and with the length of answers.

    .venv/bin/python -m benchmarks.growth --out growth-benchmark.json

Batches of our side alone, of the model and settings of `benchmarks/ppo.py` (1M, answers that never
end, prompts of 32 tokens), one epoch, minibatch 16. Prints seconds a batch and the exponent from
each line to the next: 1 is linear. `--quick` runs the shorter half of both curves once.
"""

import argparse
import copy
import math
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification

from benchmarks import ppo as compared
from benchmarks import side_by_side
from benchmarks.random_models import EOS, FIRST_WORD, PAD, head
from roundhouse.learn import models, optimizers, ppo
from roundhouse.learn.ppo_state import Task

EPISODES, LENGTHS = (16, 32, 64, 128, 256), (16, 32, 64, 128, 256, 512)
#: Of the curve over lengths, and the answers' length of the curve over episodes.
BATCH, LENGTH = 16, 48


def batch_seconds(folder: Path, batch: int, length: int, repeats: int) -> dict[str, float]:
    """Seconds of a batch, wall clock and processor, the smallest of some; the first is unused."""
    policy = models.load_weights(AutoModelForCausalLM, folder / "policy")
    scorer = models.load_weights(AutoModelForSequenceClassification, folder / "reward")
    prompts = torch.randint(FIRST_WORD, 1000, (256, compared.PROMPT)).tolist()
    settings = compared.told(repeats + 1, [f"ppo.batch={batch}", "ppo.epochs=1"])
    task = Task(
        prompts,
        copy.deepcopy(policy),
        head(scorer),
        EOS,
        PAD,
        length,
        compared.SEED,
        settings,
    )
    state = ppo.begin(policy, task)
    found = []
    for _ in range(repeats + 1):
        wall, processor = time.perf_counter(), time.process_time()
        ppo.train_step(state, task)
        found.append((time.perf_counter() - wall, time.process_time() - processor))
    walls, processors = zip(*found[1:], strict=True)
    return {"seconds": min(walls), "cpu_seconds": min(processors)}


def curve(points: list[dict[str, Any]], of: str) -> str:
    """The curve as a table, with the exponent from each point to the next."""
    rows = []
    for index, point in enumerate(points):
        before = points[index - 1] if index else point
        grown = math.log(point[of] / before[of]) if index else 0.0
        exponents = [
            f"{math.log(point[name] / before[name]) / grown:.2f}" if index else ""
            for name in ("seconds", "cpu_seconds")
        ]
        rows.append(
            {
                of: str(point[of]),
                "s a batch": f"{point['seconds']:.2f}",
                "exponent": exponents[0],
                "processor": f"{point['cpu_seconds']:.2f}",
                "its exponent": exponents[1],
            }
        )
    return side_by_side.table(rows)


def main() -> None:
    """Measures both curves and prints them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--out", type=Path, help="file to write the figures to, as JSON")
    parser.add_argument("--quick", action="store_true", help="the shorter half, one batch a point")
    parser.add_argument("--repeats", type=int, default=3, help="measured batches a point")
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args()
    if given.quick:
        given.repeats = 1
    side_by_side.quiet()
    optimizers.start(compared.SEED, given.threads)
    found: dict[str, list[dict[str, Any]]] = {"episodes": [], "tokens": []}
    with tempfile.TemporaryDirectory() as root:
        folder = Path(root)
        compared.write(compared.Case("1M", "worst", given.threads), folder, 1)
        for of, sizes in (("episodes", EPISODES), ("tokens", LENGTHS)):
            for size in sizes[: len(sizes) // 2 if given.quick else None]:
                batch, length = (size, LENGTH) if of == "episodes" else (BATCH, size)
                point = {of: size} | batch_seconds(folder, batch, length, given.repeats)
                found[of].append(point)
            sys.stdout.write(f"{curve(found[of], of)}\n\n")
            sys.stdout.flush()
    facts = side_by_side.machine() | {"threads": given.threads}
    side_by_side.write(given.out, {"machine": facts, "curves": found})
    sys.stdout.write(f"{facts}\n")


if __name__ == "__main__":
    main()
