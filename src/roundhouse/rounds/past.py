"""What past rounds say about the next one: their learning curve, their raters, the pace of work."""

import math
from collections.abc import Iterable
from pathlib import PurePosixPath
from statistics import NormalDist, median
from typing import Any, NamedTuple

from roundhouse.errors import UsageError
from roundhouse.feedback import Row
from roundhouse.ledger import Ledger, Round
from roundhouse.locations import Locations, tag_name
from roundhouse.raters.planning import SECONDS, Point
from roundhouse.rounds import objects, usage
from roundhouse.rounds.git import round_tags
from roundhouse.rounds.shelf import Shelf

#: Newest rows of the ledger that tell the pace.
NEWEST = 20_000
#: Fewest comparisons with `seconds` that are believed.
LEAST = 20
#: A comparison counts for so many medians at most: what took longer was a break.
BREAK = 10.0
#: Pairs that the members of a reward model disagreed on (`learn.doubt`).
UNCERTAIN = "out/align/uncertain.jsonl"


class Pace(NamedTuple):
    """Seconds a comparison.

    Attributes:
        seconds: the mean, breaks cut; the default where too few rows say.
        median: of the same rows, NaN where too few say.
        rows: comparisons that said; 0 where the default is used.
    """

    seconds: float
    median: float
    rows: int


class Raters(NamedTuple):
    """How many people compared answers in a round."""

    people: int
    round: int


def points(places: Locations, ledger: Ledger) -> list[Point]:
    """Pairs that trained and held-out reward accuracy of every published round that has both."""
    shelf, found = Shelf(places), []
    for row in _published(places, ledger):
        figures = row.metrics
        names = ("reward/pairs", "reward/accuracy", "reward/accuracy_low", "reward/accuracy_high")
        if all(name in figures for name in names):
            pairs, accuracy, low, high = (figures[name] for name in names)
            sure = float(shelf.settings(tag_name(row.number))["evaluate"]["confidence"])
            error = (high - low) / 2 / NormalDist().inv_cdf((1 + sure) / 2)
            found.append(Point(int(pairs), accuracy, error))
    return found


def raters(places: Locations, ledger: Ledger) -> Raters | None:
    """Raters with comparisons among the rows that the newest published round brought."""
    rounds = _published(places, ledger)
    if not rounds or rounds[-1].watermark is None:
        return None
    after = rounds[-2].watermark or 0 if len(rounds) > 1 else 0
    names = {row["rater"] for row in _comparisons(ledger.rows(after, rounds[-1].watermark))}
    return Raters(len(names), rounds[-1].number) if names else None


def pace(ledger: Ledger | None) -> Pace:
    """How long a comparison takes, by the newest rows of the ledger that say.

    >>> pace(None).seconds
    37.0
    """
    rows = ledger.rows(max(0, ledger.watermark() - NEWEST)) if ledger else ()
    said = [float(row["seconds"]) for row in _comparisons(rows) if row.get("seconds")]
    if len(said) < LEAST:
        return Pace(SECONDS, math.nan, 0)
    middle = median(said)
    mean = math.fsum(min(one, BREAK * middle) for one in said) / len(said)
    return Pace(mean, middle, len(said))


def uncertain(places: Locations) -> tuple[int, list[dict[str, Any]]]:
    """The newest published round that lists pairs its reward model is unsure of, and the pairs.

    Raises:
        UsageError: no round lists any.
    """
    for number in reversed(round_tags(places.root)):
        tag = tag_name(number)
        if UNCERTAIN in objects.manifest(places.root, tag):
            return number, list(Shelf(places).rows(tag, UNCERTAIN))
    raise UsageError(
        f"no published round has an {PurePosixPath(UNCERTAIN).name} to choose pairs from: it is "
        "written by rounds with reward.members of 2 or more"
    )


def labelled(places: Locations, number: int) -> list[dict[str, Any]]:
    """The pairs that trained a published round's reward model, as the raters stage wrote them."""
    rows = Shelf(places).rows(tag_name(number), usage.PAIRS)
    return [row for row in rows if row["side"] == "train"]


def _published(places: Locations, ledger: Ledger) -> list[Round]:
    tagged = set(round_tags(places.root))
    return [row for row in ledger.rounds() if row.number in tagged]


def _comparisons(rows: Iterable[Row]) -> Iterable[Row]:
    """Comparisons by people."""
    return (row for row in rows if row["kind"] == "comparison" and row.get("rater_kind") != "ai")
