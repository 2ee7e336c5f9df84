"""JSON Lines: one JSON object a line, UTF-8. A line of white space alone is no row."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

from roundhouse.feedback import RowError
from roundhouse.ingest.lines import BOM, MAX_LINE, Line, LineFile
from roundhouse.ingest.mapping import Mapping
from roundhouse.ingest.readers import Item, Source


def read(path: Path, mapping: Mapping) -> Source:
    """Opens a JSON Lines file."""
    lines = LineFile(path)
    left_out: list[str] = []
    items = _items(lines, mapping, left_out)
    return Source(items, lines.digest, lines.position, lines.close, left_out)


def decode(raw: bytes) -> Any:
    """Decodes one line more strictly than `json` does.

    Raises:
        RowError: bad_encoding, nul_byte, not_json, not_finite, duplicate_key, too_deep,
            wrong_value.
    """
    if b"\0" in raw:
        raise RowError("nul_byte", f"NUL at byte {raw.index(0) + 1} of the line")
    try:
        return _DECODER.decode(raw.removeprefix(BOM).decode("utf-8"))
    except UnicodeDecodeError as error:
        raise RowError("bad_encoding", f"no UTF-8 at byte {error.start + 1} of the line") from None
    except json.JSONDecodeError as error:
        raise RowError("not_json", f"{error.msg.lower()} at character {error.pos + 1}") from None
    except RecursionError:
        raise RowError("too_deep", "nested too deeply") from None
    except ValueError:
        # Python refuses to read integers of more than some 4300 digits.
        raise RowError("wrong_value", "a number has thousands of digits") from None


def _items(lines: LineFile, mapping: Mapping, left_out: list[str]) -> Iterator[Item]:
    known: set[str] = set()
    for line in lines:
        if line.large:
            message = f"the line is longer than {MAX_LINE >> 20} MiB"
            yield Item(line.number, line.raw, RowError("too_large", message), lines.rest())
        elif line.raw.strip():
            yield Item(line.number, line.raw, _value(line, mapping, known, left_out))


def _value(line: Line, mapping: Mapping, known: set[str], left_out: list[str]) -> Any:
    try:
        value = decode(line.raw)
    except RowError as error:
        cut = not line.end and error.code in ("not_json", "bad_encoding")
        return RowError("truncated_line", f"the file ends here: {error.message}") if cut else error
    if not isinstance(value, dict):
        return value
    if mapping.columns:
        new = value.keys() - known
        known |= new
        left_out += sorted(name for name in mapping.left_out(new) if name not in left_out)
    return mapping.row(value)


def _refuse(constant: str) -> NoReturn:
    raise RowError("not_finite", f"{constant} is no JSON number")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise RowError("duplicate_key", f"{twice[:60]!a} stands there twice")
    return found


_DECODER = json.JSONDecoder(object_pairs_hook=_object, parse_constant=_refuse)
