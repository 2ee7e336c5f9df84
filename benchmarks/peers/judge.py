"""A reward model of this project, and a critic that starts as it, as TRL's PPOTrainer reads them.

TRL runs the module that `base_model_prefix` names, puts `score` on each of its states, and takes
what stands at an answer's last token. Ours may average over an answer's tokens: then the trunk here
gives, at each token, the mean of the states from the answer's first token to that one, so that TRL
reads the number that the project reads. Imports nothing of `roundhouse`.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from transformers import AutoModel, AutoModelForSequenceClassification
from transformers.modeling_outputs import BaseModelOutput


class Trunk(nn.Module):
    """A language model without its head, whose states [B, T, H] are averaged over the answer.

    `begins` tells the column of the answers' first token.
    """

    def __init__(self, model: nn.Module, begins: Callable[[], int]) -> None:
        super().__init__()
        self.model, self.begins = model, begins

    def forward(self, **inputs: Any) -> BaseModelOutput:
        """Before the answer a state is as it was."""
        states: Tensor = self.model(**inputs).hidden_states[-1]
        first = self.begins()
        sums = states[:, first:].cumsum(dim=1)
        counts = torch.arange(1, sums.shape[1] + 1, device=sums.device)[:, None]
        return BaseModelOutput(
            hidden_states=(torch.cat([states[:, :first], sums / counts], dim=1),)
        )


class Judge(nn.Module):
    """The reward model in `folder`, its scores standardised; `begins` as of `Trunk`."""

    base_model_prefix = "trunk"

    def __init__(self, folder: Path, begins: Callable[[], int]) -> None:
        super().__init__()
        trunk = AutoModel.from_pretrained(folder)
        mean = _constants(folder)["pooling"] == "mean"
        self.trunk = Trunk(trunk, begins) if mean else trunk
        self.score = _head(folder)


def critic(folder: Path) -> Any:
    """A critic whose first values are the reward model's scores, read at each state."""
    model = AutoModelForSequenceClassification.from_pretrained(folder, num_labels=1)
    model.score = _head(folder)
    return model


def _head(folder: Path) -> nn.Linear:
    """The head of a reward model with one member; its own weights standardise."""
    saved, known = load_file(folder / "head.safetensors"), _constants(folder)
    head = nn.Linear(saved["weight"].shape[1], 1)
    with torch.no_grad():
        head.weight.copy_(saved["weight"] / known["std"])
        head.bias.copy_((saved["bias"] - known["mean"]) / known["std"])
    return head


def _constants(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "reward.json").read_text(encoding="utf-8"))
    return found
