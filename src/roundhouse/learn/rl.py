"""The mathematics of PPO for language models: pure functions on tensors.

Shapes: B answers, T response tokens (right-padded), V vocabulary. In every mask True means
"counts". Index t of a per-token tensor belongs to the response's token t, and a value at t is that
of the state *before* token t. `lengths` [B] counts response tokens, the end-of-sequence token
included.

The conventions are those of "The N Implementation Details of RLHF with PPO" (Huang et al., 2023)
and of TRL's PPOTrainer up to 1.12.0, so that results can be compared number by number.
"""

from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor


class PolicyLoss(NamedTuple):
    """Clipped surrogate loss (a scalar with gradient) and what it looked like (no gradient)."""

    loss: Tensor
    approx_kl: Tensor
    clip_fraction: Tensor
    ratio: Tensor
    ratio_max: Tensor


class ValueLoss(NamedTuple):
    """Clipped value loss (a scalar with gradient) and the share of clipped predictions."""

    loss: Tensor
    clip_fraction: Tensor


def logprobs(logits: Tensor, tokens: Tensor, temperature: float) -> Tensor:
    """Log-probability [...] of `tokens` [...] under `logits` [..., V] / temperature.

    The temperature of sampling divides the logits in every log-probability, old, new and reference:
    otherwise the ratio compares two different policies.
    """
    scaled = logits.float() if temperature == 1 else logits.float() / temperature
    found: Tensor = _Picked.apply(scaled, tokens)  # type: ignore[no-untyped-call]
    return found


class _Picked(torch.autograd.Function):
    """log softmax(logits) [..., V] at tokens [...]; keeps one tensor of that size, and turns it
    into the gradient in place, where cross_entropy would hold three.
    """

    @staticmethod
    def forward(ctx: Any, logits: Tensor, tokens: Tensor) -> Tensor:
        logs = torch.log_softmax(logits, dim=-1)
        ctx.tokens = tokens[..., None]
        ctx.logs = logs if logits.requires_grad else None
        return logs.gather(-1, ctx.tokens)[..., 0]

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        logs, ctx.logs = ctx.logs, None
        given = gradient[..., None]
        logs.exp_().mul_(-given).scatter_add_(-1, ctx.tokens, given)
        return logs, None


def end_of_response(tokens: Tensor, eos: int) -> tuple[Tensor, Tensor]:
    """Truncates at the first EOS: lengths [B] (EOS included) and ended [B] of tokens [B, T]."""
    is_end = tokens == eos
    ended = is_end.any(dim=1)
    first = is_end.int().argmax(dim=1) + 1
    return torch.where(ended, first, torch.full_like(first, tokens.shape[1])), ended


def action_mask(lengths: Tensor, width: int) -> Tensor:
    """[B, width]: True at the response's tokens."""
    return torch.arange(width, device=lengths.device) < lengths[:, None]


def value_mask(lengths: Tensor, width: int) -> Tensor:
    """[B, width]: True at states that have a value: one more than actions, after the last token."""
    return torch.arange(width, device=lengths.device) < lengths[:, None] + 1


def masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    """Mean (a scalar) of values [B, T] where mask [B, T] is True; padding may hold anything."""
    kept = torch.where(mask, values, torch.zeros_like(values))
    return kept.sum() / mask.sum().clamp(min=1)


def whiten(values: Tensor, mask: Tensor) -> Tensor:
    """values [B, T] with mean 0 and (unbiased) variance 1 over the mask; 0 elsewhere."""
    count = mask.sum()
    mean = masked_mean(values, mask)
    variance = masked_mean((values - mean) ** 2, mask) * count / (count - 1).clamp(min=1)
    return torch.where(mask, (values - mean) * torch.rsqrt(variance + 1e-8), 0.0)


def kl_estimate(new: Tensor, reference: Tensor, kind: Literal["k1", "k3"] = "k1") -> Tensor:
    """Per-token estimate of KL(new || reference) from log-probabilities of tokens drawn from new.

    k1 = log new/reference is unbiased and may be negative; k3 = r - 1 - log r, r = reference/new,
    is unbiased too, never negative, of lower variance (Schulman, "Approximating KL divergence").
    """
    log_ratio = new - reference
    return log_ratio if kind == "k1" else torch.expm1(-log_ratio) + log_ratio


def penalise_missing_eos(
    scores: Tensor, ended: Tensor, how: Literal["replace", "subtract"], penalty: float
) -> Tensor:
    """scores [B] with those of answers that never end replaced by the penalty, or lowered by it."""
    worse = torch.full_like(scores, penalty) if how == "replace" else scores - penalty
    return torch.where(ended, scores, worse)


def token_rewards(
    scores: Tensor, kl: Tensor, lengths: Tensor, kl_coef: float, limit: int
) -> Tensor:
    """Rewards [B, T]: -kl_coef * kl at each token, and the score once, at the answer's end.

    The end is the state after the last token (index `length`), which has a value of its own; an
    answer that fills the whole budget of `limit` tokens has no such state, and gets the score at
    its last token. `limit` is a setting, not the batch's width: no reward depends on the others.
    """
    width = kl.shape[1]
    rewards = torch.where(action_mask(lengths, width), -kl_coef * kl, torch.zeros_like(kl))
    end = torch.where(lengths < limit, lengths, lengths - 1)
    return rewards.scatter_add(1, end[:, None], scores[:, None].to(rewards.dtype))


def gae(rewards: Tensor, values: Tensor, gamma: float, lam: float) -> Tensor:
    """Generalised advantage estimates [B, T] (Schulman et al. 2016, eq. 16).

    rewards and values [B, T] must be 0 at padding; the value after the last column is 0.
    """
    advantages = torch.zeros_like(rewards)
    following, value_after = torch.zeros_like(rewards[:, 0]), torch.zeros_like(rewards[:, 0])
    for t in range(rewards.shape[1] - 1, -1, -1):
        delta = rewards[:, t] + gamma * value_after - values[:, t]
        following = delta + gamma * lam * following
        advantages[:, t], value_after = following, values[:, t]
    return advantages


def leave_one_out(rewards: Tensor, samples: int) -> Tensor:
    """Advantages [B] of whole answers, `samples` of which in a row have the same prompt.

    Each answer's reward [B] less the mean of the others' (Ahmadian et al. 2024, "Back to Basics",
    section 3.2: REINFORCE leave-one-out).
    """
    groups = rewards.view(-1, samples)
    others = (groups.sum(dim=1, keepdim=True) - groups) / (samples - 1)
    return (groups - others).flatten()


def policy_loss(
    new: Tensor, old: Tensor, advantages: Tensor, mask: Tensor, clip: float
) -> PolicyLoss:
    """Clipped surrogate (Schulman et al. 2017, eq. 7) over the action mask; all inputs [B, T]."""
    log_ratio = torch.where(mask, new - old, torch.zeros_like(new))
    ratio = log_ratio.exp()
    plain, clipped = -advantages * ratio, -advantages * ratio.clamp(1 - clip, 1 + clip)
    loss = masked_mean(torch.maximum(plain, clipped), mask)
    with torch.no_grad():
        return PolicyLoss(
            loss,
            approx_kl=0.5 * masked_mean(log_ratio**2, mask),
            clip_fraction=masked_mean((clipped > plain).float(), mask),
            ratio=masked_mean(ratio, mask),
            ratio_max=ratio.max(),
        )


def value_loss(new: Tensor, old: Tensor, returns: Tensor, mask: Tensor, clip: float) -> ValueLoss:
    """Half the squared error over the value mask, predictions clipped around old; all [B, T]."""
    clipped = old + (new - old).clamp(-clip, clip)
    plain_error, clipped_error = (new - returns) ** 2, (clipped - returns) ** 2
    loss = 0.5 * masked_mean(torch.maximum(plain_error, clipped_error), mask)
    with torch.no_grad():
        return ValueLoss(loss, masked_mean((clipped_error > plain_error).float(), mask))


def explained_variance(values: Tensor, returns: Tensor, mask: Tensor) -> Tensor:
    """1 - Var(returns - values) / Var(returns) over the mask: 1 is perfect, 0 a constant."""
    error, wanted = (returns - values)[mask], returns[mask]
    return 1 - error.var(unbiased=False) / wanted.var(unbiased=False).clamp(min=1e-8)


class KlController:
    """The price of KL: fixed, or led towards a target (Ziegler et al. 2019, section 2.2).

    Attributes:
        coef: the present price, in units of reward per nat.
    """

    def __init__(self, coef: float, target: float, horizon: int) -> None:
        self.coef, self._target, self._horizon = coef, target, horizon

    def update(self, kl: float, episodes: int) -> None:
        """Takes in the mean KL of an answer, in nats, over `episodes`; target 0 keeps coef."""
        if self._target > 0:
            error = min(max(kl / self._target - 1, -0.2), 0.2)
            self.coef *= 1 + error * episodes / self._horizon
