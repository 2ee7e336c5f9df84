"""Stage reward: the reward model, and the judge that PPO never sees.

Both learn from pairs of answers by the Bradley-Terry model with soft labels: with s = sigmoid(score
a - score b), the loss is -p log s - (1 - p) log(1 - s). They share nothing but the supervised model
they start from: the judge's prompts and raters are its own. So they train side by side, a process
each; the judge's is this module run as a program, which is told everything in files and JSON.
"""

import json
import random
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy
import torch
from torch import Tensor
from torch.nn import functional
from torch.optim import AdamW

from roundhouse import errors, jsonl
from roundhouse.errors import DataError, RoundhouseError, StageError
from roundhouse.feedback import prompt_key
from roundhouse.journal import Log, silent
from roundhouse.learn import (
    accuracy,
    checkpoint,
    memory,
    models,
    optimizers,
    reward_model,
    sampling,
    supervised,
    text,
)
from roundhouse.learn.checkpoint import NOWHERE, Checkpoints
from roundhouse.learn.reward_model import RewardModel, Scorer, load, score
from roundhouse.learn.text import Messages
from roundhouse.metrics import domain_part
from roundhouse.settings import Settings

__all__ = ["Pair", "RewardModel", "Scorer", "load", "run", "score", "train"]

#: Answers of the supervised model whose scores define 0 and 1.
_SAMPLES = 512


class Pair(NamedTuple):
    """Two answers to one prompt.

    Attributes:
        p: probability that a is better, from the votes.
        weight: multiplies the pair's loss.
        votes: how many ratings stand behind it.
    """

    prompt: Messages
    a: str
    b: str
    p: float
    weight: float
    votes: int
    domain: str
    partition: int


def run(
    raters: Path,
    sft: Path,
    out: Path,
    settings: Settings,
    seed: int,
    log: Log,
    checkpoints: Path | None = None,
) -> None:
    """Trains reward model and judge on the pairs in `raters`, from the model in `sft`.

    Writes both models, figures on the pairs of the eval side, and the reliability diagram; states
    of the trainings go into the folder `checkpoints`.
    """
    pairs = pairs_by_side(raters)
    if not pairs["train"] or not pairs["judge"]:
        empty = "train" if not pairs["train"] else "judge"
        raise DataError(f"{raters}: no pairs on the side {empty}; ingest more comparisons")
    training = newest(pairs["train"], settings.reward.max_pairs, seed)
    # Reward model and judge side by side, each with the supervised model whose answers it rates.
    shape = memory.load(settings.model, 2 * settings.reward.batch)
    config = models.configuration(sft / "model")
    memory.require("reward", memory.plan(config, shape, trained=2, frozen=2), models.device())
    kept = Checkpoints(checkpoints, settings.checkpoints)
    with _judge_apart(raters, sft, out, settings, seed, checkpoints) as judging:
        model = fit(training, sft / "model", out / "model", settings, seed, log, kept.of("model"))
        judge = _result(judging)
    figures = {"reward/pairs": float(model.pairs), "reward/loss": model.loss}
    figures |= {"reward/judge_pairs": float(judge.pairs), "reward/judge_loss": judge.loss}
    figures["reward/judge_overlap"] = float(len({*judge.prompts} & {*model.prompts}))
    bins: list[accuracy.Bin] = []
    if held_out := pairs["eval"]:
        margins = _margins(load(out / "model"), held_out)
        bins = accuracy.calibration(1 / (1 + numpy.exp(-margins)), _labels(held_out))
        figures |= measure(held_out, margins, settings, seed)
        figures["reward/ece"] = accuracy.expected_calibration_error(bins)
        judged = _margins(load(out / "judge"), held_out)
        figures |= _with_interval("reward/judge_accuracy", judged, held_out, settings, seed)
    jsonl.write_json(out / "figures.json", figures)
    jsonl.write_json(out / "calibration.json", {"bins": [_plain(part) for part in bins]})


def pairs_by_side(raters: Path) -> dict[str, list[Pair]]:
    """All pairs: `train` teaches the reward model, `judge` the judge, `eval` measures both."""
    sides: dict[str, list[Pair]] = {"train": [], "judge": [], "eval": []}
    for row in jsonl.read(raters / "pairs.jsonl"):
        sides[row["side"]].append(_pair(row))
    return sides


class Fitted(NamedTuple):
    """What is left of a training beside the saved model.

    Attributes:
        loss: of the last epoch.
        pairs: how many it learned from.
        prompts: keys of the prompts of those pairs.
    """

    loss: float
    pairs: int
    prompts: list[str]


def fit(
    pairs: Sequence[Pair],
    sft: Path,
    out: Path,
    settings: Settings,
    seed: int,
    log: Log,
    checkpoints: Checkpoints = NOWHERE,
) -> Fitted:
    """One reward model from the model folder `sft`, trained, standardised and saved in `out`."""
    optimizers.start(seed, settings.model.threads)
    policy = models.load(sft)
    limits = settings.model
    model = reward_model.from_policy(policy, settings.reward.pooling)
    scorer = Scorer(model, policy.tokenizer, limits.prompt_tokens, limits.response_tokens)
    loss = train(scorer, pairs, settings, seed, log, checkpoints)
    prompts = _spread(pairs, _SAMPLES)
    said = sampling.answer(policy, prompts, limits, settings.ppo.temperature, seed)
    reward_model.standardise(scorer, prompts, [answer.text for answer in said])
    reward_model.save(scorer, out)
    keys = {prompt_key({"prompt": pair.prompt}) for pair in pairs}
    return Fitted(loss, len(pairs), sorted(keys))


def fit_judge(
    raters: Path,
    sft: Path,
    out: Path,
    settings: Settings,
    seed: int,
    checkpoints: Path | None = None,
) -> Fitted:
    """The judge, from the pairs of its own side and with a seed of its own."""
    pairs = newest(pairs_by_side(raters)["judge"], settings.reward.max_pairs, seed)
    kept = Checkpoints(checkpoints, settings.checkpoints).of("judge")
    return fit(pairs, sft / "model", out / "judge", settings, seed + 1, silent, kept)


@contextmanager
def _judge_apart(
    raters: Path, sft: Path, out: Path, settings: Settings, seed: int, checkpoints: Path | None
) -> Iterator["subprocess.Popen[str]"]:
    """`fit_judge` in a process of its own, which does not outlive the block."""
    told = [raters, sft, out, seed, *filter(None, [checkpoints])]
    command = [sys.executable, "-m", __spec__.name, *map(str, told)]
    # Not multiprocessing, which pickles what it passes on: nothing here is ever unpickled.
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, encoding="utf-8") as process:
        try:
            assert process.stdin is not None
            process.stdin.write(settings.model_dump_json(by_alias=True))
            process.stdin.close()
            yield process
        finally:
            process.kill()


def _result(process: "subprocess.Popen[str]") -> Fitted:
    """What the judge's process printed when it ended; its error is raised here."""
    assert process.stdout is not None
    said = process.stdout.read()
    if process.wait():
        note = json.loads(said) if said else {}
        kind = getattr(errors, note.get("kind", ""), StageError)
        raise kind(note.get("message", f"the judge's process ended with {process.returncode}"))
    return Fitted(**json.loads(said))


def train(
    scorer: Scorer,
    pairs: Sequence[Pair],
    settings: Settings,
    seed: int,
    log: Log,
    checkpoints: Checkpoints = NOWHERE,
) -> float:
    """Trains in place; returns the mean loss a pair over the last epoch.

    Begins where the newest of the checkpoints stands.

    Raises:
        DivergenceError: the loss became NaN or infinite.
    """
    block, model = settings.reward, scorer.model
    data = _encode(scorer, pairs)
    generator = torch.Generator().manual_seed(seed)
    lengths = [len(p) + max(len(a), len(b)) for p, a, b in data]
    batches = [
        batch
        for _ in range(block.epochs)
        for batch in text.length_groups(lengths, block.batch, generator)
    ]
    weights = [p for p in model.parameters() if p.requires_grad]
    adam = AdamW(weights, lr=block.lr, weight_decay=block.weight_decay)
    labels = [(pair.p, pair.weight) for pair in pairs]
    losses = supervised.train(
        "reward",
        supervised.State(model, optimizers.Optimizers([adam], len(batches), 0.05)),
        batches,
        lambda rows: _pair_loss(scorer, [data[row] for row in rows], [pairs[row] for row in rows]),
        log,
        checkpoints,
        checkpoint.identity(model, data, labels, block.model_dump(), seed),
    )
    last = losses[-max(1, len(batches) // block.epochs) :]
    return sum(last) / len(last)


def measure(
    pairs: Sequence[Pair], margins: accuracy.Floats, settings: Settings, seed: int
) -> dict[str, float]:
    """Figures of a reward model on held-out pairs; margins [n] are score a - score b."""
    figures = _with_interval("reward/accuracy", margins, pairs, settings, seed)
    clear = [i for i, pair in enumerate(pairs) if pair.votes > 2 and abs(pair.p - 0.5) > 1 / 6]
    if clear:
        chosen = [pairs[i] for i in clear]
        figures |= _with_interval(
            "reward/accuracy_majority", margins[clear], chosen, settings, seed
        )
    longer = numpy.array([float(len(pair.a.split()) - len(pair.b.split())) for pair in pairs])
    baseline = accuracy.correct(longer, _labels(pairs))
    figures["reward/length_baseline"] = float(numpy.nanmean(baseline))
    right = accuracy.correct(margins, _labels(pairs))
    for domain in sorted({pair.domain for pair in pairs if pair.domain}):
        chosen_rows = [i for i, pair in enumerate(pairs) if pair.domain == domain]
        if not numpy.isnan(right[chosen_rows]).all():
            share = float(numpy.nanmean(right[chosen_rows]))
            figures[f"reward/accuracy/domain/{domain_part(domain)}"] = share
    return figures


def newest(pairs: Sequence[Pair], most: int, seed: int) -> list[Pair]:
    """At most `most` pairs (0: all), of the newest partitions; a part of one is drawn at random."""
    if not most or len(pairs) <= most:
        return list(pairs)
    # Pairs come in the order of the feedback, which may go through one subject after the other.
    drawn = random.Random(seed).sample(pairs, len(pairs))
    return sorted(drawn, key=lambda pair: -pair.partition)[:most]


def pair_loss(margins: Tensor, p: Tensor, weights: Tensor) -> Tensor:
    """Weighted Bradley-Terry loss (a scalar); margins, soft labels p and weights are [n]."""
    losses = functional.binary_cross_entropy_with_logits(margins, p, reduction="none")
    return (losses * weights).sum() / weights.sum().clamp(min=1e-8)


def _pair_loss(
    scorer: Scorer, data: Sequence[tuple[list[int], list[int], list[int]]], pairs: Sequence[Pair]
) -> Tensor:
    """Both answers of every pair in one forward, next to each other: they share their prompt."""
    device = scorer.model.backbone.device
    prompts = [prompt for prompt, _, _ in data for _ in "ab"]
    responses = [answer for _, a, b in data for answer in (a, b)]
    batch = text.collate(prompts, responses, text.pad_id(scorer.tokenizer), device)
    first, second = scorer.model.raw(batch).view(-1, 2).unbind(dim=1)
    p = torch.tensor([pair.p for pair in pairs], device=device)
    weights = torch.tensor([pair.weight for pair in pairs], device=device)
    return pair_loss(first - second, p, weights)


def _encode(scorer: Scorer, pairs: Sequence[Pair]) -> list[tuple[list[int], list[int], list[int]]]:
    tokenizer, limit = scorer.tokenizer, scorer.response_tokens
    prompts = text.encode_prompts(tokenizer, [x.prompt for x in pairs], scorer.prompt_tokens)
    first = text.encode_responses(tokenizer, [x.a for x in pairs], limit)
    second = text.encode_responses(tokenizer, [x.b for x in pairs], limit)
    return list(zip(prompts, first, second, strict=True))


def _margins(scorer: Scorer, pairs: Sequence[Pair]) -> accuracy.Floats:
    """Raw score a - score b [n]: the logit of a's win, as it was trained."""
    prompts = [pair.prompt for pair in pairs]
    first = score(scorer, prompts, [pair.a for pair in pairs])
    second = score(scorer, prompts, [pair.b for pair in pairs])
    margins: accuracy.Floats = (numpy.array(first) - numpy.array(second)) * scorer.model.std
    return margins


def _with_interval(
    name: str, margins: accuracy.Floats, pairs: Sequence[Pair], settings: Settings, seed: int
) -> dict[str, float]:
    groups = [jsonl.dumps(pair.prompt) for pair in pairs]
    block = settings.evaluate
    found = accuracy.mean_by_group(
        accuracy.correct(margins, _labels(pairs)),
        groups,
        block.bootstrap_draws,
        block.confidence,
        seed,
    )
    if found is None:
        return {}
    return {name: found.value, f"{name}_low": found.low, f"{name}_high": found.high}


def _labels(pairs: Sequence[Pair]) -> accuracy.Floats:
    return numpy.array([pair.p for pair in pairs], dtype=numpy.float64)


def _plain(part: accuracy.Bin) -> dict[str, float]:
    return {"predicted": part.predicted, "observed": part.observed, "count": part.pairs}


def _spread(pairs: Sequence[Pair], most: int) -> list[Messages]:
    """At most `most` distinct prompts, spread evenly over the pairs' order."""
    distinct = list({jsonl.dumps(pair.prompt): pair.prompt for pair in pairs}.values())
    stride = max(1, -(-len(distinct) // most))
    return distinct[::stride]


def _pair(row: dict[str, Any]) -> Pair:
    return Pair(*(row.get(name, "") for name in Pair._fields))


def main(arguments: Sequence[str]) -> int:
    """The judge's process: RATERS SFT OUT SEED [CHECKPOINTS], settings on standard input."""
    raters, sft, out = map(Path, arguments[:3])
    checkpoints = Path(arguments[4]) if arguments[4:] else None
    settings = Settings.model_validate_json(sys.stdin.read())
    try:
        fitted = fit_judge(raters, sft, out, settings, int(arguments[3]), checkpoints)
    except RoundhouseError as error:
        note = {"kind": type(error).__name__, "message": str(error)}
        sys.stdout.write(json.dumps(note) + "\n")
        return error.exit_code
    sys.stdout.write(json.dumps(fitted._asdict()) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
