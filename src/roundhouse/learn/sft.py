"""Stage sft: supervised fine-tuning on demonstrations and corrections."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from roundhouse import jsonl, model_folder
from roundhouse.errors import DataError
from roundhouse.journal import Log
from roundhouse.learn import (
    checkpoint,
    lora,
    memory,
    models,
    optimizers,
    parallel,
    passes,
    sampling,
    supervised,
    text,
)
from roundhouse.learn.checkpoint import NOWHERE, Checkpoints
from roundhouse.learn.models import Policy
from roundhouse.learn.text import Batch, Messages
from roundhouse.settings import Settings, SftSettings

#: Demonstrations that are measured at a time, at most.
_MEASURED = 64


class Demonstration(NamedTuple):
    """An answer worth imitating; `weight` multiplies its loss."""

    prompt: Messages
    response: str
    weight: float


class Encoded(NamedTuple):
    """Demonstrations as tokens, in the order of their rows."""

    prompts: list[list[int]]
    responses: list[list[int]]
    weights: list[float]


def run(
    raters: Path,
    out: Path,
    settings: Settings,
    seed: int,
    log: Log,
    checkpoints: Checkpoints = NOWHERE,
) -> None:
    """Trains `model.base` on the usable demonstrations in `raters`; writes model, figures, samples.

    Prompts of the sides judge and eval never train; the loss on the eval side is reported. Where
    nothing is there to train on, the supervised model is `model.base` as it is.

    Raises:
        DataError: nothing to train on, and a base from scratch, which says nothing untrained.
    """
    optimizers.start(seed, settings.compute.threads)
    training = demonstrations(raters, "train")
    held_out = demonstrations(raters, "eval")
    if not training and settings.model.base == model_folder.SCRATCH:
        raise DataError(
            f"{raters}: no demonstrations to train on, and model.base is scratch: ingest "
            "demonstrations or corrections, or name a model that answers already"
        )
    adapted = bool(training) and "sft" in settings.lora.stages
    if settings.model.base != model_folder.SCRATCH:
        config = models.configuration(model_folder.of_stage(settings.model))
        load = memory.load(settings, settings.sft.batch if training else 1)
        adapters = lora.size(config, settings.lora) if adapted else 0
        whole = bool(training) and not adapted
        needed = memory.plan(config, load, whole, frozen=not whole, adapters=adapters)
        memory.require("sft", needed, models.device())
    policy = models.load_policy(settings.model)
    if settings.lora.stages:
        # A wrong `lora.targets` of a later stage is said here, before anything has trained.
        lora.size(policy.model.config, settings.lora)
    if adapted:
        policy = policy._replace(model=lora.on(policy.model, settings.lora, seed))
    figures = {"sft/demonstrations": float(len(training))}
    if training:
        with passes.of(settings.compute):
            figures["sft/loss"] = train(policy, training, settings, seed, log, checkpoints)
        policy = policy._replace(model=models.whole(policy.model))
    if not parallel.first():
        return
    if not training:
        sys.stderr.write("sft: no demonstrations: the supervised model is model.base as it is\n")
    if held_out:
        figures["sft/heldout_loss"] = evaluate(policy, held_out, settings)
    lora.settle(policy.model, out / "adapter")
    models.save(policy, out / "model")
    jsonl.write_json(out / "figures.json", figures)
    jsonl.write(out / "samples.jsonl", probe(policy, settings, seed))


def demonstrations(raters: Path, side: str) -> list[Demonstration]:
    """The demonstrations of one side; those of the side train are what the stage learns from."""
    rows = jsonl.read(raters / "demonstrations.jsonl")
    return [_demonstration(row) for row in rows if row["side"] == side]


def train(
    policy: Policy,
    rows: Sequence[Demonstration],
    settings: Settings,
    seed: int,
    log: Log,
    checkpoints: Checkpoints = NOWHERE,
) -> float:
    """Fine-tunes in place; returns the mean loss a token over the last twentieth of the steps.

    Begins where the newest of the checkpoints stands.

    Raises:
        DivergenceError: the loss became NaN or infinite.
    """
    sft, data = settings.sft, encode(policy, rows, settings)
    generator = torch.Generator().manual_seed(seed)
    lengths = [len(p) + len(r) for p, r in zip(data.prompts, data.responses, strict=True)]
    batches = [
        batch
        for _ in range(sft.epochs)
        for batch in text.length_groups(lengths, sft.batch, generator)
    ]
    adapters = lora.scale(policy.model)
    identity = checkpoint.identity(policy.model, data, sft.model_dump(), seed, adapters)
    if settings.compute.shard:
        models.shard(policy.model)
    losses = supervised.train(
        "sft",
        supervised.State(policy.model, _optimizer(policy, sft, len(batches))),
        batches,
        lambda rows, batch: _batch_loss(policy, data, rows, batch),
        settings.compute.micro_batch,
        log,
        checkpoints,
        identity,
    )
    last = losses[-max(1, len(losses) // 20) :]
    return sum(last) / len(last)


def encode(policy: Policy, rows: Sequence[Demonstration], settings: Settings) -> Encoded:
    """Tokens of demonstrations, within the settings' limits."""
    limits = settings.model
    return Encoded(
        text.encode_prompts(policy.tokenizer, [row.prompt for row in rows], limits.prompt_tokens),
        text.encode_responses(
            policy.tokenizer, [row.response for row in rows], limits.response_tokens
        ),
        [row.weight for row in rows],
    )


def response_loss(
    model: torch.nn.Module, batch: Batch, weights: Tensor, total: float | None = None
) -> Tensor:
    """Weighted mean negative log-likelihood of response tokens (a scalar); weights [B].

    Of a part of a batch it is the part's share of that mean: `total` is the whole batch's sum of
    tokens times weights.
    """
    logprobs = models.response_logprobs(model, batch, 1.0)  # type: ignore[arg-type]
    counted = batch.action_mask * weights[:, None]
    whole = counted.sum() if total is None else counted.new_tensor(total)
    return -(logprobs * counted).sum() / whole.clamp(min=1e-8)


@torch.no_grad()
def evaluate(policy: Policy, rows: Sequence[Demonstration], settings: Settings) -> float:
    """Mean loss a response token over demonstrations that did not train."""
    data, even = encode(policy, rows, settings), [1.0] * len(rows)
    total, tokens, size = 0.0, 0, memory.rows_at_once(_MEASURED, settings.compute.micro_batch)
    for first in range(0, len(rows), size):
        indices = list(range(first, min(first + size, len(rows))))
        count = sum(len(data.responses[index]) for index in indices)
        total += count * _batch_loss(policy, data._replace(weights=even), indices, indices).item()
        tokens += count
    return total / tokens


def probe(policy: Policy, settings: Settings, seed: int) -> list[dict[str, str]]:
    """One sampled answer to each fixed probe prompt of the settings."""
    prompts: list[Messages] = [[{"role": "user", "content": said}] for said in settings.probes]
    said = sampling.answer(policy, prompts, settings.model, settings.ppo.temperature, seed)
    return [
        {"prompt": prompt, "response": reply.text}
        for prompt, reply in zip(settings.probes, said, strict=True)
    ]


def _batch_loss(
    policy: Policy, data: Encoded, indices: Sequence[int], whole: Sequence[int]
) -> Tensor:
    """The loss of some rows, as their share of the loss of the whole batch."""
    device = policy.model.device
    batch = text.collate(
        [data.prompts[i] for i in indices],
        [data.responses[i] for i in indices],
        text.pad_id(policy.tokenizer),
        device,
    )
    weights = torch.tensor([data.weights[i] for i in indices], device=device)
    total = sum(data.weights[i] * len(data.responses[i]) for i in whole)
    return response_loss(policy.model, batch, weights, total)


def _optimizer(policy: Policy, sft: SftSettings, steps: int) -> optimizers.Optimizers:
    # Muon makes every direction of an update equally large, for whole matrices: the two of an
    # adapter are trained by AdamW, as is usual.
    muon_lr = sft.muon_lr if lora.scale(policy.model) is None else 0.0
    return optimizers.matrices_and_rest(policy.model, sft.lr, muon_lr, steps, sft.warmup)


def _demonstration(row: dict[str, object]) -> Demonstration:
    return Demonstration(row["prompt"], row["response"], row["weight"])  # type: ignore[arg-type]
