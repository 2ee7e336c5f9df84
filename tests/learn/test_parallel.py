"""Several processes, micro-batches and shards: the losses and weights of one process."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

import roundhouse
from roundhouse import jsonl, launch
from roundhouse.hashes import sha256_folder
from roundhouse.learn import parallel
from roundhouse.settings import Settings
from tests.conftest import PROJECT
from tests.learn.conftest import small
from tests.learn.test_checkpoint import prepare, settings_of

STAGES = ["sft", "reward", "ppo", "shared", "rloo", "dpo"]
LAUNCH = [
    *(sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2"),
    *("--num_machines", "1", "--mixed_precision", "no", "--dynamo_backend", "no"),
    *("--num_cpu_threads_per_process", "1", "--main_process_port", "0"),
]
#: Two processes on one GPU are refused.
NO_GPU = {"CUDA_VISIBLE_DEVICES": ""}
Figures = dict[tuple[str, int], dict[str, float]]


def ready(folder: Path, **changes: Any) -> None:
    """What stages read. AdamW throughout: Muon rounds to bfloat16, which differs by more.

    Batches of five do not go evenly into processes or micro-batches.
    """
    prepare(folder)
    settings = settings_of(small, folder).model_dump(by_alias=True)
    settings["sft"] |= {"muon_lr": 0.0, "batch": 5}
    settings["reward"] |= {"members": 3, "objective": "worst", "batch": 5}
    settings["ppo"]["minibatch"] = 8
    settings["compute"] |= changes
    whole = Settings.model_validate(settings)
    (folder / "settings.json").write_text(whole.model_dump_json(by_alias=True), encoding="utf-8")


def run(folder: Path, out: str, *, dies_at: int = 0, how: str = "greedy") -> Figures:
    """The figures of every step of every stage; all die at one step, where it is given."""
    settings = json.loads((folder / "settings.json").read_text(encoding="utf-8"))
    many = settings["compute"]["processes"] > 1
    program = ["-m", "tests.learn.sharing", str(folder), out, ",".join(STAGES), str(dies_at), how]
    done = subprocess.run(
        [*(LAUNCH if many else [sys.executable]), *program],
        cwd=PROJECT,
        env={
            **os.environ,
            # Of the source that is tested here, which may be a copy with a fault in it.
            "PYTHONPATH": f"{PROJECT}:{Path(roundhouse.__file__).parents[1]}",
            "OMP_NUM_THREADS": "1",
            launch.VARIABLE: str(int(many)),
        }
        | ({} if torch.cuda.device_count() > 1 else NO_GPU),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    return {(line.pop("stage"), line.pop("step")): line for line in lines}


def models_in(folder: Path, stage: str) -> dict[str, Tensor]:
    """All weights that a stage wrote."""
    found: dict[str, Tensor] = {}
    for path in sorted((folder / stage).rglob("*.safetensors")):
        found |= {f"{path.name} {name}": weight for name, weight in load_file(path).items()}
    return found


def without_bias(found: dict[str, Tensor]) -> list[tuple[str, Tensor]]:
    """All weights but the bias of a reward model's head."""
    return [(name, weight) for name, weight in found.items() if name != "head.safetensors bias"]


def assert_alike(one: Figures, other: Figures) -> None:
    """Equal figures, within what another order of sums makes of them."""
    assert one.keys() == other.keys()
    for step, figures in one.items():
        for name, value in figures.items():
            assert other[step][name] == pytest.approx(value, rel=2e-3, abs=2e-4), (step, name)


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Figures]:
    """Where one process wrote what comes of whole batches, and its figures."""
    folder = tmp_path_factory.mktemp("alone")
    ready(folder)
    return folder, run(folder, "one")


@pytest.mark.parametrize("shard", [False, True], ids=["whole", "shards"])
def test_two_processes_have_the_losses_and_weights_of_one(
    shard: bool, alone: tuple[Path, Figures], tmp_path: Path
) -> None:
    # An odd number of parts: one process has a turn that counts nothing.
    ready(tmp_path, processes=2, shard=shard, micro_batch=2)
    folder, figures = alone
    assert_alike(figures, run(tmp_path, "two"))
    outs = (folder / "one", tmp_path / "two")
    for stage in STAGES:
        first, second = (models_in(out, stage) for out in outs)
        assert first.keys() == second.keys()
        # A pair's loss says nothing of the bias: what Adam makes of it is rounding alone.
        for name, weight in first.items() if stage != "reward" else without_bias(first):
            torch.testing.assert_close(second[name], weight, rtol=1e-3, atol=1e-4)
    kept = [jsonl.read_json(out / "reward" / "reward.json") for out in outs]
    assert kept[0]["voices"]["objective"] == kept[1]["voices"]["objective"] == "worst"
    assert kept[1]["mean"] == pytest.approx(kept[0]["mean"], abs=1e-3)


@pytest.mark.parametrize(
    "shard", [False, pytest.param(True, marks=pytest.mark.torture)], ids=["whole", "shards"]
)
def test_processes_that_die_go_on_with_their_own_draws_and_end_with_the_same_bytes(
    shard: bool, tmp_path: Path
) -> None:
    ready(tmp_path, processes=2, shard=shard)
    run(tmp_path, "whole", how="drawn")
    run(tmp_path, "part", dies_at=3, how="drawn")
    assert not any((tmp_path / "part" / stage).exists() for stage in STAGES)
    again = run(tmp_path, "part", how="drawn")
    assert min(step for _, step in again) == 3
    for stage in STAGES:
        first, second = (sha256_folder(tmp_path / out / stage) for out in ("whole", "part"))
        assert first == second


def test_micro_batches_add_up_to_the_batch(alone: tuple[Path, Figures], tmp_path: Path) -> None:
    # The last part is smaller.
    ready(tmp_path, micro_batch=3)
    assert_alike(alone[1], run(tmp_path, "parts"))


def test_each_process_has_as_many_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parallel, "processes", lambda: 2)
    shares = []
    for place in (0, 1):
        monkeypatch.setattr(parallel, "place", lambda place=place: place)
        shares.append(list(parallel.parts([5, 6, 7, 8, 9], 2)))
    assert shares[0] == [([5, 6], True), ([9], True)]
    # There is no fourth part: the second process runs one of another, and counts nothing of it.
    assert shares[1] == [([7, 8], True), ([9], False)]
