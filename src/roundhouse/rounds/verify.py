"""Recomputing the hashes of everything published: what is altered, what is missing, by name."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from roundhouse.errors import RemoteError, RoundhouseError, TrackingError
from roundhouse.hashes import sha256_file
from roundhouse.ledger import Erasures, Ledger
from roundhouse.locations import Locations, tag_name
from roundhouse.rounds import erased, objects, registered
from roundhouse.rounds.dvc import stores
from roundhouse.rounds.erased import Replaced
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


class Erased(NamedTuple):
    """A published file that rows were erased from.

    Attributes:
        round: its round.
        what: the file.
        request: the erasure's id in the ledger.
    """

    round: int
    what: str
    request: int


@dataclass(frozen=True)
class Verification:
    """What was checked, and what is wrong with it.

    Attributes:
        rounds: rounds that were looked at.
        files: published files, counted once a place.
        rows: rows of the ledger's chain.
        findings: empty where all is as published, but for what was erased.
        notes: what could not be looked at, and why.
        erased: files that people's rows were taken out of, as they had asked.
    """

    rounds: int
    files: int
    rows: int
    findings: tuple[Finding, ...]
    notes: tuple[str, ...] = ()
    erased: tuple[Erased, ...] = ()


def verify(places: Locations, ledger: Ledger, all_rounds: bool = True) -> Verification:
    """Checks every round's files in cache, remote, clone and MLflow, the records, and the chain.

    Args:
        places: the checkout's.
        ledger: its ledger.
        all_rounds: whether the tags of all machines are here; False where the git remote is away.
    """
    findings: list[Finding] = []
    files = 0
    numbers = round_tags(places.root)
    look, shelf = _Look(places), Shelf(places, mend=False)
    gone = erased.replaced(ledger)
    erased_files: set[Erased] = set()
    unfinished = {request.id for request in Erasures(ledger).unfinished()}
    for request in sorted(unfinished):
        what = f"request {request} to erase"
        findings.append(Finding(0, what, "ledger", "unfinished: say it again"))
    untagged = _untagged(ledger, numbers)
    findings += untagged if all_rounds else []
    for number in numbers:
        try:
            for copy in look.copies(number):
                files += 1
                one = gone.get(copy.md5 or "")
                if one is not None and one.request in unfinished:
                    continue
                problem = _problem(copy) if one is None else look.remains(copy, one)
                if one is not None:
                    erased_files.add(Erased(number, copy.name, one.request))
                if problem:
                    findings.append(Finding(number, copy.name, copy.place, problem))
            findings += look.lists(number)
            # Not a list: what was found before a file that cannot be read is told too.
            findings += (Finding(number, *one) for one in disagreements(shelf, ledger, number))
        except RemoteError as error:
            # The other rounds' files lie there too: waiting for it again would tell nothing new.
            findings.append(Finding(number, "everything from here on", "DVC", str(error)))
            break
        except RoundhouseError as error:
            findings.append(Finding(number, tag_name(number), "git and DVC", str(error)))
    findings += [Finding(0, *one) for one in champion(ledger)]
    notes = [
        f"not looked into: {one.what}, which is not here while the git remote is away"
        for one in untagged
        if not all_rounds
    ]
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
    return Verification(
        len(numbers), files, rows, tuple(findings), tuple(notes), tuple(sorted(erased_files))
    )


def _untagged(ledger: Ledger, numbers: list[int]) -> list[Finding]:
    """Rounds that the ledger has published, or decided on, and no tag names."""
    known = {row.number for row in ledger.rounds() if row.state == "published" or row.commit}
    known |= {one.model_round for one in ledger.decisions()}
    return [Finding(one, tag_name(one), "git", "missing") for one in sorted(known - set(numbers))]


def _tracked(shelf: Shelf, ledger: Ledger, copies: Copies) -> list[Finding]:
    if copies.absent:
        raise TrackingError(f"there is no MLflow at {copies.where}")
    return [
        Finding(number, *one) for number, one in registered.disagreements(shelf, ledger, copies)
    ]


class _Copy(NamedTuple):
    name: str
    place: str
    found: str | None
    """Hash of the bytes that lie there; None where there are none."""
    digest: str
    needed: bool
    """The remote must have it; cache and clone can be filled again."""
    md5: str | None = None
    """The name under which DVC keeps it."""


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
                needed = store is self._stores[-1]
                yield _Copy(name, store.where, found, digest, needed, md5.get(name))
            if workspace.exists():
                path = workspace / name
                found = sha256_file(path) if path.exists() else None
                yield _Copy(name, str(workspace), found, digest, False, md5.get(name))

    def remains(self, copy: _Copy, gone: Replaced) -> str | None:
        """What is wrong with a file that rows were erased from; only what is left may lie there."""
        if copy.found == copy.digest:
            return f"still there, though erased under request {gone.request}"
        if copy.found not in (None, gone.left):
            return "altered"
        if not copy.needed or gone.to is None:
            return None
        left = self._digest(self._stores[-1], gone.to, "sha256")
        return None if left == gone.left else f"what request {gone.request} left of it is missing"

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
