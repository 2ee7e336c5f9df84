"""A rollout: answers and what they are worth, and its minibatches without needless padding."""

from typing import NamedTuple

from torch import Tensor

from roundhouse.learn.text import Batch


class Rollout(NamedTuple):
    """B answers and all that their update needs; per-token tensors are [B, R], right-padded.

    Attributes:
        batch: prompts and responses as tokens.
        logprobs: of the policy that sampled them.
        kl: per-token estimate against the reference, 0 outside the action mask.
        scores: [B] of the reward model, standardised, as it gave them.
        doubt: [B] what the reward model's members disagree on, 0 with one member.
        final: [B] scores as the episodes get them: clamped, answers without end penalised.
        rewards: price of KL at each token, final score at the end.
        values: of the critic before the update, 0 outside the value mask.
        advantages: whitened over the action mask, 0 elsewhere.
        returns: advantages before whitening, plus values.
    """

    batch: Batch
    logprobs: Tensor
    kl: Tensor
    scores: Tensor
    doubt: Tensor
    final: Tensor
    rewards: Tensor
    values: Tensor
    advantages: Tensor
    returns: Tensor


def select(rollout: Rollout, rows: Tensor) -> Rollout:
    """A minibatch of a rollout, trimmed."""
    batch = trim(rollout.batch, rows)
    wide = batch.responses.shape[1]
    parts = (part[rows, :wide] if part.ndim == 2 else part[rows] for part in rollout[1:])
    return Rollout(batch, *parts)


def trim(batch: Batch, rows: Tensor) -> Batch:
    """Some rows, without columns that hold none of their tokens (one after the end stays)."""
    mask = batch.mask[rows]
    first = int(mask.any(dim=0).int().argmax())
    longest = int(batch.lengths[rows].max()) + 1
    columns = slice(first, min(batch.prompt_width + longest, mask.shape[1]))
    return Batch(
        batch.tokens[rows, columns],
        mask[:, columns],
        batch.positions[rows, columns],
        batch.lengths[rows],
        batch.prompt_width - first,
    )


def fit(values: Tensor, batch: Batch) -> Tensor:
    """Per-token values [B, limit] cut to the batch's response columns."""
    return values[:, : batch.responses.shape[1]]
