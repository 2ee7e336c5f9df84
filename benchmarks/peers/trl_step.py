"""One step of TRL's PPOTrainer on a case that `benchmarks/agreement.py` wrote.

    .venv-peers/bin/python benchmarks/peers/trl_step.py FOLDER...

A folder holds models (policy, reference, reward, critic) and `case.json`; `trl.safetensors` is
written beside them. TRL's own code runs, unchanged: it samples, scores, computes and learns. What
its `train` holds in its variables when it logs the step is kept. Imports nothing of the project.
"""

import json
import os
import sys
from pathlib import Path
from typing import Any

os.environ["TRL_EXPERIMENTAL_SILENCE"] = "1"

import torch
from datasets import Dataset
from safetensors.torch import save_file
from torch.optim import Adam
from torch.optim.lr_scheduler import LambdaLR
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    PrinterCallback,
)
from trl.experimental.ppo import PPOConfig, PPOTrainer

KEPT = (
    "queries", "responses", "logprobs", "ref_logprobs", "kl", "scores", "values", "rewards",
    "advantages", "returns", "pg_loss_stats", "vf_loss_stats", "pg_clipfrac_stats",
    "vf_clipfrac_stats",
)  # fmt: skip


class Watched(PPOTrainer):
    """TRL's trainer, which keeps the variables of `train` at the moment it logs them."""

    def log(self, logs: dict[str, float], *rest: Any) -> None:
        """Reads the caller's variables, and logs nothing."""
        frame = sys._getframe(1)
        while frame.f_code.co_name != "train":
            frame = frame.f_back  # type: ignore[assignment]
        self.seen = {name: frame.f_locals[name].clone().contiguous() for name in KEPT}


def config(folder: Path, case: dict[str, Any]) -> PPOConfig:
    """The case's settings by TRL's names; one batch, full precision, no files."""
    ppo = case["ppo"]
    return PPOConfig(
        output_dir=str(folder / "trl"),
        per_device_train_batch_size=ppo["batch"],
        gradient_accumulation_steps=1,
        num_mini_batches=1,
        total_episodes=ppo["batch"],
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
        use_cpu=True,
        bf16=False,
        gradient_checkpointing=False,
        disable_tqdm=True,
    )


def scorer(folder: Path) -> Any:
    """A reward model or critic: a trunk with one score."""
    return AutoModelForSequenceClassification.from_pretrained(folder, num_labels=1)


def step(folder: Path) -> None:
    """Trains one step and writes what it saw, and the weights after it."""
    case = json.loads((folder / "case.json").read_text(encoding="utf-8"))
    policy = AutoModelForCausalLM.from_pretrained(folder / "policy")
    critic = scorer(folder / "critic")
    groups = [
        {"params": list(policy.parameters()), "lr": case["ppo"]["lr"]},
        {"params": list(critic.parameters()), "lr": case["ppo"]["critic_lr"]},
    ]
    adam = Adam(groups, eps=1e-5)
    trainer = Watched(
        config(folder, case),
        AutoTokenizer.from_pretrained(folder / "policy", padding_side="left"),
        policy,
        AutoModelForCausalLM.from_pretrained(folder / "reference"),
        scorer(folder / "reward"),
        Dataset.from_dict({"input_ids": case["prompts"]}),
        critic,
        optimizers=(adam, LambdaLR(adam, lambda _: 1.0)),
    )
    trainer.remove_callback(PrinterCallback)
    trainer.train()
    after = {f"policy/{name}": value for name, value in policy.named_parameters()}
    after |= {f"critic/{name}": value for name, value in critic.named_parameters()}
    kept = {name: value.detach().clone().contiguous() for name, value in after.items()}
    save_file(trainer.seen | kept, folder / "trl.safetensors")


if __name__ == "__main__":
    torch.set_num_threads(1)
    for name in sys.argv[1:]:
        step(Path(name))
