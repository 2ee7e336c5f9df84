"""Pairs with soft labels: read and chosen, and how well a reward model agrees with them."""

import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy

from roundhouse import jsonl
from roundhouse.learn import accuracy
from roundhouse.learn.accuracy import Floats
from roundhouse.learn.reward_model import Scorer, score
from roundhouse.learn.text import Messages
from roundhouse.metrics import domain_part
from roundhouse.settings import EvaluateSettings

#: Ends of an interval's names; the estimate itself has none.
_ENDS = ("", "_low", "_high")


class Pair(NamedTuple):
    """Two answers to one prompt.

    Attributes:
        p: probability that a is better, from the votes.
        weight: multiplies the pair's loss.
        votes: how many ratings stand behind it.
        partition, since: those of the newest and of the oldest vote on it.
        strength: mean of how much better the raters said the chosen answer was, 0 where none said.
        gap: by how much the raw score of the chosen answer is to be higher, in training.
        shares: what each member of an ensemble multiplies the weight by, in training.
    """

    prompt: Messages
    a: str
    b: str
    p: float
    weight: float
    votes: int
    domain: str
    partition: int
    since: int = 0
    strength: float = 0.0
    gap: float = 0.0
    shares: tuple[float, ...] = ()


class Scores(NamedTuple):
    """What a reward model says of n pairs; arrays are [n].

    Attributes:
        a, b: standardised scores of the two answers.
        margins: raw score of a less that of b, the logit of a's win as it was trained.
    """

    a: Floats
    b: Floats
    margins: Floats


def by_side(raters: Path) -> dict[str, list[Pair]]:
    """All pairs: `train` teaches the reward model, `judge` the judge, `eval` measures both."""
    sides: dict[str, list[Pair]] = {"train": [], "judge": [], "eval": []}
    for row in jsonl.read(raters / "pairs.jsonl"):
        sides[row["side"]].append(_pair(row))
    return sides


def newest(pairs: Sequence[Pair], most: int, seed: int) -> list[Pair]:
    """At most `most` pairs (0: all), of the newest partitions; a part of one is drawn at random."""
    if not most or len(pairs) <= most:
        return list(pairs)
    # Pairs come in the order of the feedback, which may go through one subject after the other.
    drawn = random.Random(seed).sample(pairs, len(pairs))
    return sorted(drawn, key=lambda pair: -pair.partition)[:most]


def spread(pairs: Sequence[Pair], most: int) -> list[Messages]:
    """At most `most` distinct prompts, spread evenly over the pairs' order."""
    distinct = list({jsonl.dumps(pair.prompt): pair.prompt for pair in pairs}.values())
    stride = max(1, -(-len(distinct) // most))
    return distinct[::stride]


def labels(pairs: Sequence[Pair]) -> Floats:
    """[n] soft labels."""
    return numpy.array([pair.p for pair in pairs], dtype=numpy.float64)


def scores(scorer: Scorer, pairs: Sequence[Pair]) -> Scores:
    """Both answers of every pair, scored."""
    prompts = [pair.prompt for pair in pairs]
    first = score(scorer, prompts, [pair.a for pair in pairs])
    second = score(scorer, prompts, [pair.b for pair in pairs])
    margins: Floats = (numpy.array(first) - numpy.array(second)) * scorer.model.logit
    return Scores(numpy.array(first), numpy.array(second), margins)


def with_interval(
    name: str, margins: Floats, pairs: Sequence[Pair], settings: EvaluateSettings, seed: int
) -> dict[str, float]:
    """Accuracy of margins [n] under this name, with its interval over prompts; nothing if unknown.

    An undecided pair does not count.
    """
    found = accuracy.mean_by_group(
        accuracy.correct(margins, labels(pairs)),
        [jsonl.dumps(pair.prompt) for pair in pairs],
        settings.bootstrap_draws,
        settings.confidence,
        seed,
    )
    if found is None:
        return {}
    return {name: found.value, f"{name}_low": found.low, f"{name}_high": found.high}


def measure(
    pairs: Sequence[Pair], margins: Floats, settings: EvaluateSettings, seed: int
) -> dict[str, float]:
    """Figures of a reward model on held-out pairs; margins [n] are score a - score b."""
    figures = with_interval("reward/accuracy", margins, pairs, settings, seed)
    clear = [i for i, pair in enumerate(pairs) if pair.votes > 2 and abs(pair.p - 0.5) > 1 / 6]
    if clear:
        chosen = [pairs[i] for i in clear]
        figures |= with_interval("reward/accuracy_majority", margins[clear], chosen, settings, seed)
    longer = numpy.array([float(len(pair.a.split()) - len(pair.b.split())) for pair in pairs])
    baseline = accuracy.correct(longer, labels(pairs))
    figures["reward/length_baseline"] = float(numpy.nanmean(baseline))
    right = accuracy.correct(margins, labels(pairs))
    for domain in sorted({pair.domain for pair in pairs if pair.domain}):
        chosen_rows = [i for i, pair in enumerate(pairs) if pair.domain == domain]
        if not numpy.isnan(right[chosen_rows]).all():
            share = float(numpy.nanmean(right[chosen_rows]))
            figures[f"reward/accuracy/domain/{domain_part(domain)}"] = share
    return figures


def share_of_ceiling(figures: Mapping[str, float], ceiling: float) -> dict[str, float]:
    """`reward/accuracy` and its ends over the accuracy that the raters' agreement allows."""
    ends = {f"reward/accuracy_of_ceiling{end}": f"reward/accuracy{end}" for end in _ENDS}
    return {name: figures[of] / ceiling for name, of in ends.items() if of in figures}


def length_correlation(pairs: Sequence[Pair], found: Scores) -> float:
    """Rank correlation of score and length in words, over the distinct answers; NaN if unknown."""
    of_answer: dict[tuple[str, str], float] = {}
    for pair, a, b in zip(pairs, found.a, found.b, strict=True):
        prompt = jsonl.dumps(pair.prompt)
        of_answer[prompt, pair.a], of_answer[prompt, pair.b] = float(a), float(b)
    words = [float(len(answer.split())) for _, answer in of_answer]
    return accuracy.rank_correlation(numpy.array([*of_answer.values()]), numpy.array(words))


def _pair(row: dict[str, Any]) -> Pair:
    return Pair(**{name: row[name] for name in Pair._fields if name in row})
