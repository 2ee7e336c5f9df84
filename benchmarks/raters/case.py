"""What a case of the study is: a name, and figures with their standard errors beside the aim."""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple


class Figure(NamedTuple):
    """One measured figure.

    Attributes:
        what: its name in the table.
        value: as measured.
        error: standard error over replicates.
        aim: what was wanted, such as `>= 0.90`; empty where nothing was.
    """

    what: str
    value: float
    error: float
    aim: str = ""


class Case(NamedTuple):
    """A situation that is simulated again and again.

    Attributes:
        name: of the row.
        run: (replicates, seed) to figures.
    """

    name: str
    run: Callable[[int, int], list[Figure]]


def share(what: str, hits: Sequence[float], aim: str = "") -> Figure:
    """The mean of one number a replicate (a share, or 0 and 1), with its standard error."""
    size = len(hits)
    mean = math.fsum(hits) / size
    spread = math.fsum((hit - mean) ** 2 for hit in hits) / max(1, size - 1)
    return Figure(what, mean, math.sqrt(spread / size), aim)
