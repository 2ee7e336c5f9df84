"""Who may write for rounds, over all machines that share a ledger.

A lock of the database holds while the owner's connection lives, so that a machine that is lost
frees it. The epoch is the fence: it rises with every owner, every write of an owner names its own,
and one that was taken for dead is refused when it wakes up (Kleppmann, "How to do distributed
locking", 2016).
"""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress

from sqlalchemy import Connection, Engine, func, select, text, update
from sqlalchemy.exc import DBAPIError

from roundhouse import jsonl
from roundhouse.errors import BusyError, OvertakenError
from roundhouse.ledger import schema
from roundhouse.ledger.engine import writer

#: The server finds out after this many seconds that an owner's machine is gone.
_KEEPALIVE = (
    "tcp_keepalives_idle = 30",
    "tcp_keepalives_interval = 10",
    "tcp_keepalives_count = 3",
)


@contextmanager
def held(engine: Engine, who: Mapping[str, str]) -> Iterator[int]:
    """Holds the rounds of this ledger while the block runs; yields the owner's epoch.

    On SQLite the ledger is this machine's own, and the lock file of the checkout holds already.

    Args:
        engine: of the ledger.
        who: host, purpose and the like, for whoever is refused.

    Raises:
        BusyError: another machine holds them.
    """
    if engine.dialect.name != "postgresql":
        yield _take(engine, who)
        return
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        lock = _lock(connection)
        for setting in _KEEPALIVE:
            connection.execute(text(f"SET {setting}"))
        if not connection.execute(select(func.pg_try_advisory_lock(lock))).scalar():
            raise BusyError(
                f"{_named(connection)} is at work on this ledger: wait for it, or stop it"
            )
        try:
            yield _take(engine, who)
        finally:
            # A connection that broke has freed the lock already.
            with suppress(DBAPIError):
                connection.execute(select(func.pg_advisory_unlock(lock)))


def require(connection: Connection, epoch: int | None) -> None:
    """Stops a writer whose epoch has passed; the row stays locked until the transaction ends.

    Args:
        connection: in the transaction that writes.
        epoch: the writer's; None for one that owns no round, such as a rollback.

    Raises:
        OvertakenError: another owner has come since.
    """
    if epoch is None:
        return
    query = select(schema.owner.c.epoch).with_for_update()
    if connection.execute(query).scalar_one() != epoch:
        raise OvertakenError(
            f"{_named(connection)} has taken over the round, since this process seemed dead:"
            " nothing more is written here"
        )


def _take(engine: Engine, who: Mapping[str, str]) -> int:
    owner = schema.owner
    with writer(engine).begin() as connection:
        raised = update(owner).values(epoch=owner.c.epoch + 1, who=jsonl.dumps(dict(who)))
        connection.execute(raised)
        return int(connection.execute(select(owner.c.epoch)).scalar_one())


def _lock(connection: Connection) -> int:
    """The ledger's own number among the advisory locks of its database."""
    return int(connection.execute(select(schema.head.c.ledger)).scalar_one()[:15], 16)


def _named(connection: Connection) -> str:
    who = json.loads(connection.execute(select(schema.owner.c.who)).scalar_one())
    return (
        f"{who.get('purpose', 'another process')} (process {who.get('pid')} on {who.get('host')})"
    )
