"""Some batches of TRL's PPOTrainer on a case that `benchmarks/ppo.py` wrote, timed.

    .venv-peers/bin/python -m benchmarks.peers.trl_ppo FOLDER RESULT

TRL's own code runs, unchanged.
"""

import json
import os
import sys
from pathlib import Path
from typing import Any

os.environ["TRL_EXPERIMENTAL_SILENCE"] = "1"

import torch
from trl.experimental.ppo import PPOTrainer

from benchmarks.peers import trl_trainer
from benchmarks.peers.measure import Meter


class Timed(PPOTrainer):  # type: ignore[misc]
    """TRL's trainer; the end of a batch is where it logs."""

    meter: Meter
    lengths: list[float]

    def log(self, logs: dict[str, float], *rest: Any) -> None:
        """Ends a lap, and keeps how long the answers were."""
        self.meter.lap()
        ends = trl_trainer.variables()["sequence_lengths"]
        self.lengths.append((ends + 1).float().mean().item())


def main(folder: Path, result: Path) -> None:
    """Trains and writes what it took."""
    meter = Meter()
    case = json.loads((folder / "case.json").read_text(encoding="utf-8"))
    torch.set_num_threads(case["threads"])
    reward, critic = (trl_trainer.scorer(folder / "reward") for _ in range(2))
    models = trl_trainer.Models(folder / "policy", folder / "policy", reward, critic)
    trainer = trl_trainer.make(Timed, folder, case, case["ppo"]["steps"], models)
    trainer.meter, trainer.lengths = meter, []
    trainer.train()
    meter.write(result, lengths=trainer.lengths)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
