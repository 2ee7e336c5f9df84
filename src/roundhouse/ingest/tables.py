"""CSV and Parquet: rows with named columns.

CSV is UTF-8 with commas and one header line. Cells are text: `00123` stays `00123`, `NA` stays
`NA`. A row with empty cells alone, or none, is no row.
"""

import csv
import hashlib
from collections.abc import Iterable, Iterator
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

from roundhouse import jsonl
from roundhouse.errors import InputError
from roundhouse.feedback import RowError
from roundhouse.ingest.lines import MAX_LINE, Line, LineFile, open_file, shown
from roundhouse.ingest.mapping import Mapping
from roundhouse.ingest.readers import Item, Source

#: How much of a file may be read again as records of their own, in bytes.
_AGAIN_BYTES = 64 << 20


def read_csv(path: Path, mapping: Mapping) -> Source:
    """Opens a CSV file and reads its header.

    Raises:
        InputError: no header, a column twice, or a mapped column that is not there.
    """
    lines = LineFile(path)
    try:
        csv.field_size_limit(MAX_LINE)
        feed = _Feed(lines)
        records = csv.reader(feed, strict=True)
        header = _header(path, records)
        _check_columns(path, header, mapping)
    except BaseException:
        lines.close()
        raise
    left_out = mapping.left_out(header)
    items = _csv_items(feed, records, header, mapping)
    return Source(items, lines.digest, lines.position, lines.close, left_out)


class _Large(Exception):
    """The record being read is too large; its last line may go on."""


class _Feed:
    """Hands lines to the csv module and keeps the bytes of the record it is reading."""

    def __init__(self, lines: LineFile) -> None:
        self._lines = lines
        self._again: list[Line] = []
        self._budget = _AGAIN_BYTES
        self._size = 0
        self.record: list[Line] = []
        self.rest = lines.rest

    def __iter__(self) -> "_Feed":
        return self

    def __next__(self) -> str:
        line = self._again.pop() if self._again else next(self._lines)
        self.record.append(line)
        self._size += len(line.raw)
        if line.large or self._size > MAX_LINE:
            raise _Large
        return (line.raw + line.end).decode("utf-8", "surrogateescape")

    def start(self) -> None:
        """Begins a record."""
        self.record, self._size = [], 0

    def keep_first_line(self) -> None:
        """Cuts a broken record down to its first line; the others are read again as records.

        A quote left open takes in lines that are good rows by themselves. What may be read again
        is limited, or a hostile file would take for ever.
        """
        again = self.record[1:]
        size = sum(len(line.raw) for line in again)
        if again and not again[-1].large and size <= self._budget:
            self._budget -= size
            self._again += reversed(again)
            del self.record[1:]

    def raw(self) -> bytes:
        """The record's bytes, without the last line's end."""
        *first, last = self.record
        return b"".join(line.raw + line.end for line in first) + last.raw


def _header(path: Path, records: Iterator[list[str]]) -> list[str]:
    try:
        header = next((names for names in records if any(names)), None)
    except (csv.Error, _Large) as error:
        raise InputError(
            f"{shown(path)}: the header cannot be read: {error or 'too large'}"
        ) from None
    if header is None:
        raise InputError(f"{shown(path)}: empty file, nothing received")
    return [name.strip() for name in header]


def _check_columns(path: Path, header: list[str], mapping: Mapping) -> None:
    twice = sorted({name for name in header if header.count(name) > 1})
    if twice:
        raise InputError(f"{shown(path)}: column {twice[0]!a} stands there twice; rename one")
    missing = mapping.missing(header)
    if missing:
        columns = ", ".join(ascii(name)[1:-1] for name in header)
        raise InputError(f"{shown(path)}: no column {missing[0]!a}; columns are {columns}")


def _csv_items(
    feed: _Feed, records: Iterator[list[str]], header: list[str], mapping: Mapping
) -> Iterator[Item]:
    sources = mapping.sources(header)
    while True:
        feed.start()
        try:
            cells = next(records)
        except StopIteration:
            return
        except (_Large, csv.Error) as error:
            yield _broken(feed, error)
            continue
        if any(cells):
            named = _cells(feed, cells, header)
            value = named if isinstance(named, RowError) else mapping.typed_row(named, sources)
            yield Item(feed.record[0].number, feed.raw(), value)


def _broken(feed: _Feed, error: Exception) -> Item:
    several = len(feed.record) > 1
    feed.keep_first_line()
    first, last = feed.record[0], feed.record[-1]
    rest: Iterable[bytes] = ()
    if several and first is last:
        problem = RowError("not_csv", "a quote is left open")
    elif isinstance(error, _Large):
        problem = RowError("too_large", f"the row is longer than {MAX_LINE >> 20} MiB")
        rest = feed.rest() if last.large else ()
    else:
        cut = not last.end or "unexpected end" in str(error)
        problem = RowError("truncated_line" if cut else "not_csv", str(error))
    return Item(first.number, feed.raw(), problem, rest)


def _cells(feed: _Feed, cells: list[str], header: list[str]) -> dict[str, str] | RowError:
    raw = feed.raw()
    if b"\0" in raw:
        return RowError("nul_byte", f"NUL at byte {raw.index(0) + 1} of the row")
    try:
        raw.decode("utf-8")
    except UnicodeDecodeError as error:
        return RowError("bad_encoding", f"no UTF-8 at byte {error.start + 1} of the row")
    if len(cells) > len(header):
        return RowError("too_many_columns", f"{len(cells)} cells under {len(header)} columns")
    if len(cells) < len(header) and not feed.record[-1].end:
        return RowError("truncated_line", f"the file ends after {len(cells)} of the row's cells")
    return dict(zip(header, cells, strict=False))


def read_parquet(path: Path, mapping: Mapping) -> Source:
    """Opens a Parquet file. Cells keep their types; a time needs its zone, an id must be text.

    Raises:
        InputError: no Parquet, a column twice or in an unknown time zone, or a mapped column that
            is not there.
    """
    import pyarrow as pa  # noqa: PLC0415 - slow to import, and few files need it
    import pyarrow.parquet as pq  # noqa: PLC0415 - as above

    with open_file(path) as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    try:
        table = pq.ParquetFile(path)
    except (pa.ArrowException, OSError) as error:
        raise InputError(f"{shown(path)}: no readable Parquet: {_line(error)}") from None
    header = list(table.schema_arrow.names)
    try:
        _check_columns(path, header, mapping)
        _check_zones(path, table.schema_arrow, mapping)
    except BaseException:
        table.close()
        raise
    items = _parquet_items(path, table, mapping)
    size = path.stat().st_size
    return Source(items, lambda: digest, lambda: size, table.close, mapping.left_out(header))


def _check_zones(path: Path, schema: Any, mapping: Mapping) -> None:
    """Refuses a column of which no time can be read, unless it is left out."""
    import pyarrow as pa  # noqa: PLC0415 - slow to import, and few files need it

    left_out = mapping.left_out(schema.names)
    for column in schema:
        zone = getattr(column.type, "tz", None)
        if zone is None or column.name in left_out:
            continue
        try:
            pa.scalar(0, column.type).as_py()
        # Each library of time zones has an error of its own.
        except Exception:
            raise InputError(
                f"{shown(path)}: column {column.name!a} is in the time zone {zone!a}, which is "
                "not known here; write it in UTC"
            ) from None


def _parquet_items(path: Path, table: Any, mapping: Mapping) -> Iterator[Item]:
    import pyarrow as pa  # noqa: PLC0415 - slow to import, and few files need it

    names = table.schema_arrow.names
    number, sources = 0, mapping.sources(names)
    used = [column for _, column in sources]
    try:
        for batch in table.iter_batches(batch_size=1000):
            for values in zip(*map(_column, batch.columns), strict=True):
                number += 1
                cells = dict(zip(names, values, strict=True))
                raw = jsonl.dumps({name: _shown(value) for name, value in cells.items()})
                value = _unread(cells, used) or mapping.row(cells, sources)
                yield Item(number, raw.encode("utf-8", "surrogatepass"), value)
    except (pa.ArrowException, OSError) as error:
        raise InputError(
            f"{shown(path)}: damaged after row {number}, the rows before it are in: {_line(error)}"
        ) from None


class _Unread(NamedTuple):
    """A cell that Python has no value for, such as a time after the year 9999."""

    text: str
    code: str
    why: str


def _column(column: Any) -> list[Any]:
    """The cells of a batch's column, each of them a plain value or `_Unread`."""
    try:
        return [_plain(value) for value in column.to_pylist()]
    except MemoryError:
        raise
    # What one odd cell raises depends on its type and on the library of time zones.
    except Exception:
        return [_cell(column.slice(place, 1)) for place in range(len(column))]


def _cell(alone: Any) -> Any:
    """The cell of a column that holds one."""
    try:
        return _plain(alone[0].as_py())
    except MemoryError:
        raise
    except UnicodeDecodeError as error:
        # In a list or a struct there is no telling which text it is.
        whole = error.object if hasattr(alone[0], "as_buffer") else str(alone).encode()
        return _Unread(whole.decode("utf-8", "backslashreplace"), "bad_encoding", _line(error))
    # As in `_column`.
    except Exception as error:
        of_time = str(alone.type).startswith(("timestamp", "date", "time"))
        text = alone.to_string(skip_new_lines=True)[1:-1]
        return _Unread(text, "bad_time" if of_time else "wrong_value", _line(error))


def _unread(cells: dict[str, Any], used: Iterable[str]) -> RowError | None:
    """What is wrong with a row of which a cell that becomes a field cannot be read."""
    for name in used:
        cell = cells.get(name)
        if isinstance(cell, _Unread):
            return RowError(cell.code, f"{ascii(name)[1:-1]}: cannot be read: {cell.why}")
    return None


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, Decimal):
        return float(value)
    return value


def _shown(value: Any) -> Any:
    """A cell as the quarantine keeps it: JSON where it is that, else its text."""
    if isinstance(value, _Unread):
        return value.text
    try:
        jsonl.dumps(value)
    except (TypeError, ValueError):
        return repr(value)
    return value


def _line(error: Exception) -> str:
    return " ".join(str(error).split())
