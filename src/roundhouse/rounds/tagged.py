"""A round that has its tag, and whose clone here is not what the tag names: made from the tag.

So it is where a machine was lost after it had published bytes and tag, and before model registry
and ledger knew of them. To train again what is public would be waste, and on another machine, with
other rounding, it would make other bytes than the tag names.
"""

import io
import json
from pathlib import Path

from roundhouse.gate import Decision
from roundhouse.locations import Locations, tag_name
from roundhouse.rounds import objects
from roundhouse.rounds.committed import UNREADABLE, committed
from roundhouse.rounds.dvc import stores
from roundhouse.rounds.stores import take
from roundhouse.rounds.workspace import DECISION_FILE

_PUBLISHED = ("data/feedback", "out")


def elsewhere(places: Locations, number: int) -> bool:
    """Whether the round's tag is here, and the round's clone does not hold what it names."""
    bound = committed(places.root, tag_name(number), DECISION_FILE, _bound)
    return bound is not None and bound != _bound_of(places.workspace(number))


def bring(places: Locations, number: int, clone: Path) -> None:
    """Writes the bytes that the round's tag names into a clone that holds the tag's files.

    Raises:
        DataError: no store has them unharmed.
        RemoteError: the remote is away.
    """
    tag = tag_name(number)
    published = objects.Reader(places, tag)
    for folder in _PUBLISHED:
        published.extract(folder, clone / folder)
    _fill_cache(places, tag, clone)


def _fill_cache(places: Locations, tag: str, clone: Path) -> None:
    """DVC would run a stage again whose results its cache lacks."""
    found = stores(places)
    cache = found[0]
    for path, md5 in objects.published(places, tag).items():
        if cache.digest(md5) != md5:
            with (clone / path).open("rb") as source:
                cache.put(md5, source)
    for md5 in objects.folders(places.root, tag).values():
        listed = io.BytesIO()
        if cache.digest(md5) is None and take(found, md5, listed):
            cache.put(md5, listed)


def _bound_of(clone: Path) -> object:
    try:
        return _bound((clone / DECISION_FILE).read_text(encoding="utf-8"))
    except (OSError, *UNREADABLE):
        return None


def _bound(text: str) -> object:
    """The hashes of what a decision was made on."""
    return Decision.from_record(json.loads(text)).bound
