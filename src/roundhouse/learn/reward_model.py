"""A scalar score for an answer: a language model's trunk with a linear head.

The reward model, the judge and (with one value a state) PPO's critic are of this kind. Scores leave
it standardised: 0 is the mean and 1 the spread of the supervised model's own answers, so that the
price of KL means the same in every round.
"""

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import AutoModel, PreTrainedModel, PreTrainedTokenizerBase

from roundhouse import jsonl
from roundhouse.errors import ModelError
from roundhouse.learn import models, packing, text
from roundhouse.learn.models import Policy
from roundhouse.learn.text import Batch, Messages
from roundhouse.storage import writing

Pooling = Literal["last", "mean"]


class RewardModel(nn.Module):
    """Trunk, head, and the constants that standardise its scores.

    Attributes:
        backbone: the language model without its head.
        head: width H to one number.
        pooling: `last` reads the state after the last token, `mean` averages over the states after
            each response token.
        mean, std: of raw scores; (0, 1) until `standardise` sets them.
    """

    def __init__(self, backbone: PreTrainedModel, pooling: Pooling) -> None:
        super().__init__()
        self.backbone, self.pooling = backbone, pooling
        width = int(backbone.config.hidden_size)
        self.head = nn.Linear(width, 1)
        # Stiennon et al. 2020, appendix B.1; keeps early scores near unit variance or less.
        nn.init.normal_(self.head.weight, std=(width + 1) ** -0.5)
        nn.init.zeros_(self.head.bias)
        self.mean, self.std = 0.0, 1.0
        self.to(backbone.device).eval()

    def raw(self, batch: Batch) -> Tensor:
        """Scores [B] before standardisation."""
        states = self._states(batch)
        if self.pooling == "last":
            return states.gather(1, batch.lengths[:, None])[:, 0]
        after = torch.where(batch.action_mask, states[:, 1:], 0.0)
        return after.sum(dim=1) / batch.lengths.clamp(min=1)

    def forward(self, batch: Batch) -> Tensor:
        """Standardised scores [B]."""
        return (self.raw(batch) - self.mean) / self.std

    def values(self, batch: Batch) -> Tensor:
        """The head read before each response token [B, R]: what a critic predicts."""
        return (self._states(batch)[:, :-1] - self.mean) / self.std

    def critic(self) -> "RewardModel":
        """A copy whose own weights standardise, so that training starts from these scores."""
        twin = copy.deepcopy(self)
        with torch.no_grad():
            twin.head.weight /= self.std
            twin.head.bias.copy_((self.head.bias - self.mean) / self.std)
        twin.mean, twin.std = 0.0, 1.0
        return twin

    def _states(self, batch: Batch) -> Tensor:
        """[B, R + 1]: the head read before each response token, and after the last column.

        What it says of states after a response's end means nothing.
        """
        if packing.fits(self.backbone):
            packed = packing.line(batch)
            read = self._read(packing.run(self.backbone, packed).last_hidden_state[0])
            return read[packed.states]
        output = self.backbone(
            input_ids=batch.tokens,
            attention_mask=batch.mask,
            position_ids=batch.positions,
            use_cache=False,
        )
        return self._read(output.last_hidden_state[:, batch.prompt_width - 1 :])

    def _read(self, states: Tensor) -> Tensor:
        scores: Tensor = self.head(states.float())[..., 0]
        return scores


class Scorer(NamedTuple):
    """A reward model with what turns text into its input.

    Attributes:
        model: the reward model.
        tokenizer: its tokenizer.
        prompt_tokens, response_tokens: longest prompt and response, in tokens.
    """

    model: RewardModel
    tokenizer: PreTrainedTokenizerBase
    prompt_tokens: int
    response_tokens: int


def from_policy(policy: Policy, pooling: Pooling) -> RewardModel:
    """A reward model on a copy of the policy's trunk; torch's seed makes its head."""
    backbone: PreTrainedModel = copy.deepcopy(policy.model.base_model)  # type: ignore[assignment]
    return RewardModel(backbone, pooling)


@torch.no_grad()
def score(
    scorer: Scorer, prompts: Sequence[Messages], responses: Sequence[str], batch: int = 128
) -> list[float]:
    """Standardised score of each answer; equal texts score equal, whatever else is scored."""
    model, tokenizer = scorer.model, scorer.tokenizer
    asked = text.encode_prompts(tokenizer, prompts, scorer.prompt_tokens)
    said = text.encode_responses(tokenizer, responses, scorer.response_tokens)
    texts = list(zip(map(tuple, asked), map(tuple, said), strict=True))
    # Pairs share answers, so each text is scored once; batches hold texts near in length.
    distinct = sorted(dict.fromkeys(texts), key=lambda both: len(both[0]) + len(both[1]))
    scores: dict[tuple[tuple[int, ...], tuple[int, ...]], float] = {}
    for first in range(0, len(distinct), batch):
        part = distinct[first : first + batch]
        together = text.collate(
            [prompt for prompt, _ in part],
            [response for _, response in part],
            text.pad_id(tokenizer),
            model.backbone.device,
        )
        scores |= dict(zip(part, model(together).tolist(), strict=True))
    return [scores[both] for both in texts]


def standardise(scorer: Scorer, prompts: Sequence[Messages], responses: Sequence[str]) -> None:
    """Sets mean and spread to those of the raw scores of these answers."""
    scorer.model.mean, scorer.model.std = 0.0, 1.0
    raw = torch.tensor(score(scorer, prompts, responses), dtype=torch.float64)
    scorer.model.mean = raw.mean().item()
    scorer.model.std = max(raw.std(unbiased=False).item(), 1e-3)


def save(scorer: Scorer, folder: Path) -> None:
    """Writes the trunk as a Hugging Face folder, head.safetensors and reward.json."""
    model = scorer.model
    models.save(Policy(model.backbone, scorer.tokenizer), folder)
    head = {name: value.contiguous() for name, value in model.head.state_dict().items()}
    with writing(folder / "head.safetensors"):
        save_file(head, folder / "head.safetensors")
    constants = {
        "pooling": model.pooling,
        "mean": model.mean,
        "std": model.std,
        "prompt_tokens": scorer.prompt_tokens,
        "response_tokens": scorer.response_tokens,
    }
    jsonl.write_json(folder / "reward.json", constants)


def load(folder: Path) -> Scorer:
    """A reward model that `save` wrote.

    Raises:
        ModelError: the folder is missing, damaged or holds no reward model.
    """
    tokenizer = models.load_tokenizer(folder)
    backbone = models.load_weights(AutoModel, folder)
    try:
        constants = jsonl.read_json(folder / "reward.json")
        model = RewardModel(backbone, constants["pooling"])
        model.head.load_state_dict(load_file(folder / "head.safetensors"))
        model.mean, model.std = float(constants["mean"]), float(constants["std"])
        limits = int(constants["prompt_tokens"]), int(constants["response_tokens"])
    except Exception as error:  # safetensors, JSON, missing keys: all mean the same to the user
        reason = " ".join(str(error).split())
        raise ModelError(f"{folder}: not a reward model of this project: {reason}") from None
    return Scorer(model.to(backbone.device), tokenizer, *limits)
