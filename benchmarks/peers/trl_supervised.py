"""TRL's SFTTrainer or RewardTrainer on a case that `benchmarks/supervised.py` wrote, timed.

    .venv-peers/bin/python -m benchmarks.peers.trl_supervised FOLDER RESULT

TRL's own code runs, unchanged, on rows that are tokens already. Imports nothing of `roundhouse`.
"""

import json
import sys
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    PrinterCallback,
    TrainerCallback,
)
from trl import RewardConfig, RewardTrainer, SFTConfig, SFTTrainer

from benchmarks.peers.measure import Meter


class Laps(TrainerCallback):
    """A lap a step."""

    def __init__(self, meter: Meter) -> None:
        self.meter = meter

    def on_step_end(self, *arguments: Any, **more: Any) -> None:
        """Ends the lap."""
        self.meter.lap()


def told(folder: Path, case: dict[str, Any]) -> dict[str, Any]:
    """The case's settings by TRL's names; full precision, no files."""
    return {
        "output_dir": str(folder / "trl"),
        "per_device_train_batch_size": case["batch"],
        "num_train_epochs": 1,
        "learning_rate": case["lr"],
        "lr_scheduler_type": "constant",
        "weight_decay": 0.0,
        "max_grad_norm": 1.0,
        "max_length": None,
        "train_sampling_strategy": "group_by_length" if case["grouped"] else "random",
        "logging_strategy": "no",
        "save_strategy": "no",
        "report_to": "none",
        "use_cpu": True,
        "bf16": False,
        "gradient_checkpointing": False,
        "disable_tqdm": True,
        "seed": case["seed"],
    }


def trainer(folder: Path, case: dict[str, Any], meter: Meter) -> Any:
    """TRL's trainer of the case's kind."""
    tokenizer = AutoTokenizer.from_pretrained(folder / "policy")
    rows, callbacks = Dataset.from_list(case["rows"]), [Laps(meter)]
    if case["kind"] == "sft":
        model = AutoModelForCausalLM.from_pretrained(folder / "policy")
        arguments = SFTConfig(**told(folder, case), completion_only_loss=True)
        made: Any = SFTTrainer
    else:
        model = AutoModelForSequenceClassification.from_pretrained(folder / "reward", num_labels=1)
        arguments = RewardConfig(**told(folder, case))
        made = RewardTrainer
    return made(
        model=model,
        args=arguments,
        train_dataset=rows,
        processing_class=tokenizer,
        callbacks=callbacks,
    )


def main(folder: Path, result: Path) -> None:
    """Trains one pass and writes what it took."""
    meter = Meter()
    case = json.loads((folder / "case.json").read_text(encoding="utf-8"))
    torch.set_num_threads(case["threads"])
    one = trainer(folder, case, meter)
    one.remove_callback(PrinterCallback)
    one.train()
    meter.write(result)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
