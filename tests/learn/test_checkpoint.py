"""A training that dies at any step goes on from its checkpoint and ends with the same bytes."""

import random
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy
import pytest
import torch

from roundhouse import jsonl, storage
from roundhouse.errors import StorageError
from roundhouse.hashes import sha256_folder
from roundhouse.journal import Log, silent
from roundhouse.learn import align, checkpoint, models, preferences, reward, reward_model, sft
from roundhouse.learn.checkpoint import Checkpoints
from roundhouse.learn.models import Policy
from roundhouse.learn.reward_model import Scorer
from roundhouse.settings import CheckpointSettings, Settings
from tests.conftest import PROJECT
from tests.learn.conftest import llama

pytestmark = pytest.mark.gpu

EVERY = CheckpointSettings(seconds=0.0, keep=2)
STAGES = ("sft", "reward", "ppo", "shared", "rloo", "dpo")
#: Steps of each stage below; sft, reward and dpo pass over their data twice, ppo goes around its
#: three prompts and over each batch twice.
CHANGES: dict[str, dict[str, Any]] = {
    "shared": {"critic": "shared"},
    "rloo": {"algorithm": "rloo", "samples": 2},
}
STEPS = {"sft": 6, "reward": 6, "ppo": 4, "shared": 4, "rloo": 4, "dpo": 6}


class Died(Exception):
    """What ends a training here where a process would be killed."""


class Counter:
    """A training of nothing: its state is a tree with all that one may hold."""

    def __init__(self, step: int = 0) -> None:
        self.step = step
        self.tree: dict[str, Any] = {}

    def state_dict(self) -> dict[str, Any]:
        return {"step": self.step, "tree": self.tree}

    def load_state_dict(self, saved: Mapping[str, Any]) -> None:
        self.step, self.tree = saved["step"], saved["tree"]


def prepare(folder: Path) -> None:
    """What the stages read: rows of every side, a supervised model, a reward model."""
    told = ["why the cat?", "why a dog?", "the mat?"]
    prompts = [[{"role": "user", "content": said}] for said in told]
    texts = ("yes.", "no, the dog ran.", "a cat sat on a mat.", "the mat, yes.")
    demonstrations = [
        {"prompt": prompt, "response": text, "weight": 1.0, "side": "train"}
        for prompt in prompts
        for text in texts
    ]
    jsonl.write(folder / "raters" / "demonstrations.jsonl", demonstrations)
    row = {"weight": 1.0, "votes": 3, "domain": "x", "partition": 1}
    pairs = [
        row | {"prompt": prompt, "a": texts[place], "b": texts[place + 1], "p": 0.9, "side": side}
        for side in ("train", "train", "judge", "eval")
        for prompt in prompts
        for place in (0, 2)
    ]
    jsonl.write(folder / "raters" / "pairs.jsonl", pairs)
    policy = llama()
    models.save(policy, folder / "sft" / "model")
    torch.manual_seed(4)
    scorer = Scorer(reward_model.from_policy(policy, "mean"), policy.tokenizer, 12, 8)
    reward_model.save(scorer, folder / "reward" / "model")


def settings_of(tiny: Callable[..., Settings], folder: Path) -> Settings:
    """A checkpoint after every step; the supervised model stands in for a base as well."""
    base = folder / "sft" / "model"
    steps: dict[str, Any] = {"sft.epochs": 2, "reward.epochs": 2, "ppo.steps": STEPS["ppo"]}
    steps["dpo.epochs"] = 2
    rest = {"ppo.epochs": 2, "ppo.kl_target": 1.0, "checkpoints.seconds": 0.0, "model.base": base}
    return tiny(**steps, **rest)


def work(stage: str, folder: Path, out: Path, settings: Settings, log: Log, kept: Path) -> None:
    """A whole stage, as its program in tasks/ does it."""
    raters = folder / "raters"
    checkpoints = Checkpoints(kept, settings.checkpoints)
    if stage == "sft":
        sft.run(raters, out, settings, 3, log, checkpoints)
    elif stage == "reward":
        # Without the judge, whose process takes seconds to start: tests/rounds has it.
        pairs = preferences.by_side(raters)["train"]
        members, base = settings.reward.members, folder / "sft" / "model"
        reward.fit(pairs, base, out, settings, 3, log, members, checkpoints)
    else:
        if stage in CHANGES:
            block = settings.ppo.model_copy(update=CHANGES[stage])
            settings = settings.model_copy(update={"ppo": block})
        if stage == "dpo":
            method = settings.align.model_copy(update={"method": "dpo"})
            settings = settings.model_copy(update={"align": method})
        align.run(raters, folder / "sft", folder / "reward", out, settings, 3, log, checkpoints)


def dies_at(last: int) -> Log:
    """A log under which the training dies within that step, before its state is saved."""

    def log(step: int, total: int, metrics: Mapping[str, float]) -> None:
        if step == last:
            raise Died

    return log


@pytest.mark.parametrize("stage", STAGES)
def test_a_training_that_dies_at_any_step_ends_with_the_same_bytes(
    stage: str, tmp_path: Path, tiny: Callable[..., Settings], capsys: pytest.CaptureFixture[str]
) -> None:
    settings = settings_of(tiny, tmp_path)
    prepare(tmp_path)
    steps: list[int] = []
    whole = tmp_path / "whole"
    work(stage, tmp_path, whole, settings, lambda step, *_: steps.append(step), tmp_path / "first")
    assert steps == list(range(1, STEPS[stage] + 1))
    expected = sha256_folder(whole)
    kept = tmp_path / "kept"
    # Each try dies one step later, so that all of them go on from each other's states.
    for last in steps:
        with pytest.raises(Died):
            work(stage, tmp_path, tmp_path / "part", settings, dies_at(last), kept)
        # What other work drew in the meantime must not matter.
        torch.rand(3), random.random(), numpy.random.random()
    capsys.readouterr()
    seen: list[int] = []
    work(stage, tmp_path, tmp_path / "last", settings, lambda step, *_: seen.append(step), kept)
    assert seen == steps[-1:]
    assert f"{steps[-1] - 1} of {steps[-1]} steps were done before" in capsys.readouterr().err
    assert sha256_folder(tmp_path / "last") == expected
    # Finished: nothing is left to do, and it says so.
    work(stage, tmp_path, tmp_path / "again", settings, dies_at(steps[-1]), kept)
    assert "all steps were done before" in capsys.readouterr().err
    assert sha256_folder(tmp_path / "again") == expected


@pytest.mark.parametrize(
    ("stage", "order"),
    [
        ("sft", "checkpoint.write=kill@3"),
        ("reward", "checkpoint.write=kill@4"),
        ("ppo", "checkpoint.saved=kill@2"),
    ],
)
def test_kill_9_among_the_writes_of_a_checkpoint(
    stage: str, order: str, tmp_path: Path, tiny: Callable[..., Settings]
) -> None:
    settings = settings_of(tiny, tmp_path)
    prepare(tmp_path)
    work(stage, tmp_path, tmp_path / "whole", settings, silent, tmp_path / "first")
    script = (
        "import sys, torch; torch.set_num_threads(1)\n"
        "from pathlib import Path\n"
        "from roundhouse.journal import silent\n"
        "from roundhouse.settings import Settings\n"
        "from tests.learn.test_checkpoint import work\n"
        "settings = Settings.model_validate_json(sys.stdin.read())\n"
        f"folder = Path({str(tmp_path)!r})\n"
        f"work({stage!r}, folder, folder / 'out', settings, silent, folder / 'kept')\n"
    )

    def run(**env: str) -> int:
        return subprocess.run(
            [sys.executable, "-c", script],
            input=settings.model_dump_json(by_alias=True),
            text=True,
            cwd=PROJECT,
            env={"PYTHONPATH": f"{PROJECT}:{PROJECT / 'src'}", **env},
            check=False,
        ).returncode

    assert run(ROUNDHOUSE_FAIL=order) == -9
    assert not (tmp_path / "out").exists()
    assert run() == 0
    assert sha256_folder(tmp_path / "out") == sha256_folder(tmp_path / "whole")


def test_a_state_comes_back_as_it_was(tmp_path: Path) -> None:
    kept, state = Checkpoints(tmp_path, EVERY), Counter(3)
    state.tree = {
        "numbers": [1, 2.5, 0.1, None, True, "text"],
        "by number": {7: {"moment": torch.randn(2, 3)}},
        "kinds": [torch.randn(3).bfloat16(), torch.arange(4), torch.tensor(2.0)],
    }
    kept.resume(Counter(), 9, "a")
    kept.save(state, 9)
    torch.manual_seed(5), random.seed(5), numpy.random.seed(5)
    kept.save(state, 9)
    drawn = torch.rand(2).tolist(), random.random(), numpy.random.random()
    found = Counter()
    Checkpoints(tmp_path, EVERY).resume(found, 9, "a")
    again = torch.rand(2).tolist(), random.random(), numpy.random.random()
    assert (found.step, again) == (3, drawn)
    assert found.tree["numbers"] == state.tree["numbers"]
    assert torch.equal(found.tree["by number"][7]["moment"], state.tree["by number"][7]["moment"])
    for mine, given in zip(found.tree["kinds"], state.tree["kinds"], strict=True):
        assert (mine.dtype, mine.tolist()) == (given.dtype, given.tolist())


def test_the_newest_stay_and_what_is_not_whole_or_another_trainings_is_passed_over(
    tmp_path: Path,
) -> None:
    kept = Checkpoints(tmp_path, EVERY)
    kept.resume(Counter(), 9, "a")
    for step in range(1, 6):
        kept.save(Counter(step), 9)
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["step-00000004.safetensors", "step-00000005.safetensors"]
    newest = tmp_path / names[1]
    newest.write_bytes(newest.read_bytes()[:-3])
    (tmp_path / "step-00000006.part").write_bytes(b"half")
    found = Counter()
    kept.resume(found, 9, "a")
    assert found.step == 4
    other = Counter()
    kept.resume(other, 9, "b")
    assert other.step == 0
    assert not list(tmp_path.glob("*.safetensors"))


def test_a_state_is_saved_when_the_time_has_come_and_at_the_end(tmp_path: Path) -> None:
    kept = Checkpoints(tmp_path, CheckpointSettings(seconds=3600.0, keep=2))
    kept.resume(Counter(), 9, "a")
    kept.save(Counter(8), 9)
    assert not list(tmp_path.iterdir())
    kept.save(Counter(9), 9)
    assert [path.stem for path in tmp_path.iterdir()] == ["step-00000009"]


def test_a_full_disk_is_one_line_and_leaves_the_last_state(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = Checkpoints(tmp_path / "align", EVERY)
    kept.resume(Counter(), 9, "a")
    kept.save(Counter(1), 9)
    monkeypatch.setenv("ROUNDHOUSE_FAIL", "checkpoint.write[align]=full")
    with pytest.raises(StorageError, match=r"step-00000002.safetensors: no space left"):
        kept.save(Counter(2), 9)
    monkeypatch.delenv("ROUNDHOUSE_FAIL")
    found = Counter()
    kept.resume(found, 9, "a")
    assert found.step == 1
    assert storage.free(tmp_path) > 0


def test_what_a_training_is_made_of_names_it(policy: Policy) -> None:
    first = checkpoint.identity(policy.model, [1], 3)
    assert first == checkpoint.identity(policy.model, [1], 3)
    assert first != checkpoint.identity(policy.model, [2], 3)
    with torch.no_grad():
        next(policy.model.parameters()).view(-1)[0] += 1e-6
    assert first != checkpoint.identity(policy.model, [1], 3)
