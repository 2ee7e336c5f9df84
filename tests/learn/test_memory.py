"""What a training needs of memory: near what it takes, and refused before anything is loaded."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from transformers import GPT2Config, LlamaConfig, Qwen3Config

from roundhouse.errors import MemoryPlanError
from roundhouse.journal import silent
from roundhouse.learn import memory, sft
from roundhouse.learn.memory import Load
from roundhouse.settings import Settings
from tests.conftest import PROJECT
from tests.learn.conftest import llama
from tests.learn.test_checkpoint import prepare

#: A step of PPO on a model of 10 million parameters; prints what it took beyond imports, and its
#: plan.
MEASURE = """
import json, torch
from pathlib import Path
torch.set_num_threads(1)
from transformers import LlamaConfig, LlamaForCausalLM
from roundhouse.learn import memory, ppo, reward_model
from roundhouse.learn.memory import Load
from roundhouse.learn.ppo_state import Task
from roundhouse.params import load
config = LlamaConfig(
    vocab_size=8000, hidden_size=384, intermediate_size=1024, num_hidden_layers=4,
    num_attention_heads=6, max_position_embeddings=96, tie_word_embeddings=True,
    pad_token_id=0, bos_token_id=1, eos_token_id=2,
)
changes = ["ppo.steps=1", "ppo.batch=64", "ppo.minibatch=32"]
settings = load(Path("params.yaml"), changes)
LlamaForCausalLM(LlamaConfig(hidden_size=16, num_attention_heads=2, intermediate_size=16))

def peak():
    # Not getrusage, which begins with what the parent had.
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))

before = peak()
policy, reference = LlamaForCausalLM(config).eval(), LlamaForCausalLM(config).eval()
reward = reward_model.RewardModel(LlamaForCausalLM(config).eval().model, "mean")
prompts = [[5] * 32] * 64
task = Task(prompts, reference, reward, 7999, 0, 48, 7, settings.ppo)
ppo.train_step(ppo.begin(policy, task), task)
took = peak() - before
plan = memory.plan(config, Load(32, 32, 48, 64), trained=2, frozen=2)
print(json.dumps({"took": took, "plan": plan.total}))
"""


def check_plan(script: str) -> None:
    """What `MEASURE`, or a script like it, took is near its plan."""
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=PROJECT,
        env={"PYTHONPATH": f"{PROJECT}:{PROJECT}/src"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert 0.6 < found["took"] / found["plan"] < 1.5, found


def test_the_plan_is_near_what_a_step_takes() -> None:
    check_plan(MEASURE)


def test_parts_add_up_by_hand() -> None:
    config = LlamaConfig(
        vocab_size=100, hidden_size=8, intermediate_size=16, num_hidden_layers=3,
        num_attention_heads=2, num_key_value_heads=1, tie_word_embeddings=True,
    )  # fmt: skip
    found = memory.plan(config, Load(rows=2, prompt=4, response=6, sampled=5), 1, 1)
    layer = 8 * 8 * 2 + 8 * 4 * 2 + 3 * 8 * 16 + 2 * 8
    size = 4 * (100 * 8 + 3 * layer + 8)
    assert found.weights == 2 * size
    assert (found.gradients, found.moments) == (size, 2 * size)
    assert found.cache == 5 * 10 * 4 * (2 * 3 * 4)
    assert found.activations == 20 * 3 * 4 * (12 * 8 + 4 * 16) + 3 * 2 * 6 * 100 * 4
    # GPT-2 has other names for the same things.
    assert memory.plan(GPT2Config(n_layer=1), Load(1, 1, 1), 1).total > 0


def test_a_cache_is_as_wide_as_the_heads_say() -> None:
    # Qwen3-0.6B: sixteen heads of 128 on a width of 1024.
    config = Qwen3Config(
        vocab_size=100, hidden_size=1024, intermediate_size=8, num_hidden_layers=28,
        num_attention_heads=16, num_key_value_heads=8, head_dim=128,
    )  # fmt: skip
    found = memory.plan(config, Load(rows=1, prompt=4, response=6, sampled=5), 1)
    assert found.cache == 5 * 10 * 4 * (2 * 28 * 8 * 128)


def test_what_cannot_fit_is_refused_with_numbers(capsys: pytest.CaptureFixture[str]) -> None:
    needed = memory.plan(llama().model.config, Load(1, 4, 4), 1)
    memory.require("sft", needed, torch.device("cpu"), there=needed.total)
    assert "sft: about" in capsys.readouterr().err
    with pytest.raises(MemoryPlanError, match=r"align: needs about .* MB \(.*moments.*\)"):
        memory.require("align", needed, torch.device("cpu"), there=needed.total - 1)


def test_a_model_that_is_too_large_is_refused_before_it_is_loaded(
    tmp_path: Path, tiny: Callable[..., Settings]
) -> None:
    prepare(tmp_path)
    base = tmp_path / "sft" / "model"
    settings = tiny(**{"model.base": str(base), "model.response_tokens": 1 << 40})
    with pytest.raises(MemoryPlanError, match=r"sft: needs about .* GB"):
        sft.run(tmp_path / "raters", tmp_path / "out", settings, 1, silent)
