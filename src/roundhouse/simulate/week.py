"""A simulated working week: who did what when, in rows that are ready for the ledger.

Every rater works through their own list, with short pauses, four hours a day from about nine.
"""

from collections import defaultdict
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any, NamedTuple

from roundhouse.feedback import Row
from roundhouse.simulate.team import Rater
from roundhouse.simulate.world import understand

#: Monday of round 1. Round N works in the Nth week; all of it lies in the past on a sane clock.
FIRST_MONDAY = datetime(2024, 1, 1, tzinfo=UTC)

GUIDELINE = "v1"
DAY_SECONDS = 4 * 3600.0


class _Work(NamedTuple):
    rater: Rater
    seconds: float
    row: Row


class Week:
    """Collects a round's work and hands it out in the order of time."""

    def __init__(self, round_number: int, rng: Random) -> None:
        self._round = round_number
        self._rng = rng
        self._work: list[_Work] = []

    def add(self, rater: Rater, kind: str, prompt: str, effort: float = 1.0, **fields: Any) -> None:
        """One piece of work; `effort` is its time as a multiple of a comparison's."""
        seconds = round(rater.pace * effort * self._rng.lognormvariate(0.0, 0.35), 1)
        row: Row = {
            "kind": kind,
            "prompt": prompt,
            "rater": rater.name,
            "region": rater.region,
            "guideline": GUIDELINE,
            "seconds": seconds,
            "source": "simulated",
            **fields,
        }
        question = understand(prompt)
        if question is not None:
            row["domain"] = question.domain.name
        self._work.append(_Work(rater, seconds, row))

    def rows(self, monday: datetime | None = None) -> Iterator[Row]:
        """The rows in the order of `created_at`, without ids; starts at the round's own Monday."""
        start = monday or FIRST_MONDAY + timedelta(weeks=self._round - 1)
        timed = []
        for number, (work, spent) in enumerate(self._clocked()):
            day, second = divmod(spent, DAY_SECONDS)
            # Five working days, then a weekend.
            day += 2 * (day // 5)
            moment = start + timedelta(days=day, hours=9, seconds=round(second))
            timed.append((moment, number, work.row))
        for moment, _, row in sorted(timed, key=lambda entry: entry[:2]):
            row["created_at"] = moment.isoformat()[:19] + "Z"
            yield row

    def _clocked(self) -> Iterator[tuple[_Work, float]]:
        """Each piece of work with the working seconds its rater had spent when it was done."""
        spent: dict[str, float] = defaultdict(lambda: self._rng.uniform(0, 1200))
        for work in self._shuffled():
            pause = self._rng.expovariate(1 / 4)
            spent[work.rater.name] += work.seconds + pause
            yield work, spent[work.rater.name]

    def _shuffled(self) -> list[_Work]:
        order = list(self._work)
        self._rng.shuffle(order)
        return order


def numbered(rows: Iterator[Row], round_number: int) -> Iterator[Row]:
    """The same rows with stable ids, such as `sim-0002-000123`."""
    for number, row in enumerate(rows, start=1):
        yield {"id": f"sim-{round_number:04d}-{number:06d}", **row}
