"""Which published bytes were erased under which request, and what stands in their place.

The record is the ledger's (`erasure.report`): tags and manifests stay as they were published.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

from roundhouse.errors import LedgerError
from roundhouse.ledger import Erasures, Ledger
from roundhouse.locations import Locations
from roundhouse.rounds.inputs import Partition


class Replaced(NamedTuple):
    """One published object that is gone.

    Attributes:
        request: the erasure's id.
        sha256: of the bytes that were published.
        to: DVC's md5 of what is left of it; None where nothing is.
        left: SHA-256 of what is left.
        rows: lines of what is left.
    """

    request: int
    sha256: str
    to: str | None
    left: str | None
    rows: int


def replaced(ledger: Ledger) -> dict[str, Replaced]:
    """Every erased object by DVC's md5, as it stands after all requests."""
    found: dict[str, Replaced] = {}
    for request in Erasures(ledger).all():
        for md5, entry in request.report.get("replaced", {}).items():
            found[md5] = Replaced(request.id, **entry)
    return {md5: _last(found, one) for md5, one in found.items()}


def known(places: Locations) -> dict[str, Replaced]:
    """The same for a reader that has no ledger open; empty where there is none."""
    try:
        with Ledger.open(places.ledger_url, create=False) as ledger:
            return replaced(ledger)
    except LedgerError:
        return {}


def current(ledger: Ledger, partitions: Mapping[str, Partition]) -> dict[str, Partition]:
    """A published round's partitions as they are now."""
    left = {one.sha256: one for one in replaced(ledger).values() if one.left}
    return {
        name: Partition(rows=left[part.sha256].rows, sha256=str(left[part.sha256].left))
        if part.sha256 in left
        else part
        for name, part in partitions.items()
    }


def lost(ledger: Ledger, partitions: Mapping[str, Partition]) -> int:
    """How many of a published round's rows were erased since."""
    left = current(ledger, partitions)
    return sum(part.rows - left[name].rows for name, part in partitions.items())


def entry(sha256: str, to: str | None, left: str | None, rows: int) -> dict[str, Any]:
    """How a request's report records one object."""
    return {"sha256": sha256, "to": to, "left": left, "rows": rows}


def _last(found: Mapping[str, Replaced], one: Replaced) -> Replaced:
    """What is left of an object whose remains were erased again later."""
    seen = set()
    while one.to is not None and one.to in found and one.to not in seen:
        seen.add(one.to)
        one = found[one.to]._replace(sha256=one.sha256)
    return one
