"""How reports look: one renderer, its tables, and how numbers are written."""

import io
import os
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

#: Width of text that no terminal asked for.
WIDTH = 100
#: Style of what a person should look at.
BAD = "bold red"


def render(*parts: RenderableType, width: int | None = None) -> str:
    """Text for standard output: coloured and fitted on a terminal, plain elsewhere."""
    live = sys.stdout.isatty()
    columns = width or (shutil.get_terminal_size((WIDTH, 24)).columns if live else WIDTH)
    sheet = io.StringIO()
    console = Console(file=sheet, width=columns, force_terminal=live, emoji=False, highlight=False)
    for part in parts:
        console.print(part)
    return "\n".join(line.rstrip() for line in sheet.getvalue().splitlines()).rstrip()


def table(*columns: str) -> Table:
    """An empty table with these heads."""
    found = Table(box=SIMPLE_HEAD, pad_edge=False, header_style="dim")
    for column in columns:
        found.add_column(column)
    return found


def facts(named: Mapping[str, Any]) -> Table:
    """Names and values, one a line; nothing is cut."""
    found = Table.grid(padding=(0, 2))
    for name, value in named.items():
        found.add_row(Text(name, "dim"), Text(str(value), overflow="fold"))
    return found


def number(value: float | None, digits: int = 3) -> str:
    """A figure, or a dash where it is not known."""
    return "-" if value is None else f"{value:.{digits}f}"


def interval(low: float | None, high: float | None, digits: int = 3) -> str:
    """An interval in brackets, or nothing where it is not known."""
    if low is None or high is None:
        return ""
    return f"[{low:.{digits}f}, {high:.{digits}f}]"


def listed(counts: Mapping[str, float]) -> str:
    """Names with their counts, in parentheses.

    >>> listed({"watch": 2, "ok": 1400})
    ' (ok 1,400, watch 2)'
    """
    named = ", ".join(f"{name} {count:,.0f}" for name, count in sorted(counts.items()))
    return f" ({named})" if named else ""


def command() -> str:
    """How the reader can call this program: by name, or by its path from here."""
    if shutil.which("roundhouse"):
        return "roundhouse"
    return os.path.relpath(Path(sys.executable).with_name("roundhouse"))
