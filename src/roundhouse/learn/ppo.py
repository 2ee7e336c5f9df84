"""Proximal policy optimisation of the supervised model against the reward model.

Four models: the policy that learns, its frozen reference, the frozen reward model, and a critic
that starts as a copy of the reward model, or is a head on the policy's own trunk. `train_step` is
the algorithm, in numbered steps.
"""

import time
from collections.abc import Sequence

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
from roundhouse.learn.ppo_state import State, Task
from roundhouse.learn.ppo_update import learn
from roundhouse.learn.reward_model import RewardModel
from roundhouse.learn.rollout import Rollout, fit, trim
from roundhouse.learn.text import Batch
from roundhouse.learn.value_head import ValueHead

#: Between the seeds by which processes draw their answers.
_APART = 1_000_000_007


def begin(policy: PreTrainedModel, task: Task) -> State:
    """The state before the first step."""
    block = task.settings
    critic = _critic(policy, task)
    identity = _identity(policy, task)
    if task.shard:
        models.shard(policy)
    if task.shard and isinstance(critic, RewardModel):
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


def _critic(policy: PreTrainedModel, task: Task) -> RewardModel | ValueHead | None:
    if task.settings.algorithm != "ppo":
        return None
    return ValueHead(policy) if task.settings.critic == "shared" else task.reward.critic()


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
    old = fit(answers.logprobs, batch)
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
        part = trim(batch, rows)
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
        "ppo/entropy": rl.masked_mean(fit(answers.entropy, batch), actions).item(),
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
