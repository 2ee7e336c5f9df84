"""A scalar score for an answer: a language model's trunk with a linear head.

The reward model, the judge and (with one value a state) PPO's critic are of this kind. Scores leave
it standardised: 0 is the mean and 1 the spread of the supervised model's own answers, so that the
price of KL means the same in every round.
"""

import copy
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import AutoModel, PreTrainedModel, PreTrainedTokenizerBase

from roundhouse import jsonl
from roundhouse.errors import ModelError
from roundhouse.learn import ensemble, models, packing, parallel, passes, text
from roundhouse.learn.ensemble import Objective
from roundhouse.learn.models import Policy
from roundhouse.learn.text import Batch, Messages
from roundhouse.storage import writing

Pooling = Literal["last", "mean"]


class Voices(NamedTuple):
    """How several members become one.

    Attributes:
        objective: how their opinions are combined.
        variance_coef: price of a unit of variance over members, for `mean_minus_variance`.
        shift, scale: [K] mean and spread of each head's own outputs.
    """

    objective: Objective
    variance_coef: float
    shift: list[float]
    scale: list[float]

    def agree(self, opinions: Tensor) -> Tensor:
        """One score [B] out of opinions [B, K]."""
        return ensemble.combine(opinions, self.objective, self.variance_coef)


class RewardModel(nn.Module):
    """Trunk, head, and the constants that standardise its scores.

    Attributes:
        backbone: the language model without its head.
        head: width H to one number a member.
        pooling: `last` reads the state after the last token, `mean` averages over the states after
            each response token.
        mean, std: of raw scores; (0, 1) until `standardise` sets them.
        voices: what makes one raw score of several members' outputs.
    """

    def __init__(self, backbone: PreTrainedModel, pooling: Pooling, members: int = 1) -> None:
        super().__init__()
        self.backbone, self.pooling = backbone, pooling
        width = int(backbone.config.hidden_size)
        self.head = nn.Linear(width, members)
        # Stiennon et al. 2020, appendix B.1; keeps early scores near unit variance or less.
        nn.init.normal_(self.head.weight, std=(width + 1) ** -0.5)
        nn.init.zeros_(self.head.bias)
        self.mean, self.std = 0.0, 1.0
        self.voices = Voices("mean", 0.0, [0.0] * members, [1.0] * members)
        self.to(backbone.device).eval()

    @property
    def members(self) -> int:
        """How many heads there are."""
        return self.head.out_features

    @property
    def logit(self) -> float:
        """What a difference of scores is multiplied by to be the logit of a win."""
        return self.std * sum(self.voices.scale) / self.members

    def heads(self, batch: Batch) -> Tensor:
        """What each head gives [B, K], as it is trained."""
        states = self._states(batch)
        if self.pooling == "last":
            index = batch.lengths[:, None, None].expand(-1, 1, self.members)
            return states.gather(1, index)[:, 0]
        after = torch.where(batch.action_mask[..., None], states[:, 1:], 0.0)
        return after.sum(dim=1) / batch.lengths.clamp(min=1)[:, None]

    def opinions(self, batch: Batch) -> Tensor:
        """Each member's score [B, K], standardised like the whole."""
        heads = self.heads(batch)
        shift, scale = heads.new_tensor(self.voices.shift), heads.new_tensor(self.voices.scale)
        return (heads - shift) / scale

    def raw(self, batch: Batch) -> Tensor:
        """Scores [B] before standardisation."""
        if self.members == 1:
            return self.heads(batch)[:, 0]
        return self.voices.agree(self.opinions(batch))

    def judged(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Standardised scores [B], and the members' disagreement [B] on them (0 with one)."""
        if self.members == 1:
            scores = self(batch)
            return scores, torch.zeros_like(scores)
        opinions = self.opinions(batch)
        agreed = (self.voices.agree(opinions) - self.mean) / self.std
        return agreed, ensemble.disagreement(opinions)

    def forward(self, batch: Batch) -> Tensor:
        """Standardised scores [B]."""
        return (self.raw(batch) - self.mean) / self.std

    def values(self, batch: Batch) -> Tensor:
        """The head read before each response token [B, R]: what a critic predicts."""
        return (self._states(batch)[:, :-1, 0] - self.mean) / self.std

    def critic(self) -> "RewardModel":
        """A copy whose own weights standardise, so that training starts from these scores.

        Of several members it is their mean, whatever the objective: a linear head again.
        """
        twin = copy.deepcopy(self)
        with torch.no_grad():
            if self.members > 1:
                scale = self.head.weight.new_tensor(self.voices.scale)
                shift = self.head.weight.new_tensor(self.voices.shift)
                weight = (self.head.weight / scale[:, None]).mean(dim=0, keepdim=True)
                bias = ((self.head.bias - shift) / scale).mean(dim=0, keepdim=True)
                twin.head = nn.Linear(weight.shape[1], 1).to(weight.device)
                twin.head.weight.copy_(weight)
                twin.head.bias.copy_(bias)
                twin.voices = Voices("mean", 0.0, [0.0], [1.0])
            twin.head.weight /= self.std
            twin.head.bias.copy_((twin.head.bias - self.mean) / self.std)
        twin.mean, twin.std = 0.0, 1.0
        return twin

    def _states(self, batch: Batch) -> Tensor:
        """[B, R + 1, K]: the heads read before each response token, and after the last column.

        What it says of states after a response's end means nothing.
        """
        if packing.fits(self.backbone):
            packed = packing.line(batch)
            with passes.forward(self.backbone):
                states = packing.run(self.backbone, packed).last_hidden_state[0]
            return self._read(states)[packed.states]
        with passes.forward(self.backbone):
            output = self.backbone(
                input_ids=batch.tokens,
                attention_mask=batch.mask,
                position_ids=batch.positions,
                use_cache=False,
            )
        return self._read(output.last_hidden_state[:, batch.prompt_width - 1 :])

    def _read(self, states: Tensor) -> Tensor:
        found: Tensor = self.head(states.float())
        return found


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


def from_policy(policy: Policy, pooling: Pooling, members: int = 1) -> RewardModel:
    """A reward model on a copy of the policy's trunk; torch's seed makes its heads."""
    backbone: PreTrainedModel = copy.deepcopy(policy.model.base_model)  # type: ignore[assignment]
    return RewardModel(backbone, pooling, members)


def shard(model: RewardModel) -> None:
    """`parallel.shard` of trunk and heads."""
    models.shard(model.backbone)
    parallel.shard(model.head)


def whole(model: RewardModel) -> RewardModel:
    """As `models.whole`."""
    if not parallel.is_sharded(model.head):
        return model
    plain = RewardModel(models.whole(model.backbone), model.pooling, model.members)
    heads = {name: parallel.whole(part) for name, part in model.head.state_dict().items()}
    plain.head.load_state_dict(heads)
    plain.voices, plain.mean, plain.std = model.voices, model.mean, model.std
    return plain


def score(
    scorer: Scorer, prompts: Sequence[Messages], responses: Sequence[str], batch: int = 128
) -> list[float]:
    """Standardised score of each answer; equal texts score equal, whatever else is scored."""
    found: list[float] = read(scorer, scorer.model, prompts, responses, batch)
    return found


@torch.no_grad()
def read(
    scorer: Scorer,
    how: Callable[[Batch], Tensor],
    prompts: Sequence[Messages],
    responses: Sequence[str],
    batch: int = 128,
) -> list[Any]:
    """What `how` (the model, its `opinions` or `heads`) gives for each answer, as plain numbers."""
    model, tokenizer = scorer.model, scorer.tokenizer
    asked = text.encode_prompts(tokenizer, prompts, scorer.prompt_tokens)
    said = text.encode_responses(tokenizer, responses, scorer.response_tokens)
    texts = list(zip(map(tuple, asked), map(tuple, said), strict=True))
    # Pairs share answers, so each text is scored once; batches hold texts near in length.
    distinct = sorted(dict.fromkeys(texts), key=lambda both: len(both[0]) + len(both[1]))
    scores: dict[tuple[tuple[int, ...], tuple[int, ...]], Any] = {}
    for first in range(0, len(distinct), batch):
        part = distinct[first : first + batch]
        together = text.collate(
            [prompt for prompt, _ in part],
            [response for _, response in part],
            text.pad_id(tokenizer),
            model.backbone.device,
        )
        scores |= dict(zip(part, how(together).tolist(), strict=True))
    return [scores[both] for both in texts]


def standardise(scorer: Scorer, prompts: Sequence[Messages], responses: Sequence[str]) -> None:
    """Sets mean and spread to those of the raw scores of these answers, of members and whole."""
    scorer.model.mean, scorer.model.std = 0.0, 1.0
    if scorer.model.members > 1:
        each = torch.tensor(read(scorer, scorer.model.heads, prompts, responses)).double()
        spread = each.std(dim=0, unbiased=False).clamp(min=1e-3)
        scorer.model.voices = scorer.model.voices._replace(
            shift=each.mean(dim=0).tolist(), scale=spread.tolist()
        )
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
    constants: dict[str, Any] = {
        "pooling": model.pooling,
        "mean": model.mean,
        "std": model.std,
        "prompt_tokens": scorer.prompt_tokens,
        "response_tokens": scorer.response_tokens,
    }
    if model.members > 1:
        constants["voices"] = model.voices._asdict()
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
        voices = Voices(**constants["voices"]) if "voices" in constants else None
        members = len(voices.scale) if voices else 1
        model = RewardModel(backbone, constants["pooling"], members)
        model.voices = voices or model.voices
        model.head.load_state_dict(load_file(folder / "head.safetensors"))
        model.mean, model.std = float(constants["mean"]), float(constants["std"])
        limits = int(constants["prompt_tokens"]), int(constants["response_tokens"])
    except Exception as error:  # safetensors, JSON, missing keys: all mean the same to the user
        reason = " ".join(str(error).split())
        raise ModelError(f"{folder}: not a reward model of this project: {reason}") from None
    return Scorer(model.to(backbone.device), tokenizer, *limits)
