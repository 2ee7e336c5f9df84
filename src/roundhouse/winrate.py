"""Shares with intervals: paired bootstrap by prompt, over all prompts and by domain.

Answers to one prompt are compared with each other, so the prompt is what is drawn again (Efron and
Tibshirani 1993, chapter 13: percentile interval). A win is the judge's preference: 1, or 1/2 for a
tie, rather than a sigmoid of the difference, whose scale would change with every judge.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

#: Draws are made in blocks of about this many numbers, to bound memory.
_BLOCK = 4_000_000
#: Where prompts of domains too small to be judged by themselves are counted.
OTHER = "other"


class Interval(NamedTuple):
    """A mean over prompts and the ends of its interval."""

    value: float
    low: float
    high: float


class Bootstrap(NamedTuple):
    """How intervals are made."""

    draws: int
    confidence: float
    seed: int

    def corrected(self, comparisons: int) -> "Bootstrap":
        """Bonferroni: intervals that hold together with this confidence, over all comparisons."""
        return self._replace(confidence=1 - (1 - self.confidence) / comparisons)


def win(challenger: tuple[str, float], baseline: tuple[str, float]) -> float:
    """1 where the judge scores the challenger's answer higher, 0 lower, 1/2 for a tie.

    Equal answers are a tie whatever their scores: those may differ in the last bit by how they were
    batched.
    """
    if challenger[0] == baseline[0] or challenger[1] == baseline[1]:
        return 0.5
    return float(challenger[1] > baseline[1])


def interval(
    totals: Sequence[float], bootstrap: Bootstrap, counts: Sequence[int] | None = None
) -> Interval:
    """Mean and percentile interval, drawing whole prompts.

    Args:
        totals: one number a prompt: the sum of what was measured on it.
        counts: how many measurements that sum is made of; 1 each where left out.

    Raises:
        ValueError: there are no measurements.
    """
    if not totals:
        raise ValueError("no prompts to draw from")
    pairs = np.column_stack([totals, np.ones(len(totals)) if counts is None else counts])
    # Equal prompts are exchangeable: drawing how often each distinct one comes is the same.
    kinds, times = np.unique(pairs.astype(np.float64), axis=0, return_counts=True)
    means = _means(kinds, times, bootstrap)
    tail = (1 - bootstrap.confidence) / 2
    low, high = np.quantile(means, [tail, 1 - tail])
    value = float(pairs[:, 0].sum() / pairs[:, 1].sum())
    return Interval(value, float(low), float(high))


def by_domain(
    wins: Sequence[float], domains: Sequence[str], bootstrap: Bootstrap, smallest: int
) -> dict[str, tuple[int, Interval]]:
    """Prompts and win rate of each domain, with intervals that hold for all of them together.

    Domains with fewer than `smallest` prompts are pooled as `other`, which is left out where it is
    itself too small.
    """
    counted = Counter(domains)
    groups: dict[str, list[float]] = {}
    for won, domain in zip(wins, domains, strict=True):
        groups.setdefault(domain if counted[domain] >= smallest else OTHER, []).append(won)
    judged: Mapping[str, list[float]] = {
        name: group for name, group in sorted(groups.items()) if len(group) >= smallest
    }
    corrected = bootstrap.corrected(max(1, len(judged)))
    return {name: (len(group), interval(group, corrected)) for name, group in judged.items()}


def _means(
    kinds: NDArray[np.float64], times: NDArray[np.intp], bootstrap: Bootstrap
) -> NDArray[np.float64]:
    """[draws]: the mean of each drawn set of prompts; kinds [K, 2] occur `times` [K]."""
    rng = np.random.default_rng(bootstrap.seed)
    block = max(1, _BLOCK // len(kinds))
    sums = []
    for first in range(0, bootstrap.draws, block):
        size = min(block, bootstrap.draws - first)
        sums.append(rng.multinomial(times.sum(), times / times.sum(), size=size) @ kinds)
    total = np.concatenate(sums)
    return np.asarray(total[:, 0] / total[:, 1], dtype=np.float64)
