"""PPO with several seeds: each is looked at on the same prompts, and the best that passes is taken.

Half of published seeds at 1B parameters end below the model that they started from (Huang et al.
2024, The N+ implementation details of RLHF with PPO). A seed has collapsed where, by what the stage
can know without the judge, its policy is worse than the reference or no longer a sound one.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from transformers import PreTrainedModel

from roundhouse.errors import AlarmError, DivergenceError
from roundhouse.learn import memory, models, rl, sampling, text
from roundhouse.learn.ppo_state import Task
from roundhouse.settings import PpoSettings

#: Prompts that every seed's policy answers, at most, and how many at a time.
_PROMPTS, _BATCH = 512, 64

Figures = dict[str, float]
#: Trains with a seed; returns the policy and its figures.
Train = Callable[[int], tuple[PreTrainedModel, Figures]]


class Probe(NamedTuple):
    """Means over one answer to each of the fixed prompts.

    Attributes:
        objective: what PPO maximises: the score as the episodes get it, less the price of KL.
        kl: from the reference, in nats an answer.
        eos_rate: share of answers that end by themselves.
        length: in tokens.
        distinct: number of different answers.
    """

    objective: float
    kl: float
    eos_rate: float
    length: float
    distinct: float


class Attempt(NamedTuple):
    """One seed's training.

    Attributes:
        seed: that it was trained with.
        policy, figures, probe: what came out; None where training was stopped.
        faults: why it does not pass; empty where it does.
    """

    seed: int
    policy: PreTrainedModel | None
    figures: Figures
    probe: Probe | None
    faults: tuple[str, ...]


def best(train: Train, task: Task) -> tuple[PreTrainedModel, Figures]:
    """Trains with `ppo.seeds` seeds from the task's own on; returns the best policy and figures.

    The best has the highest objective of those that passed; where none did, of those that ended.
    Only two policies are held at a time.

    Raises:
        DivergenceError, AlarmError: of the last seed, where every seed was stopped.
    """
    block, supervised = task.settings, probe(task.reference, task)
    figures: Figures = {"ppo/seeds": float(block.seeds), "ppo/sft_objective": supervised.objective}
    taken: Attempt | None = None
    passed = 0
    for place in range(1, block.seeds + 1):
        one = _attempt(train, task, place, supervised, last=taken is None and place == block.seeds)
        figures |= _figures(place, one)
        passed += not one.faults
        if one.policy is not None and (taken is None or _rank(one) > _rank(taken)):
            taken = one
    assert taken is not None and taken.policy is not None, "a seed that was stopped has raised"
    figures["ppo/seeds_passed"] = float(passed)
    figures["ppo/seed_taken"] = float(1 + taken.seed - task.seed)
    return taken.policy, taken.figures | figures


def faults(found: Probe, supervised: Probe, block: PpoSettings) -> tuple[str, ...]:
    """Why a policy counts as collapsed; empty where it does not."""
    limits = block.alarms
    checks = {
        "objective": found.objective < supervised.objective,
        "kl": found.kl > limits.max_kl,
        "eos": found.eos_rate < limits.min_eos_rate,
        "length": found.length > limits.max_length_ratio * max(1.0, supervised.length),
        "distinct": found.distinct < block.min_distinct_ratio * supervised.distinct,
    }
    return tuple(name for name, wrong in checks.items() if wrong)


@torch.no_grad()
def probe(policy: PreTrainedModel, task: Task) -> Probe:
    """A policy on the fixed prompts, with draws that are the same for every policy."""
    block, generator = task.settings, torch.Generator(policy.device).manual_seed(task.seed)
    prompts = task.prompts[:: max(1, -(-len(task.prompts) // _PROMPTS))]
    worth: list[Tensor] = []
    apart: list[Tensor] = []
    said: list[list[int]] = []
    ended: list[bool] = []
    size = memory.rows_at_once(_BATCH, task.micro_batch)
    for first in range(0, len(prompts), _BATCH):
        asked = prompts[first : first + _BATCH]
        answers = sampling.sample(
            policy,
            asked,
            limit=task.limit,
            temperature=block.temperature,
            eos=task.eos,
            pad=task.pad,
            generator=generator,
        )
        for at in range(0, len(asked), size):
            objective, kl = _judge(task, asked[at : at + size], answers, at)
            worth.append(objective)
            apart.append(kl)
        said += answers.as_lists()
        ended += answers.ended.tolist()
    return Probe(
        torch.cat(worth).double().mean().item(),
        torch.cat(apart).double().mean().item(),
        sum(ended) / len(ended),
        sum(map(len, said)) / len(said),
        float(len({tuple(one) for one in said})),
    )


def _judge(
    task: Task, asked: Sequence[Sequence[int]], answers: sampling.Answers, at: int
) -> tuple[Tensor, Tensor]:
    """Objective and KL [n] of the answers to these prompts, the first of which is the `at`th."""
    block, some = task.settings, slice(at, at + len(asked))
    batch = text.collate(asked, answers.as_lists()[some], task.pad, answers.tokens.device)
    width = batch.responses.shape[1]
    reference = models.response_logprobs(task.reference, batch, block.temperature)
    kl = rl.kl_estimate(answers.logprobs[some, :width], reference)
    kl = torch.where(batch.action_mask, kl, 0.0).sum(dim=1)
    scores = task.reward(batch).clamp(-block.reward_clip, block.reward_clip)
    scores = rl.penalise_missing_eos(
        scores, answers.ended[some], block.missing_eos, block.eos_penalty
    )
    return scores - block.kl_coef * kl, kl


def _attempt(train: Train, task: Task, place: int, supervised: Probe, last: bool) -> Attempt:
    """Trains one seed; what stops it is its fault, and is raised where no other seed is left."""
    seed = task.seed + place - 1
    try:
        policy, figures = train(seed)
    except (DivergenceError, AlarmError):
        if last:
            raise
        return Attempt(seed, None, {}, None, ("stopped",))
    found = probe(policy, task)
    return Attempt(seed, policy, figures, found, faults(found, supervised, task.settings))


def _rank(one: Attempt) -> tuple[bool, float]:
    objective = one.probe.objective if one.probe else float("-inf")
    return not one.faults, objective


def _figures(place: int, one: Attempt) -> Figures:
    name = f"ppo/seed/{place}"
    known = one.probe._asdict() if one.probe else {}
    figures = {f"{name}/{what}": float(value) for what, value in known.items()}
    figures |= {f"{name}/fault/{fault}": 1.0 for fault in one.faults}
    return figures | {f"{name}/passed": float(not one.faults)}
