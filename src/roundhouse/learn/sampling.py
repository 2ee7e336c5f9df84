"""Answers from a policy: batched decoding with a key-value cache, any Hugging Face causal model.

No top-k, no top-p, no minimum length: answers come from the distribution that training
differentiates.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from transformers import PreTrainedModel

from roundhouse.learn import passes, text
from roundhouse.learn.cache import with_room
from roundhouse.learn.models import Policy
from roundhouse.learn.text import Messages
from roundhouse.settings import ModelSettings

#: Rows leave the cache once this share of them has finished; each removal copies the others.
_REMOVE_FROM = 0.1


class Answers(NamedTuple):
    """What was sampled for B prompts, at most T tokens each.

    Attributes:
        tokens: [B, T]; padding after the end.
        logprobs: [B, T] log-probability of each token at the sampling temperature; 0 after the end.
        entropy: [B, T] nats of the distribution each token came from; 0 after the end.
        lengths: [B] tokens, EOS included.
        ended: [B] True where the answer ended by itself.
    """

    tokens: Tensor
    logprobs: Tensor
    entropy: Tensor
    lengths: Tensor
    ended: Tensor

    def as_lists(self) -> list[list[int]]:
        """Each answer's own tokens, EOS included."""
        lengths = self.lengths.tolist()
        return [row[:n] for row, n in zip(self.tokens.tolist(), lengths, strict=True)]


class Answer(NamedTuple):
    """One answer as text.

    Attributes:
        text: without special tokens.
        tokens: as sampled, EOS included.
        ended: whether it ended by itself.
    """

    text: str
    tokens: list[int]
    ended: bool


class _Step(NamedTuple):
    tokens: Tensor
    logprobs: Tensor
    entropy: Tensor


def answer(
    policy: Policy,
    prompts: Sequence[Messages],
    limits: ModelSettings,
    temperature: float,
    seed: int,
    batch: int = 128,
) -> list[Answer]:
    """One answer to each prompt, `batch` prompts at a time; temperature 0 is greedy."""
    model, tokenizer = policy
    encoded = text.encode_prompts(tokenizer, prompts, limits.prompt_tokens)
    generator = torch.Generator(model.device).manual_seed(seed)
    answers: list[Answer] = []
    for first in range(0, len(encoded), batch):
        sampled = sample(
            model,
            encoded[first : first + batch],
            limit=limits.response_tokens,
            temperature=temperature,
            eos=text.eos_id(tokenizer),
            pad=text.pad_id(tokenizer),
            generator=generator,
        )
        tokens = sampled.as_lists()
        said = text.decode(tokenizer, tokens)
        answers += map(Answer, said, tokens, sampled.ended.tolist())
    return answers


@torch.no_grad()
def sample(
    model: PreTrainedModel,
    prompts: Sequence[Sequence[int]],
    *,
    limit: int,
    temperature: float,
    eos: int,
    pad: int,
    generator: torch.Generator,
) -> Answers:
    """One answer of at most `limit` tokens to each prompt; temperature 0 is greedy.

    The same generator state, prompts and batch give the same answers.
    """
    device = model.device
    start = text.collate(prompts, [[] for _ in prompts], pad, device)
    count = len(prompts)
    tokens = torch.full((count, limit), pad, device=device)
    logprobs, entropy = torch.zeros(2, count, limit, device=device)
    lengths = torch.zeros(count, dtype=torch.long, device=device)
    ended = torch.zeros(count, dtype=torch.bool, device=device)
    rows, mask, position = torch.arange(count, device=device), start.mask, start.positions[:, -1:]
    cache = with_room(model, start.tokens.shape[1] + limit)
    inputs, positions = start.tokens, start.positions
    for t in range(limit):
        with passes.forward(model):
            output = model(
                input_ids=inputs,
                attention_mask=mask,
                position_ids=positions,
                past_key_values=cache,
                use_cache=True,
                logits_to_keep=1,
            )
        step = _draw(output.logits[:, -1], temperature, generator)
        live = ~ended[rows]
        at = rows[live]
        tokens[at, t], logprobs[at, t] = step.tokens[live], step.logprobs[live]
        entropy[at, t] = step.entropy[live]
        lengths[at] = t + 1
        ended[at] = step.tokens[live] == eos
        unfinished = ~ended[rows]
        if not unfinished.any():
            break
        inputs, position = step.tokens[:, None], position + 1
        if (~unfinished).float().mean() >= _REMOVE_FROM:
            keep = unfinished.nonzero()[:, 0]
            cache.batch_select_indices(keep)
            rows, mask, inputs, position = rows[keep], mask[keep], inputs[keep], position[keep]
        mask = torch.cat([mask, torch.ones_like(mask[:, :1])], dim=1)
        positions = position
    return Answers(tokens, logprobs, entropy, lengths, ended)


def _draw(logits: Tensor, temperature: float, generator: torch.Generator) -> _Step:
    """Samples a token for each row of logits [B, V]: the largest of log p + Gumbel noise."""
    logs = torch.log_softmax(logits.float() / (temperature or 1.0), dim=-1)
    entropy = -(logs.exp() * logs).sum(dim=-1)
    if temperature == 0:
        choice = logs.argmax(dim=-1)
    else:
        noise = torch.empty_like(logs).exponential_(generator=generator).log()
        choice = (logs - noise).argmax(dim=-1)
    return _Step(choice, logs.gather(1, choice[:, None])[:, 0], entropy)
