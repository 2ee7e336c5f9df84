"""Cases that are simulated: names, figures with standard errors beside the aim, command line."""

import argparse
import math
import operator
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Generic, NamedTuple, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy import stats

Floats = NDArray[np.float64]

_HOLDS = {">=": operator.ge, "<=": operator.le, ">": operator.gt, "<": operator.lt, "": operator.eq}


class Figure(NamedTuple):
    """One measured figure.

    Attributes:
        what: its name in the table.
        value: as measured.
        error: standard error over replicates; NaN where there is none.
        aim: what was wanted, such as `>= 0.90` or `0`; empty where nothing was.
    """

    what: str
    value: float
    error: float
    aim: str = ""

    @property
    def met(self) -> bool | None:
        """Whether the value as measured is what was wanted; None where nothing was.

        >>> Figure("power", 0.89, 0.01, ">= 0.90").met
        False
        """
        if not self.aim:
            return None
        *holds, bound = self.aim.split()
        return bool(_HOLDS["".join(holds)](self.value, float(bound)))


class Case(NamedTuple):
    """A situation that is simulated again and again.

    Attributes:
        name: of the row.
        run: (replicates, seed) to figures.
        part: of the study's replicates that it gets: less where one takes long.
    """

    name: str
    run: Callable[[int, int], list[Figure]]
    part: float = 1.0


class Named(Protocol):
    """What `--case` chooses from."""

    @property
    def name(self) -> str: ...


T = TypeVar("T", bound=Named)


class Options(NamedTuple, Generic[T]):
    """What the command line asks for: a seed a replicate, the cases by `--case`; never none."""

    seeds: range
    cases: list[T]
    out: Path | None


def has(name: str, word: str) -> bool:
    """Whether a case's name has the word, in capitals or not, with or without a space before %.

    >>> has("a rater flips 30 %", "Flips 30%")
    True
    """
    return _plain(word) in _plain(name)


def _plain(text: str) -> str:
    return re.sub(r"\s+%", "%", text).casefold()


def options(about: str | None, replicates: int, every: Sequence[T]) -> Options[T]:
    """The command line, by a program's docstring and its defaults; where `--case` names none of
    the cases, ends the program with all names, one a line."""
    parser = argparse.ArgumentParser(
        description=about, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--replicates", type=_positive, default=replicates)
    parser.add_argument("--seed", type=int, default=1, help="the first one")
    parser.add_argument("--case", default="", help="cases whose name has this")
    parser.add_argument("--out", type=Path, help="file to write the figures to, as JSON")
    given = parser.parse_args()
    chosen = [one for one in every if has(one.name, given.case)]
    if not chosen:
        head = f"no case has {given.case!r} in its name; the cases are"
        sys.exit("\n  ".join([head, *(one.name for one in every)]))
    return Options(range(given.seed, given.seed + given.replicates), chosen, given.out)


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number from 1")
    return int(text)


def share(what: str, hits: Sequence[float], aim: str = "") -> Figure:
    """The mean of one number a replicate (a share, or 0 and 1), with its standard error."""
    size = len(hits)
    mean = math.fsum(hits) / size
    spread = math.fsum((hit - mean) ** 2 for hit in hits) / max(1, size - 1)
    return Figure(what, mean, math.sqrt(spread / size), aim)


def interval(value: Floats) -> tuple[float, float, float]:
    """Mean over seeds with its 95 % interval (t)."""
    mean = float(value.mean())
    if len(value) < 2:
        return mean, float("nan"), float("nan")
    half = float(stats.t.ppf(0.975, len(value) - 1) * value.std(ddof=1) / np.sqrt(len(value)))
    return mean, mean - half, mean + half
