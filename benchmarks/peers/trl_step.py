"""One step of TRL's PPOTrainer on a case that `benchmarks/agreement.py` wrote.

    .venv-peers/bin/python -m benchmarks.peers.trl_step FOLDER...

A folder holds models (policy, reference, reward, critic) and `case.json`; `trl.safetensors` is
written beside them. TRL's own code runs, unchanged: it samples, scores, computes and learns. What
its `train` holds in its variables when it logs the step is kept.
"""

import json
import os
import sys
from pathlib import Path
from typing import Any

os.environ["TRL_EXPERIMENTAL_SILENCE"] = "1"

import torch
from safetensors.torch import save_file
from trl.experimental.ppo import PPOTrainer

from benchmarks.peers import trl_trainer

KEPT = (
    "queries", "responses", "logprobs", "ref_logprobs", "kl", "scores", "values", "rewards",
    "advantages", "returns", "pg_loss_stats", "vf_loss_stats", "pg_clipfrac_stats",
    "vf_clipfrac_stats",
)  # fmt: skip


class Watched(PPOTrainer):  # type: ignore[misc]
    """TRL's trainer, which keeps the variables of `train` at the moment it logs them."""

    def log(self, logs: dict[str, float], *rest: Any) -> None:
        """Reads the caller's variables, and logs nothing."""
        known = trl_trainer.variables()
        self.seen = {name: known[name].clone().contiguous() for name in KEPT}


def step(folder: Path) -> None:
    """Trains one step and writes what it saw, and the weights after it."""
    case = json.loads((folder / "case.json").read_text(encoding="utf-8"))
    reward, critic = (trl_trainer.scorer(folder / name) for name in ("reward", "critic"))
    models = trl_trainer.Models(folder / "policy", folder / "reference", reward, critic)
    trainer = trl_trainer.make(Watched, folder, case, 1, models)
    trainer.train()
    trained = {"policy": trainer.policy_model, "critic": trainer.value_model}
    kept = {
        f"{name}/{key}": value.detach().clone().contiguous()
        for name, model in trained.items()
        for key, value in model.named_parameters()
    }
    save_file(trainer.seen | kept, folder / "trl.safetensors")


if __name__ == "__main__":
    torch.set_num_threads(1)
    for name in sys.argv[1:]:
        step(Path(name))
