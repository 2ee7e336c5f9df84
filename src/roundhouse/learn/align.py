"""Stage ppo: from folders to a policy trained against the reward model, with one or more seeds."""

import copy
from collections.abc import Mapping
from pathlib import Path

from transformers import PreTrainedModel

from roundhouse import jsonl
from roundhouse.errors import DataError
from roundhouse.journal import Log
from roundhouse.learn import (
    doubt,
    memory,
    models,
    optimizers,
    parallel,
    passes,
    ppo,
    reward_model,
    seeds,
    sft,
    text,
)
from roundhouse.learn.checkpoint import NOWHERE, Checkpoints
from roundhouse.learn.ppo import Task
from roundhouse.learn.text import Messages
from roundhouse.settings import Settings


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
    """Trains the model in `sft_out` against that in `reward_out`; writes model, figures, samples.

    The prompts are the training side's own, of pairs and demonstrations.
    """
    optimizers.start(seed, settings.model.threads)
    passes.use(settings.compute)
    load = memory.load(settings, settings.ppo.minibatch, settings.ppo.batch)
    trained = 2 if settings.ppo.algorithm == "ppo" else 1
    needed = memory.plan(models.configuration(sft_out / "model"), load, trained, frozen=2)
    memory.require("ppo", needed, models.device())
    policy = models.load(sft_out / "model")
    scorer = reward_model.load(reward_out / "model")
    prompts = training_prompts(raters)
    if not prompts:
        raise DataError(f"{raters}: no prompts on the training side; ingest more feedback")
    task = Task(
        text.encode_prompts(policy.tokenizer, prompts, settings.model.prompt_tokens),
        copy.deepcopy(policy.model),
        scorer.model,
        text.eos_id(policy.tokenizer),
        text.pad_id(policy.tokenizer),
        settings.model.response_tokens,
        seed,
        settings.ppo,
        settings.compute.micro_batch,
    )
    model, figures = train_seeds(policy.model, task, log, checkpoints)
    policy = policy._replace(model=models.whole(model))
    if not parallel.first():
        return
    models.save(policy, out / "model")
    jsonl.write_json(out / "figures.json", figures | {"ppo/prompts": float(len(prompts))})
    jsonl.write(out / "samples.jsonl", sft.probe(policy, settings, seed))
    if scorer.model.members > 1:
        jsonl.write(out / "uncertain.jsonl", doubt.pairs(policy, scorer, prompts, settings, seed))


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
