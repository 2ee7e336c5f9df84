"""Taking rows in: which are new, which are known, which clash; and the chain over the new ones.

Everything here runs inside the caller's writing transaction, so that rows, quarantine, counters and
the end of the chain change together or not at all.
"""

import hashlib
import os
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from sqlalchemy import (
    Column,
    Connection,
    CursorResult,
    bindparam,
    func,
    insert,
    select,
    true,
    update,
)

from roundhouse import failpoints, jsonl
from roundhouse.feedback import content_hash
from roundhouse.ledger import forgotten, schema
from roundhouse.ledger.records import Candidate, Counts, Entry, Rejected

#: Longest piece of a quarantined line in one value, in bytes.
PART_BYTES = 1 << 20


def start_batch(connection: Connection, name: str, format: str, at: str) -> int:
    """Opens a batch; the name of its file is kept without the names of forgotten people."""
    values: dict[str, Any] = dict.fromkeys(Counts._fields, 0)
    values |= {"name": forgotten.unnamed(connection, name), "format": format, "started_at": at}
    return new_key(connection.execute(insert(schema.batch).values(values)))


def append(
    connection: Connection, batch: int, entries: Sequence[Entry], at: str
) -> tuple[Counts, list[Rejected]]:
    """Takes in one chunk of a batch.

    A candidate whose content is known, from the ledger or from earlier in the chunk, is a
    duplicate, whatever its id. One whose id is known with other content is quarantined as
    `id_conflict`, also where it says that it supersedes that id: a new version needs a new id. One
    that was erased on request is counted as quarantined, as `forgotten`, and nothing of it is kept.

    Returns:
        The chunk's counts, and everything that was quarantined, conflicts included.
    """
    seq, chain = lock_head(connection)
    new, rejected = _sort_out(connection, forgotten.sift(connection, entries))
    if new:
        rows = list(_chained(new, seq, chain))
        for row in rows:
            row |= {"batch": batch, "received_at": at}
        connection.execute(insert(schema.feedback), rows)
        end = {name: rows[-1][name] for name in ("seq", "chain")}
        connection.execute(update(schema.head).values(end))
    _quarantine(connection, batch, rejected)
    duplicate = len(entries) - len(new) - len(rejected)
    counts = Counts(len(entries), len(new), duplicate, len(rejected))
    _count(connection, batch, counts)
    failpoints.hit("ledger.append")
    return counts, rejected


def _sort_out(
    connection: Connection, entries: Sequence[Entry]
) -> tuple[list[tuple[str, Candidate]], list[Rejected]]:
    """The new rows with their content hashes, and the rejected ones; the rest are duplicates."""
    candidates = [entry for entry in entries if isinstance(entry, Candidate)]
    hashes = [content_hash(entry.row) for entry in candidates]
    known_hashes = _known(connection, schema.feedback.c.content_hash, hashes)
    known_ids = _known(connection, schema.feedback.c.id, [entry.row["id"] for entry in candidates])
    new: list[tuple[str, Candidate]] = []
    rejected = [entry for entry in entries if isinstance(entry, Rejected)]
    for entry, content in zip(candidates, hashes, strict=True):
        if content in known_hashes:
            continue
        if entry.row["id"] in known_ids:
            rejected.append(_conflict(entry))
            continue
        known_hashes.add(content)
        known_ids.add(entry.row["id"])
        new.append((content, entry))
    return new, rejected


def _chained(
    new: Sequence[tuple[str, Candidate]], seq: int, chain: str
) -> Iterator[dict[str, Any]]:
    """Table rows for new rows that follow row `seq`, where the chain stands at `chain`."""
    for place, ((content, entry), salt) in enumerate(zip(new, salts(len(new)), strict=True)):
        row = entry.row
        text = jsonl.dumps(row)
        digest = row_digest(salt, text)
        chain = next_chain(chain, digest)
        yield {
            "seq": seq + 1 + place,
            "id": row["id"],
            "content_hash": content,
            "row": text,
            "salt": salt,
            "digest": digest,
            "chain": chain,
            "kind": row["kind"],
            "rater": row["rater"],
            "personal": entry.personal,
        }


def row_digest(salt: str, text: str) -> str:
    """SHA-256 of salt and canonical row; without the salt nobody can test a guess of the text."""
    return hashlib.sha256((salt + text).encode()).hexdigest()


def next_chain(chain: str, digest: str) -> str:
    """The chain's value after a row with this digest."""
    return hashlib.sha256((chain + digest).encode()).hexdigest()


def new_key(result: CursorResult[Any]) -> int:
    """The key that the database gave to an inserted row."""
    assert result.inserted_primary_key is not None
    return int(result.inserted_primary_key[0])


def lock_head(connection: Connection) -> tuple[int, str]:
    """The end of the chain; other writers wait until the transaction ends."""
    query = select(schema.head.c.seq, schema.head.c.chain).with_for_update()
    row = connection.execute(query).one()
    return row.seq, row.chain


def _known(connection: Connection, column: Column[str], values: Sequence[str]) -> set[str]:
    """Those of the values that the ledger has in this column."""
    query = select(column).where(column.in_(bindparam("values", expanding=True)))
    return set(connection.execute(query, {"values": values}).scalars())


def salts(count: int) -> list[str]:
    """New random salts, 128 bits each, in hex."""
    drawn = os.urandom(16 * count).hex()
    return [drawn[start : start + 32] for start in range(0, len(drawn), 32)]


def _conflict(entry: Candidate) -> Rejected:
    shown = ascii(entry.row["id"][:60])
    message = f"id: {shown} has other content already"
    return Rejected(entry.line, "id_conflict", message, entry.raw, rater=entry.row["rater"])


def _quarantine(connection: Connection, batch: int, rejected: Sequence[Rejected]) -> None:
    plain = [entry for entry in rejected if not entry.more and len(entry.raw) <= PART_BYTES]
    if plain:
        connection.execute(
            insert(schema.quarantine), [_quarantine_row(batch, entry, entry.raw) for entry in plain]
        )
    for entry in rejected:
        if entry.more or len(entry.raw) > PART_BYTES:
            _quarantine_long(connection, batch, entry)


def _quarantine_row(batch: int, entry: Rejected, raw: bytes) -> dict[str, Any]:
    return {
        "batch": batch,
        "line": entry.line,
        "code": entry.code,
        "message": entry.message,
        "raw": raw,
        "rater": entry.rater,
    }


def _quarantine_long(connection: Connection, batch: int, entry: Rejected) -> None:
    parts = _parts([entry.raw], entry.more)
    values = _quarantine_row(batch, entry, next(parts, b""))
    key = new_key(connection.execute(insert(schema.quarantine).values(values)))
    for number, raw in enumerate(parts, start=1):
        connection.execute(
            insert(schema.quarantine_part).values(quarantine=key, part=number, raw=raw)
        )


def _parts(*sources: Iterable[bytes]) -> Iterator[bytes]:
    for source in sources:
        for piece in source:
            for start in range(0, len(piece), PART_BYTES):
                yield piece[start : start + PART_BYTES]


def _count(connection: Connection, batch: int, counts: Counts) -> None:
    columns = schema.batch.c
    connection.execute(
        update(schema.batch)
        .where(columns.id == batch)
        .values({name: columns[name] + added for name, added in counts._asdict().items()})
    )


def totals(connection: Connection) -> tuple[int, Counts]:
    """The newest `seq`, and the counts of all batches together.

    One statement, so that both are of one moment: on PostgreSQL, two may see a chunk between them.
    """
    columns = schema.batch.c
    sums = [func.coalesce(func.sum(columns[name]), 0).label(name) for name in Counts._fields]
    batches = select(*sums).subquery()
    query = select(schema.head.c.seq, *batches.c).select_from(schema.head.join(batches, true()))
    seq, *counts = (int(value) for value in connection.execute(query).one())
    return seq, Counts(*counts)
