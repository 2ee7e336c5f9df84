"""The same facts stand in several records (git, ledger, manifest, decision): they must agree."""

from collections.abc import Iterator, Mapping
from hashlib import sha256
from typing import Any, NamedTuple

from pydantic import ValidationError

from roundhouse import gate
from roundhouse.errors import DataError
from roundhouse.feedback import KEY, rater_key
from roundhouse.ledger import Decision, Erasures, Ledger, Round
from roundhouse.locations import tag_name
from roundhouse.rounds import objects
from roundhouse.rounds.git import git, show
from roundhouse.rounds.inputs import FILE as INPUTS_FILE
from roundhouse.rounds.inputs import Inputs
from roundhouse.rounds.publish import CHAMPION_CHANGED, UNUSABLE
from roundhouse.rounds.release import OUTCOMES
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
    made = next((one for one in ledger.decisions() if one.round == number), None)
    yield from _partitions(shelf, tag)
    yield from _bound(shelf, tag)
    yield from _chain(shelf.inputs(tag), ledger)
    yield from _words(shelf, tag, ledger)
    if row is None:
        yield Problem(tag, "ledger", "the ledger does not know this round")
        return
    yield from _frozen(shelf.inputs(tag), row)
    over = ended(row)
    if over:
        yield from _round(shelf, tag, row)
        yield from _figures(shelf, tag, row)
    if over or made:
        yield from decision(shelf.decision(tag), made)
    if over and made:
        yield from _told(shelf.inputs(tag), row, made)


def ended(row: Round) -> bool:
    """Whether the ledger has a round's end, whatever state it says the round is in.

    All of it is written at once: a round that is still being published has nothing of it.
    """
    end = (row.decision, row.commit, row.data_version, row.metrics)
    return row.state not in ("open", "abandoned") or any(end)


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


def _chain(inputs: Inputs, ledger: Ledger) -> Iterator[Problem]:
    """The ledger's rows against the chain that the round froze; erased ones keep their digests."""
    try:
        chain = ledger.chain(inputs.watermark)
    except DataError:
        chain = None
    if chain != inputs.chain:
        text = f"at row {inputs.watermark} it is not the one that the round was made from"
        yield Problem("chain", "ledger", text)


def _words(shelf: Shelf, tag: str, ledger: Ledger) -> Iterator[Problem]:
    """People's words in the ledger against those that the round froze.

    A forgotten rater's word has no name any more: it is known by its state and its time.
    """
    inputs = shelf.inputs(tag)
    said = {one.subject for one in ledger.overrides(inputs.round, kind="check")}
    for check in sorted(said ^ set(inputs.accepted)):
        what = "nobody's word accepts it" if check not in said else "a word that the round had not"
        yield Problem(f"check {check}", "ledger", f"{what}: see accepted in {INPUTS_FILE}")
    salt = shelf.settings(tag)["split"]["salt"]
    if not _as_today(inputs):
        return
    forgotten = {f"erased-{one.id}" for one in Erasures(ledger).all() if one.kind == "rater"}
    words = ledger.overrides(kind="rater")
    for key, frozen in sorted(inputs.rater_states.items()):
        if not any(
            one.state == frozen["state"]
            and one.at in frozen["why"]
            and (one.subject in forgotten or rater_key(one.subject, salt) == key)
            for one in words
        ):
            text = f"{frozen['state']} by {frozen['why']}, which is not there"
            yield Problem(f"rater {key[:KEY]}", "ledger", text)


def _as_today(inputs: Inputs) -> bool:
    """Whether a version made the round that froze its inputs in the ledger, and raters by key."""
    return "earlier_reward" in inputs.model_fields_set


def _frozen(inputs: Inputs, row: Round) -> Iterator[Problem]:
    """The inputs that the ledger froze against those of the tag."""
    if row.watermark != inputs.watermark:
        text = f"{row.watermark} in the ledger, {inputs.watermark} in {INPUTS_FILE}"
        yield Problem("watermark", "ledger", text)
    if row.inputs is None:
        if _as_today(inputs):
            yield Problem(INPUTS_FILE, "ledger", "missing, though the round is published")
        return
    try:
        same = Inputs.model_validate_json(row.inputs) == inputs
    except ValidationError:
        same = False
    if not same:
        yield Problem(INPUTS_FILE, "ledger", "differs from the inputs that the ledger froze")


def _told(inputs: Inputs, row: Round, made: Decision) -> Iterator[Problem]:
    """What the ledger says became of a round against its decision row."""
    outcome, reasons = OUTCOMES.get(made.action, made.action), "; ".join(row.reasons)
    if row.decision != outcome:
        text = f"its round says {row.decision}, its decision row {outcome}"
        yield Problem("decision", "ledger", text)
    if made.action == "hold" and reasons != made.why and _as_today(inputs):
        text = f"its round says {reasons or 'none'}, its decision row {made.why}"
        yield Problem("reasons", "ledger", text)


def _round(shelf: Shelf, tag: str, row: Round) -> Iterator[Problem]:
    root = shelf.places.root
    if row.state != "published":
        yield Problem(tag, "ledger", f"the ledger has it as {row.state}, though it is published")
    commit = git("rev-parse", f"{tag}^{{commit}}", cwd=root)
    if row.commit != commit:
        yield Problem(tag, "git", f"the tag points at {commit}, published was {row.commit}")
    version = objects.folders(root, tag).get("data/feedback")
    if row.data_version != version:
        yield Problem(DATA_POINTER, tag, f"names {version}, the ledger {row.data_version}")


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
