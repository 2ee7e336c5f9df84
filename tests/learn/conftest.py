"""Tiny models of two families, a word-level tokenizer and a few texts."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedModel

from roundhouse import params
from roundhouse.learn import models, packing
from roundhouse.learn.models import Policy
from roundhouse.learn.text import Messages
from roundhouse.learn.tokenizer import word_level
from roundhouse.settings import ScratchModel, Settings

WORDS = ["the", "cat", "sat", "on", "a", "mat", "dog", "ran", "why", "?", ".", ",", "yes", "no"]
SHAPE = ScratchModel(hidden_size=16, layers=2, heads=2, feed_forward=24)
PARAMS = Path(__file__).resolve().parents[2] / "params.yaml"


@pytest.fixture(autouse=True)
def one_thread() -> None:
    """Sums in one order, and no fight for cores with the other test processes."""
    torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def on_the_processor(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Numbers are compared there, also where there is a GPU; tests marked `gpu` use that."""
    if not request.node.get_closest_marker("gpu"):
        monkeypatch.setattr(models, "device", lambda: torch.device("cpu"))


def llama() -> Policy:
    """Rotary positions, tied embeddings."""
    torch.manual_seed(0)
    return models.scratch(SHAPE, WORDS, 64)


def gpt2() -> Policy:
    """Learned absolute positions, and dropout in its configuration."""
    torch.manual_seed(1)
    tokenizer = word_level(WORDS)
    config = GPT2Config(
        vocab_size=len(tokenizer),
        n_embd=16,
        n_layer=2,
        n_head=2,
        n_positions=64,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        initializer_range=0.3,
    )
    model: PreTrainedModel = GPT2LMHeadModel(config)
    model.train(False)
    return Policy(model, tokenizer)


@pytest.fixture(params=[llama, gpt2], ids=["llama", "gpt2"])
def policy(request: pytest.FixtureRequest) -> Policy:
    """A small random policy; the test runs once for each family."""
    made: Policy = request.param()
    return made


def small(**changes: Any) -> Settings:
    """The project's settings made tiny, with overrides such as `**{"ppo.steps": 3}`."""
    sizes = {
        "model.scratch": SHAPE.model_dump(),
        "model.prompt_tokens": 12,
        "model.response_tokens": 8,
        "compute.threads": 1,
        "sft.epochs": 1,
        "sft.batch": 4,
        "reward.epochs": 1,
        "reward.batch": 4,
        "ppo.steps": 2,
        "ppo.batch": 8,
        "ppo.minibatch": 4,
        "dpo.batch": 4,
        "dpo.epochs": 1,
        "evaluate.bootstrap_draws": 50,
    }
    overrides = [f"{key}={value}" for key, value in (sizes | changes).items()]
    return params.load(PARAMS, overrides)


@pytest.fixture
def tiny() -> Callable[..., Settings]:
    """`small`."""
    return small


def tokens_of_passes(model: PreTrainedModel) -> list[int]:
    """The list gets how many tokens each pass through the model has, from now on."""
    packing.fits(model)
    seen: list[int] = []
    model.get_input_embeddings().register_forward_hook(
        lambda _, given, __: seen.append(given[0].numel())
    )
    return seen


def asks(*texts: str) -> list[Messages]:
    """Single-turn prompts."""
    return [[{"role": "user", "content": said}] for said in texts]
