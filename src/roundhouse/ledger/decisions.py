"""Rounds, decisions, the champion and people's overrides: the ledger's record of what was made.

Everything here runs inside the caller's transaction.
"""

import json
from dataclasses import asdict, replace
from typing import Any

from sqlalchemy import Connection, Row, func, insert, select, update

from roundhouse import failpoints, jsonl
from roundhouse.errors import ChampionChangedError, LedgerError
from roundhouse.ledger import schema
from roundhouse.ledger.append import new_key
from roundhouse.ledger.records import (
    Action,
    Champion,
    Counts,
    Decision,
    Override,
    Round,
    RoundChanges,
)

_JSON = ("reasons", "metrics", "note")


def take_number(connection: Connection, at_least: int, note: dict[str, Any], at: str) -> int:
    """Takes a round number above every one taken before, and records the round as open."""
    _lock(connection)
    highest = connection.execute(select(func.max(schema.round_.c.number))).scalar() or 0
    number = max(int(highest) + 1, at_least)
    connection.execute(
        insert(schema.round_).values(
            number=number,
            state="open",
            started_at=at,
            reasons="[]",
            metrics="{}",
            note=jsonl.dumps(note),
        )
    )
    return number


def rounds(connection: Connection, number: int | None = None) -> list[Round]:
    """All rounds by number, or the one with this number."""
    query = select(schema.round_).order_by(schema.round_.c.number)
    if number is not None:
        query = query.where(schema.round_.c.number == number)
    return [_round(row) for row in connection.execute(query)]


def record(connection: Connection, number: int, changes: RoundChanges) -> None:
    """Sets fields of a round."""
    values: dict[str, Any] = {
        name: jsonl.dumps(value) if name in _JSON else value for name, value in changes.items()
    }
    if counts := changes.get("counts"):
        values["counts"] = jsonl.dumps(counts._asdict())
    query = update(schema.round_).where(schema.round_.c.number == number).values(values)
    if not connection.execute(query).rowcount:
        raise LedgerError(f"the ledger has no round {number}: see `roundhouse rounds`")


def count_try(connection: Connection, number: int) -> int:
    """Counts one more try of a round."""
    table = schema.round_
    mine = table.c.number == number
    connection.execute(update(table).where(mine).values(tries=table.c.tries + 1))
    return int(connection.execute(select(table.c.tries).where(mine)).scalar_one())


def champion(connection: Connection) -> Champion | None:
    """The released model, or None before the first promotion."""
    row = connection.execute(select(schema.champion)).one()
    if row.version is None:
        return None
    return Champion(row.round, row.version, row.sha256, row.decision)


def decide(
    connection: Connection,
    *,
    action: Action,
    round: int | None,
    model: tuple[int, str, str],
    expected: int | None,
    why: str,
    at: str,
    who: str | None = None,
) -> Decision:
    """Records a decision about a model (its round, version, sha256) and makes it champion, or not.

    The champion changes only where its decision is still the `expected` one; a hold changes
    nothing and is recorded in any case. Said again for a round that has decided so already, the
    first decision is returned and nothing changes.

    Raises:
        LedgerError: the champion changed meanwhile, or the round decided otherwise before.
    """
    _lock(connection)
    earlier = decisions(connection, round) if round is not None else []
    if earlier:
        return _same(earlier[0], action, model)
    before = champion(connection)
    if action != "hold" and (before.decision if before else None) != expected:
        raise ChampionChangedError(
            f"the champion changed meanwhile (now {before.version if before else 'none'}):"
            " nothing was decided; start a new round, or say it again"
        )
    model_round, version, sha256 = model
    after = version if action != "hold" else before.version if before else None
    decided = Decision(
        id=0,
        round=round,
        action=action,
        champion_before=before.version if before else None,
        champion_after=after,
        model_round=model_round,
        version=version,
        sha256=sha256,
        why=why,
        at=at,
        who=who,
    )
    values = asdict(decided)
    del values["id"]
    key = new_key(connection.execute(insert(schema.decision).values(values)))
    failpoints.hit("ledger.decide")
    if action != "hold":
        _replace_champion(connection, model, decision=key, expected=expected or 0)
    return replace(decided, id=key)


def decisions(connection: Connection, round: int | None = None) -> list[Decision]:
    """All decisions in order, or those of one round."""
    query = select(schema.decision).order_by(schema.decision.c.id)
    if round is not None:
        query = query.where(schema.decision.c.round == round)
    return [Decision(**row._mapping) for row in connection.execute(query)]


def add_override(connection: Connection, values: dict[str, Any]) -> None:
    """Records a person's decision on a check or a rater."""
    connection.execute(insert(schema.override).values(values))


def overrides(connection: Connection, round: int | None, kind: str | None) -> list[Override]:
    """Overrides in order: of one round (None: of all, and those without a round), of one kind."""
    query = select(schema.override).order_by(schema.override.c.id)
    if round is not None:
        query = query.where(schema.override.c.round == round)
    if kind is not None:
        query = query.where(schema.override.c.kind == kind)
    return [Override(**row._mapping) for row in connection.execute(query)]


def _lock(connection: Connection) -> None:
    """Waits until no other process decides or takes a number; SQLite's transactions did already."""
    connection.execute(select(schema.champion.c.id).with_for_update())


def _round(row: Row[Any]) -> Round:
    values = dict(row._mapping)
    counts = Counts(**json.loads(values["counts"])) if values["counts"] else None
    return Round(**values | {name: json.loads(values[name]) for name in _JSON} | {"counts": counts})


def _same(earlier: Decision, action: Action, model: tuple[int, str, str]) -> Decision:
    if (earlier.action, earlier.version, earlier.sha256) != (action, *model[1:]):
        raise LedgerError(
            f"round {earlier.round} decided already: {earlier.action} of version {earlier.version}"
        )
    return earlier


def _replace_champion(
    connection: Connection, model: tuple[int, str, str], decision: int, expected: int
) -> None:
    model_round, version, sha256 = model
    changed = connection.execute(
        update(schema.champion)
        .where(schema.champion.c.decision == expected)
        .values(round=model_round, version=version, sha256=sha256, decision=decision)
    )
    if changed.rowcount != 1:
        raise ChampionChangedError("the champion changed meanwhile: nothing was decided")
