"""TRL's PPOTrainer on a case that a benchmark wrote; it runs unchanged.

A folder holds models and `case.json`. Imports nothing of `roundhouse`.
"""

import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple, TypeVar

import torch
from datasets import Dataset
from torch.optim import Adam
from torch.optim.lr_scheduler import LambdaLR
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    PrinterCallback,
)
from trl.experimental.ppo import PPOConfig, PPOTrainer

T = TypeVar("T", bound=PPOTrainer)


class Models(NamedTuple):
    """Folders of `policy` and `reference`; reward model and critic as TRL reads them."""

    policy: Path
    reference: Path
    reward: Any
    critic: Any


def make(
    kind: type[T],
    folder: Path,
    case: dict[str, Any],
    batches: int,
    models: Models,
    course: Callable[[int], float] = lambda _: 1.0,
) -> T:
    """A trainer with the case's prompts, one learning rate a model, ready to train.

    Args:
        kind: PPOTrainer, with a `log` of its own.
        folder: of the case.
        case: its settings and prompts.
        batches: how many it trains.
        models: all four.
        course: factor of the learning rates after so many batches.
    """
    policy, critic = AutoModelForCausalLM.from_pretrained(models.policy), models.critic
    groups = [
        {"params": list(policy.parameters()), "lr": case["ppo"]["lr"]},
        {"params": list(critic.parameters()), "lr": case["ppo"]["critic_lr"]},
    ]
    adam = Adam(groups, eps=1e-5)
    trainer: T = kind(
        _config(folder, case, batches),
        AutoTokenizer.from_pretrained(models.policy, padding_side="left"),
        policy,
        AutoModelForCausalLM.from_pretrained(models.reference),
        models.reward,
        Dataset.from_dict({"input_ids": case["prompts"]}),
        critic,
        optimizers=(adam, LambdaLR(adam, course)),
    )
    trainer.remove_callback(PrinterCallback)
    return trainer


def scorer(folder: Path) -> Any:
    """A reward model or critic: a trunk with one score."""
    return AutoModelForSequenceClassification.from_pretrained(folder, num_labels=1)


def variables() -> dict[str, Any]:
    """The variables of `train` at the moment it logs; to be called from a trainer's `log`."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and frame.f_code.co_name != "train":
        frame = frame.f_back
    assert frame is not None
    return frame.f_locals


def _config(folder: Path, case: dict[str, Any], batches: int) -> PPOConfig:
    """The case's settings by TRL's names; full precision, no files.

    One micro-batch is a whole batch: with accumulation, TRL 1.12 steps once in so many minibatches.
    """
    ppo = case["ppo"]
    return PPOConfig(
        output_dir=str(folder / "trl"),
        per_device_train_batch_size=ppo["batch"],
        gradient_accumulation_steps=1,
        num_mini_batches=ppo["batch"] // ppo["minibatch"],
        total_episodes=ppo["batch"] * batches,
        local_rollout_forward_batch_size=ppo["batch"],
        num_ppo_epochs=ppo["epochs"],
        response_length=case["limit"],
        stop_token="eos",
        missing_eos_penalty=ppo["eos_penalty"],
        temperature=ppo["temperature"],
        kl_coef=ppo["kl_coef"],
        cliprange=ppo["clip"],
        cliprange_value=ppo["value_clip"],
        vf_coef=ppo["value_coef"],
        gamma=ppo["gamma"],
        lam=ppo["lam"],
        seed=case["seed"],
        num_sample_generations=0,
        save_strategy="no",
        report_to="none",
        use_cpu=not torch.cuda.is_available(),
        bf16=False,
        gradient_checkpointing=False,
        disable_tqdm=True,
    )
