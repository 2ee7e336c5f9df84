"""What must not come in again: rows of forgotten raters, and forgotten rows.

The ledger knows them by salted digests alone, so it can refuse them and cannot name them.
"""

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import combinations
from typing import Any, Literal

from sqlalchemy import Connection, bindparam, insert, select

from roundhouse.feedback import content_hash
from roundhouse.ledger import schema
from roundhouse.ledger.records import Candidate, Entry, Rejected

Kind = Literal["rater", "id", "content"]

#: Reason code of a row that was erased on request and came again.
CODE = "forgotten"

_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"')
_CELLS = re.compile(r"[,;\t|\r\n]")
#: A name stands between such ends, also where an underscore joins it to others: votes_r17.csv.
_ENDS, _MOST_ENDS = re.compile(r"\b|(?<=_)|(?=_)"), 60
_WORDS = re.compile(r"[^\s\"',;:{}\[\]()<>=|]+")


def digest(salt: str, kind: Kind, value: str) -> str:
    """Salted SHA-256 of a rater, a row's id, or a row's content hash."""
    text = f"{salt}{kind}\0{value}"
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def salt_of(connection: Connection) -> str | None:
    """The salt of this ledger's digests; None where nothing was ever forgotten."""
    found = connection.execute(select(schema.erasure.c.salt).limit(1)).scalar()
    return None if found is None else str(found)


def remember(connection: Connection, erasure: int, digests: Iterable[str]) -> None:
    """Refuses what has these digests from now on."""
    wanted = set(digests)
    new = wanted - known(connection, wanted)
    if new:
        rows = [{"digest": one, "erasure": erasure} for one in sorted(new)]
        connection.execute(insert(schema.forgotten), rows)


def known(connection: Connection, digests: Iterable[str]) -> set[str]:
    """Those of the digests that are forgotten."""
    column = schema.forgotten.c.digest
    query = select(column).where(column.in_(bindparam("values", expanding=True)))
    found: set[str] = set()
    wanted = list(set(digests))
    for start in range(0, len(wanted), 5000):
        values = {"values": wanted[start : start + 5000]}
        found |= set(connection.execute(query, values).scalars())
    return found


def sift(connection: Connection, entries: Sequence[Entry]) -> Sequence[Entry]:
    """The entries with every forgotten one replaced by an empty rejection of the same line."""
    salt = salt_of(connection)
    if salt is None:
        return entries
    marks = [_marks(salt, entry) for entry in entries]
    refused = known(connection, {mark for one in marks for mark in one})
    if not refused:
        return entries
    return [
        _refused(entry) if refused & one else entry
        for entry, one in zip(entries, marks, strict=True)
    ]


def unnamed(connection: Connection, name: str) -> str:
    """A file's name without the raters and ids in it that are forgotten."""
    salt = salt_of(connection)
    if salt is None:
        return name
    ends = sorted({each.start() for each in _ENDS.finditer(name)})[:_MOST_ENDS]
    parts = {name[first:last] for first, last in combinations(ends, 2)}
    kinds: tuple[Kind, ...] = ("rater", "id")
    marks = {digest(salt, kind, part): part for part in parts for kind in kinds}
    for mark in known(connection, marks):
        name = without(name, marks[mark])
    return name


def without(words: str, name: str) -> str:
    """A sentence, or the name of a file, without the name of what is to be forgotten."""
    return re.sub(rf"(?<![^\W_]){re.escape(name)}(?![^\W_])", "[erased]", words)


def mentions(raw: bytes) -> Iterator[str]:
    """Every text in a line, of whatever format, that may be one of its fields."""
    text = raw.decode("utf-8", "replace")
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        value = None
    if isinstance(value, dict | list):
        yield from _values(value)
        return
    for quoted in _QUOTED.findall(text):
        yield quoted
        yield quoted.replace('\\"', '"').replace("\\\\", "\\")
    for cell in _CELLS.split(text):
        yield cell.strip().strip("\"'")
    yield from _WORDS.findall(text)


def _values(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for name, part in value.items():
            yield name
            yield from _values(part)
    elif isinstance(value, list):
        for part in value:
            yield from _values(part)
    elif isinstance(value, str):
        yield value


def _marks(salt: str, entry: Entry) -> set[str]:
    if isinstance(entry, Candidate):
        row = entry.row
        marks = {digest(salt, "rater", row["rater"]), digest(salt, "id", row["id"])}
        marks.add(digest(salt, "content", content_hash(row)))
        if "supersedes" in row:
            marks.add(digest(salt, "id", row["supersedes"]))
        return marks
    names = set(mentions(entry.raw)) | ({entry.rater} if entry.rater else set())
    kinds: tuple[Kind, ...] = ("rater", "id")
    return {digest(salt, kind, name) for name in names for kind in kinds}


def _refused(entry: Entry) -> Rejected:
    return Rejected(entry.line, CODE, "erased on request, so it is not taken in again", b"")
