"""`--map FIELD=COLUMN` and `--set FIELD=VALUE`: from any table to canonical rows.

- A list field takes its parts by place (`responses.0=answer_a`, `responses.1=answer_b`,
  `scale.0=low`), or several columns at once (`responses=answer_a,answer_b`).
- `--set` gives a value to rows that have none of their own; a row's own value stays.
- With at least one `--map` the file's other columns are left out, unless they bear the name of a
  field that is not mapped; the report names those left out. Without `--map` the file claims to be
  canonical, and an unknown column is refused row by row like any unknown field.
- Text cells become numbers, booleans and lists where the field holds those: `0`, `1` and `tie` for
  choice; decimal numbers; `true` and `false`; `["a","b"]` or, for scale, `1,5`. What does not read
  so stays text and is refused as a wrong type. An empty cell of any field but a text that must be
  there is an absent field.
"""

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from roundhouse.errors import UsageError
from roundhouse.rows import FIELDS

_LISTS = ("responses", "scale", "policy")
_NUMBERS = ("score", "seconds", "strength")
_WHOLE = ("choice", "position")
#: Fields whose empty cell says that an answer is empty, not that there is none.
_TEXTS = ("prompt", "responses", "response", "correction", "reason")
_PLACE = re.compile(r"(responses|scale|policy)\.(\d)", re.ASCII)
_NUMBER = re.compile(
    r"[+-]?(\d{1,40}\.?\d{0,40}|\.\d{1,40})([eE][+-]?\d{1,3})?|nan|[+-]?inf", re.I | re.A
)


Sources = list[tuple[str, str]]


@dataclass(frozen=True)
class Mapping:
    """Where fields come from: `columns` maps field (or field and place) to column."""

    columns: dict[str, str] = field(default_factory=dict)
    constants: dict[str, str] = field(default_factory=dict)

    @classmethod
    def parse(cls, maps: Sequence[str] = (), constants: Sequence[str] = ()) -> "Mapping":
        """Reads the values of `--map` and `--set`.

        Raises:
            UsageError: not FIELD=..., not a field of any row, or a field twice.
        """
        return cls(_pairs(maps, "--map"), _pairs(constants, "--set"))

    def row(self, cells: dict[str, Any], sources: Sources | None = None) -> dict[str, Any]:
        """The row that a JSON object, or a table with types of its own, makes."""
        if not self.columns and not self.constants and not any("." in name for name in cells):
            return cells
        sources = self.sources(cells) if sources is None else sources
        row = _gathered({name: cells[column] for name, column in sources if column in cells})
        constants = self._lacking(row)
        return row | typed(constants, row.get("kind", constants.get("kind")))

    def typed_row(self, cells: dict[str, str], sources: Sources) -> dict[str, Any]:
        """The row that a table makes whose cells are all text."""
        found = {
            name: cells[column]
            for name, column in sources
            if cells.get(column) or (column in cells and name.partition(".")[0] in _TEXTS)
        }
        row = _gathered(found)
        row |= self._lacking(row)
        return typed(row, row.get("kind"))

    def missing(self, columns: Iterable[str]) -> list[str]:
        """Mapped columns that the file does not have."""
        known = set(columns)
        return sorted({column for _, column in self.sources(known) if column not in known})

    def left_out(self, columns: Iterable[str]) -> list[str]:
        """Columns of the file that become no field."""
        known = list(columns)
        used = {column for _, column in self.sources(known)}
        return [column for column in known if column not in used]

    def sources(self, columns: Iterable[str]) -> Sources:
        """Field and column, for every column of a file that becomes a field."""
        known = dict.fromkeys(columns)
        sources: Sources = []
        for name, column in self.columns.items():
            parts = column.split(",")
            if name in _LISTS and column not in known and len(parts) > 1:
                sources += [(f"{name}.{place}", part) for place, part in enumerate(parts)]
            else:
                sources.append((name, column))
        mapped = {name.partition(".")[0] for name in self.columns}
        for column in known:
            own = column in FIELDS or _PLACE.fullmatch(column) is not None
            if column.partition(".")[0] not in mapped and (own or not self.columns):
                sources.append((column, column))
        return sources

    def _lacking(self, row: dict[str, Any]) -> dict[str, Any]:
        """The constants of fields that the row does not have."""
        if not self.constants:
            return {}
        return _gathered(
            {
                name: value
                for name, value in self.constants.items()
                if row.get(name.partition(".")[0]) is None
            }
        )


def typed(row: dict[str, Any], kind: Any) -> dict[str, Any]:
    """Text cells as the values that their fields hold; what does not read so stays as it is."""
    return {name: _typed(name, value, kind) for name, value in row.items()}


def _typed(name: str, value: Any, kind: Any) -> Any:
    if isinstance(value, list):
        return [_number(part) for part in value] if name == "scale" else value
    if not isinstance(value, str):
        return value
    if name == "gold":
        name = {"comparison": "choice", "rating": "score"}.get(str(kind), name)
    if name in _WHOLE:
        return int(value) if value.strip() in ("0", "1") else value.strip()
    if name in _NUMBERS:
        return _number(value)
    if name == "anchor":
        return {"true": True, "false": False}.get(value.strip().lower(), value)
    if name in ("responses", "scale"):
        return _list(name, value)
    return value


def _number(text: Any) -> Any:
    if not isinstance(text, str) or not _NUMBER.fullmatch(text.strip()):
        return text
    return float(text)


def _list(name: str, text: str) -> Any:
    if name == "scale" and "," in text and "[" not in text:
        return [_number(part) for part in text.split(",")]
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return text
    return found if isinstance(found, list) else text


def _gathered(found: dict[str, Any]) -> dict[str, Any]:
    """Puts `responses.0` and `responses.1` together into `responses`."""
    row: dict[str, Any] = {}
    places: dict[str, dict[int, Any]] = {}
    for name, value in found.items():
        match = _PLACE.fullmatch(name) if "." in name else None
        if match:
            places.setdefault(match[1], {})[int(match[2])] = value
        else:
            row[name] = value
    for name, parts in places.items():
        row[name] = [parts.get(place) for place in range(max(parts) + 1)]
    return row


def _pairs(texts: Sequence[str], option: str) -> dict[str, str]:
    pairs: dict[str, str] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name or not value:
            raise UsageError(f"{option} {text}: write it as {_FORM[option]}")
        if name not in FIELDS and not _PLACE.fullmatch(name):
            raise UsageError(
                f"{option} {text}: {name} is no field; fields are {', '.join(sorted(FIELDS))}"
            )
        if name in pairs:
            raise UsageError(f"{option} {text}: {name} is given twice")
        pairs[name] = value
    return pairs


_FORM = {
    "--map": "FIELD=COLUMN, such as prompt=question",
    "--set": "FIELD=VALUE, such as kind=comparison",
}
