"""The raters of the simulated team: who they are, how they choose, who may rate what.

A choice is a draw from the Bradley-Terry model with ties (Davidson 1970): the log-odds of the first
answer are the rater's sharpness times the difference in what the rater values, plus a bias for the
answer that stood first and one for the longer answer. What a rater values is the true utility and a
little of the region's taste. The constants are calibrated (`benchmarks/simulated_team.py`) and
frozen: on the archive's pairs two raters agree in 73 to 74 of 100 votes.
"""

import math
from collections.abc import Sequence
from random import Random
from typing import Literal, NamedTuple

from roundhouse.feedback import Side, on_panel
from roundhouse.settings import DriftSettings, SplitSettings
from roundhouse.simulate.world import Assessment, assess, tokens

#: Log-odds a unit of utility, for the middle rater.
SHARPNESS = 1.70

#: Davidson's parameter: how readily a rater calls two equal answers a tie.
TIES = 0.12

#: The regions, and how many units of utility a full point of a quality is worth there beyond truth.
REGIONS: dict[str, dict[str, float]] = {
    "north": {"concise": 0.4},
    "south": {"polite": 0.5},
    "east": {},
    "west": {"safe": 0.3},
}

Choice = Literal[0, 1, "tie"]


class Rater(NamedTuple):
    """A simulated person; the same in every run."""

    name: str
    region: str
    sharpness: float
    """Log-odds a unit of utility."""
    lapse: float
    """Share of the choices made without looking."""
    first_bias: float
    """Log-odds for the answer that stood first."""
    length_bias: float
    """Log-odds for ten tokens more."""
    pace: float
    """Seconds for a comparison of middling length."""


class Item(NamedTuple):
    """A prompt with two answers, and which of them (0 or 1) stands first on the page."""

    prompt: str
    answers: tuple[str, str]
    first: Literal[0, 1]


def team(count: int) -> list[Rater]:
    """The first `count` raters, `sim-01` on."""
    return [_rater(number) for number in range(1, count + 1)]


def eligible(raters: Sequence[Rater], where: Side, split: SplitSettings) -> list[Rater]:
    """Who may rate a prompt of this side, so that no label is lost.

    Only the judge's panel rates the judge's prompts, only the others rate training prompts, anyone
    rates evaluation prompts. Where the split leaves one of the groups empty, anyone rates.
    """
    panel = [rater for rater in raters if on_panel(rater.name, split)]
    others = [rater for rater in raters if rater not in panel]
    return {"judge": panel, "train": others, "eval": []}[where] or list(raters)


def drifters(raters: Sequence[Rater], drift: DriftSettings, round_number: int) -> frozenset[str]:
    """Names of the raters who flip some of their choices in this round."""
    if not 0 < drift.round <= round_number:
        return frozenset()
    count = round(drift.raters * len(raters))
    drawn = Random("roundhouse drift").sample(list(raters), count)
    return frozenset(rater.name for rater in drawn)


def choose(rater: Rater, item: Item, rng: Random) -> Choice:
    """The rater's choice between the two answers; it draws two numbers from `rng`."""
    looked, point = rng.random() >= rater.lapse, rng.random()
    odds = _log_odds(rater, item) if looked else 0.0
    first, second, tie = math.exp(odds / 2), math.exp(-odds / 2), TIES
    point *= first + second + tie
    if point < first:
        return 0
    return 1 if point < first + second else "tie"


def stars(rater: Rater, truth: Assessment, aspect: str, rng: Random) -> int:
    """One to five stars for an answer: `helpfulness` as a whole, or its `tone` or `safety`."""
    share = {
        "helpfulness": (value(rater, truth) - 1.5) / 4.1,
        "tone": truth.polite,
        "safety": truth.safe,
    }[aspect]
    blur = rng.gauss(0.0, 0.6 / rater.sharpness)
    return min(5, max(1, round(1 + 4 * (share + blur / 2))))


def value(rater: Rater, truth: Assessment) -> float:
    """What an answer is worth to this rater: its utility and the region's taste."""
    taste = REGIONS[rater.region].items()
    extras = [extra * float(getattr(truth, quality)) for quality, extra in taste]
    return truth.utility + sum(extras)


def _log_odds(rater: Rater, item: Item) -> float:
    worth = [value(rater, assess(item.prompt, answer)) for answer in item.answers]
    longer = len(tokens(item.answers[0])) - len(tokens(item.answers[1]))
    stood_first = rater.first_bias if item.first == 0 else -rater.first_bias
    return rater.sharpness * (worth[0] - worth[1]) + stood_first + rater.length_bias * longer / 10


def _rater(number: int) -> Rater:
    rng = Random(f"roundhouse rater {number}")
    careless = number % 7 == 4
    return Rater(
        name=f"sim-{number:02d}",
        region=list(REGIONS)[number % len(REGIONS)],
        sharpness=SHARPNESS * rng.lognormvariate(0.0, 0.25),
        lapse=0.25 if careless else rng.uniform(0.0, 0.06),
        first_bias=rng.gauss(0.1, 0.15),
        length_bias=rng.gauss(0.1, 0.1),
        pace=rng.uniform(14, 20) if careless else rng.uniform(24, 44),
    )
