"""Stage reward: the reward model, and the judge that PPO never sees.

Both learn from pairs of answers by the Bradley-Terry model with soft labels: with s = sigmoid(score
a - score b), the loss is -p log s - (1 - p) log(1 - s). They share nothing but the supervised model
they start from: the judge's prompts and raters are its own. So they train side by side, a process
each; the judge's is this module run as a program, which is told everything in files and JSON.
"""

import json
import math
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import NamedTuple

import numpy
import torch
from torch import Tensor
from torch.nn import functional
from torch.optim import AdamW

from roundhouse import errors, jsonl, processes
from roundhouse.errors import DataError, RoundhouseError, StageError
from roundhouse.feedback import prompt_key
from roundhouse.journal import Log, silent
from roundhouse.learn import (
    accuracy,
    checkpoint,
    ensemble,
    memory,
    models,
    optimizers,
    parallel,
    passes,
    preferences,
    prequential,
    reward_model,
    sampling,
    supervised,
    text,
)
from roundhouse.learn.checkpoint import NOWHERE, Checkpoints
from roundhouse.learn.preferences import Pair, newest
from roundhouse.learn.prequential import Earlier
from roundhouse.learn.reward_model import RewardModel, Scorer, load, score
from roundhouse.settings import Settings

__all__ = ["Pair", "RewardModel", "Scorer", "load", "run", "score", "train"]

#: Answers of the supervised model whose scores define 0 and 1.
_SAMPLES = 512


def run(
    raters: Path,
    sft: Path,
    out: Path,
    settings: Settings,
    seed: int,
    log: Log,
    earlier: Earlier | None = None,
    checkpoints: Path | None = None,
) -> None:
    """Trains reward model and judge on the pairs in `raters`, from the model in `sft`.

    Writes both models, figures on the pairs of the eval side, and the reliability diagram. The
    `earlier` round's reward model is scored on pairs that came since, before anything trains.
    States of the trainings go into the folder `checkpoints`.
    """
    pairs = preferences.by_side(raters)
    if not pairs["train"] or not pairs["judge"]:
        empty = "train" if not pairs["train"] else "judge"
        raise DataError(f"{raters}: no pairs on the side {empty}; ingest more comparisons")
    figures: dict[str, float] = {}
    if earlier:
        optimizers.start(seed, settings.compute.threads)
        figures |= prequential.measure(earlier, pairs["train"], settings.evaluate, seed)
    training = newest(pairs["train"], settings.reward.max_pairs, seed)
    # Reward model and judge side by side, each with the supervised model whose answers it rates.
    shape = memory.load(settings, settings.reward.batch, each=2)
    config = models.configuration(sft / "model")
    needed = memory.plan(config, shape, trained=2, frozen=2, at_once=2)
    memory.require("reward", needed, models.device())
    kept = Checkpoints(checkpoints, settings.checkpoints).of("model")
    apart = _judge_apart(raters, sft, out, settings, seed, checkpoints)
    with apart if parallel.first() else nullcontext() as judging:
        members = settings.reward.members
        model = fit(training, sft / "model", out / "model", settings, seed, log, members, kept)
        if judging is None:
            return
        judge = _result(judging)
    figures |= {"reward/pairs": float(model.pairs), "reward/loss": model.loss}
    figures |= {"reward/judge_pairs": float(judge.pairs), "reward/judge_loss": judge.loss}
    figures["reward/judge_overlap"] = float(len({*judge.prompts} & {*model.prompts}))
    seen = Seen({}, [], [])
    if held_out := pairs["eval"]:
        seen = look(load(out / "model"), held_out, settings, seed)
        judged = preferences.scores(load(out / "judge"), held_out).margins
        figures |= seen.figures | preferences.with_interval(
            "reward/judge_accuracy", judged, held_out, settings.evaluate, seed
        )
    known = jsonl.read_json(raters / "figures.json") if (raters / "figures.json").exists() else {}
    if ceiling := known.get("raters/ceiling"):
        figures |= preferences.share_of_ceiling(figures, ceiling)
    jsonl.write_json(out / "figures.json", figures)
    diagram = {
        "bins": [_plain(part) for part in seen.bins],
        "confidence": [part._asdict() for part in seen.confidence],
    }
    jsonl.write_json(out / "calibration.json", diagram)


class Seen(NamedTuple):
    """A reward model on held-out pairs.

    Attributes:
        figures: by name.
        bins: of the reliability diagram.
        confidence: accuracy by how sure the model was.
    """

    figures: dict[str, float]
    bins: list[accuracy.Bin]
    confidence: list[accuracy.Confidence]


def look(scorer: Scorer, held_out: Sequence[Pair], settings: Settings, seed: int) -> Seen:
    """Measures a reward model on pairs that it did not learn from."""
    found, labels = preferences.scores(scorer, held_out), preferences.labels(held_out)
    predicted = 1 / (1 + numpy.exp(-found.margins))
    bins = accuracy.calibration(predicted, labels)
    confidence = accuracy.by_confidence(predicted, accuracy.correct(found.margins, labels))
    figures = preferences.measure(held_out, found.margins, settings.evaluate, seed)
    figures["reward/ece"] = accuracy.expected_calibration_error(bins)
    for part in confidence:
        place = f"{100 * part.low:.0f}-{100 * part.high:.0f}"
        figures[f"reward/accuracy/confidence/{place}"] = part.accuracy
    correlation = preferences.length_correlation(held_out, found)
    if not math.isnan(correlation):
        figures["reward/length_correlation"] = correlation
    return Seen(figures, bins, confidence)


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
    members: int = 1,
    checkpoints: Checkpoints = NOWHERE,
) -> Fitted:
    """One reward model from the model folder `sft`, trained, standardised and saved in `out`."""
    optimizers.start(seed, settings.compute.threads)
    policy = models.load(sft)
    limits = settings.model
    block = settings.reward
    model = reward_model.from_policy(policy, block.pooling, members)
    model.voices = model.voices._replace(
        objective=block.objective, variance_coef=block.variance_coef
    )
    scorer = Scorer(model, policy.tokenizer, limits.prompt_tokens, limits.response_tokens)
    taught = lessons(pairs, members, block.margin, seed)
    with passes.of(settings.compute):
        loss = train(scorer, taught, settings, seed, log, checkpoints)
    scorer = scorer._replace(model=reward_model.whole(model))
    if parallel.first():
        prompts = preferences.spread(pairs, _SAMPLES)
        said = sampling.answer(policy, prompts, limits, settings.ppo.temperature, seed)
        reward_model.standardise(scorer, prompts, [answer.text for answer in said])
        reward_model.save(scorer, out)
    keys = {prompt_key({"prompt": pair.prompt}) for pair in pairs}
    return Fitted(loss, len(pairs), sorted(keys))


def lessons(pairs: Sequence[Pair], members: int, margin: float, seed: int) -> list[Pair]:
    """The pairs with what training adds to them: their gaps, and the members' shares."""
    shares = ensemble.bootstrap(len(pairs), members, seed)
    return [
        pair._replace(gap=margin * pair.strength, shares=own)
        for pair, own in zip(pairs, shares, strict=True)
    ]


def fit_judge(
    raters: Path,
    sft: Path,
    out: Path,
    settings: Settings,
    seed: int,
    checkpoints: Path | None = None,
) -> Fitted:
    """The judge, from the pairs of its own side and with a seed of its own."""
    pairs = newest(preferences.by_side(raters)["judge"], settings.reward.max_pairs, seed)
    kept = Checkpoints(checkpoints, settings.checkpoints).of("judge")
    return fit(pairs, sft / "model", out / "judge", settings, seed + 1, silent, 1, kept)


@contextmanager
def _judge_apart(
    raters: Path, sft: Path, out: Path, settings: Settings, seed: int, checkpoints: Path | None
) -> Iterator["subprocess.Popen[str]"]:
    """`fit_judge` in a process of its own, which does not outlive the block."""
    told = [raters, sft, out, seed, *filter(None, [checkpoints])]
    command = [sys.executable, "-m", __spec__.name, *map(str, told)]
    # Not multiprocessing, which pickles what it passes on: nothing here is ever unpickled.
    pipe = subprocess.PIPE
    env = os.environ | {processes.OWNER: processes.owner()}
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, env=env, encoding="utf-8") as process:
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
    labels = [(pair.p, pair.weight, pair.gap, pair.shares) for pair in pairs]
    identity = checkpoint.identity(model, data, labels, block.model_dump(), seed)
    if settings.compute.shard and parallel.processes() > 1:
        reward_model.shard(model)
    weights = [p for p in model.parameters() if p.requires_grad]
    adam = AdamW(weights, lr=block.lr, weight_decay=block.weight_decay)
    losses = supervised.train(
        "reward",
        supervised.State(model, optimizers.Optimizers([adam], len(batches), 0.05)),
        batches,
        lambda rows, batch: _pair_loss(scorer, data, pairs, rows, batch),
        settings.compute.micro_batch,
        log,
        checkpoints,
        identity,
    )
    last = losses[-max(1, len(batches) // block.epochs) :]
    return sum(last) / len(last)


def pair_loss(
    margins: Tensor,
    p: Tensor,
    weights: Tensor,
    gaps: Tensor | None = None,
    total: Tensor | None = None,
) -> Tensor:
    """Weighted Bradley-Terry loss (a scalar); margins, soft labels p and weights are [n].

    With gaps [n] each side of a pair has to win by its gap: -p log sigmoid(margin - gap)
    - (1 - p) log sigmoid(-margin - gap) (Touvron et al. 2023, Llama 2, equation 2, for soft p).
    Of a part of a batch it is the part's share: `total` is the sum of the whole batch's weights.
    """
    if gaps is None:
        losses = functional.binary_cross_entropy_with_logits(margins, p, reduction="none")
    else:
        losses = p * functional.softplus(gaps - margins)
        losses = losses + (1 - p) * functional.softplus(gaps + margins)
    whole = weights.sum() if total is None else total
    return (losses * weights).sum() / whole.clamp(min=1e-8)


def _pair_loss(
    scorer: Scorer,
    data: Sequence[tuple[list[int], list[int], list[int]]],
    pairs: Sequence[Pair],
    rows: Sequence[int],
    whole: Sequence[int],
) -> Tensor:
    """The loss of some rows, as their share of the loss of a whole batch; a mean over members.

    Both answers of every pair are in one forward, next to each other: they share their prompt.
    """
    model, device = scorer.model, scorer.model.backbone.device
    prompts = [data[row][0] for row in rows for _ in "ab"]
    responses = [answer for row in rows for answer in data[row][1:]]
    batch = text.collate(prompts, responses, text.pad_id(scorer.tokenizer), device)
    p = torch.tensor([pairs[row].p for row in rows], device=device)
    gaps = torch.tensor([pairs[row].gap for row in rows], device=device)
    first, second = model.heads(batch).view(-1, 2, model.members).unbind(dim=1)
    weights, totals = (_weights(pairs, of, model.members).to(device) for of in (rows, whole))
    losses = [
        pair_loss(margins, p, own, gaps if gaps.any() else None, total)
        for margins, own, total in zip(
            (first - second).T, weights.T, totals.sum(dim=0), strict=True
        )
    ]
    return torch.stack(losses).mean()


def _weights(pairs: Sequence[Pair], rows: Sequence[int], members: int) -> Tensor:
    """[n, members]: what each member multiplies the loss of each of these rows by."""
    shares = [pairs[row].shares or (1.0,) * members for row in rows]
    return torch.tensor(shares) * torch.tensor([[pairs[row].weight] for row in rows])


def _encode(scorer: Scorer, pairs: Sequence[Pair]) -> list[tuple[list[int], list[int], list[int]]]:
    tokenizer, limit = scorer.tokenizer, scorer.response_tokens
    prompts = text.encode_prompts(tokenizer, [x.prompt for x in pairs], scorer.prompt_tokens)
    first = text.encode_responses(tokenizer, [x.a for x in pairs], limit)
    second = text.encode_responses(tokenizer, [x.b for x in pairs], limit)
    return list(zip(prompts, first, second, strict=True))


def _plain(part: accuracy.Bin) -> dict[str, float]:
    return {"predicted": part.predicted, "observed": part.observed, "count": part.pairs}


def main(arguments: Sequence[str]) -> int:
    """The judge's process: RATERS SFT OUT SEED [CHECKPOINTS], settings on standard input."""
    processes.end_with_owner()
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
