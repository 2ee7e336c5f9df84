"""A program that `accelerate launch` starts several times: trainings of test_checkpoint.

    python -m tests.learn.sharing FOLDER OUT STAGE[,STAGE] DIES_AT (greedy | drawn)

FOLDER holds what stages read and settings.json. The first process prints the figures of each step
as a line of JSON. Greedy answers are for comparisons: drawn ones hang on how many processes draw.
"""

import json
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch

from roundhouse.learn import parallel, sampling
from roundhouse.settings import Settings
from tests.learn.test_checkpoint import Died, work

drawn = sampling.sample


def greedy(*given: Any, **how: Any) -> sampling.Answers:
    """The likeliest answers, for `sampling.sample`."""
    return drawn(*given, **how | {"temperature": 0})


def train(folder: Path, out: str, stage: str, dies_at: int) -> None:
    """One stage in one of the processes."""
    settings = Settings.model_validate_json((folder / "settings.json").read_text(encoding="utf-8"))

    def log(step: int, total: int, metrics: Mapping[str, float]) -> None:
        if parallel.first():
            told = {name: value for name, value in metrics.items() if "second" not in name}
            sys.stdout.write(json.dumps({"stage": stage, "step": step, **told}) + "\n")
        if step == dies_at:
            raise Died

    work(stage, folder, folder / out / stage, settings, log, folder / f"kept-{out}" / stage)


if __name__ == "__main__":
    place, out, stages, step, how = sys.argv[1:]
    torch.set_num_threads(1)
    if how == "greedy":
        sampling.sample = greedy
    with parallel.joined():
        for one in stages.split(","):
            with suppress(Died):
                train(Path(place), out, one, int(step))
