"""Erasure, from the recorded request over every place to the emptied ledger.

    1. request     recorded; from here on no reader sees the rows, and the door refuses them
    2. places      rounds' folders, cache, remote and state, each searched for the rows' marks
    3. ledger      the rows' texts, salts and names, and the pages that held them
    4. finished

A step that was killed is done again; the texts to search for stay in the ledger until the places
are clear. Model weights stay, and so do tags, digests and counts.
"""

import json
import os
import shutil
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

from roundhouse import failpoints
from roundhouse.errors import RoundhouseError, UsageError
from roundhouse.feedback import Row
from roundhouse.ledger import Erasure, Erasures, Ledger
from roundhouse.locations import Locations, tag_name
from roundhouse.params import load
from roundhouse.processes import ROUND_MARK
from roundhouse.rounds import clearing, objects
from roundhouse.rounds.begin import has_history, meet_others, read_inputs
from roundhouse.rounds.dvc import stores
from roundhouse.rounds.git import round_tags
from roundhouse.rounds.lock import owned, who
from roundhouse.rounds.marks import Marks
from roundhouse.rounds.shelf import Shelf
from roundhouse.rounds.traces import counted

_PURPOSE = "roundhouse forget"


def forget_rater(places: Locations, rater: str, why: str) -> Erasure:
    """Erases everything of a person; said again, it finishes what was left unfinished.

    Raises:
        BusyError: a round is at work.
        UsageError: the ledger has nothing of this rater.
        RoundhouseError: a place could not be cleared; the request stays unfinished.
    """
    with _rounds_held(places) as ledger:
        request = Erasures(ledger).forget_rater(rater, _given(why))
        return finish(places, ledger, request, {rater})


def forget_row(places: Locations, id: str, why: str) -> Erasure:
    """Erases one row and its other versions; raises like `forget_rater`."""
    with _rounds_held(places) as ledger:
        return finish(places, ledger, Erasures(ledger).forget_row(id, _given(why)), set())


def forget_expired(places: Locations, days: int) -> list[Erasure]:
    """Erases rows made more than `days` days ago (0 keeps all), and finishes what is unfinished."""
    with _rounds_held(places) as ledger:
        return expire(places, ledger, days)


def expire(
    places: Locations, ledger: Ledger, days: int, at_work: int | None = None
) -> list[Erasure]:
    """The same for the owner of the rounds.

    Args:
        places: the checkout's.
        ledger: opened by the owner.
        days: longest age of a row, in days; 0 keeps all.
        at_work: the round that is being made; its folder stays, and its snapshot is made anew.
    """
    erasures = Erasures(ledger)
    waiting = erasures.unfinished()
    if days and not _half_published(places, ledger):
        before = datetime.now(UTC) - timedelta(days=days)
        new = erasures.forget_before(before.isoformat()[:19] + "Z", f"older than {days} days")
        waiting += [new] if new else []
    return [finish(places, ledger, request, set(), at_work) for request in waiting]


def finish(
    places: Locations,
    ledger: Ledger,
    request: Erasure,
    names: set[str],
    at_work: int | None = None,
) -> Erasure:
    """Clears every place for a request, the ledger last.

    Raises:
        RoundhouseError: names the places that could not be cleared; the rest is done.
    """
    if request.finished_at:
        # A backup that was put back, or another machine's cache, may hold what was erased.
        for md5 in request.report.get("replaced", {}):
            for store in stores(places):
                store.delete(md5)
        return request
    failpoints.hit("forget.requested")
    erasures = Erasures(ledger)
    rows = list(erasures.rows(request.id))
    raters = names | erasures.raters(request.id)
    if rows or raters:
        marks = Marks([row for _, row in rows], raters, ledger.rows())
        _describe(places, ledger, request, rows, raters)
        lines = erasures.mark_lines(request.id, lambda raw: marks.in_text(_text(raw)))
        erasures.report(request.id, quarantined=lines)
        _open_rounds(places, ledger, [seq for seq, _ in rows], at_work)
        failpoints.hit("forget.described")
        _clear(places, erasures, request, marks)
    failpoints.hit("forget.cleared")
    erasures.clear(request.id)
    failpoints.hit("forget.emptied")
    erasures.compact()
    failpoints.hit("forget.compacted")
    return erasures.finish(request.id)


def _clear(places: Locations, erasures: Erasures, request: Erasure, marks: Marks) -> None:
    """Every place but the ledger."""
    problems = clearing.clear_stores(places, erasures, request.id, marks)
    failpoints.hit("forget.stores")
    clearing.clear_rounds(places, marks)
    failpoints.hit("forget.rounds")
    notices = clearing.clear_state(places, marks)
    erasures.report(request.id, look_at=notices)
    problems += clearing.clear_tracked(places, erasures.ledger, marks)
    if problems:
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        raise RoundhouseError(
            f"request {request.id} is recorded but unfinished: {problems[0]}{more}; say it again"
        )


def _open_rounds(
    places: Locations, ledger: Ledger, seqs: Sequence[int], at_work: int | None
) -> None:
    """A round that is not published and holds erased rows begins anew, from its snapshot on."""
    first = min(seqs, default=0)
    for row in ledger.rounds():
        if row.state not in ("open", "abandoned") or row.number in round_tags(places.root):
            continue
        if first and (row.watermark is None or row.watermark >= first):
            ledger.record_round(row.number, inputs=None, watermark=None, counts=None)
            if row.number != at_work:
                shutil.rmtree(places.workspace(row.number), ignore_errors=True)


def _describe(
    places: Locations,
    ledger: Ledger,
    request: Erasure,
    rows: Sequence[tuple[int, Row]],
    raters: set[str],
) -> None:
    """Reports how many rows go, and the models that were trained on them; once, before they go."""
    if "rounds" in request.report or not rows:
        return
    versions = {made.model_round: made.version for made in ledger.decisions()}
    rounds = []
    for number in round_tags(places.root):
        watermark = read_inputs(places.root, tag_name(number)).watermark
        used = sum(seq <= watermark for seq, _ in rows)
        if used:
            weight = _weight(places, number, raters)
            found: dict[str, Any] = {"round": number, "version": versions.get(number), "rows": used}
            rounds.append(found | {"weight": weight, "used": _uses(places, number, rows)})
    Erasures(ledger).report(request.id, rows=len(rows), rounds=rounds)


def _uses(places: Locations, number: int, rows: Sequence[tuple[int, Row]]) -> dict[str, int]:
    """What a round made of the rows: rows by use; empty where its files cannot be read any more."""
    try:
        return counted(Shelf(places), tag_name(number), {row["id"] for _, row in rows})["used"]
    except RoundhouseError:
        return {}


def _weight(places: Locations, number: int, raters: set[str]) -> float | None:
    """A person's weight in a round's training; None where it is unknown, or no one person asked."""
    try:
        table = objects.read(places, tag_name(number), "out/raters/raters.json")
    except RoundhouseError:
        return None
    states: list[dict[str, Any]] = json.loads(table)
    return next((one["weight"] for one in states if one["rater"] in raters), None)


@contextmanager
def _rounds_held(places: Locations) -> Iterator[Ledger]:
    mark = os.environ.setdefault(ROUND_MARK, uuid.uuid4().hex)
    with (
        owned(places.state / "round.lock", _PURPOSE, mark),
        Ledger.open(places.ledger_url, expected=has_history(places), create=False) as ledger,
        ledger.owned(who(_PURPOSE)),
    ):
        meet_others(places.root, load(places.root / "params.yaml"))
        for number in _half_published(places, ledger):
            raise UsageError(
                f"round {number} is published by half: `roundhouse resume {number}` first"
            )
        yield ledger


def _half_published(places: Locations, ledger: Ledger) -> list[int]:
    """Rounds with a tag and no decision yet: to be finished they need their bytes as they are."""
    tags = round_tags(places.root)
    waiting = (row.number for row in ledger.rounds() if row.state in ("open", "abandoned"))
    return [number for number in waiting if number in tags]


def _given(why: str) -> str:
    if not why.strip():
        raise UsageError("--why TEXT: say why; it is kept with the request")
    return why.strip()


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "replace")
