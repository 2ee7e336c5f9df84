"""The door: each row of a file is accepted, a duplicate, or quarantined with its bytes.

Rows go into the ledger in chunks, each one transaction with its counters. An ingest that was killed
is simply run again: what came in before is a duplicate then.
"""

from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

from roundhouse.errors import InputError, UsageError
from roundhouse.feedback import RowError, parse
from roundhouse.ingest import jsonlines, tables
from roundhouse.ingest.lines import shown
from roundhouse.ingest.mapping import Mapping
from roundhouse.ingest.readers import Item, Reader, Source
from roundhouse.ingest.report import Report
from roundhouse.ledger import Candidate, Ledger, Rejected
from roundhouse.ledger.records import Entry

#: Format name to reader.
FORMATS: dict[str, Reader] = {
    "jsonl": jsonlines.read,
    "csv": tables.read_csv,
    "parquet": tables.read_parquet,
}

#: A chunk ends early at this many bytes, so that memory stays bounded whatever the rows' size.
CHUNK_BYTES = 16 << 20

#: Called as `progress(bytes read, bytes in all)` after every chunk.
Progress = Callable[[int, int], None]


def ingest(
    ledger: Ledger,
    path: Path,
    format: str,
    mapping: Mapping | None = None,
    now: datetime | None = None,
    ahead: float = 300.0,
    chunk: int = 1000,
    progress: Progress | None = None,
) -> Report:
    """Brings a file's rows into the ledger.

    Args:
        ledger: where they go.
        path: the file.
        format: a key of `FORMATS`.
        mapping: `--map` and `--set`; none for canonical files.
        now: when the rows are received; the present where it is None.
        ahead: how far a row's time may lie after `now`, in seconds.
        chunk: rows a transaction.
        progress: told how far the reading is.

    Raises:
        InputError: the file as a whole cannot be read, or holds no row.
        UsageError: there is no such format.
        LedgerError: the ledger is locked or away; chunks before that are in.
    """
    if format not in FORMATS:
        raise UsageError(f"--format {format}: unknown; formats are {', '.join(FORMATS)}")
    received = (now or datetime.now(UTC)).astimezone(UTC)
    at = received.isoformat()[:19] + "Z"
    source = FORMATS[format](path, mapping or Mapping())
    name = shown(Path(path.name))
    report = Report(name, left_out=source.left_out)
    size = path.stat().st_size
    with closing(source):
        chunks = _chunks(source, received, ahead, chunk)
        first = next(chunks, None)
        if first is None:
            raise InputError(f"{shown(path)}: the file holds no row, nothing received")
        batch = ledger.start_batch(name, format, at)
        while first is not None:
            report.add(*ledger.append(batch, first, at))
            if progress:
                progress(source.position(), size)
            first = next(chunks, None)
        ledger.finish_batch(batch, source.digest())
    return report


def _chunks(source: Source, now: datetime, ahead: float, most: int) -> Iterator[list[Entry]]:
    entries: list[Entry] = []
    size = 0
    for item in source.items:
        entries.append(_entry(item, now, ahead))
        size += len(item.raw)
        # The rest of a large row is still in the file, and is read as the ledger stores it.
        if len(entries) >= most or size > CHUNK_BYTES or item.more:
            yield entries
            entries, size = [], 0
    if entries:
        yield entries


def _entry(item: Item, now: datetime, ahead: float) -> Entry:
    try:
        if isinstance(item.value, RowError):
            raise item.value
        return Candidate(item.line, parse(item.value, now, ahead), item.raw)
    except RowError as error:
        return Rejected(item.line, error.code, error.message, item.raw, item.more)
