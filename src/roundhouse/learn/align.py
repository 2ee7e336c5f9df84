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
    if settings.align.method == "ppo":
        found = by_ppo(prompts, sft_out, reward_out, settings, seed, log, checkpoints)
    else:
        found = by_dpo(raters, sft_out, reward_out, settings, seed, log, checkpoints)
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


def by_ppo(
    prompts: list[Messages],
    sft_out: Path,
    reward_out: Path,
    settings: Settings,
    seed: int,
    log: Log,
    checkpoints: Checkpoints,
) -> Aligned:
    """Against the reward model, on answers of the policy's own to these prompts."""
    load = memory.load(settings, settings.ppo.minibatch, sampled=settings.ppo.batch)
    critic = settings.ppo.algorithm == "ppo"
    _require_memory(settings, sft_out, load, trained=critic, frozen=2)
    policy = models.load(sft_out / "model")
    scorer = reward_model.load(reward_out / "model")
    task = Task(
        text.encode_prompts(policy.tokenizer, prompts, settings.model.prompt_tokens),
        policy.model,
        scorer.model,
        text.eos_id(policy.tokenizer),
        text.pad_id(policy.tokenizer),
        settings.model.response_tokens,
        seed,
        settings.ppo,
        settings.compute.micro_batch,
        settings.compute.shard,
    )
    learner = partial(_learner, task.reference, settings)
    with passes.of(settings.compute):
        model, figures = train_seeds(learner, task, log, checkpoints)
    figures |= {"ppo/prompts": float(len(prompts))}
    return Aligned(policy._replace(model=model), figures, scorer)


def by_dpo(
    raters: Path,
    sft_out: Path,
    reward_out: Path,
    settings: Settings,
    seed: int,
    log: Log,
    checkpoints: Checkpoints,
) -> Aligned:
    """On the pairs that taught the reward model; that model itself has no part in it."""
    sides = preferences.by_side(raters)
    if not sides["train"]:
        raise DataError(f"{raters}: no pairs on the side train; ingest more comparisons")
    pairs = preferences.newest(sides["train"], settings.reward.max_pairs, seed)
    load = memory.load(settings, settings.dpo.batch, each=2)
    _require_memory(settings, sft_out, load, frozen=_adapted(settings))
    policy = models.load(sft_out / "model")
    if _adapted(settings):
        policy = policy._replace(model=lora.on(policy.model, settings.lora, seed))
    figures = dpo.train(policy, pairs, sides["eval"], settings, seed, log, checkpoints)
    return Aligned(policy, figures, reward_model.load(reward_out / "model"))


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


def _require_memory(
    settings: Settings, sft_out: Path, load: Load, trained: int = 0, frozen: int = 0
) -> None:
    """`memory.require` for the policy and these others; with adapters it has no other weights.

    The reference of PPO is among the frozen ones, and shares its weights with such a policy.
    """
    config = models.configuration(sft_out / "model")
    whole = not _adapted(settings)
    adapters = 0 if whole else lora.size(config, settings.lora)
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
