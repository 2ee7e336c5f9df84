"""Recomputing the hashes of everything that was published: what is altered, what is missing, by name."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from roundhouse.errors import RoundhouseError
from roundhouse.hashes import sha256_file
from roundhouse.ledger import Ledger
from roundhouse.locations import Locations, tag_name, tag_number
from roundhouse.rounds import objects
from roundhouse.rounds.dvc import stores
from roundhouse.rounds.git import round_tags
from roundhouse.rounds.records import champion, disagreements
from roundhouse.rounds.shelf import Shelf


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
    """

    rounds: int
    files: int
    rows: int
    findings: tuple[Finding, ...]


def verify(places: Locations, ledger: Ledger) -> Verification:
    """Checks every round's files in cache, remote and clone, the tags, and the ledger's chain."""
    findings: list[Finding] = []
    files = 0
    numbers, shelf = round_tags(places.root), Shelf(places)
    for number in numbers:
        try:
            for copy in _copies(places, tag_name(number)):
                files += 1
                problem = _compare(copy)
                if problem:
                    findings.append(Finding(number, copy.name, copy.place, problem))
            findings += _lists(places, number)
            findings += [Finding(number, *one) for one in disagreements(shelf, ledger, number)]
        except RoundhouseError as error:
            findings.append(Finding(number, tag_name(number), "git and DVC", str(error)))
    findings += [Finding(0, *one) for one in champion(ledger)]
    rows = 0
    try:
        rows = ledger.verify_chain().rows
    except RoundhouseError as error:
        findings.append(Finding(0, "ledger", "chain", str(error)))
    return Verification(len(numbers), files, rows, tuple(findings))


class _Copy(NamedTuple):
    name: str
    place: str
    path: Path
    digest: str
    needed: bool
    """The remote must have it; cache and clone can be filled again."""


def _copies(places: Locations, tag: str) -> Iterator[_Copy]:
    """Every copy of every published file."""
    md5 = objects.published(places, tag)
    workspace = places.workspace(tag_number(tag))
    folders = stores(places)
    for name, digest in objects.manifest(places.root, tag).items():
        for store in folders:
            path = objects.object_path(store, md5.get(name, "none"))
            yield _Copy(name, str(store), path, digest, needed=store == folders[-1])
        if workspace.exists():
            yield _Copy(name, str(workspace), workspace / name, digest, needed=False)


def _compare(copy: _Copy) -> str | None:
    if not copy.path.exists():
        return "missing" if copy.needed else None
    return None if sha256_file(copy.path) == copy.digest else "altered"


def _lists(places: Locations, number: int) -> Iterator[Finding]:
    """DVC's own lists of the files in a folder: without them the remote gives out nothing."""
    folders = stores(places)
    for name, md5 in objects.folders(places.root, tag_name(number)).items():
        for store in folders:
            path = objects.object_path(store, md5)
            if path.exists() and not objects.is_whole(path, md5):
                yield Finding(number, f"list of {name}", str(store), "altered")
            elif not path.exists() and store == folders[-1]:
                yield Finding(number, f"list of {name}", str(store), "missing")
