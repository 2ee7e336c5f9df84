"""Loss and gradient of TRL's DPOTrainer on a case that `benchmarks/agreement_dpo.py` wrote.

    .venv-peers/bin/python -m benchmarks.peers.trl_dpo FOLDER...

A folder holds models (policy, reference) and `case.json`; `trl.safetensors` is written beside them.
TRL's own code runs, unchanged: it collates, asks both models, and computes the loss.
"""

import json
import sys
from pathlib import Path

import torch
from datasets import Dataset
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM, AutoTokenizer
from trl import DPOConfig, DPOTrainer

FIGURES = (
    "logps/chosen",
    "logps/rejected",
    "rewards/chosen",
    "rewards/rejected",
    "rewards/margins",
)


def work(folder: Path) -> None:
    """One loss with its gradient, and what the trainer would have logged of it."""
    case = json.loads((folder / "case.json").read_text(encoding="utf-8"))
    policy = AutoModelForCausalLM.from_pretrained(folder / "policy")
    trainer = DPOTrainer(
        policy,
        AutoModelForCausalLM.from_pretrained(folder / "reference"),
        args=DPOConfig(
            output_dir=str(folder / "trl"), beta=case["beta"], loss_type=["sigmoid"], use_cpu=True,
            bf16=False, gradient_checkpointing=False, report_to="none", max_length=None,
            disable_dropout=True,
        ),
        # It has to be given rows; the loss is asked for those of the case.
        train_dataset=Dataset.from_dict({"prompt": ["w7"], "chosen": ["w8"], "rejected": ["w9"]}),
        processing_class=AutoTokenizer.from_pretrained(folder / "policy"),
    )  # fmt: skip
    policy.eval()  # type: ignore[no-untyped-call]
    loss = trainer.compute_loss(policy, trainer.data_collator(case["pairs"]))
    loss.backward()
    logged = trainer._metrics["eval"]
    kept = {name: torch.tensor(logged[name][-1]) for name in FIGURES}
    gradients = {name: weight.grad for name, weight in policy.named_parameters()}
    kept |= {f"gradient/{name}": found for name, found in gradients.items() if found is not None}
    save_file(kept | {"loss": loss.detach()}, folder / "trl.safetensors")


if __name__ == "__main__":
    torch.set_num_threads(1)
    for name in sys.argv[1:]:
        work(Path(name))
