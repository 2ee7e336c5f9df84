"""An ensemble as heads on one trunk, or as whole models: what each costs, and what it knows.

    python -m benchmarks.members --folder DIR [--seed 101] [--members 4] [--pairs 2000] [--epochs 1]

Trains both on the same pairs of the simulated team's archive, with the same weights for the pairs,
and asks on pairs sampled from the supervised model, where the truth is known:

    accuracy         of the members' mean
    error AUC        how often disagreement is higher on a pair that the mean gets wrong
    shuffled         disagreement on answers with their words shuffled, against answers as they are

Prints a table. `benchmarks/overoptimisation.py` shares the folder.
"""

import argparse
import random
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy
import torch

from benchmarks.overoptimisation import prepare
from roundhouse import params
from roundhouse.journal import silent
from roundhouse.learn import (
    ensemble,
    models,
    optimizers,
    preferences,
    reward,
    reward_model,
    sampling,
)
from roundhouse.learn.accuracy import Floats
from roundhouse.learn.preferences import Pair
from roundhouse.learn.reward_model import Scorer
from roundhouse.learn.text import Messages
from roundhouse.settings import Settings
from roundhouse.simulate.archive import prompts
from roundhouse.simulate.world import utility


class Sampled(NamedTuple):
    """Two answers of the supervised model to each prompt, and the true gain [n] of the first."""

    chats: list[Messages]
    a: list[str]
    b: list[str]
    better: Floats


def heads(sft: Path, pairs: Sequence[Pair], members: int, settings: Settings, seed: int) -> Scorer:
    """One trunk with a head a member."""
    optimizers.start(seed, settings.compute.threads)
    scorer = _scorer(sft, settings, members)
    reward.train(scorer, reward.lessons(pairs, members, 0.0, seed), settings, seed, silent)
    return scorer


def whole(
    sft: Path, pairs: Sequence[Pair], members: int, settings: Settings, seed: int
) -> list[Scorer]:
    """A model a member, with the weights that its head would have had, and an order of its own."""
    shares = ensemble.bootstrap(len(pairs), members, seed)
    found = []
    for member in range(members):
        own = [
            pair._replace(weight=pair.weight * (share[member] if share else 1.0))
            for pair, share in zip(pairs, shares, strict=True)
        ]
        optimizers.start(seed + member, settings.compute.threads)
        found.append(_scorer(sft, settings, 1))
        reward.train(found[-1], own, settings, seed + member, silent)
    return found


def figures(scorers: Sequence[Scorer], given: Sampled, seed: int) -> dict[str, float]:
    """The table's column; members are the heads of one scorer, or one scorer each."""
    a, b = (_opinions(scorers, given.chats, said) for said in (given.a, given.b))
    # Every member in spreads of its own.
    scale = numpy.concatenate([a, b]).std(axis=0)
    margins = (a - b) / scale
    decided = numpy.abs(given.better) > 1e-9
    wrong = (numpy.sign(margins.mean(axis=1)) != numpy.sign(given.better))[decided]
    apart = margins.std(axis=1)[decided]
    mixed = random.Random(seed)
    shuffled = [" ".join(mixed.sample(said.split(), len(said.split()))) for said in given.a]
    strange = _opinions(scorers, given.chats, shuffled) / scale
    return {
        "accuracy": 1 - wrong.mean(),
        "disagreement": float((a / scale).std(axis=1).mean()),
        "error AUC": _auc(apart[wrong], apart[~wrong]),
        "shuffled": float(strange.std(axis=1).mean() / (a / scale).std(axis=1).mean()),
    }


def _auc(high: Floats, low: Floats) -> float:
    """Chance that a value of `high` lies over one of `low`."""
    return float((high[:, None] > low[None]).mean() + 0.5 * (high[:, None] == low[None]).mean())


def _opinions(scorers: Sequence[Scorer], chats: Sequence[Messages], said: Sequence[str]) -> Floats:
    """[n, K] raw outputs."""
    parts = [
        numpy.array(reward_model.read(scorer, scorer.model.heads, chats, said))
        for scorer in scorers
    ]
    return numpy.concatenate(parts, axis=1)


def _scorer(sft: Path, settings: Settings, members: int) -> Scorer:
    policy = models.load(sft)
    model = reward_model.from_policy(policy, settings.reward.pooling, members)
    limits = settings.model
    return Scorer(model, policy.tokenizer, limits.prompt_tokens, limits.response_tokens)


def _sampled(sft: Path, settings: Settings, seed: int, count: int) -> Sampled:
    asked = prompts(settings, count, seed, only="eval")
    chats: list[Messages] = [[{"role": "user", "content": said}] for said in asked]
    policy = models.load(sft)
    a, b = (
        [one.text for one in sampling.answer(policy, chats, settings.model, 1.0, seed + n)]
        for n in range(2)
    )
    better = [
        utility(prompt, one) - utility(prompt, two)
        for prompt, one, two in zip(asked, a, b, strict=True)
    ]
    return Sampled(chats, a, b, numpy.array(better))


def main() -> None:
    """Trains both and prints the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=101)
    parser.add_argument("--members", type=int, default=4)
    parser.add_argument("--pairs", type=int, default=2000)
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--asked", type=int, default=1000, help="prompts answered twice")
    parser.add_argument("--params", type=Path, default=Path("params.yaml"))
    options = parser.parse_args()
    seed, folder = options.seed, options.folder / str(options.seed)
    changes = [f"seed={seed}", f"reward.epochs={options.epochs}"]
    settings = params.load(options.params, changes)
    prepare(settings, seed, folder)
    sft = folder / "sft" / "model"
    pairs = preferences.newest(preferences.by_side(folder / "raters")["train"], options.pairs, seed)
    optimizers.start(seed, settings.compute.threads)
    given = _sampled(sft, settings, seed, options.asked)
    arms: dict[str, Callable[[], list[Scorer]]] = {
        "one model": lambda: [heads(sft, pairs, 1, settings, seed)],
        "heads": lambda: [heads(sft, pairs, options.members, settings, seed)],
        "whole models": lambda: whole(sft, pairs, options.members, settings, seed),
    }
    for name, train in arms.items():
        started = time.process_time()
        with torch.enable_grad():
            scorers = train()
        spent = time.process_time() - started
        cells = [f"{what} {value:.3f}" for what, value in figures(scorers, given, seed).items()]
        sys.stdout.write(f"{name:13} {'  '.join(cells)}  processor seconds {spent:.0f}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
