"""`Ledger`: the door to everything that was received, and to what the rounds made of it."""

import getpass
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Literal, Self, Unpack

from sqlalchemy import Connection, Engine, func, insert, select, update

from roundhouse.errors import DataError
from roundhouse.feedback import Row
from roundhouse.ledger import append, chain, decisions, owner, schema
from roundhouse.ledger.engine import connect, worded, writer
from roundhouse.ledger.records import (
    Batch,
    Champion,
    Counts,
    Decision,
    Entry,
    Override,
    Quarantined,
    Rejected,
    Round,
    RoundChanges,
    Verified,
)

#: Rows read at a time, so that a long reading holds neither a lock nor memory.
PAGE = 2000


class Ledger:
    """An open ledger. Every method is one transaction; readers never block writers for long.

    All methods raise LedgerError where the database is locked, damaged or away. Times are given and
    kept as UTC text; where a method takes none, it is now.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._shown = engine.url.render_as_string(hide_password=True)
        self._epoch: int | None = None

    @classmethod
    def open(
        cls, url: str, expected: bool = False, create: bool = True, timeout: float = 30.0
    ) -> "Ledger":
        """Opens, and where needed makes or migrates, the ledger behind an SQLAlchemy URL.

        Args:
            url: such as `sqlite:///state/ledger.db` or `postgresql+psycopg2://...`.
            expected: something shows that it existed; an absent one is then an error.
            create: make it where there is none (False for commands that only read).
            timeout: how long to wait for another process's lock, in seconds.

        Raises:
            LedgerError: absent, locked, damaged, unreachable, or written by a newer version.
        """
        return cls(connect(url, expected, create, timeout))

    def close(self) -> None:
        """Closes the connections. The ledger can be opened again."""
        self._engine.dispose()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    @contextmanager
    def _reading(self) -> Iterator[Connection]:
        with worded(self._shown), self._engine.connect() as connection:
            yield connection

    @contextmanager
    def _writing(self) -> Iterator[Connection]:
        with worded(self._shown), writer(self._engine).begin() as connection:
            yield connection

    # Feedback

    def start_batch(self, name: str, format: str, at: str | None = None) -> int:
        """Opens a batch for one file; returns its id."""
        with self._writing() as connection:
            return append.start_batch(connection, name, format, at or now())

    def append(
        self, batch: int, entries: Sequence[Entry], at: str | None = None
    ) -> tuple[Counts, list[Rejected]]:
        """Takes in one chunk: rows, quarantine and the batch's counters, together or not at all.

        Returns:
            The chunk's counts, and what was quarantined: the entries that came as rejected, and the
            candidates whose id names other content already.
        """
        with self._writing() as connection:
            return append.append(connection, batch, entries, at or now())

    def finish_batch(self, batch: int, sha256: str, at: str | None = None) -> None:
        """Closes a batch with the hash of its whole file."""
        query = update(schema.batch).where(schema.batch.c.id == batch)
        with self._writing() as connection:
            connection.execute(query.values(sha256=sha256, finished_at=at or now()))

    def batches(self) -> list[Batch]:
        """All batches in order, interrupted ones included."""
        with self._reading() as connection:
            return [_batch(row) for row in connection.execute(_BATCHES).mappings()]

    def counts(self) -> Counts:
        """What happened to all that was ever received."""
        return self.standing()[1]

    def standing(self) -> tuple[int, Counts]:
        """Watermark and counts of one moment: each chunk of rows is in both, or in neither."""
        with self._reading() as connection:
            return append.totals(connection)

    def watermark(self) -> int:
        """`seq` of the newest row, 0 where there is none: names all rows up to it for ever."""
        with self._reading() as connection:
            return int(connection.execute(select(schema.head.c.seq)).scalar_one())

    def held(self, after: int = 0) -> int:
        """How many rows came after a watermark and were not erased."""
        table = schema.feedback.c
        query = select(func.count()).where(table.seq > after, table.erasure.is_(None))
        with self._reading() as connection:
            return int(connection.execute(query).scalar_one())

    def chain(self, seq: int) -> str:
        """The chain's value after row `seq`: equal values mean equal rows up to there."""
        if seq == 0:
            return schema.GENESIS
        query = select(schema.feedback.c.chain).where(schema.feedback.c.seq == seq)
        with self._reading() as connection:
            found = connection.execute(query).scalar()
        if found is None:
            raise DataError(f"the ledger has no row {seq}: it is not the one this was made from")
        return str(found)

    def rows(
        self, after: int = 0, to: int | None = None, rater: str | None = None
    ) -> Iterator[Row]:
        """Canonical rows with `after < seq <= to`, in order; erased ones are left out.

        Args:
            after: watermark of what is known already.
            to: watermark to read to; the newest where it is None.
            rater: only this rater's.
        """
        table = schema.feedback.c
        to = self.watermark() if to is None else to
        while after < to:
            query = select(table.seq, table.row).where(table.seq > after, table.seq <= to)
            query = query.where(table.erasure.is_(None))
            if rater is not None:
                query = query.where(table.rater == rater)
            with self._reading() as connection:
                page = connection.execute(query.order_by(table.seq).limit(PAGE)).all()
            if not page:
                return
            after = page[-1].seq
            yield from (json.loads(row.row) for row in page)

    def row(self, id: str) -> Row | None:
        """The row with this id; None where there is none, or it was erased."""
        query = select(schema.feedback.c.row).where(schema.feedback.c.id == id)
        query = query.where(schema.feedback.c.erasure.is_(None))
        with self._reading() as connection:
            found = connection.execute(query).scalar()
        return None if found is None else json.loads(found)

    def quarantined(self, batch: int | None = None) -> Iterator[Quarantined]:
        """Quarantined rows with their raw bytes, of one batch or of all, in order."""
        table = schema.quarantine.c
        query = select(table.id).order_by(table.id)
        if batch is not None:
            query = query.where(table.batch == batch)
        with self._reading() as connection:
            keys = list(connection.execute(query).scalars())
        for key in keys:
            with self._reading() as connection:
                yield _quarantined(connection, key)

    def holds(self, *kinds: str) -> bool:
        """Whether it has a row of one of these kinds that was not erased."""
        table = schema.feedback.c
        query = select(table.seq).where(table.kind.in_(kinds), table.erasure.is_(None)).limit(1)
        with self._reading() as connection:
            return connection.execute(query).first() is not None

    def verify_chain(self) -> Verified:
        """Recomputes every digest, the chain over them, and each row's columns from its text.

        Raises:
            DataError: names the first row that differs from its record.
        """
        return chain.verify(self._reading, PAGE)

    def identity(self) -> str:
        """Names this ledger among others that share a tracking server."""
        with self._reading() as connection:
            return str(connection.execute(select(schema.head.c.ledger)).scalar_one())

    # Rounds

    @contextmanager
    def owned(self, who: Mapping[str, str]) -> Iterator[None]:
        """Holds the rounds of this ledger, over all machines that share it, while the block runs.

        Raises:
            BusyError: another machine holds them. Every later write for a round raises
                OvertakenError once another owner has come.
        """
        with worded(self._shown), owner.held(self._engine, who) as self._epoch:
            try:
                yield
            finally:
                self._epoch = None

    def require_owner(self) -> None:
        """Stops a process that was overtaken before it shows anything to others.

        Raises:
            OvertakenError: another owner has come since.
        """
        with self._writing() as connection:
            owner.require(connection, self._epoch)

    def take_round_number(self, at_least: int = 1, note: dict[str, Any] | None = None) -> int:
        """Takes a round number that was never taken before; the round is then `open`."""
        with self._writing() as connection:
            owner.require(connection, self._epoch)
            return decisions.take_number(connection, at_least, note or {}, now())

    def record_round(self, number: int, **changes: Unpack[RoundChanges]) -> None:
        """Sets fields of a round."""
        with self._writing() as connection:
            owner.require(connection, self._epoch)
            decisions.record(connection, number, changes)

    def try_round(self, number: int) -> int:
        """Counts one more try to finish a round; returns how many that makes."""
        with self._writing() as connection:
            owner.require(connection, self._epoch)
            return decisions.count_try(connection, number)

    def finish_round(self, number: int, **changes: Unpack[RoundChanges]) -> None:
        """Sets fields of a round and the time it ended."""
        self.record_round(number, **changes | {"finished_at": now()})

    def round(self, number: int) -> Round | None:
        """One round's record."""
        with self._reading() as connection:
            return next(iter(decisions.rounds(connection, number)), None)

    def rounds(self) -> list[Round]:
        """All rounds by number."""
        with self._reading() as connection:
            return decisions.rounds(connection)

    def champion(self) -> Champion | None:
        """The released model, or None before the first promotion."""
        with self._reading() as connection:
            return decisions.champion(connection)

    def settle(
        self,
        round: int,
        promote: bool,
        version: str,
        sha256: str,
        expected: int | None,
        why: str = "",
    ) -> Decision:
        """Records a round's decision on its model, and with `promote` makes that the champion.

        Args:
            expected: `decision` of the champion that the round was measured against, or None.

        Raises:
            LedgerError: the champion is another one by now, or the round decided otherwise before.
        """
        with self._writing() as connection:
            owner.require(connection, self._epoch)
            return decisions.decide(
                connection,
                action="promote" if promote else "hold",
                round=round,
                model=(round, version, sha256),
                expected=expected,
                why=why,
                at=now(),
            )

    def roll_back(
        self, model_round: int, version: str, sha256: str, expected: int | None, why: str
    ) -> Decision:
        """A person makes an earlier model the champion again; raises like `settle`."""
        with self._writing() as connection:
            return decisions.decide(
                connection,
                action="rollback",
                round=None,
                model=(model_round, version, sha256),
                expected=expected,
                why=why,
                at=now(),
                who=person(),
            )

    def decisions(self) -> list[Decision]:
        """Every decision so far, in order."""
        with self._reading() as connection:
            return decisions.decisions(connection)

    def add_skip(self, reason: str) -> None:
        """Records why a round did not come to be; the same reason in a row is kept once."""
        last = select(schema.skip.c.reason).order_by(schema.skip.c.id.desc()).limit(1)
        with self._writing() as connection:
            if connection.execute(last).scalar() != reason:
                connection.execute(insert(schema.skip).values(at=now(), reason=reason))

    def skips(self) -> list[tuple[str, str]]:
        """When and why rounds did not come to be, in order."""
        query = select(schema.skip.c.at, schema.skip.c.reason).order_by(schema.skip.c.id)
        with self._reading() as connection:
            return [(row.at, row.reason) for row in connection.execute(query)]

    def add_override(
        self,
        round: int | None,
        subject: str,
        state: str,
        why: str,
        kind: Literal["check", "rater"] = "check",
    ) -> None:
        """Records what the person at this terminal decided about a check or a rater."""
        values = {"round": round, "kind": kind, "subject": subject, "state": state, "why": why}
        with self._writing() as connection:
            decisions.add_override(connection, values | {"who": person(), "at": now()})

    def overrides(
        self, round: int | None = None, kind: Literal["check", "rater"] | None = None
    ) -> list[Override]:
        """Overrides in order, of one round or of all, of one kind or of both."""
        with self._reading() as connection:
            return decisions.overrides(connection, round, kind)


def now() -> str:
    """The present as the ledger writes times."""
    return datetime.now(UTC).isoformat()[:19] + "Z"


_BATCHES = select(schema.batch).order_by(schema.batch.c.id)


def _batch(values: Any) -> Batch:
    others = {name: value for name, value in values.items() if name not in Counts._fields}
    return Batch(counts=Counts(*(values[name] for name in Counts._fields)), **others)


def _quarantined(connection: Connection, key: int) -> Quarantined:
    table, parts = schema.quarantine, schema.quarantine_part.c
    row = connection.execute(select(table).where(table.c.id == key)).one()
    query = select(parts.raw).where(parts.quarantine == key).order_by(parts.part)
    raw = b"".join([row.raw, *connection.execute(query).scalars()])
    return Quarantined(row.id, row.batch, row.line, row.code, row.message, raw)


def person() -> str:
    """The login of whoever is at this terminal."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "unknown"
