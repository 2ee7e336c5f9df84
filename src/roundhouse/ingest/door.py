"""The door: each row of a file is accepted, a duplicate, or quarantined with its bytes.

Rows go into the ledger in chunks, each one transaction with its counters. An ingest that was killed
is simply run again: what came in before is a duplicate then.
"""

from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

from roundhouse import personal
from roundhouse.errors import InputError, UsageError
from roundhouse.feedback import RowError, parse
from roundhouse.ingest import jsonlines, tables
from roundhouse.ingest.lines import shown
from roundhouse.ingest.mapping import Mapping
from roundhouse.ingest.readers import Item, Reader, Source
from roundhouse.ingest.redaction import redacted
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

#: Longest rater's name that a quarantined row keeps apart, in characters.
_NAME = 512


class _Rules(NamedTuple):
    """What the door lets through: times between two moments, texts as they are or redacted."""

    now: datetime
    ahead: float
    oldest: str
    redact: bool


#: Called as `progress(bytes read, bytes in all)` after every chunk.
Progress = Callable[[int, int], None]


def ingest(
    ledger: Ledger,
    path: Path,
    format: str,
    mapping: Mapping | None = None,
    now: datetime | None = None,
    ahead: float = 300.0,
    days: int = 0,
    redact: bool = False,
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
        days: rows made longer ago are not taken in, in days; 0 takes all.
        redact: replace what looks like personal data in the texts.
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
        oldest = (received - timedelta(days=days)).isoformat()[:19] if days else ""
        chunks = _chunks(source, _Rules(received, ahead, oldest, redact), chunk)
        first = next(chunks, None)
        if first is None:
            raise InputError(f"{shown(path)}: the file holds no row, nothing received")
        batch = ledger.start_batch(name, format, at)
        while first is not None:
            report.add(*ledger.append(batch, first, at), personal=_personal(first))
            if progress:
                progress(source.position(), size)
            first = next(chunks, None)
        ledger.finish_batch(batch, source.digest())
    return report


def _chunks(source: Source, rules: _Rules, most: int) -> Iterator[list[Entry]]:
    entries: list[Entry] = []
    size = 0
    damage: InputError | None = None
    try:
        for item in source.items:
            entries.append(_entry(item, rules))
            size += len(item.raw)
            # The rest of a large row is still in the file, and is read as the ledger stores it.
            if len(entries) >= most or size > CHUNK_BYTES or item.more:
                yield entries
                entries, size = [], 0
    except InputError as error:
        damage = error
    if entries:
        yield entries
    if damage:
        raise damage


def _entry(item: Item, rules: _Rules) -> Entry:
    try:
        if isinstance(item.value, RowError):
            raise item.value
        found = personal.kinds(item.value) if isinstance(item.value, dict) else []
        value = personal.redacted(item.value) if found and rules.redact else item.value
        row = parse(value, rules.now, rules.ahead)
    except RowError as error:
        return _rejected(item, error, rules.redact)
    if row["created_at"] < rules.oldest:
        # Nothing of it is kept: it would be erased at once.
        return Rejected(item.line, "expired", "created_at: older than retention.days", b"")
    raw = redacted(item.raw) if found and rules.redact else item.raw
    return Candidate(item.line, row, raw, ",".join(found) or None)


def _rejected(item: Item, error: RowError, redact: bool) -> Rejected:
    raw, message, more = item.raw, error.message, item.more
    if redact:
        # The reason shows the beginning of what is wrong.
        message = redacted(message.encode()).decode()
        raw, more = redacted(raw), map(redacted, more) if more else ()
    return Rejected(item.line, error.code, message, raw, more, _rater(item.value))


def _rater(value: Any) -> str | None:
    """Whom a row that is no row names as its rater, where a database can keep the name."""
    name = value.get("rater") if isinstance(value, dict) else None
    text = str(name) if isinstance(name, str | int) else ""
    return text if 0 < len(text) <= _NAME and text.isprintable() else None


def _personal(entries: list[Entry]) -> list[str]:
    """The kinds of personal data in each valid row that has any."""
    return [entry.personal for entry in entries if isinstance(entry, Candidate) and entry.personal]
