"""Shares with intervals: paired bootstrap by prompt, over all prompts and by domain.

Answers to one prompt are compared with each other, so the prompt is what is drawn again (Efron and
Tibshirani 1993, chapter 13: percentile interval). A win is the judge's preference: 1, or 1/2 for a
tie, rather than a sigmoid of the difference, whose scale would change with every judge.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from roundhouse.learn.accuracy import Interval, mean_by_group

Floats = NDArray[np.float64]

#: Where prompts of domains too small to be judged by themselves are counted. No domain's name can
#: be this one: `metrics.domain_part` leaves no such mark at its end.
OTHER = "other-"

#: Precision of the prior on the coefficient of length: a normal of standard deviation 3.
_RIDGE = 1 / 9
#: Steps of Newton's method at most, and numbers in one of its arrays.
_NEWTON, _CELLS = 50, 2_000_000


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


def length_controlled(
    wins: Sequence[float], longer: Sequence[float], bootstrap: Bootstrap
) -> Interval:
    """The win rate that the judge would give at equal length, and its paired-bootstrap interval.

    A logistic regression of the preference on the difference in length,

        logit P(win) = quality + length * tanh(longer / spread of longer),

    gives sigmoid(quality), the prediction where the difference is 0. This is the length-controlled
    win rate of AlpacaEval 2 (Dubois et al. 2024, Length-controlled AlpacaEval, section 3) without
    its term for each prompt's difficulty, which needs other models' answers to the same prompts. A
    ridge of `_RIDGE` on the coefficient of length keeps it finite where length alone decides.

    Args:
        wins: the judge's preference a prompt, 0 to 1.
        longer: length of the challenger's answer less the baseline's.
        bootstrap: draws prompts again, each with its preference and its lengths; the spread stays.

    Raises:
        ValueError: there are no values, or not one length a win.
    """
    won, difference = np.asarray(wins, float), np.asarray(longer, float)
    if not len(won) or len(won) != len(difference):
        raise ValueError("one preference and one difference in length a prompt")
    spread = difference.std()
    reach = np.tanh(difference / spread) if spread > 0 else np.zeros(len(won))
    value = _at_equal_length(won, reach, np.ones((1, len(won))))[0]
    random, even = np.random.default_rng(bootstrap.seed), np.full(len(won), 1 / len(won))
    part = max(1, _CELLS // len(won))
    drawn = [
        _at_equal_length(
            won, reach, random.multinomial(len(won), even, min(part, bootstrap.draws - done))
        )
        for done in range(0, bootstrap.draws, part)
    ]
    tail = (1 - bootstrap.confidence) / 2
    low, high = np.quantile(np.concatenate(drawn), [tail, 1 - tail])
    return Interval(float(value), float(low), float(high))


def _at_equal_length(won: Floats, reach: Floats, times: NDArray[Any]) -> Floats:
    """sigmoid(quality) [D] of D fits by Newton's method; times [D, n] counts each of n prompts."""
    quality, length = np.zeros(len(times)), np.zeros(len(times))
    for _ in range(_NEWTON):
        chance = 1 / (1 + np.exp(-(quality[:, None] + length[:, None] * reach)))
        error, weight = times * (won - chance), times * chance * (1 - chance)
        slope = error.sum(axis=1), error @ reach - _RIDGE * length
        # Where every prompt is won there is no best quality: the small number ends the climb.
        bend = weight.sum(axis=1) + 1e-9, weight @ reach, weight @ reach**2 + _RIDGE
        both = bend[0] * bend[2] - bend[1] ** 2
        steps = np.stack(
            [
                (bend[2] * slope[0] - bend[1] * slope[1]) / both,
                (bend[0] * slope[1] - bend[1] * slope[0]) / both,
            ]
        ).clip(-2, 2)
        quality, length = quality + steps[0], length + steps[1]
        if np.abs(steps).max() < 1e-9:
            break
    equal: Floats = 1 / (1 + np.exp(-quality))
    return equal


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
