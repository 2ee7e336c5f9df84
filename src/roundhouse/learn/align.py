"""Stage align: from folders to the challenger, the supervised model brought to what raters prefer.

`align.method` says how: PPO against the reward model, with one or more seeds, or DPO on the pairs.
"""

import copy
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import NamedTuple

from transformers import PreTrainedModel

from roundhouse import jsonl
from roundhouse.errors import DataError
from roundhouse.journal import Log
from roundhouse.learn import (
    doubt,
    dpo,
    lora,
    memory,
    models,
    optimizers,
    parallel,
    passes,
    ppo,
    preferences,
    reward_model,
    seeds,
    sft,
    text,
)
from roundhouse.learn.checkpoint import NOWHERE, Checkpoints
from roundhouse.learn.memory import Load
from roundhouse.learn.models import Policy
from roundhouse.learn.ppo_state import Task
from roundhouse.learn.reward_model import Scorer
from roundhouse.learn.text import Messages
from roundhouse.settings import Settings


class Job(NamedTuple):
    """What both methods are given: folders of the stages before, settings, and where to report."""

    raters: Path
    sft: Path
    reward: Path
    settings: Settings
    seed: int
    log: Log
    checkpoints: Checkpoints


class Aligned(NamedTuple):
    """What a method leaves: the policy it trained, its figures, and the reward model."""

    policy: Policy
    figures: dict[str, float]
    scorer: Scorer


def run(
    raters: Path,
    sft_out: Path,
    reward_out: Path,
    out: Path,
    settings: Settings,
    seed: int,
    log: Log,
    checkpoints: Checkpoints = NOWHERE,
) -> None:
    """Trains the model in `sft_out` by `align.method`; writes model, figures, samples.

    PPO answers the training side's own prompts, of pairs and demonstrations, for the model in
    `reward_out`; DPO learns from the training side's pairs.
    """
    optimizers.start(seed, settings.compute.threads)
    prompts = training_prompts(raters)
    if not prompts:
        raise DataError(f"{raters}: no prompts on the training side; ingest more feedback")
    job = Job(raters, sft_out, reward_out, settings, seed, log, checkpoints)
    found = by_ppo(job, prompts) if settings.align.method == "ppo" else by_dpo(job)
    policy = found.policy._replace(model=models.whole(found.policy.model))
    if not parallel.first():
        return
    lora.settle(policy.model, out / "adapter")
    models.save(policy, out / "model")
    jsonl.write_json(out / "figures.json", found.figures)
    jsonl.write(out / "samples.jsonl", sft.probe(policy, settings, seed))
    if found.scorer.model.members > 1:
        rows = doubt.pairs(policy, found.scorer, prompts, settings, seed)
        jsonl.write(out / "uncertain.jsonl", rows)


def by_ppo(job: Job, prompts: list[Messages]) -> Aligned:
    """Against the reward model, on answers of the policy's own to these prompts."""
    settings = job.settings
    load = memory.load(settings, settings.ppo.minibatch, sampled=settings.ppo.batch)
    critic = settings.ppo.algorithm == "ppo" and settings.ppo.critic == "apart"
    _require_memory(job, load, trained=critic, frozen=2)
    policy = models.load(job.sft / "model")
    scorer = reward_model.load(job.reward / "model")
    task = Task(
        text.encode_prompts(policy.tokenizer, prompts, settings.model.prompt_tokens),
        policy.model,
        scorer.model,
        text.eos_id(policy.tokenizer),
        text.pad_id(policy.tokenizer),
        settings.model.response_tokens,
        job.seed,
        settings.ppo,
        settings.compute.micro_batch,
        settings.compute.shard,
    )
    learner = partial(_learner, task.reference, settings)
    with passes.of(settings.compute):
        model, figures = train_seeds(learner, task, job.log, job.checkpoints)
    figures |= {"ppo/prompts": float(len(prompts))}
    return Aligned(policy._replace(model=model), figures, scorer)


def by_dpo(job: Job) -> Aligned:
    """On the pairs that taught the reward model; that model itself has no part in it."""
    settings, sides = job.settings, preferences.by_side(job.raters)
    if not sides["train"]:
        raise DataError(f"{job.raters}: no pairs on the side train; ingest more comparisons")
    pairs = preferences.newest(sides["train"], settings.reward.max_pairs, job.seed)
    load = memory.load(settings, settings.dpo.batch, each=2)
    _require_memory(job, load, frozen=_adapted(settings))
    policy = models.load(job.sft / "model")
    if _adapted(settings):
        policy = policy._replace(model=lora.on(policy.model, settings.lora, job.seed))
    figures = dpo.train(policy, pairs, sides["eval"], settings, job.seed, job.log, job.checkpoints)
    return Aligned(policy, figures, reward_model.load(job.reward / "model"))


def train_seeds(
    learner: Callable[[int], PreTrainedModel],
    task: Task,
    log: Log,
    checkpoints: Checkpoints = NOWHERE,
) -> tuple[PreTrainedModel, dict[str, float]]:
    """Trains what `learner` makes of the task's seed; of `ppo.seeds` ones the best is returned.

    The log counts the steps of all seeds through, one seed after the other.
    """
    count, steps = task.settings.seeds, task.settings.steps
    if count == 1:
        policy = learner(task.seed)
        return policy, ppo.train(ppo.begin(policy, task), task, log, checkpoints)

    def one(seed: int) -> tuple[PreTrainedModel, dict[str, float]]:
        before = (seed - task.seed) * steps

        def shifted(step: int, total: int, metrics: Mapping[str, float]) -> None:
            log(before + step, count * total, metrics)

        model, own = learner(seed), task._replace(seed=seed)
        return model, ppo.train(ppo.begin(model, own), own, shifted, checkpoints.of(f"seed-{seed}"))

    return seeds.best(one, task)


def _require_memory(job: Job, load: Load, trained: int = 0, frozen: int = 0) -> None:
    """`memory.require` for the policy and these others; with adapters it has no other weights.

    The reference of PPO is among the frozen ones, and shares its weights with such a policy.
    """
    config = models.configuration(job.sft / "model")
    whole = not _adapted(job.settings)
    adapters = 0 if whole else lora.size(config, job.settings.lora)
    needed = memory.plan(config, load, trained + whole, frozen, adapters=adapters)
    memory.require("align", needed, models.device())


def _adapted(settings: Settings) -> bool:
    return "align" in settings.lora.stages


def _learner(reference: PreTrainedModel, settings: Settings, seed: int) -> PreTrainedModel:
    """What starts as the reference and learns: a copy, or adapters on the very same weights."""
    if _adapted(settings):
        return lora.on(reference, settings.lora, seed)
    return copy.deepcopy(reference)


def training_prompts(raters: Path) -> list[Messages]:
    """The distinct prompts of the training side, in the order of the files."""
    found: dict[str, Messages] = {}
    for name in ("pairs.jsonl", "demonstrations.jsonl"):
        for row in jsonl.read(raters / name):
            if row["side"] == "train":
                found.setdefault(jsonl.dumps(row["prompt"]), row["prompt"])
    return list(found.values())
