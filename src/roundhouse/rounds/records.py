"""The same facts stand in several records (git, ledger, manifest, decision): they must agree."""

from collections.abc import Iterator, Mapping
from hashlib import sha256
from typing import Any, NamedTuple

import yaml

from roundhouse import gate
from roundhouse.errors import DataError
from roundhouse.ledger import Decision, Ledger, Round
from roundhouse.locations import tag_name
from roundhouse.rounds import objects
from roundhouse.rounds.git import git, show
from roundhouse.rounds.inputs import FILE as INPUTS_FILE
from roundhouse.rounds.inputs import Inputs
from roundhouse.rounds.publish import CHAMPION_CHANGED, UNUSABLE
from roundhouse.rounds.shelf import Shelf
from roundhouse.rounds.stages import STAGES
from roundhouse.rounds.workspace import DATA_POINTER

#: What decision.json is bound to, and the folder that must hash to it.
_FOLDERS = {"model": "out/align/model", "reference": "out/sft/model"}


class Problem(NamedTuple):
    """Two records that differ: what about, where it was looked for, and how."""

    what: str
    where: str
    problem: str


def disagreements(shelf: Shelf, ledger: Ledger, number: int) -> Iterator[Problem]:
    """Everything in the records of one published round that contradicts another record."""
    tag, row = tag_name(number), ledger.round(number)
    yield from _partitions(shelf, tag)
    yield from _bound(shelf, tag)
    if row is None:
        yield Problem(tag, "ledger", "the ledger does not know this round")
    elif row.state == "published":
        yield from _round(shelf, tag, row)
        yield from _figures(shelf, tag, row)
        made = next((one for one in ledger.decisions() if one.round == number), None)
        yield from decision(shelf.decision(tag), made)


def champion(ledger: Ledger) -> Iterator[Problem]:
    """The released model against the last decision that released one."""
    now = ledger.champion()
    last = next((one for one in reversed(ledger.decisions()) if one.action != "hold"), None)
    told = (last.id, last.version, last.sha256) if last else None
    if told != ((now.decision, now.version, now.sha256) if now else None):
        named = f"version {last.version}" if last else "none"
        yield Problem("champion", "ledger", f"the last decision released {named}")


def _partitions(shelf: Shelf, tag: str) -> Iterator[Problem]:
    digests = objects.manifest(shelf.places.root, tag)
    for name, partition in shelf.inputs(tag).partitions.items():
        if digests.get(f"data/feedback/{name}") != partition.sha256:
            yield Problem(f"data/feedback/{name}", INPUTS_FILE, "differs from the manifest")
    for name in sorted(digests.keys() ^ objects.published(shelf.places, tag, mend=False).keys()):
        known, other = ("manifest", "DVC") if name in digests else ("DVC", "manifest")
        yield Problem(name, other, f"not on record, though the {known} has it")


def _bound(shelf: Shelf, tag: str) -> Iterator[Problem]:
    """decision.json against the bytes, inputs and figures that it says it was made on."""
    bound = shelf.decision(tag).get("bound")
    if bound is None:
        return
    digests = objects.manifest(shelf.places.root, tag)
    found: dict[str, str | None] = {
        key: objects.folder_digest(digests, folder) for key, folder in _FOLDERS.items()
    }
    inputs = show(shelf.places.root, tag, INPUTS_FILE) or ""
    found["inputs"] = sha256(inputs.encode()).hexdigest()
    before = shelf.inputs(tag).champion
    found["champion"] = before.sha256 if before else None
    figures = _published_figures(shelf, tag)
    if figures is not None:
        found["figures"] = gate.fingerprint(figures)
    for key, value in found.items():
        if bound.get(key) != value:
            yield Problem(f"decision.json: {key}", tag, f"decided on {bound.get(key)}, not {value}")


def _round(shelf: Shelf, tag: str, row: Round) -> Iterator[Problem]:
    root = shelf.places.root
    commit = git("rev-parse", f"{tag}^{{commit}}", cwd=root)
    if row.commit != commit:
        yield Problem(tag, "git", f"the tag points at {commit}, published was {row.commit}")
    pointer = yaml.safe_load(show(root, tag, DATA_POINTER) or "outs: []")["outs"]
    version = pointer[0]["md5"] if pointer else None
    if row.data_version != version:
        yield Problem(DATA_POINTER, tag, f"names {version}, the ledger {row.data_version}")
    if row.inputs and Inputs.model_validate_json(row.inputs) != shelf.inputs(tag):
        yield Problem(INPUTS_FILE, tag, "differs from the inputs that the ledger froze")


def _figures(shelf: Shelf, tag: str, row: Round) -> Iterator[Problem]:
    """The ledger's figures; those of the simulation are in no published file."""
    published = _published_figures(shelf, tag)
    if published is None:
        return
    told = {k: v for k, v in row.metrics.items() if not k.startswith("simulation/")}
    for name in sorted(told.keys() | published.keys()):
        if told.get(name) != published.get(name):
            text = f"{told.get(name)} in the ledger, {published.get(name)} was published"
            yield Problem(f"figure {name}", "ledger", text)


def decision(committed: Mapping[str, Any], made: Decision | None) -> Iterator[Problem]:
    """The ledger's decision row against the decision that the round committed."""
    if made is None or not committed:
        where = "ledger" if made is None else "git"
        yield Problem("decision", where, "there is none, though the round is published")
        return
    if made.sha256 != committed["bound"]["model"]:
        text = f"about model {made.sha256}, decided was {committed['bound']['model']}"
        yield Problem("decision", "ledger", text)
    later = (CHAMPION_CHANGED, UNUSABLE)
    overtaken = made.action == "hold" and any(reason in made.why for reason in later)
    said = "promote" if committed["outcome"] == "promoted" else "hold"
    if made.action != said and not overtaken:
        yield Problem(
            "decision", "ledger", f"{made.action}, though decided was {committed['outcome']}"
        )


def _published_figures(shelf: Shelf, tag: str) -> dict[str, float] | None:
    """The figures of all stages; None where a file is damaged, which is named by itself."""
    found: dict[str, float] = {}
    for stage in STAGES:
        name = f"out/{stage}/figures.json"
        if shelf.digest(tag, name) is None:
            continue
        try:
            found |= shelf.json(tag, name)
        except DataError:
            return None
    return found
