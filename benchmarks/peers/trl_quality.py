"""A training by TRL's PPOTrainer for `benchmarks/quality.py`, to its end; it runs unchanged.

    .venv-peers/bin/python -m benchmarks.peers.trl_quality FOLDER RESULT

FOLDER holds `case.json`, which names the supervised model and the project's reward model; the
trained policy is written there as `model`.
"""

import json
import math
import os
import sys
from pathlib import Path

os.environ["TRL_EXPERIMENTAL_SILENCE"] = "1"

import torch

from benchmarks.peers import judge, trl_trainer
from benchmarks.peers.measure import Meter
from benchmarks.peers.trl_ppo import Timed


def main(folder: Path, result: Path) -> None:
    """Trains, writes what it took and the policy."""
    meter = Meter()
    case = json.loads((folder / "case.json").read_text(encoding="utf-8"))
    torch.set_num_threads(case["threads"])
    supervised, rewards, batches = Path(case["sft"]), Path(case["reward"]), case["ppo"]["steps"]
    models = trl_trainer.Models(
        supervised,
        supervised,
        judge.Judge(rewards, lambda: int(trl_trainer.variables()["context_length"])),
        judge.critic(rewards),
    )
    trainer = trl_trainer.make(
        Timed,
        folder,
        case,
        batches,
        models,
        # As ours falls, but once a batch: TRL steps its schedule no oftener.
        lambda batch: 0.5 * (1 + math.cos(math.pi * min(1.0, batch / batches))),
    )
    trainer.meter, trainer.lengths = meter, []
    trainer.train()
    meter.write(result, lengths=trainer.lengths)
    trainer.policy_model.save_pretrained(folder / "model")
    trainer.processing_class.save_pretrained(folder / "model")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
