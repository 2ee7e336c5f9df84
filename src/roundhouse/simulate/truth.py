"""What only a simulation can know: true win rates, true qualities, how often labels are right.

For reports. Nothing of it may reach the gate, which decides on what a real team could see.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from itertools import combinations
from typing import NamedTuple

import numpy as np

from roundhouse.feedback import Row
from roundhouse.simulate.world import assess


class Interval(NamedTuple):
    """An estimate with the ends of its interval."""

    value: float
    low: float
    high: float


class Quality(NamedTuple):
    """Means over answers, by the truth."""

    utility: float
    on_topic: float
    """Share of answers that name both slots of their own prompt and no other topic."""
    safe: float
    """Share of answers without reckless advice."""
    well_formed: float
    """Share of answers made of whole sentences in a sensible order."""


def win_rate(
    prompts: Sequence[str],
    challenger: Sequence[str],
    baseline: Sequence[str],
    seed: int,
    draws: int = 2000,
    confidence: float = 0.95,
) -> Interval:
    """How often the challenger's answer is truly better (equal counts one half).

    The three sequences run in parallel. The interval is the bootstrap's over prompts: answers
    to one prompt are drawn together.

    Raises:
        ValueError: no prompts, or sequences of different length.
    """
    won: dict[str, list[float]] = defaultdict(list)
    for prompt, ours, theirs in zip(prompts, challenger, baseline, strict=True):
        gain = assess(prompt, ours).utility - assess(prompt, theirs).utility
        won[prompt].append(0.5 if abs(gain) < 1e-9 else float(gain > 0))
    if not won:
        raise ValueError("a win rate needs at least one prompt")
    sums = np.array([sum(points) for points in won.values()])
    sizes = np.array([len(points) for points in won.values()])
    weights = np.random.default_rng(seed).multinomial(
        len(sums), np.full(len(sums), 1 / len(sums)), size=draws
    )
    rates = (weights @ sums) / (weights @ sizes)
    low, high = np.quantile(rates, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Interval(float(sums.sum() / sizes.sum()), float(low), float(high))


def quality(prompts: Sequence[str], answers: Sequence[str]) -> Quality:
    """The true qualities of answers to prompts, in parallel sequences of at least one."""
    found = [assess(prompt, answer) for prompt, answer in zip(prompts, answers, strict=True)]
    return Quality(
        utility=float(np.mean([truth.utility for truth in found])),
        on_topic=float(np.mean([truth.on_topic == 1.0 for truth in found])),
        safe=float(np.mean([truth.safe > 0.0 for truth in found])),
        well_formed=float(np.mean([truth.well_formed for truth in found])),
    )


def label_accuracy(rows: Iterable[Row]) -> float:
    """Share of comparisons that chose the truly better answer: what no reward model can beat.

    Ties, and pairs of equal utility, are left out. NaN where nothing is left.
    """
    right: list[bool] = []
    for row in rows:
        if row["kind"] != "comparison" or row["choice"] == "tie":
            continue
        first, second = (assess(row["prompt"], answer).utility for answer in row["responses"])
        if abs(first - second) > 1e-9:
            right.append((row["choice"] == 0) == (first > second))
    return sum(right) / len(right) if right else float("nan")


def agreement(rows: Iterable[Row]) -> float:
    """Share of vote pairs on the same two answers that agree, ties left out; NaN without any."""
    votes: dict[tuple[str, ...], list[int]] = defaultdict(list)
    for row in rows:
        if row["kind"] == "comparison" and row["choice"] != "tie":
            votes[(row["prompt"], *row["responses"])].append(row["choice"])
    same = [one == other for cast in votes.values() for one, other in combinations(cast, 2)]
    return sum(same) / len(same) if same else float("nan")
