"""Readers: a file of one format becomes a stream of items, each a row's cells or what is wrong.

A reader checks its file when it is called, and raises InputError where the whole file is unusable;
what is wrong with a single row is an item like any other.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from roundhouse.ingest.mapping import Mapping


class Item(NamedTuple):
    """One row as a reader found it."""

    line: int
    """Number of its first line, from 1 (in Parquet the row's number)."""
    raw: bytes
    """Its bytes; of a row that is too large only the beginning."""
    value: Any
    """The mapped row, not yet checked, or the RowError that says why there is none."""
    more: Iterable[bytes] = ()
    """The rest of a row that is too large, to be read before the next item."""


@dataclass
class Source:
    """An open file. `digest` and `left_out` are complete once the items are read."""

    items: Iterator[Item]
    digest: Callable[[], str]
    position: Callable[[], int]
    close: Callable[[], None]
    left_out: list[str]


Reader = Callable[[Path, Mapping], Source]
