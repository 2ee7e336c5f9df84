"""What policy and critic learn from a rollout: epochs of minibatches over the same answers."""

from collections import Counter
from collections.abc import Iterator

import torch
from torch import Tensor

from roundhouse.learn import models, optimizers, parallel, rl, rollout
from roundhouse.learn.ppo_state import State, Task
from roundhouse.learn.rollout import Rollout
from roundhouse.learn.value_head import ValueHead
from roundhouse.settings import PpoSettings


def learn(state: State, task: Task, given: Rollout) -> list[dict[str, float]]:
    """Every update that a rollout gives; returns the figures of each, in order."""
    return [_update(state, task, given, rows) for rows in _minibatches(state, task)]


def _minibatches(state: State, task: Task) -> Iterator[Tensor]:
    """Row indices of each minibatch of each epoch."""
    block, device = task.settings, state.policy.device
    for _ in range(block.epochs):
        order = torch.randperm(block.batch, generator=state.generator, device=device)
        order = parallel.agreed(order)
        yield from torch.split(order, block.minibatch)


def _update(state: State, task: Task, given: Rollout, rows: Tensor) -> dict[str, float]:
    """One optimizer step of policy and critic on a minibatch: the rollout's `rows`."""
    block = task.settings
    whole = given.batch.lengths[rows], given.kl.shape[1]
    tokens, states = rl.action_mask(*whole).sum(), rl.value_mask(*whole).sum()
    sums: Counter[str] = Counter()
    ratio_max = 0.0
    for some, own in parallel.parts(rows.tolist(), task.micro_batch):
        part = rollout.select(given, torch.tensor(some, device=rows.device))
        found = _teach(state, part, own / tokens, own / states, block)
        ratio_max = max(ratio_max, found.pop("ratio_max"))
        sums.update(found)
    figures = parallel.totals(sums) | {"ratio_max": parallel.highest(ratio_max)}
    for name, model in (("policy", state.policy), ("critic", state.critic)):
        if model:
            parallel.sum_gradients(model)
            figures[f"{name}_gradient"] = optimizers.clip(model, block.max_grad_norm)
    optimizers.check_finite("ppo", state.step + 1, **figures)
    state.optimizer.step()
    return figures


def _teach(
    state: State, part: Rollout, action: Tensor, value: Tensor, block: PpoSettings
) -> dict[str, float]:
    """Adds the gradients of a part of a minibatch; returns its share of the minibatch's figures.

    Models of their own go backward one after the other: what one keeps for it is freed before the
    other runs. `action` and `value` are what one action and one state are worth, of all that the
    minibatch has.
    """
    if isinstance(state.critic, ValueHead):
        new, values = state.critic.both(part.batch, block.temperature)
        loss, figures = _policy_share(new, part, action, block)
        more, others = _critic_share(values, part, value, block)
        _backward(loss + more)
        return figures | others
    new = models.response_logprobs(state.policy, part.batch, block.temperature)
    loss, figures = _policy_share(new, part, action, block)
    _backward(loss)
    if state.critic:
        loss, others = _critic_share(state.critic.values(part.batch), part, value, block)
        _backward(loss)
        figures |= others
    return figures


def _policy_share(
    new: Tensor, part: Rollout, worth: Tensor, block: PpoSettings
) -> tuple[Tensor, dict[str, float]]:
    """The part's share of the policy's loss, and of its figures; new: log-probabilities [B, R]."""
    actions = part.batch.action_mask
    found = rl.policy_loss(new, part.logprobs, part.advantages, actions, block.clip)
    share = actions.sum() * worth
    return share * found.loss, {
        "policy_loss": (share * found.loss).item(),
        "approx_kl": (share * found.approx_kl).item(),
        "clip_fraction": (share * found.clip_fraction).item(),
        "ratio": (share * found.ratio).item(),
        "ratio_max": found.ratio_max.item(),
    }


def _critic_share(
    new: Tensor, part: Rollout, worth: Tensor, block: PpoSettings
) -> tuple[Tensor, dict[str, float]]:
    """As `_policy_share`, for the critic, whose loss comes with its weight; new: values [B, R]."""
    states = rl.value_mask(part.batch.lengths, part.batch.responses.shape[1])
    found = rl.value_loss(new, part.values, part.returns, states, block.value_clip)
    share = states.sum() * worth
    return share * block.value_coef * found.loss, {
        "value_loss": (share * found.loss).item(),
        "value_clip_fraction": (share * found.clip_fraction).item(),
    }


def _backward(loss: Tensor) -> None:
    loss.backward()  # type: ignore[no-untyped-call]
