"""The chain over all rows, recomputed: every digest, its place, and each row's columns."""

import json
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

from sqlalchemy import Connection, func, select

from roundhouse.errors import DataError
from roundhouse.feedback import content_hash
from roundhouse.ledger import schema
from roundhouse.ledger.append import next_chain, row_digest
from roundhouse.ledger.records import Verified

_WITH_REQUESTS = select(
    schema.feedback,
    schema.erasure.c.id.label("request"),
    schema.erasure.c.finished_at.label("finished"),
).outerjoin(schema.erasure, schema.feedback.c.erasure == schema.erasure.c.id)


def verify(reading: Callable[[], AbstractContextManager[Connection]], page_rows: int) -> Verified:
    """Recomputes the chain from its start to the head.

    Args:
        reading: opens a transaction that reads.
        page_rows: rows a transaction, so that a long reading holds neither a lock nor memory.

    Raises:
        DataError: names the first row that differs from its record.
    """
    table = schema.feedback.c
    seq, erased, chain = 0, 0, schema.GENESIS
    # One statement, since a writer may be at work: rows and head of the same moment.
    last = select(func.coalesce(func.max(table.seq), 0)).scalar_subquery().label("last")
    with reading() as connection:
        end = connection.execute(select(schema.head, last)).one()
    while seq < end.last:
        # With the requests in one statement: one that ends meanwhile is seen whole or not at all.
        query = _WITH_REQUESTS.where(table.seq > seq, table.seq <= end.last)
        with reading() as connection:
            page = connection.execute(query.order_by(table.seq).limit(page_rows)).all()
        if not page:
            break
        for row in page:
            seq += 1
            chain = next_chain(chain, row.digest)
            problem = _problem(row, seq, chain)
            if problem:
                raise DataError(f"ledger row {seq} {problem}: put back a copy of the ledger")
            erased += row.row is None
    if (end.seq, end.chain) != (seq, chain):
        raise DataError(
            f"the ledger ends at row {seq}, its record at {end.seq}: put back a copy of it"
        )
    return Verified(seq, erased, chain)


def _problem(row: Any, seq: int, chain: str) -> str | None:
    """What is wrong with a stored row, or None. An erased row has its digest and place left.

    A row whose request is not finished may have its text or not: `forget` goes on there.
    """
    if row.seq != seq:
        return "is missing"
    if row.chain != chain:
        return "breaks the chain"
    if row.erasure is not None and row.request is None:
        return f"is hidden under a request to erase, {row.erasure}, that nobody made"
    if row.row is None:
        return "was emptied without a request" if row.erasure is None else None
    if row.finished is not None:
        return f"has its text still, though request {row.erasure} to erase it was finished"
    if row_digest(row.salt or "", row.row) != row.digest:
        return "differs from its digest"
    content = json.loads(row.row)
    columns = (row.id, row.kind, row.rater, row.content_hash)
    if columns != (content["id"], content["kind"], content["rater"], content_hash(content)):
        return "differs from its columns"
    return None
