"""Direct preference optimisation: the policy learns from the pairs themselves, offline.

The policy is its own reward model. What an answer earns is beta times how much likelier it became
than under the reference, and pairs teach that reward as they teach a reward model: by the
Bradley-Terry model with soft labels (Rafailov et al. 2023, "Direct Preference Optimization: Your
Language Model is Secretly a Reward Model"). Nothing is sampled. The reference is the policy before
its first step, which is asked once for its log-probabilities, so that one model is held.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy
import torch
from torch import Tensor

from roundhouse.journal import Log
from roundhouse.learn import (
    checkpoint,
    lora,
    memory,
    models,
    optimizers,
    passes,
    preferences,
    reward,
    supervised,
    text,
)
from roundhouse.learn.accuracy import Floats
from roundhouse.learn.checkpoint import NOWHERE, Checkpoints
from roundhouse.learn.models import Policy
from roundhouse.learn.preferences import Pair
from roundhouse.settings import Settings


class Encoded(NamedTuple):
    """Pairs as tokens, and what they say, in the order of their rows.

    Attributes:
        prompts: of each pair.
        answers: both of each pair, a before b.
        p: probability that a is better.
        weights: multiply the pair's loss.
    """

    prompts: list[list[int]]
    answers: list[tuple[list[int], list[int]]]
    p: list[float]
    weights: list[float]

    @property
    def lengths(self) -> list[int]:
        """Tokens of each prompt with the longer of its answers."""
        both = zip(self.prompts, self.answers, strict=True)
        return [len(prompt) + max(map(len, answers)) for prompt, answers in both]


def margins(policy: Tensor, reference: Tensor, beta: float) -> Tensor:
    """[n] implicit reward of a less that of b; log-probabilities are [n, 2], of a and of b.

    The reward is beta * log(policy / reference) and a term of the prompt alone, which both answers
    share (Rafailov et al. 2023, equation 5).
    """
    rewards = beta * (policy - reference)
    return rewards[:, 0] - rewards[:, 1]


def loss(
    policy: Tensor,
    reference: Tensor,
    p: Tensor,
    weights: Tensor,
    beta: float,
    total: float | None = None,
) -> Tensor:
    """Weighted mean of -p log sigmoid(m) - (1 - p) log sigmoid(-m), m the margins (a scalar).

    Log-probabilities are [n, 2], soft labels p and weights [n]. Equation 7 of Rafailov et al. 2023
    for p = 1; for other p each order of a pair counts by its share of the votes, and a tie draws
    the margin to 0. Of a part of a batch it is the part's share: `total` is the whole's weight.
    """
    whole = None if total is None else weights.new_tensor(total)
    return reward.pair_loss(margins(policy, reference, beta), p, weights, total=whole)


def train(
    policy: Policy,
    pairs: Sequence[Pair],
    held_out: Sequence[Pair],
    settings: Settings,
    seed: int,
    log: Log,
    checkpoints: Checkpoints = NOWHERE,
) -> dict[str, float]:
    """Trains in place, away from the policy as it is given; returns figures.

    Begins where the newest of the checkpoints stands. The loss is the mean of the last epoch's
    steps; the rest is measured on held-out pairs, where there are any.

    Raises:
        DivergenceError: the loss became NaN or infinite.
    """
    block, device = settings.dpo, policy.model.device
    data, unseen = (encode(policy, rows, settings) for rows in (pairs, held_out))
    size = memory.rows_at_once(block.batch, settings.compute.micro_batch)
    before_unseen = measured(policy, unseen, size)
    with passes.of(settings.compute):
        before = measured(policy, data, size)
    generator = torch.Generator().manual_seed(seed)
    batches = [
        batch
        for _ in range(block.epochs)
        for batch in text.length_groups(data.lengths, block.batch, generator)
    ]

    def loss_of(rows: list[int], batch: list[int]) -> Tensor:
        p = torch.tensor([data.p[row] for row in rows], device=device)
        weights = torch.tensor([data.weights[row] for row in rows], device=device)
        total = sum(data.weights[row] for row in batch)
        return loss(logprobs(policy, data, rows), before[rows], p, weights, block.beta, total)

    with passes.of(settings.compute):
        adapters = lora.scale(policy.model)
        identity = checkpoint.identity(policy.model, data, block.model_dump(), seed, adapters)
        if settings.compute.shard:
            models.shard(policy.model)
        optimizer = optimizers.matrices_and_rest(
            policy.model, block.lr, muon_lr=0.0, steps=len(batches), warmup=block.warmup
        )
        losses = supervised.train(
            "dpo",
            supervised.State(policy.model, optimizer),
            batches,
            loss_of,
            settings.compute.micro_batch,
            log,
            checkpoints,
            identity,
        )
    last = losses[-max(1, len(batches) // block.epochs) :]
    figures = {"dpo/loss": sum(last) / len(last), "dpo/pairs": float(len(pairs))}
    if held_out:
        after = measured(policy, unseen, size)
        p, weights = (torch.tensor(part, device=device) for part in (unseen.p, unseen.weights))
        figures["dpo/heldout_loss"] = loss(after, before_unseen, p, weights, block.beta).item()
        found = margins(after, before_unseen, block.beta).double().cpu().numpy()
        figures |= agreement(held_out, found, settings, seed)
    return figures


def encode(policy: Policy, pairs: Sequence[Pair], settings: Settings) -> Encoded:
    """Tokens of pairs, within the settings' limits."""
    tokenizer, limits = policy.tokenizer, settings.model
    first, second = (
        text.encode_responses(tokenizer, said, limits.response_tokens)
        for said in ([pair.a for pair in pairs], [pair.b for pair in pairs])
    )
    return Encoded(
        text.encode_prompts(tokenizer, [pair.prompt for pair in pairs], limits.prompt_tokens),
        list(zip(first, second, strict=True)),
        [pair.p for pair in pairs],
        [pair.weight for pair in pairs],
    )


def logprobs(policy: Policy, data: Encoded, rows: Sequence[int]) -> Tensor:
    """[n, 2] log-probability of both answers of some pairs, in one forward; end token included.

    Both answers stand next to each other: they share their prompt.
    """
    batch = text.collate(
        [data.prompts[row] for row in rows for _ in "ab"],
        [answer for row in rows for answer in data.answers[row]],
        text.pad_id(policy.tokenizer),
        policy.model.device,
    )
    return models.response_logprobs(policy.model, batch, 1.0).sum(dim=1).view(-1, 2)


@torch.no_grad()
def measured(policy: Policy, data: Encoded, size: int) -> Tensor:
    """[n, 2] as `logprobs`, of all pairs, `size` at a time and near in length."""
    found = torch.zeros(len(data.prompts), 2, device=policy.model.device)
    lengths = data.lengths
    order = sorted(range(len(lengths)), key=lambda row: lengths[row])
    for first in range(0, len(order), size):
        rows = order[first : first + size]
        found[rows] = logprobs(policy, data, rows)
    return found


def agreement(
    pairs: Sequence[Pair], found: Floats, settings: Settings, seed: int
) -> dict[str, float]:
    """How well margins [n] agree with labels: accuracy with interval, mean lead of the winner.

    An undecided pair (p = 1/2) does not count.
    """
    figures = preferences.with_interval("dpo/accuracy", found, pairs, settings.evaluate, seed)
    sides = numpy.sign(preferences.labels(pairs) - 0.5)
    if sides.any():
        figures["dpo/margin"] = float((sides * found)[sides != 0].mean())
    return figures
