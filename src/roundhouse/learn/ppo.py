"""Proximal policy optimisation of the supervised model against the reward model.

Four models: the policy that learns, its frozen reference, the frozen reward model, and a critic
that starts as a copy of the reward model. `train_step` is the algorithm, in numbered steps.
"""

import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.utils import get_total_norm
from torch.optim import Adam
from transformers import PreTrainedModel

from roundhouse.journal import Log
from roundhouse.learn import (
    checkpoint,
    lora,
    models,
    optimizers,
    parallel,
    reward_model,
    rl,
    sampling,
    text,
)
from roundhouse.learn.alarms import Watch
from roundhouse.learn.checkpoint import NOWHERE, Checkpoints
from roundhouse.learn.reward_model import RewardModel
from roundhouse.learn.text import Batch
from roundhouse.settings import PpoSettings

#: Between the seeds by which processes draw their answers.
_APART = 1_000_000_007


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


@dataclass
class State:
    """Everything that training changes; a checkpoint is this object.

    Attributes:
        identity: of the training, for its checkpoints.
        policy, critic: the models that learn; REINFORCE leave-one-out has no critic.
        optimizer: Adam over both, one parameter group each.
        generator: draws the answers and the minibatches.
        kl: the controller of the price of KL.
        alarms: what they saw so far.
        step: batches of episodes done so far.
        history: metrics of each of them.
    """

    identity: str
    policy: PreTrainedModel
    critic: RewardModel | None
    optimizer: optimizers.Optimizers
    generator: torch.Generator
    kl: rl.KlController
    alarms: Watch
    step: int = 0
    history: list[dict[str, float]] = field(default_factory=list)

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint holds."""
        return {
            "step": self.step,
            "history": self.history,
            "policy": checkpoint.weights(self.policy),
            "critic": checkpoint.weights(self.critic) if self.critic else {},
            "optimizer": self.optimizer.state_dict(),
            "generators": parallel.rows(self.generator.get_state()[None]),
            "kl_coef": self.kl.coef,
            "alarms": self.alarms.state_dict(),
        }

    def load_state_dict(self, saved: Mapping[str, Any]) -> None:
        """Takes back what `state_dict` gave."""
        self.step, self.history = saved["step"], saved["history"]
        checkpoint.put_weights(self.policy, saved["policy"])
        if self.critic:
            checkpoint.put_weights(self.critic, saved["critic"])
        self.optimizer.load_state_dict(saved["optimizer"])
        # A tensor of its own: a generator reads from the beginning of the memory behind one.
        self.generator.set_state(saved["generators"][parallel.place()].clone())
        self.kl.coef = saved["kl_coef"]
        self.alarms.load_state_dict(saved["alarms"])


class Task(NamedTuple):
    """What training reads and never changes.

    Attributes:
        prompts: as tokens.
        reference: the supervised model.
        reward: the reward model.
        eos, pad: token ids.
        limit: longest response, in tokens.
        seed: decides the order of prompts.
        settings: of PPO.
        micro_batch: answers that go through a model at a time; 0: a whole minibatch.
        shard: whether processes divide the weights of policy and critic.
    """

    prompts: list[list[int]]
    reference: PreTrainedModel
    reward: RewardModel
    eos: int
    pad: int
    limit: int
    seed: int
    settings: PpoSettings
    micro_batch: int = 0
    shard: bool = False


def begin(policy: PreTrainedModel, task: Task) -> State:
    """The state before the first step."""
    block = task.settings
    critic = task.reward.critic() if block.algorithm == "ppo" else None
    identity = _identity(policy, task)
    if task.shard:
        models.shard(policy)
    if task.shard and critic:
        reward_model.shard(critic)
    groups = [{"params": models.parameters([policy]), "lr": block.lr}]
    if critic:
        groups.append({"params": models.parameters([critic]), "lr": block.critic_lr})
    updates = block.steps * block.epochs * (block.batch // block.minibatch)
    return State(
        identity,
        policy,
        critic,
        optimizers.Optimizers([Adam(groups, eps=1e-5, fused=True)], updates, 0.0),
        torch.Generator(policy.device).manual_seed(task.seed + _APART * parallel.place()),
        rl.KlController(block.kl_coef, block.kl_target, block.kl_horizon),
        Watch(block.alarms),
    )


def train(
    state: State, task: Task, log: Log, checkpoints: Checkpoints = NOWHERE
) -> dict[str, float]:
    """Trains to the end; returns means over the last tenth of the steps, times left out.

    Begins where the newest of the checkpoints stands. Of alarms it returns in how many of all steps
    each was raised.

    Raises:
        DivergenceError: a quantity became NaN or infinite.
        AlarmError: an alarm was raised that is set to stop training.
    """
    total = task.settings.steps
    checkpoints.resume(state, total, state.identity)
    while state.step < total:
        metrics, seconds = train_step(state, task)
        metrics |= state.alarms.look(state.step, metrics)
        log(state.step, total, metrics | seconds)
        state.alarms.stop(state.step)
        state.history.append(metrics)
        checkpoints.save(state, total)
    last = state.history[-max(1, total // 10) :]
    means = {name: sum(line[name] for line in last) / len(last) for name in last[-1]}
    return means | state.alarms.figures()


def _identity(policy: PreTrainedModel, task: Task) -> str:
    """Of a training that has not begun."""
    rest = task.eos, task.pad, task.limit, task.seed, task.settings.model_dump()
    adapters = lora.scale(policy)
    offset = task.reward.mean, task.reward.std, list(task.reward.voices)
    return checkpoint.identity(policy, task.reward, offset, task.prompts, rest, adapters)


def train_step(state: State, task: Task) -> tuple[dict[str, float], dict[str, float]]:
    """One batch of episodes; returns its metrics, and apart from them what depends on the clock."""
    started = time.perf_counter()

    # 1. Answers from the policy, with their log-probabilities as they were sampled.
    prompts = prompts_of_step(task, state.step)
    answers = _answers(state, task, prompts)
    sampled = time.perf_counter()

    # 2. to 5. What the answers are worth.
    rollout = roll_out(state, task, prompts, answers)
    _check_rollout(state, rollout)
    measured = time.perf_counter()

    # 6. Epochs of minibatches over the same answers.
    updates = learn(state, task, rollout)

    # 7. What happened; then the price of KL for the next step.
    metrics = _metrics(state, task, rollout, answers, updates)
    state.step += 1
    optimizers.check_finite("ppo", state.step, **metrics, **_weights(state))
    state.kl.update(metrics["ppo/kl"], len(prompts))
    ended = time.perf_counter()
    return metrics, {
        "ppo/seconds_sampling": sampled - started,
        "ppo/seconds_scoring": measured - sampled,
        "ppo/seconds_training": ended - measured,
        "ppo/episodes_per_second": len(prompts) / (ended - started),
        "ppo/tokens_per_second": answers.lengths.sum().item() / (ended - started),
    }


def roll_out(
    state: State, task: Task, prompts: Sequence[Sequence[int]], answers: sampling.Answers
) -> Rollout:
    """What answers are worth, before anything learns from them; independent of their company."""
    block = task.settings

    # 2. Reference, score and value of each answer.
    batch = _with_room(prompts, answers, task)
    old = _fit(answers.logprobs, batch)
    reference, scores, unsure, values = _judge(state, task, batch)

    # 3. Rewards: the price of KL at each token, the score at the end.
    actions = batch.action_mask
    kl = torch.where(actions, rl.kl_estimate(old, reference), 0.0)
    clamped = scores.clamp(-block.reward_clip, block.reward_clip)
    final = rl.penalise_missing_eos(clamped, answers.ended, block.missing_eos, block.eos_penalty)
    rewards = rl.token_rewards(final, kl, batch.lengths, state.kl.coef, task.limit)

    # 4. Advantages, of tokens over the critic's values, or of answers over those beside them.
    values = torch.where(rl.value_mask(batch.lengths, actions.shape[1]), values, 0.0)
    if block.algorithm == "ppo":
        advantages = rl.gae(rewards, values, block.gamma, block.lam)
    else:
        each = rl.leave_one_out(rewards.sum(dim=1), block.samples)
        advantages = torch.where(actions, each[:, None], 0.0)
    returns = advantages + values

    # 5. Whitening over the batch's tokens, after the returns; answers are centred already.
    white = rl.whiten(advantages, actions) if block.algorithm == "ppo" else advantages
    return Rollout(batch, old, kl, scores, unsure, final, rewards, values, white, returns)


def learn(state: State, task: Task, rollout: Rollout) -> list[dict[str, float]]:
    """Every update that a rollout gives; returns the figures of each, in order."""
    return [_update(state, task, rollout, rows) for rows in _minibatches(state, task)]


def prompts_of_step(task: Task, step: int) -> list[list[int]]:
    """The prompts of a step: passes over all of them, each in an order of its own.

    A prompt stands there `ppo.samples` times in a row.
    A function of the step alone, so that a resumed run goes on with the prompts it would have had.
    """
    samples = task.settings.samples
    count, size = len(task.prompts), task.settings.batch // samples
    orders: dict[int, list[int]] = {}
    chosen = []
    for place in range(step * size, (step + 1) * size):
        turn, index = divmod(place, count)
        if turn not in orders:
            generator = torch.Generator().manual_seed(task.seed * 1_000_003 + turn)
            orders[turn] = torch.randperm(count, generator=generator).tolist()
        chosen += [task.prompts[orders[turn][index]]] * samples
    return chosen


def _answers(state: State, task: Task, prompts: Sequence[Sequence[int]]) -> sampling.Answers:
    """Every process answers its share of the prompts, and gets the answers of all."""
    share = len(prompts) // parallel.processes()
    with parallel.gathered(state.policy):
        own = sampling.sample(
            state.policy,
            prompts[parallel.place() * share :][:share],
            limit=task.limit,
            temperature=task.settings.temperature,
            eos=task.eos,
            pad=task.pad,
            generator=state.generator,
        )
    return sampling.Answers(*map(parallel.rows, own))


@torch.no_grad()
def _judge(state: State, task: Task, batch: Batch) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Reference log-probabilities [B, R], scores and doubt [B], values [B, R]; by length, in parts.

    Parts near in length hold little padding, and logits are never held for more than one part.
    """
    order = batch.mask.sum(dim=1).argsort(stable=True)
    width = batch.responses.shape[1]
    reference = torch.zeros(len(order), width, device=order.device)
    values = torch.zeros_like(reference)
    scores, unsure = torch.zeros(2, len(order), device=order.device)
    size = task.micro_batch or task.settings.minibatch
    for some, own in parallel.parts(order.tolist(), size):
        rows = torch.tensor(some, device=order.device)
        part = _trim(batch, rows)
        wide = part.responses.shape[1]
        logprobs = models.response_logprobs(task.reference, part, task.settings.temperature)
        reference[rows, :wide] = own * logprobs
        judged, doubt = task.reward.judged(part)
        scores[rows], unsure[rows] = own * judged, own * doubt
        if state.critic:
            values[rows, :wide] = own * state.critic.values(part)
    # What other processes have judged is 0 here.
    reference, scores, unsure, values = map(parallel.add, (reference, scores, unsure, values))
    return reference, scores, unsure, values


def _update(state: State, task: Task, rollout: Rollout, rows: Tensor) -> dict[str, float]:
    """One optimizer step of policy and critic on a minibatch: the rollout's `rows`."""
    block = task.settings
    whole = rollout.batch.lengths[rows], rollout.kl.shape[1]
    tokens, states = rl.action_mask(*whole).sum(), rl.value_mask(*whole).sum()
    sums: Counter[str] = Counter()
    ratio_max = 0.0
    for some, own in parallel.parts(rows.tolist(), task.micro_batch):
        part = _select(rollout, torch.tensor(some, device=rows.device))
        policy = _teach_policy(state.policy, part, own / tokens, block)
        ratio_max = max(ratio_max, policy.pop("ratio_max"))
        sums.update(policy)
        if state.critic:
            sums.update(_teach_critic(state.critic, part, own / states, block))
    figures = parallel.totals(sums) | {"ratio_max": parallel.highest(ratio_max)}
    for name, model in (("policy", state.policy), ("critic", state.critic)):
        if model:
            parallel.sum_gradients(model)
            figures[f"{name}_gradient"] = optimizers.clip(model, block.max_grad_norm)
    optimizers.check_finite("ppo", state.step + 1, **figures)
    state.optimizer.step()
    return figures


def _teach_policy(
    policy: PreTrainedModel, part: Rollout, worth: Tensor, block: PpoSettings
) -> dict[str, float]:
    """Adds the gradients of a part of a minibatch; returns its share of the minibatch's figures.

    Backward at once: what one model keeps for it is freed before the other runs. `worth` is that
    of one action, of all that the minibatch has.
    """
    actions = part.batch.action_mask
    new = models.response_logprobs(policy, part.batch, block.temperature)
    found = rl.policy_loss(new, part.logprobs, part.advantages, actions, block.clip)
    share = actions.sum() * worth
    (share * found.loss).backward()  # type: ignore[no-untyped-call]
    return {
        "policy_loss": (share * found.loss).item(),
        "approx_kl": (share * found.approx_kl).item(),
        "clip_fraction": (share * found.clip_fraction).item(),
        "ratio": (share * found.ratio).item(),
        "ratio_max": found.ratio_max.item(),
    }


def _teach_critic(
    critic: RewardModel, part: Rollout, worth: Tensor, block: PpoSettings
) -> dict[str, float]:
    """As `_teach_policy`, for the critic; `worth` is that of one state."""
    states = rl.value_mask(part.batch.lengths, part.batch.responses.shape[1])
    new = critic.values(part.batch)
    found = rl.value_loss(new, part.values, part.returns, states, block.value_clip)
    share = states.sum() * worth
    (share * block.value_coef * found.loss).backward()  # type: ignore[no-untyped-call]
    return {
        "value_loss": (share * found.loss).item(),
        "value_clip_fraction": (share * found.clip_fraction).item(),
    }


def _check_rollout(state: State, rollout: Rollout) -> None:
    """Stops at what is not finite before anything learns from it; a clamp would hide infinity."""
    parts = {name: getattr(rollout, name) for name in ("logprobs", "kl", "scores", "values")}
    sums = {name: part.sum().item() for name, part in parts.items()}
    optimizers.check_finite("ppo", state.step + 1, **sums)


def _weights(state: State) -> dict[str, float]:
    """Size of all weights of each model: finite only where each of them is."""
    both = {"policy_weights": state.policy, "critic_weights": state.critic}
    return {
        name: parallel.whole(get_total_norm(models.parameters([model]))).item()
        for name, model in both.items()
        if model
    }


def _metrics(
    state: State,
    task: Task,
    rollout: Rollout,
    answers: sampling.Answers,
    updates: Sequence[dict[str, float]],
) -> dict[str, float]:
    """Means over the step's answers, and over its optimizer steps."""
    batch = rollout.batch
    actions, kl = batch.action_mask, rollout.kl.sum(dim=1)
    metrics = {
        "ppo/kl": kl.mean().item(),
        "ppo/kl_coef": state.kl.coef,
        "ppo/entropy": rl.masked_mean(_fit(answers.entropy, batch), actions).item(),
        "ppo/score": rollout.scores.mean().item(),
        "ppo/reward": rollout.rewards.sum(dim=1).mean().item(),
        "ppo/eos_rate": answers.ended.float().mean().item(),
        "ppo/length": answers.lengths.float().mean().item(),
    }
    if state.critic:
        states = rl.value_mask(batch.lengths, actions.shape[1])
        explained = rl.explained_variance(rollout.values, rollout.returns, states)
        metrics["ppo/explained_variance"] = explained.item()
    if task.reward.members > 1:
        metrics["ppo/disagreement"] = rollout.doubt.mean().item()
    for name in updates[0]:
        metrics[f"ppo/{name}"] = sum(update[name] for update in updates) / len(updates)
    return metrics | {"ppo/ratio_max": max(update["ratio_max"] for update in updates)}


def _minibatches(state: State, task: Task) -> Iterator[Tensor]:
    """Row indices of each minibatch of each epoch."""
    block, device = task.settings, state.policy.device
    for _ in range(block.epochs):
        order = torch.randperm(block.batch, generator=state.generator, device=device)
        order = parallel.agreed(order)
        yield from torch.split(order, block.minibatch)


def _with_room(prompts: Sequence[Sequence[int]], answers: sampling.Answers, task: Task) -> Batch:
    """The batch, as wide as its longest answer and the state after it (within the limit)."""
    batch = text.collate(prompts, answers.as_lists(), task.pad, answers.tokens.device)
    if batch.tokens.shape[1] - batch.prompt_width == task.limit:
        return batch
    pad = torch.full_like(batch.tokens[:, :1], task.pad)
    mask = torch.cat([batch.mask, torch.zeros_like(pad)], dim=1)
    return batch._replace(
        tokens=torch.cat([batch.tokens, pad], dim=1), mask=mask, positions=text.positions_of(mask)
    )


def _trim(batch: Batch, rows: Tensor) -> Batch:
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


def _select(rollout: Rollout, rows: Tensor) -> Rollout:
    """A minibatch of a rollout, trimmed."""
    batch = _trim(rollout.batch, rows)
    wide = batch.responses.shape[1]
    parts = (part[rows, :wide] if part.ndim == 2 else part[rows] for part in rollout[1:])
    return Rollout(batch, *parts)


def _fit(values: Tensor, batch: Batch) -> Tensor:
    """Per-token values [B, limit] cut to the batch's response columns."""
    return values[:, : batch.responses.shape[1]]
