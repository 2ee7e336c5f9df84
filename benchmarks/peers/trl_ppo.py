"""Some batches of TRL's PPOTrainer on a case that `benchmarks/ppo.py` wrote, timed.

    .venv-peers/bin/python benchmarks/peers/trl_ppo.py FOLDER RESULT

TRL's own code runs, unchanged. Imports nothing of the project.
"""

import json
import os
import sys
from pathlib import Path
from typing import Any

os.environ["TRL_EXPERIMENTAL_SILENCE"] = "1"

import torch
from datasets import Dataset
from measure import Meter
from torch.optim import Adam
from torch.optim.lr_scheduler import LambdaLR
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    PrinterCallback,
)
from trl.experimental.ppo import PPOConfig, PPOTrainer


class Timed(PPOTrainer):
    """TRL's trainer; the end of a batch is where it logs."""

    meter: Meter
    lengths: list[float]

    def log(self, logs: dict[str, float], *rest: Any) -> None:
        """Ends a lap, and keeps how long the answers were."""
        self.meter.lap()
        frame = sys._getframe(1)
        while frame.f_code.co_name != "train":
            frame = frame.f_back  # type: ignore[assignment]
        self.lengths.append((frame.f_locals["sequence_lengths"] + 1).float().mean().item())


def config(folder: Path, case: dict[str, Any]) -> PPOConfig:
    """The case's settings by TRL's names; full precision, no files.

    One micro-batch is a whole batch: with accumulation, TRL 1.12 steps once in so many minibatches.
    """
    ppo = case["ppo"]
    return PPOConfig(
        output_dir=str(folder / "trl"),
        per_device_train_batch_size=ppo["batch"],
        gradient_accumulation_steps=1,
        num_mini_batches=ppo["batch"] // ppo["minibatch"],
        total_episodes=ppo["batch"] * ppo["steps"],
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
    """The reward model, or the critic that starts as a copy of it."""
    return AutoModelForSequenceClassification.from_pretrained(folder, num_labels=1)


def main(folder: Path, result: Path) -> None:
    """Trains and writes what it took."""
    meter = Meter()
    case = json.loads((folder / "case.json").read_text(encoding="utf-8"))
    torch.set_num_threads(case["threads"])
    policy = AutoModelForCausalLM.from_pretrained(folder / "policy")
    critic = scorer(folder / "reward")
    groups = [
        {"params": list(policy.parameters()), "lr": case["ppo"]["lr"]},
        {"params": list(critic.parameters()), "lr": case["ppo"]["critic_lr"]},
    ]
    adam = Adam(groups, eps=1e-5)
    trainer = Timed(
        config(folder, case),
        AutoTokenizer.from_pretrained(folder / "policy", padding_side="left"),
        policy,
        AutoModelForCausalLM.from_pretrained(folder / "policy"),
        scorer(folder / "reward"),
        Dataset.from_dict({"input_ids": case["prompts"]}),
        critic,
        optimizers=(adam, LambdaLR(adam, lambda _: 1.0)),
    )
    trainer.meter, trainer.lengths = meter, []
    trainer.remove_callback(PrinterCallback)
    trainer.train()
    meter.write(result, lengths=trainer.lengths)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
