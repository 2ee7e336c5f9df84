"""Stage align: from folders to the challenger, the supervised model brought to what raters prefer.

`align.method` says how: PPO against the reward model, with one or more seeds, or DPO on the pairs.
"""

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from transformers import PreTrainedModel

from roundhouse import jsonl
from roundhouse.errors import DataError
from roundhouse.journal import Log
from roundhouse.learn import (
    doubt,
    dpo,
    memory,
    models,
    optimizers,
    ppo,
    preferences,
    reward_model,
    seeds,
    sft,
    text,
)
from roundhouse.learn.checkpoint import NOWHERE, Checkpoints
from roundhouse.learn.models import Policy
from roundhouse.learn.ppo import Task
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
    optimizers.start(seed, settings.model.threads)
    prompts = training_prompts(raters)
    if not prompts:
        raise DataError(f"{raters}: no prompts on the training side; ingest more feedback")
    if settings.align.method == "ppo":
        found = by_ppo(prompts, sft_out, reward_out, settings, seed, log, checkpoints)
    else:
        found = by_dpo(raters, sft_out, reward_out, settings, seed, log, checkpoints)
    models.save(found.policy, out / "model")
    jsonl.write_json(out / "figures.json", found.figures)
    jsonl.write(out / "samples.jsonl", sft.probe(found.policy, settings, seed))
    if found.scorer.model.members > 1:
        rows = doubt.pairs(found.policy, found.scorer, prompts, settings, seed)
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
    load = memory.load(settings.model, settings.ppo.minibatch, settings.ppo.batch)
    trained = 2 if settings.ppo.algorithm == "ppo" else 1
    needed = memory.plan(models.configuration(sft_out / "model"), load, trained, frozen=2)
    memory.require("align", needed, models.device())
    policy = models.load(sft_out / "model")
    scorer = reward_model.load(reward_out / "model")
    task = Task(
        text.encode_prompts(policy.tokenizer, prompts, settings.model.prompt_tokens),
        copy.deepcopy(policy.model),
        scorer.model,
        text.eos_id(policy.tokenizer),
        text.pad_id(policy.tokenizer),
        settings.model.response_tokens,
        seed,
        settings.ppo,
    )
    model, figures = train_seeds(policy.model, task, log, checkpoints)
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
    load = memory.load(settings.model, 2 * settings.dpo.batch)
    needed = memory.plan(models.configuration(sft_out / "model"), load, trained=1)
    memory.require("align", needed, models.device())
    policy = models.load(sft_out / "model")
    figures = dpo.train(policy, pairs, sides["eval"], settings, seed, log, checkpoints)
    return Aligned(policy, figures, reward_model.load(reward_out / "model"))


def train_seeds(
    policy: PreTrainedModel, task: Task, log: Log, checkpoints: Checkpoints = NOWHERE
) -> tuple[PreTrainedModel, dict[str, float]]:
    """Trains the policy, or `ppo.seeds` copies of the reference, of which the best is returned.

    The log counts the steps of all seeds through, one seed after the other.
    """
    count, steps = task.settings.seeds, task.settings.steps
    if count == 1:
        return policy, ppo.train(ppo.begin(policy, task), task, log, checkpoints)

    def one(seed: int) -> tuple[PreTrainedModel, dict[str, float]]:
        before = (seed - task.seed) * steps

        def shifted(step: int, total: int, metrics: Mapping[str, float]) -> None:
            log(before + step, count * total, metrics)

        model, own = copy.deepcopy(task.reference), task._replace(seed=seed)
        return model, ppo.train(ppo.begin(model, own), own, shifted, checkpoints.of(f"seed-{seed}"))

    return seeds.best(one, task)


def training_prompts(raters: Path) -> list[Messages]:
    """The distinct prompts of the training side, in the order of the files."""
    found: dict[str, Messages] = {}
    for name in ("pairs.jsonl", "demonstrations.jsonl"):
        for row in jsonl.read(raters / name):
            if row["side"] == "train":
                found.setdefault(jsonl.dumps(row["prompt"]), row["prompt"])
    return list(found.values())
