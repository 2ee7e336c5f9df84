"""kill -9 at moments drawn from a seed in sft, reward and align: each ends with the same bytes."""

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from roundhouse.hashes import sha256_folder
from roundhouse.settings import Settings
from tests.conftest import PROJECT
from tests.learn.conftest import tiny  # noqa: F401 - a fixture
from tests.learn.test_checkpoint import STAGES, prepare, work

pytestmark = pytest.mark.torture

#: Deaths of each stage.
DEATHS = 10
SCRIPT = """
import sys
import torch
torch.set_num_threads(1)
from pathlib import Path
from roundhouse.settings import Settings
from tests.learn.test_checkpoint import work
settings, folder = Settings.model_validate_json(sys.stdin.read()), Path(sys.argv[2])
log = lambda step, *_: print(step, flush=True)
work(sys.argv[1], folder, folder / "out", settings, log, folder / "kept")
"""


@pytest.mark.parametrize("stage", STAGES)
def test_a_training_killed_at_any_moment_ends_with_the_same_bytes(
    stage: str,
    seed: int,
    tmp_path: Path,
    tiny: Callable[..., Settings],  # noqa: F811
    tally: Callable[..., None],
) -> None:
    steps = {"sft.epochs": 60, "reward.epochs": 60, "ppo.steps": 60, "dpo.epochs": 60}
    rest = {"checkpoints.seconds": 0.0, "model.base": str(tmp_path / "sft" / "model")}
    settings = tiny(**steps, **rest)
    prepare(tmp_path)
    seen: list[int] = []
    began = time.monotonic()
    whole = tmp_path / "whole"
    work(stage, tmp_path, whole, settings, lambda step, *_: seen.append(step), tmp_path / "first")
    step_seconds = (time.monotonic() - began) / len(seen)
    draw = random.Random(f"{seed} {stage}")
    struck: list[int] = []
    for last in sorted(draw.sample(range(1, len(seen) - 1), DEATHS)):
        with _start(stage, tmp_path, settings) as process:
            assert process.stdout is not None
            for line in process.stdout:
                if int(line) >= last:
                    # Anywhere in what follows: saving this step, or in the midst of the next.
                    time.sleep(draw.uniform(0, 2 * step_seconds))
                    process.send_signal(signal.SIGKILL)
                    struck.append(int(line))
                    break
        assert process.returncode == -signal.SIGKILL
    with _start(stage, tmp_path, settings) as process:
        # Nothing is left to train where the last death came after the last step.
        process.communicate()
    assert process.returncode == 0
    assert sha256_folder(tmp_path / "out") == sha256_folder(whole)
    tally(kills=len(struck), places=struck)


def _start(stage: str, folder: Path, settings: Settings) -> "subprocess.Popen[str]":
    paths = os.pathsep.join([str(PROJECT), str(PROJECT / "src")])
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, stage, str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=PROJECT,
        env=os.environ | {"PYTHONPATH": paths},
    )
    assert process.stdin is not None
    process.stdin.write(settings.model_dump_json(by_alias=True))
    process.stdin.close()
    process.stdin = None
    return process
