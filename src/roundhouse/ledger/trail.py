"""Where rows came from, for audits: their places, their files, and what was not accepted."""

import json
from collections.abc import Iterator
from typing import NamedTuple

from sqlalchemy import Select, func, select

from roundhouse.ledger import forgotten, schema
from roundhouse.ledger.records import Batch
from roundhouse.ledger.store import PAGE, Ledger


class Place(NamedTuple):
    """A row's place in the ledger; `erasure` is the request under which its text was erased."""

    seq: int
    id: str
    kind: str
    rater: str | None
    batch: int
    received_at: str
    erasure: int | None


class Refused(NamedTuple):
    """A quarantined row without its bytes."""

    batch: int
    line: int
    code: str
    message: str


_COLUMNS = [schema.feedback.c[name] for name in Place._fields]


class Trail:
    """Looks into an open ledger; raises LedgerError as it does."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def row(self, id: str) -> Place | None:
        """The place of the row with this id."""
        return next(self._places(select(*_COLUMNS).where(schema.feedback.c.id == id)), None)

    def of_batch(self, batch: int) -> Iterator[Place]:
        """The rows that came with a batch, in order."""
        return self._places(select(*_COLUMNS).where(schema.feedback.c.batch == batch))

    def waiting(self, rater: str, after: int) -> int:
        """How many rows of a rater came after `seq`."""
        table = schema.feedback.c
        query = select(func.count()).where(table.rater == rater, table.seq > after)
        with self._ledger._reading() as connection:
            return int(connection.execute(query).scalar_one())

    def batches(self, named: str) -> list[Batch]:
        """Batches whose file had this name, or whose SHA-256 begins so (8 digits or more)."""
        return [
            batch
            for batch in self._ledger.batches()
            if batch.name == named or (len(named) >= 8 and (batch.sha256 or "").startswith(named))
        ]

    def codes(self, batch: int) -> dict[str, int]:
        """Reason code to number of a batch's quarantined rows."""
        table = schema.quarantine.c
        query = select(table.code, func.count()).where(table.batch == batch).group_by(table.code)
        with self._ledger._reading() as connection:
            return {code: int(count) for code, count in connection.execute(query.order_by("code"))}

    def refused(self, id: str) -> Iterator[Refused]:
        """Quarantined rows with this id: the `id` of JSON, or any cell of a table."""
        after, table = 0, schema.quarantine.c
        columns = [table.id, table.raw, *(table[name] for name in Refused._fields)]
        query = select(*columns).order_by(table.id).limit(PAGE)
        while True:
            with self._ledger._reading() as connection:
                found = connection.execute(query.where(table.id > after)).all()
            for key, raw, *place in found:
                after = key
                if id.encode() in raw and _bears(raw, id):
                    yield Refused(*place)
            if len(found) < PAGE:
                return

    def forgotten(self, kind: forgotten.Kind, value: str) -> int | None:
        """The request under which a rater or a row was erased; only its digest is known."""
        table = schema.forgotten.c
        with self._ledger._reading() as connection:
            salt = forgotten.salt_of(connection)
            if salt is None:
                return None
            digest = forgotten.digest(salt, kind, value)
            query = select(table.erasure).where(table.digest == digest)
            found = connection.execute(query).scalar()
            return None if found is None else int(found)

    def _places(self, query: "Select[tuple[object, ...]]") -> Iterator[Place]:
        after, table = 0, schema.feedback.c
        while True:
            page = query.where(table.seq > after).order_by(table.seq).limit(PAGE)
            with self._ledger._reading() as connection:
                found = [Place(*row) for row in connection.execute(page)]
            yield from found
            if len(found) < PAGE:
                return
            after = found[-1].seq


def _bears(raw: bytes, id: str) -> bool:
    try:
        row = json.loads(raw)
    except (ValueError, RecursionError):
        cells = raw.decode("utf-8", "replace").split(",")
        return id in (cell.strip(' "') for cell in cells)
    return isinstance(row, dict) and row.get("id") == id
