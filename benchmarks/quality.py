"""What a training is worth in truth, and what it cost: our PPO and RLOO, and TRL 1.12.0's PPO.

    make peers && .venv/bin/python -m benchmarks.quality --folder DIR --out quality.json

On the simulated team, where the truth is known. A seed's archive, raters, supervised model and
reward model are made once, as a default round makes them. From the same supervised model, and
against the same reward model, each side trains a policy:

    PPO     the stage `ppo` with the settings of params.yaml
    shared  the same with `ppo.critic shared`: the critic is a head on the policy's trunk
    RLOO    the same with `ppo.algorithm rloo`: 4 answers to each of a fourth of the prompts
    TRL     its PPOTrainer, unchanged, in a process of its own

TRL is told our settings by its names: episodes, batch, minibatch, epochs, price of KL, clips,
temperature, longest answer. It gets what its arguments allow, so that neither side is paid by
another judge or is tuned worse: our reward model, read by an adapter that gives the same scores
(`peers/judge.py`); a critic that starts as that model, as ours does; an optimizer with our two
learning rates, which fall by the same cosine (once a batch: TRL steps its schedule no oftener).
What it cannot be told stays its own way: an answer without end has 1 subtracted from its score,
ours has -1 in the score's place; no clamp of scores, no clipping of gradients; its own order of
prompts.

Every policy then answers the same 1,024 evaluation prompts, on which nothing was trained, with our
sampler and the same draws. True win rate is over the supervised model's answers; KL is in nats an
answer. Seconds and peak memory are of the training's process, from its imports to its last step,
models loaded. One process runs at a time. What a folder holds is not made again. `--quick` runs
little.
"""

import argparse
import json
import statistics
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch

from benchmarks import overoptimisation, side_by_side
from benchmarks.peers.measure import Meter
from roundhouse import jsonl, params
from roundhouse.learn import align, models, optimizers, reward_model, rl, sampling, text
from roundhouse.learn.models import Policy
from roundhouse.settings import Settings
from roundhouse.simulate import truth
from roundhouse.simulate.archive import prompts

#: The sides, and what ours change of the default settings.
SIDES = {
    "PPO": [],
    "shared": ["ppo.critic=shared"],
    "RLOO": ["ppo.algorithm=rloo", "ppo.samples=4"],
    "TRL": [],
}
PROMPTS = 1024
QUICK = [*overoptimisation.QUICK, "ppo.steps=2"]


class Look(NamedTuple):
    """A policy on the evaluation prompts; means over answers.

    Attributes:
        wins: true win rate over the supervised model.
        utility: the truth.
        score: of the reward model that it was trained against.
        kl: from the supervised model, nats an answer.
        tokens: length, end included.
        ended: share that ended by itself.
    """

    wins: float
    utility: float
    score: float
    kl: float
    tokens: float
    ended: float


def ours(folder: Path, result: Path) -> None:
    """A process of our side: the stage itself, on the seed's folder above `folder`."""
    meter = Meter()
    settings = Settings.model_validate_json((folder / "settings.json").read_text(encoding="utf-8"))
    made = folder.parent
    align.run(
        made / "raters",
        made / "sft",
        made / "reward-one",
        folder,
        settings,
        settings.seed,
        lambda *_: meter.lap(),
    )
    meter.write(result)


def trained(side: str, settings: Settings, made: Path) -> dict[str, Any]:
    """What a side's training took, which leaves its policy in `made / side / "model"`."""
    folder = made / side
    result = folder / "measured.json"
    if result.exists() and (folder / "model").is_dir():
        return dict(jsonl.read_json(result))
    folder.mkdir(exist_ok=True)
    (folder / "settings.json").write_text(settings.model_dump_json(by_alias=True), encoding="utf-8")
    own = [sys.executable, "-m", "benchmarks.quality"]
    command: list[object] = [*own, "--folder", made, "--side", folder]
    if side == "TRL":
        write_case(folder, settings, made)
        command = [side_by_side.PEERS, "-m", "benchmarks.peers.trl_quality", folder]
    threads = settings.compute.threads
    return side_by_side.alternate({side: command}, result, threads, 1)[side][0]


def write_case(folder: Path, settings: Settings, made: Path) -> None:
    """Settings and prompts for TRL, which subtracts the price of an answer without end."""
    tokenizer = models.load_tokenizer(made / "sft" / "model")
    asked = align.training_prompts(made / "raters")
    block = settings.ppo.model_dump() | {"eos_penalty": abs(settings.ppo.eos_penalty)}
    case = {
        "sft": str(made / "sft" / "model"),
        "reward": str(made / "reward-one" / "model"),
        "prompts": text.encode_prompts(tokenizer, asked, settings.model.prompt_tokens),
        "limit": settings.model.response_tokens,
        "seed": settings.seed,
        "threads": settings.compute.threads,
        "ppo": block,
    }
    (folder / "case.json").write_text(json.dumps(case), encoding="utf-8")


def examiner(settings: Settings, made: Path, count: int) -> Callable[[Path], Look]:
    """Looks at the policies of a seed, each on the same prompts with the same draws."""
    optimizers.start(settings.seed, settings.compute.threads)
    asked = prompts(settings, count, settings.seed, only="eval")
    chats: list[text.Messages] = [[{"role": "user", "content": said}] for said in asked]
    supervised = models.load(made / "sft" / "model")
    scorer = reward_model.load(made / "reward-one" / "model")

    def said(policy: Policy) -> list[sampling.Answer]:
        temperature = settings.ppo.temperature
        return sampling.answer(policy, chats, settings.model, temperature, settings.seed)

    before = [one.text for one in said(supervised)]

    def look(folder: Path) -> Look:
        policy = models.load(folder)
        answers = said(policy)
        texts, lengths = [one.text for one in answers], [len(one.tokens) for one in answers]
        return Look(
            truth.win_rate(asked, texts, before, settings.seed).value,
            truth.quality(asked, texts).utility,
            statistics.fmean(reward_model.score(scorer, chats, texts)),
            divergence(policy, supervised, chats, [one.tokens for one in answers], settings),
            statistics.fmean(lengths),
            statistics.fmean(one.ended for one in answers),
        )

    return look


@torch.no_grad()
def divergence(
    policy: Policy,
    supervised: Policy,
    chats: Sequence[text.Messages],
    answers: Sequence[list[int]],
    settings: Settings,
    size: int = 128,
) -> float:
    """KL of the policy from the supervised model in nats an answer, on answers of the policy."""
    encoded = text.encode_prompts(policy.tokenizer, chats, settings.model.prompt_tokens)
    total = 0.0
    for first in range(0, len(answers), size):
        part = slice(first, first + size)
        batch = text.collate(encoded[part], answers[part], text.pad_id(policy.tokenizer))
        own, reference = (
            models.response_logprobs(one.model, batch, settings.ppo.temperature)
            for one in (policy, supervised)
        )
        total += rl.kl_estimate(own, reference)[batch.action_mask].double().sum().item()
    return total / len(answers)


def play(settings: Settings, made: Path, changes: list[str], count: int) -> dict[str, Any]:
    """A seed: every side trained and looked at, and the supervised model itself."""
    overoptimisation.prepare(settings, settings.seed, made)
    overoptimisation.rewards("one", settings, settings.seed, made)
    took = {}
    for side, own in SIDES.items():
        told = params.load(side_by_side.PROJECT / "params.yaml", [*changes, *own])
        took[side] = trained(side, told, made)
    look = examiner(settings, made, count)
    folders = {"supervised": made / "sft"} | {side: made / side for side in SIDES}
    return {
        name: look(folder / "model")._asdict() | cost(took.get(name)) | {"took": took.get(name)}
        for name, folder in folders.items()
    }


def cost(took: dict[str, Any] | None) -> dict[str, float]:
    """Seconds and megabytes of a training; of the supervised model, which had none, nothing."""
    if took is None:
        return {}
    return {
        "seconds": sum(took["seconds"]),
        "cpu_seconds": sum(took["cpu_seconds"]),
        "peak_mb": took["peak_mb"],
    }


#: A column's heading, to its figure and how many digits of it are shown.
COLUMNS = {
    "true win rate": ("wins", 3),
    "true utility": ("utility", 2),
    "score": ("score", 2),
    "KL": ("kl", 1),
    "tokens": ("tokens", 1),
    "ended": ("ended", 3),
    "seconds": ("seconds", 0),
    "processor": ("cpu_seconds", 0),
    "MB": ("peak_mb", 0),
}


def table(seeds: dict[str, Any]) -> str:
    """Means over seeds, with the smallest and the largest."""

    def cell(side: str, figure: str, digits: int) -> str:
        values = [found[side][figure] for found in seeds.values() if figure in found[side]]
        if not values:
            return ""
        low, high = f"{min(values):.{digits}f}", f"{max(values):.{digits}f}"
        return f"{statistics.fmean(values):.{digits}f} ({low} to {high})"

    sides = next(iter(seeds.values()))
    return side_by_side.table(
        [
            {"side": side} | {name: cell(side, *column) for name, column in COLUMNS.items()}
            for side in sides
        ]
    )


def main() -> None:
    """Plays every seed and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--seeds", type=int, nargs="+", default=[101, 102, 103])
    parser.add_argument("--folder", type=Path, required=True, help="keeps models and figures")
    parser.add_argument("--out", type=Path, help="file to write the figures to, as JSON")
    parser.add_argument("--quick", action="store_true", help="one seed, tiny, two batches")
    parser.add_argument("--set", action="append", default=[], dest="overrides")
    parser.add_argument("--side", nargs=2, type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    side_by_side.quiet()
    if given.side:
        ours(given.side[0], given.side[1])
        return
    side_by_side.need_peers()
    count = 64 if given.quick else PROMPTS
    facts, seeds = side_by_side.machine(), {}
    for seed in given.seeds[: 1 if given.quick else None]:
        changes = [f"seed={seed}", *(QUICK if given.quick else []), *given.overrides]
        settings = params.load(side_by_side.PROJECT / "params.yaml", changes)
        seeds[str(seed)] = play(settings, given.folder.resolve() / str(seed), changes, count)
        sys.stdout.write(f"seed {seed}\n{table({str(seed): seeds[str(seed)]})}\n\n")
        sys.stdout.flush()
        side_by_side.write(given.out, {"machine": facts, "seeds": seeds})
    if len(seeds) > 1:
        sys.stdout.write(f"{len(seeds)} seeds, mean (smallest to largest)\n{table(seeds)}\n\n")
    sys.stdout.write(f"{facts}\n")


if __name__ == "__main__":
    main()
