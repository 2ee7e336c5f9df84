"""What a case of the study is: a name, and figures with their standard errors beside the aim."""

import argparse
import math
import operator
import re
from collections.abc import Callable, Sequence
from typing import NamedTuple

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


def has(name: str, word: str) -> bool:
    """Whether a case's name has the word, in capitals or not, with or without a space before %.

    >>> has("a rater flips 30 %", "Flips 30%")
    True
    """
    return _plain(word) in _plain(name)


def _plain(text: str) -> str:
    return re.sub(r"\s+%", "%", text).casefold()


def none_has(word: str, names: Sequence[str]) -> str:
    """The message where no name has the word: all names, one a line."""
    return "\n  ".join([f"no case has {word!r} in its name; the cases are", *names])


def positive(text: str) -> int:
    """A number of replicates from the command line, 1 or more."""
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
