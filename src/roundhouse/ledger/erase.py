"""`Erasures`: what people asked to have forgotten, from the request to the emptied rows.

A request is one transaction: it marks the rows, and from then on no reader sees them and the door
refuses them. Their texts stay until `clear`, since the other places are searched for them.
"""

import json
import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from sqlalchemy import Connection, delete, func, insert, or_, select, update

from roundhouse import jsonl
from roundhouse.errors import UsageError
from roundhouse.feedback import Row, content_hash
from roundhouse.ledger import forgotten, schema
from roundhouse.ledger.append import lock_head, new_key, salts
from roundhouse.ledger.engine import compact, worded
from roundhouse.ledger.records import Erasure
from roundhouse.ledger.store import PAGE, Ledger, now, person

_FEEDBACK, _QUARANTINE, _ERASURE = schema.feedback.c, schema.quarantine.c, schema.erasure.c
_CREATED = re.compile(r'"created_at":"([^"]+)"')
_SUPERSEDES = re.compile(r'"supersedes":("(?:[^"\\]|\\.)*")')


class Erasures:
    """The requests of one ledger. Every method is one transaction, but for `rows` and `expired`."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger

    def all(self) -> list[Erasure]:
        """Every request, in order."""
        with self.ledger._reading() as connection:
            return [_record(row) for row in connection.execute(_ALL)]

    def unfinished(self) -> list[Erasure]:
        """Requests that some place still has to answer."""
        return [request for request in self.all() if request.finished_at is None]

    def forget_rater(self, rater: str, why: str) -> Erasure:
        """Requests that a person's rows are erased; the same request again returns the first.

        Raises:
            UsageError: the ledger has nothing of this rater.
        """
        with self.ledger._writing() as connection:
            lock_head(connection)
            salt = _salt(connection)
            subject = forgotten.digest(salt, "rater", rater)
            if earlier := _earlier(connection, subject):
                return earlier
            own = {row.seq for row in connection.execute(_seqs(_FEEDBACK.rater == rater))}
            later = _versions(connection, own, both=False) - own
            why = forgotten.without(why, rater)
            key = _request(connection, "rater", subject, salt, why)
            digests = {subject, *_digests(connection, salt, later)}
            names = {rater, *_mark(connection, key, own | later)}
            lines = _mark_quarantine(connection, key, names)
            if not own and not lines and not _overrides(connection, rater):
                raise UsageError(f"the ledger has nothing of rater {rater}: is the name right?")
            forgotten.remember(connection, key, digests)
            _unname(connection, key, rater)
            return _one(connection, key)

    def forget_row(self, id: str, why: str) -> Erasure:
        """Requests that a row is erased, with the versions it superseded or was superseded by.

        Raises:
            UsageError: the ledger has no row of this id.
        """
        with self.ledger._writing() as connection:
            lock_head(connection)
            salt = _salt(connection)
            subject = forgotten.digest(salt, "id", id)
            if earlier := _earlier(connection, subject):
                return earlier
            named = {row.seq for row in connection.execute(_seqs(_FEEDBACK.id == id))}
            seqs = _versions(connection, named, both=True)
            key = _request(connection, "row", subject, salt, forgotten.without(why, id))
            digests = {subject, *_digests(connection, salt, seqs)}
            lines = _mark_quarantine(connection, key, {id, *_mark(connection, key, seqs)})
            if not seqs and not lines:
                raise UsageError(f"the ledger has no row {id}: is the id right?")
            forgotten.remember(connection, key, digests)
            return _one(connection, key)

    def forget_before(self, created_at: str, why: str) -> Erasure | None:
        """Requests that rows made before a time (UTC text) are erased; None without any.

        A quarantined line has no time that one could believe: it goes by when it was received.
        """
        seqs = set(self._before(created_at))
        with self.ledger._writing() as connection:
            lock_head(connection)
            old = select(schema.batch.c.id).where(schema.batch.c.started_at < created_at)
            waiting = (_QUARANTINE.erasure.is_(None), _QUARANTINE.raw != b"")
            query = select(_QUARANTINE.id).where(_QUARANTINE.batch.in_(old), *waiting)
            lines = set(connection.execute(query).scalars())
            if not seqs and not lines:
                return None
            salt = _salt(connection)
            subject = forgotten.digest(salt, "content", created_at)
            key = _request(connection, "retention", subject, salt, why)
            _mark(connection, key, seqs)
            _mark_quarantine_ids(connection, key, lines)
            return _one(connection, key)

    def rows(self, id: int) -> Iterator[tuple[int, Row]]:
        """The rows of a request whose texts still stand, with their `seq`."""
        after = 0
        while True:
            query = select(_FEEDBACK.seq, _FEEDBACK.row).where(
                _FEEDBACK.erasure == id, _FEEDBACK.row.is_not(None), _FEEDBACK.seq > after
            )
            with self.ledger._reading() as connection:
                page = connection.execute(query.order_by(_FEEDBACK.seq).limit(PAGE)).all()
            if not page:
                return
            after = page[-1].seq
            yield from ((row.seq, json.loads(row.row)) for row in page)

    def raters(self, id: int) -> set[str]:
        """Whom a rater's request forgets, as far as the ledger still knows."""
        columns = ((_FEEDBACK.rater, _FEEDBACK.erasure), (_QUARANTINE.rater, _QUARANTINE.erasure))
        found: set[str] = set()
        with self.ledger._reading() as connection:
            request = connection.execute(_ALL.where(_ERASURE.id == id)).one()
            for name, erasure in columns:
                query = select(name).where(erasure == id, name.is_not(None)).distinct()
                found |= set(connection.execute(query).scalars())
        return {
            name
            for name in found
            if forgotten.digest(request.salt, "rater", name) == request.subject
        }

    def mark_lines(self, id: int, bears: Callable[[bytes], bool]) -> int:
        """Marks quarantined lines, or parts of long ones, that bear a mark; returns all marked."""
        parts = schema.quarantine_part.c
        with self.ledger._writing() as connection:
            free = select(_QUARANTINE.id, _QUARANTINE.raw).where(_QUARANTINE.erasure.is_(None))
            found = {line.id for line in connection.execute(free) if bears(line.raw)}
            pieces = connection.execute(select(parts.quarantine, parts.raw))
            found |= {piece.quarantine for piece in pieces if bears(piece.raw)}
            _mark_quarantine_ids(connection, id, found)
            count = select(func.count()).where(_QUARANTINE.erasure == id)
            return int(connection.execute(count).scalar_one())

    def report(self, id: int, **found: Any) -> None:
        """Adds to a request's report; dictionaries are joined, all else is replaced."""
        with self.ledger._writing() as connection:
            report = _one(connection, id).report
            for name, value in found.items():
                report[name] = report.get(name, {}) | value if isinstance(value, dict) else value
            values = {"report": jsonl.dumps(report)}
            connection.execute(update(schema.erasure).where(_ERASURE.id == id).values(values))

    def clear(self, id: int) -> None:
        """Empties the marked rows and quarantined lines; digests, chain and counts stay."""
        with self.ledger._writing() as connection:
            connection.execute(
                update(schema.feedback)
                .where(_FEEDBACK.erasure == id)
                .values(row=None, salt=None, rater=None, personal=None)
                .values(id="erased-" + _FEEDBACK.digest, content_hash=_FEEDBACK.digest)
            )
            lines = select(_QUARANTINE.id).where(_QUARANTINE.erasure == id)
            parts = schema.quarantine_part
            connection.execute(delete(parts).where(parts.c.quarantine.in_(lines)))
            connection.execute(
                update(schema.quarantine)
                .where(_QUARANTINE.erasure == id)
                .values(raw=b"", message="erased on request", rater=None)
            )

    def compact(self) -> None:
        """Rewrites the database file, since freed pages keep their old bytes.

        Raises:
            LedgerError: a reader keeps the old pages alive; say it again once it has ended.
        """
        with worded(self.ledger._shown):
            compact(self.ledger._engine)

    def finish(self, id: int) -> Erasure:
        """Records that every place is clear."""
        values = {"finished_at": now()}
        with self.ledger._writing() as connection:
            connection.execute(update(schema.erasure).where(_ERASURE.id == id).values(values))
            return _one(connection, id)

    def _before(self, created_at: str) -> Iterator[int]:
        """Rows made before a time. Times are UTC text of one form, so that they sort as text."""
        after, limit = 0, created_at.removesuffix("Z")
        while True:
            query = select(_FEEDBACK.seq, _FEEDBACK.row).where(
                _FEEDBACK.seq > after, _FEEDBACK.erasure.is_(None)
            )
            with self.ledger._reading() as connection:
                page = connection.execute(query.order_by(_FEEDBACK.seq).limit(PAGE)).all()
            if not page:
                return
            after = page[-1].seq
            for row in page:
                made = _CREATED.search(row.row)
                if made and made[1].removesuffix("Z") < limit:
                    yield row.seq


_ALL = select(schema.erasure).order_by(schema.erasure.c.id)


def _record(row: Any) -> Erasure:
    return Erasure(
        row.id, row.kind, row.why, row.who, row.at, row.finished_at, json.loads(row.report)
    )


def _one(connection: Connection, id: int) -> Erasure:
    return _record(connection.execute(_ALL.where(_ERASURE.id == id)).one())


def _earlier(connection: Connection, subject: str) -> Erasure | None:
    row = connection.execute(_ALL.where(_ERASURE.subject == subject)).first()
    return None if row is None else _record(row)


def _salt(connection: Connection) -> str:
    return forgotten.salt_of(connection) or salts(1)[0]


def _seqs(condition: Any) -> Any:
    return select(_FEEDBACK.seq).where(condition, _FEEDBACK.erasure.is_(None))


def _request(connection: Connection, kind: str, subject: str, salt: str, why: str) -> int:
    values = {"kind": kind, "subject": subject, "salt": salt, "why": why, "who": person()}
    made = insert(schema.erasure).values(values | {"at": now(), "report": "{}"})
    return new_key(connection.execute(made))


def _versions(connection: Connection, seqs: set[int], both: bool) -> set[int]:
    """Rows with every later version of them, and with `both` every earlier one."""
    named = _FEEDBACK.row.contains('"supersedes":"')
    query = select(_FEEDBACK.seq, _FEEDBACK.id, _FEEDBACK.row)
    later: dict[str, list[int]] = {}
    earlier: dict[int, str] = {}
    for row in connection.execute(query.where(named, _FEEDBACK.erasure.is_(None))):
        match = _SUPERSEDES.search(row.row)
        if match:
            old = json.loads(match[1])
            later.setdefault(old, []).append(row.seq)
            earlier[row.seq] = old
    found, waiting = set(seqs), list(seqs)
    if not later:
        return found
    while waiting:
        seq = waiting.pop()
        next_ = list(later.get(_id_of(connection, seq), []))
        if both and seq in earlier:
            next_ += connection.execute(_seqs(_FEEDBACK.id == earlier[seq])).scalars()
        waiting += [one for one in next_ if one not in found]
        found.update(next_)
    return found


def _id_of(connection: Connection, seq: int) -> str:
    return str(connection.execute(select(_FEEDBACK.id).where(_FEEDBACK.seq == seq)).scalar_one())


def _chunks(seqs: Iterable[int]) -> Iterator[list[int]]:
    wanted = sorted(seqs)
    for start in range(0, len(wanted), PAGE):
        yield wanted[start : start + PAGE]


def _digests(connection: Connection, salt: str, seqs: set[int]) -> Iterator[str]:
    for part in _chunks(seqs):
        query = select(_FEEDBACK.id, _FEEDBACK.row).where(_FEEDBACK.seq.in_(part))
        for row in connection.execute(query):
            yield forgotten.digest(salt, "id", row.id)
            yield forgotten.digest(salt, "content", content_hash(json.loads(row.row)))


def _mark(connection: Connection, erasure: int, seqs: set[int]) -> set[str]:
    """Marks rows, which hides them; returns their ids."""
    ids: set[str] = set()
    for part in _chunks(seqs):
        where = _FEEDBACK.seq.in_(part)
        ids |= set(connection.execute(select(_FEEDBACK.id).where(where)).scalars())
        connection.execute(update(schema.feedback).where(where).values(erasure=erasure))
    return ids


def _mark_quarantine(connection: Connection, erasure: int, names: set[str]) -> int:
    """Marks quarantined lines that name one of these, as their rater, as a field, or in parts."""
    parts = schema.quarantine_part.c
    marked = []
    query = select(_QUARANTINE.id, _QUARANTINE.rater, _QUARANTINE.raw, _QUARANTINE.message)
    for line in connection.execute(query.where(_QUARANTINE.erasure.is_(None))):
        if line.rater in names or _named(line.raw, names) or _named(line.message.encode(), names):
            marked.append(line.id)
    for part in connection.execute(select(parts.quarantine, parts.raw)):
        if _named(part.raw, names):
            marked.append(part.quarantine)
    _mark_quarantine_ids(connection, erasure, set(marked))
    return len(set(marked))


def _mark_quarantine_ids(connection: Connection, erasure: int, ids: set[int]) -> None:
    for keys in _chunks(ids):
        where = (_QUARANTINE.id.in_(keys), _QUARANTINE.erasure.is_(None))
        connection.execute(update(schema.quarantine).where(*where).values(erasure=erasure))


def _named(raw: bytes, names: set[str]) -> bool:
    return not names.isdisjoint(forgotten.mentions(raw))


def _overrides(connection: Connection, rater: str) -> int:
    columns = schema.override.c
    query = select(func.count()).where(columns.kind == "rater", columns.subject == rater)
    return int(connection.execute(query).scalar_one())


def _unname(connection: Connection, erasure: int, rater: str) -> None:
    """Takes a rater's name out of what people said and of the names of files."""
    override, columns = schema.override, schema.override.c
    about = or_(columns.subject == rater, columns.why.contains(rater, autoescape=True))
    for row in connection.execute(select(override).where(about)).all():
        values = {"why": forgotten.without(row.why, rater)}
        if row.kind == "rater" and row.subject == rater:
            values = {"subject": f"erased-{erasure}", "why": "erased on request"}
        connection.execute(update(override).where(columns.id == row.id).values(values))
    _unname_rounds(connection, rater)
    texts = ((schema.batch, "name"), (schema.decision, "why"), (schema.erasure, "why"))
    for table, name in (*texts, (schema.skip, "reason")):
        where = table.c[name].contains(rater, autoescape=True)
        query = select(table.c.id, table.c[name].label("text"))
        for row in connection.execute(query.where(where)).all():
            values = {name: forgotten.without(row.text, rater)}
            connection.execute(update(table).where(table.c.id == row.id).values(values))


def _unname_rounds(connection: Connection, rater: str) -> None:
    """Takes a rater's name out of why a round accepted a check, and of its decision's reasons.

    A round's settings are left alone: a number there may be somebody's name.
    """
    columns = schema.round_.c
    for row in connection.execute(select(columns.number, columns.note, columns.reasons)).all():
        note, reasons = json.loads(row.note), json.loads(row.reasons)
        said = [forgotten.without(reason, rater) for reason in reasons]
        accept = [[check, forgotten.without(why, rater)] for check, why in note.get("accept", [])]
        if said == reasons and accept == note.get("accept", []):
            continue
        values = {"note": jsonl.dumps(note | {"accept": accept}), "reasons": jsonl.dumps(said)}
        connection.execute(update(schema.round_).where(columns.number == row.number).values(values))
