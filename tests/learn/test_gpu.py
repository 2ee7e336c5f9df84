"""On a GPU: the numbers of the processor, the same bytes twice, the plan of memory."""

import copy
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import pytest
import torch
from torch import nn

from roundhouse import launch
from roundhouse.errors import SettingsError
from roundhouse.journal import silent
from roundhouse.learn import parallel, ppo, reward_model, sampling
from roundhouse.learn.models import Policy
from roundhouse.learn.ppo_state import Task
from roundhouse.learn.ppo_update import learn
from roundhouse.settings import Settings
from tests.conftest import PROJECT
from tests.learn.test_checkpoint import prepare, settings_of, work
from tests.learn.test_memory import check_plan
from tests.learn.test_ppo import LIMIT, PROMPTS, task

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU on this machine"),
]

Model = TypeVar("Model", bound=nn.Module)

#: As in test_memory, of a model of 40 million parameters, on the GPU.
MEASURE = """
import json, torch
from pathlib import Path
from transformers import LlamaConfig, LlamaForCausalLM
from roundhouse.learn import memory, optimizers, ppo, reward_model
from roundhouse.learn.memory import Load
from roundhouse.learn.ppo_state import Task
from roundhouse.params import load
optimizers.start(7, 1)
config = LlamaConfig(
    vocab_size=8000, hidden_size=512, intermediate_size=1536, num_hidden_layers=10,
    num_attention_heads=8, max_position_embeddings=96, tie_word_embeddings=True,
    pad_token_id=0, bos_token_id=1, eos_token_id=2,
)
settings = load(Path("params.yaml"), ["ppo.steps=1", "ppo.batch=64", "ppo.minibatch=32"])
policy, reference, trunk = (LlamaForCausalLM(config).eval().cuda() for _ in range(3))
reward = reward_model.RewardModel(trunk.model, "mean")
task = Task([[5] * 32] * 64, reference, reward, 7999, 0, 48, 7, settings.ppo)
ppo.train_step(ppo.begin(policy, task), task)
plan = memory.plan(config, Load(32, 32, 48, 64), trained=2, frozen=2)
print(json.dumps({"took": torch.cuda.max_memory_allocated(), "plan": plan.total}))
"""


def test_an_update_has_the_figures_of_the_processor(
    policy: Policy, tiny: Callable[..., Settings]
) -> None:
    # One minibatch: the order of its rows, which each device draws for itself, does not matter.
    settings = tiny(**{"ppo.minibatch": 8, "ppo.epochs": 3, "ppo.lr": 0.01})
    start = task(policy, settings)
    start = start._replace(reward=reward_model.from_policy(policy, "mean"))
    answers = sampling.sample(
        policy.model,
        PROMPTS[:4] * 2,
        limit=LIMIT,
        temperature=1.0,
        eos=2,
        pad=0,
        generator=torch.Generator(policy.model.device).manual_seed(0),
    )
    found = []
    for place in ("cpu", "cuda"):
        model = _copy(policy.model, place)
        given = _on(start, place)
        said = sampling.Answers(*(part.to(place) for part in answers))
        state = ppo.begin(model, given)
        rollout = ppo.roll_out(state, given, PROMPTS[:4] * 2, said)
        updates = learn(state, given, rollout)
        found.append((rollout, updates, {k: v.cpu() for k, v in model.state_dict().items()}))
    (here, expected, weights), (there, updates, moved) = found
    for name in ("logprobs", "kl", "scores", "rewards", "values", "advantages", "returns"):
        one, other = getattr(here, name), getattr(there, name)
        torch.testing.assert_close(other.cpu(), one, rtol=1e-3, atol=1e-4, msg=name)
    for one, other in zip(expected, updates, strict=True):
        assert other == pytest.approx(one, rel=1e-2, abs=1e-4)
    for name, weight in weights.items():
        torch.testing.assert_close(moved[name], weight, rtol=1e-2, atol=1e-3, msg=name)


def _on(given: Task, place: str) -> Task:
    reference, reward = _copy(given.reference, place), _copy(given.reward, place)
    return given._replace(reference=reference, reward=reward)


def _copy(model: Model, place: str) -> Model:
    made = copy.deepcopy(model)
    nn.Module.to(made, place)
    return made


def test_a_state_of_the_processor_is_not_used_on_a_gpu(
    tmp_path: Path, tiny: Callable[..., Settings], capsys: pytest.CaptureFixture[str]
) -> None:
    prepare(tmp_path)
    settings = settings_of(tiny, tmp_path)
    (tmp_path / "settings.json").write_text(settings.model_dump_json(by_alias=True))
    program = ["-m", "tests.learn.sharing", str(tmp_path), "one", "ppo", "3", "drawn"]
    done = subprocess.run(
        [sys.executable, *program],
        cwd=PROJECT,
        env={**os.environ, "CUDA_VISIBLE_DEVICES": "", "PYTHONPATH": f"{PROJECT}:{PROJECT}/src"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    kept = tmp_path / "kept-one" / "ppo"
    assert list(kept.rglob("*.safetensors"))
    capsys.readouterr()
    work("ppo", tmp_path, tmp_path / "two", settings, silent, kept)
    assert "were done before" not in capsys.readouterr().err


def test_processes_without_a_gpu_each_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = torch.cuda.device_count() + 1
    monkeypatch.setenv(launch.VARIABLE, "1")
    monkeypatch.setenv("WORLD_SIZE", str(wanted))
    refused = pytest.raises(SettingsError, match=f"{wanted} processes need a GPU each")
    with refused, parallel.joined():
        pass


def test_the_plan_is_near_what_a_step_takes() -> None:
    check_plan(MEASURE)
