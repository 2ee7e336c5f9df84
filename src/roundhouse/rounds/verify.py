"""Recomputing the hashes of everything published: what is altered, what is missing, by name."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from roundhouse.errors import RemoteError, RoundhouseError, TrackingError
from roundhouse.hashes import sha256_file
from roundhouse.ledger import Ledger
from roundhouse.locations import Locations, tag_name
from roundhouse.rounds import objects, registered
from roundhouse.rounds.dvc import stores
from roundhouse.rounds.git import round_tags
from roundhouse.rounds.records import champion, disagreements
from roundhouse.rounds.shelf import Shelf
from roundhouse.rounds.stores import Store
from roundhouse.tracking import Copies


@dataclass(frozen=True)
class Finding:
    """One thing that is not as it was published.

    Attributes:
        round: its round, 0 for the ledger.
        what: file, tag or record.
        where: the store or folder that was looked into.
        problem: `altered`, `missing`, or a sentence.
    """

    round: int
    what: str
    where: str
    problem: str


@dataclass(frozen=True)
class Verification:
    """What was checked, and what is wrong with it.

    Attributes:
        rounds: rounds that were looked at.
        files: published files, counted once a place.
        rows: rows of the ledger's chain.
        findings: empty where all is as published.
        notes: what could not be looked at, and why.
    """

    rounds: int
    files: int
    rows: int
    findings: tuple[Finding, ...]
    notes: tuple[str, ...] = ()


def verify(places: Locations, ledger: Ledger) -> Verification:
    """Checks every round's files in cache, remote, clone and MLflow, the records, and the chain."""
    findings: list[Finding] = []
    files = 0
    numbers = round_tags(places.root)
    look, shelf = _Look(places), Shelf(places, mend=False)
    for number in numbers:
        try:
            for copy in look.copies(number):
                files += 1
                problem = _problem(copy)
                if problem:
                    findings.append(Finding(number, copy.name, copy.place, problem))
            findings += look.lists(number)
            findings += [Finding(number, *one) for one in disagreements(shelf, ledger, number)]
        except RemoteError as error:
            # The other rounds' files lie there too: waiting for it again would tell nothing new.
            findings.append(Finding(number, "everything from here on", "DVC", str(error)))
            break
        except RoundhouseError as error:
            findings.append(Finding(number, tag_name(number), "git and DVC", str(error)))
    findings += [Finding(0, *one) for one in champion(ledger)]
    notes = []
    copies = Copies(places.tracking_uri, ledger.identity())
    try:
        findings += _tracked(shelf, ledger, copies)
    except TrackingError as error:
        notes.append(f"not looked into: {error}")
    rows = 0
    try:
        rows = ledger.verify_chain().rows
    except RoundhouseError as error:
        findings.append(Finding(0, "ledger", "chain", str(error)))
    return Verification(len(numbers), files, rows, tuple(findings), tuple(notes))


def _tracked(shelf: Shelf, ledger: Ledger, copies: Copies) -> list[Finding]:
    if copies.absent:
        raise TrackingError(f"there is no MLflow at {copies.where}")
    return [Finding(number, *one) for number, one in registered.disagreements(shelf, ledger, copies)]


class _Copy(NamedTuple):
    name: str
    place: str
    found: str | None
    """Hash of the bytes that lie there; None where there are none."""
    digest: str
    needed: bool
    """The remote must have it; cache and clone can be filled again."""


def _problem(copy: _Copy) -> str | None:
    if copy.found is None:
        return "missing" if copy.needed else None
    return None if copy.found == copy.digest else "altered"


class _Look:
    """Into every place; rounds share objects, so that what was hashed is not read again."""

    def __init__(self, places: Locations) -> None:
        self._places = places
        self._stores = stores(places)
        self._seen: dict[tuple[str, str], str | None] = {}

    def copies(self, number: int) -> Iterator[_Copy]:
        """Every copy of every published file of a round."""
        tag, workspace = tag_name(number), self._places.workspace(number)
        md5 = objects.published(self._places, tag, mend=False)
        for name, digest in objects.manifest(self._places.root, tag).items():
            for store in self._stores:
                found = self._digest(store, md5.get(name), "sha256")
                yield _Copy(name, store.where, found, digest, needed=store is self._stores[-1])
            if workspace.exists():
                path = workspace / name
                found = sha256_file(path) if path.exists() else None
                yield _Copy(name, str(workspace), found, digest, needed=False)

    def lists(self, number: int) -> Iterator[Finding]:
        """DVC's own lists of the files in a folder: without them the remote gives out nothing."""
        for name, md5 in objects.folders(self._places.root, tag_name(number)).items():
            for store in self._stores:
                found = self._digest(store, md5, "md5")
                needed = store is self._stores[-1]
                problem = _problem(
                    _Copy(name, store.where, found, md5.removesuffix(".dir"), needed)
                )
                if problem:
                    yield Finding(number, f"list of {name}", store.where, problem)

    def _digest(self, store: Store, md5: str | None, algorithm: str) -> str | None:
        if md5 is None:
            return None
        if (store.where, md5) not in self._seen:
            self._seen[store.where, md5] = store.digest(md5, algorithm)
        return self._seen[store.where, md5]
