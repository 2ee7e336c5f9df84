"""Which habits of a rater are conspicuous: a p from all that are known, and the figures in words.

Significance is not enough: with thousands of votes a trifle is significant, so a habit also has to
be far enough from what is usual to matter.

- **fixed**: the answer shown first, ties or one side, again and again. Such votes were given
  without looking.
- **loose**: the longer answer beyond what peers choose on the same items, haste, too few changes of
  side, other answers to items that came back. A person should look; such votes may be honest.
"""

import math
from typing import NamedTuple

from roundhouse.raters.habits import Habit, Habits

#: Distance of the share of first places, or of longer answers, from the usual one that matters:
#: that of a rater who gives three votes in ten without looking; and the share of ties that does.
CONSPICUOUS, TIED = 0.15, 0.9
#: Share of hasty votes, and of contradictions, above the usual one that matters.
HASTY, CONTRARY = 0.15, 0.2
#: Part of the usual seconds a vote, and of the expected number of runs, below which it matters.
QUICK, FEW_RUNS = 1 / 3, 0.7


class Telling(NamedTuple):
    """p: chance that a rater like the others shows such habits (Bonferroni over those known), NaN
    where none is; odd: whether one matters; words: a line for each that does."""

    p: float
    odd: bool
    words: list[str]


def fixed(one: Habits) -> Telling:
    """Habits of someone who does not look."""
    place, ties, longest = one.position, one.ties, one.longest
    # Raters differ most of all in how soon they call a tie; only nearly nothing else is odd.
    tied = ties.known and ties.figure >= TIED
    return _telling(
        (place, _far(place, CONSPICUOUS), _share("the answer shown first in", place)),
        (ties if tied else _NONE, tied, _share("a tie in", ties)),
        (
            longest,
            longest.known and longest.figure >= 2 * longest.pool,
            f"{longest.figure:.0f} in a row alike in {longest.votes} votes, "
            f"usual {longest.pool:.0f} (p {longest.p:.2g})",
        ),
    )


def loose(one: Habits) -> Telling:
    """Habits that a person should look at."""
    longer, pace, hasty, runs, again = one.longer, one.pace, one.hasty, one.runs, one.contradiction
    return _telling(
        (longer, _far(longer, CONSPICUOUS), _share("the longer answer in", longer, "peers'")),
        (
            pace,
            pace.known and pace.figure <= QUICK * pace.pool,
            f"{pace.figure:.1f} s a vote (median of {pace.votes}), usual {pace.pool:.1f} s "
            f"(p {pace.p:.2g})",
        ),
        (
            hasty,
            hasty.known and hasty.figure - hasty.pool >= HASTY,
            _share("far below their own pace in", hasty),
        ),
        (
            runs,
            runs.known and runs.figure <= FEW_RUNS * runs.pool,
            f"{runs.figure:.0f} runs of one side in {runs.votes} votes, usual {runs.pool:.0f} "
            f"(p {runs.p:.2g})",
        ),
        (
            again,
            again.known and again.figure - again.pool >= CONTRARY,
            _share("another answer than before in", again),
        ),
    )


_NONE = Habit(math.nan, math.nan, 0, math.nan)


def _far(one: Habit, distance: float) -> bool:
    return one.known and abs(one.figure - one.pool) >= distance


def _share(what: str, one: Habit, whose: str = "usual") -> str:
    return f"{what} {one.figure:.2f} of {one.votes}, {whose} {one.pool:.2f} (p {one.p:.2g})"


def _telling(*found: tuple[Habit, bool, str]) -> Telling:
    """Where habits matter the chance is that of one of them: a trifle elsewhere lends them none."""
    known = [one.p for one, _, _ in found if one.known]
    matter = [one.p for one, odd, _ in found if odd]
    p = min(1.0, len(known) * min(matter or known)) if known else math.nan
    return Telling(p, bool(matter), [words for _, odd, words in found if odd])
