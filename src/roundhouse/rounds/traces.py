"""Where a rating went: from a rater, a row or a file forward to every round and model it went into.

A round uses every partition up to its own, so that a row counts in all later rounds too.
"""

import json
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator
from typing import Any, Literal

from roundhouse.errors import UsageError
from roundhouse.ledger import Batch, Ledger
from roundhouse.ledger.trail import Place, Trail
from roundhouse.locations import Locations, tag_name
from roundhouse.rounds import usage
from roundhouse.rounds.audit import named, raters
from roundhouse.rounds.git import round_tags
from roundhouse.rounds.shelf import Shelf


def audit_rater(places: Locations, ledger: Ledger, rater: str) -> dict[str, Any]:
    """Every round and model that a rater's rows went into, with the rater's weight in each.

    Args:
        rater: the rater's name, or key in the newest round.

    Raises:
        UsageError: no published round has a row of this rater.
    """
    shelf, rounds = Shelf(places), _Rounds(places, ledger)
    known: dict[str, set[str]] = {}
    found = []
    for number in rounds.numbers:
        tag = tag_name(number)
        rows = _rows_of(shelf, tag, rater, known)
        if rows:
            state = next((one for one in raters(shelf, tag) if one["rater"] == rater), None)
            told = {"weight": state["weight"], "state": state["state"]} if state else {}
            used = counted(shelf, tag, rows)
            entry = {"rows": len(rows), "weight": None, "state": None, **told, **used}
            found.append(rounds.entry(number) | entry)
    last = shelf.inputs(tag_name(rounds.numbers[-1])).watermark if rounds.numbers else 0
    waiting = Trail(ledger).waiting(rater, last)
    if not found and not waiting:
        _refuse_forgotten(ledger, "rater", rater)
        name = named(shelf, tag_name(rounds.numbers[-1]), rater) if rounds.numbers else rater
        if name != rater:
            return audit_rater(places, ledger, name)
        raise UsageError(f"no round and no row of the ledger has a rater {rater}")
    words = [one for one in ledger.overrides(kind="rater") if one.subject == rater]
    keys = ("state", "who", "why", "at")
    told_by = [{key: getattr(one, key) for key in keys} for one in words]
    return {"rater": rater, "rounds": found, "waiting": waiting, "overrides": told_by}


def audit_row(places: Locations, ledger: Ledger, id: str) -> dict[str, Any]:
    """Where a row came from, and every round and model it went into, with how it was used there.

    Raises:
        UsageError: no row with this id was received.
    """
    trail = Trail(ledger)
    place, refused = trail.row(id), list(trail.refused(id))
    if place is None and not refused:
        _refuse_forgotten(ledger, "id", id)
        raise UsageError(
            f"no row {id} was received; of duplicates, the id is not kept: look for the first one's"
        )
    shelf, batches = Shelf(places), {batch.id: batch for batch in ledger.batches()}
    return {
        "row": id,
        **(_origin(place, batches) if place else {"state": "quarantined"}),
        "quarantined": [{"file": batches[one.batch].name, **one._asdict()} for one in refused],
        "rounds": list(_of_row(shelf, ledger, place)) if place else [],
    }


def audit_file(places: Locations, ledger: Ledger, named: str) -> dict[str, Any]:
    """What became of an ingested file, by its name or the SHA-256 of its bytes.

    Raises:
        UsageError: no such file was ingested.
    """
    trail, shelf, rounds = Trail(ledger), Shelf(places), _Rounds(places, ledger)
    batches = trail.batches(named)
    if not batches:
        raise UsageError(f"no file {named} was ingested: give its name, or 8 digits of its SHA-256")
    seqs: dict[str, int] = {
        place.id: place.seq for batch in batches for place in trail.of_batch(batch.id)
    }
    found = []
    for number in rounds.numbers:
        tag = tag_name(number)
        watermark = shelf.inputs(tag).watermark
        rows = {id for id, seq in seqs.items() if seq <= watermark}
        if rows:
            used = counted(shelf, tag, rows)
            found.append(rounds.entry(number) | {"rows": len(rows)} | used)
    last = shelf.inputs(tag_name(rounds.numbers[-1])).watermark if rounds.numbers else 0
    return {
        "file": named,
        "batches": [_batch(batch, trail) for batch in batches],
        "rounds": found,
        "waiting": sum(seq > last for seq in seqs.values()),
    }


def _refuse_forgotten(ledger: Ledger, kind: Literal["rater", "id"], value: str) -> None:
    request = Trail(ledger).forgotten(kind, value)
    if request is not None:
        raise UsageError(
            f"{value} was erased under request {request}: see `roundhouse forget list`"
        )


class _Rounds:
    """The published rounds, with the decision, the version and whether it is the champion."""

    def __init__(self, places: Locations, ledger: Ledger) -> None:
        self.numbers = round_tags(places.root)
        self._versions = {one.model_round: one.version for one in ledger.decisions()}
        self._decisions = {row.number: row.decision for row in ledger.rounds()}
        champion = ledger.champion()
        self._champion = champion.round if champion else None

    def entry(self, number: int) -> dict[str, Any]:
        return {
            "round": number,
            "decision": self._decisions.get(number),
            "version": self._versions.get(number),
            "champion": number == self._champion,
        }


def _rows_of(shelf: Shelf, tag: str, rater: str, known: dict[str, set[str]]) -> set[str]:
    """Ids of a rater's rows in a round; a partition that rounds share is read once.

    Rows are canonical JSON: a line without the rater's name in this form is none of theirs.
    """
    needle = b'"rater":' + json.dumps(rater, ensure_ascii=False).encode()
    ids: set[str] = set()
    for name, part in shelf.inputs(tag).partitions.items():
        if part.sha256 not in known:
            lines = shelf.lines(tag, f"data/feedback/{name}")
            rows = (json.loads(line) for line in lines if needle in line)
            known[part.sha256] = {row["id"] for row in rows if row["rater"] == rater}
        ids |= known[part.sha256]
    return ids


def counted(shelf: Shelf, tag: str, wanted: Collection[str]) -> dict[str, dict[str, int]]:
    """Rows by use, excluded ones by check, unused ones by reason; a row may have several uses."""
    used: dict[str, set[str]] = defaultdict(set)
    why: dict[str, Counter[str]] = {"excluded": Counter(), "unused": Counter()}
    for use in usage.uses(shelf, tag):
        for row in use.rows:
            if row in wanted:
                if use.how in why:
                    why[use.how][str(use.why)] += 1
                else:
                    used[use.how].add(row)
    counts = {how: len(rows) for how, rows in sorted(used.items())}
    return {"used": counts, **{how: dict(sorted(found.items())) for how, found in why.items()}}


def _of_row(shelf: Shelf, ledger: Ledger, place: Place) -> Iterator[dict[str, Any]]:
    rounds = _Rounds(shelf.places, ledger)
    for number in rounds.numbers:
        tag = tag_name(number)
        if place.seq > shelf.inputs(tag).watermark:
            continue
        found = [_use(use) for use in usage.uses(shelf, tag, only=place.id) if place.id in use.rows]
        state = next((one for one in raters(shelf, tag) if one["rater"] == place.rater), None)
        told = {"rater_weight": state["weight"], "rater_state": state["state"]} if state else {}
        yield rounds.entry(number) | {"uses": found, **told}


def _use(use: usage.Use) -> dict[str, Any]:
    found = {"how": use.how, "weight": use.weight, "p": use.p, "votes": use.votes, "why": use.why}
    return {key: value for key, value in found.items() if value is not None}


def _origin(place: Place, batches: dict[int, Batch]) -> dict[str, Any]:
    batch = batches[place.batch]
    return {
        "state": "accepted" if place.erasure is None else f"erased under request {place.erasure}",
        "kind": place.kind,
        "rater": place.rater,
        "seq": place.seq,
        "received_at": place.received_at,
        "file": batch.name,
        "file_sha256": batch.sha256,
    }


def _batch(batch: Batch, trail: Trail) -> dict[str, Any]:
    return {
        "name": batch.name,
        "sha256": batch.sha256,
        "format": batch.format,
        "started_at": batch.started_at,
        "finished_at": batch.finished_at,
        **batch.counts._asdict(),
        "reasons": trail.codes(batch.id),
    }
