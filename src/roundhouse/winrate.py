"""Shares with intervals: paired bootstrap by prompt, over all prompts and by domain.

Answers to one prompt are compared with each other, so the prompt is what is drawn again (Efron and
Tibshirani 1993, chapter 13: percentile interval). A win is the judge's preference: 1, or 1/2 for a
tie, rather than a sigmoid of the difference, whose scale would change with every judge.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from roundhouse.learn.accuracy import Interval, mean_by_group

#: Where prompts of domains too small to be judged by themselves are counted. No domain's name can
#: be this one: `metrics.domain_part` takes such a mark off its end.
OTHER = "other-"


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


def interval(values: Sequence[float], bootstrap: Bootstrap) -> Interval:
    """Mean of one value a prompt, and its interval.

    Raises:
        ValueError: there are no values.
    """
    prompts = [str(number) for number in range(len(values))]
    draws, confidence, seed = bootstrap
    found = mean_by_group(np.asarray(values, float), prompts, draws, confidence, seed)
    if found is None:
        raise ValueError("no prompts to draw from")
    return found


def by_domain(
    wins: Sequence[float], domains: Sequence[str], bootstrap: Bootstrap, smallest: int
) -> dict[str, tuple[int, Interval]]:
    """Prompts and win rate of each domain, with intervals that hold for all of them together.

    Domains with fewer than `smallest` prompts are pooled as `other-`, which is left out where it is
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
