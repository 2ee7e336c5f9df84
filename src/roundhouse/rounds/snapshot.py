"""The ledger's new rows become one immutable partition, and the round's inputs are frozen.

A snapshot is a pure function of the ledger's watermark: made again after a crash, it is the same.
"""

import shutil
from collections.abc import Sequence
from pathlib import Path

from roundhouse import failpoints, jsonl, model_folder
from roundhouse.errors import DataError
from roundhouse.feedback import rater_key
from roundhouse.hashes import sha256_file
from roundhouse.ledger import Round as Row
from roundhouse.ledger.store import now
from roundhouse.rounds import erased, objects, transfer
from roundhouse.rounds import inputs as inputs_module
from roundhouse.rounds.begin import Round
from roundhouse.rounds.champion import current_champion, fetch_champion
from roundhouse.rounds.dvc import dvc
from roundhouse.rounds.earlier import earlier_reward, fetch_earlier
from roundhouse.rounds.forget import expire
from roundhouse.rounds.git import git, round_tags
from roundhouse.rounds.inputs import AUTO, Inputs, Partition
from roundhouse.rounds.workspace import DATA_POINTER

FEEDBACK = Path("data") / "feedback"


def take_snapshot(this: Round) -> Inputs:
    """Writes the round's partition and inputs.json; a finished snapshot is checked and returned.

    Raises:
        DataError: an earlier partition is missing or differs from its record.
    """
    # A `forget` that died after its request was recorded: no round sees its rows any more.
    expire(this.places, this.ledger, 0, at_work=this.number)
    done = inputs_module.read(this.workspace)
    row = this.ledger.round(this.number)
    public = this.number in round_tags(this.places.root)
    if done and public and row and row.inputs is None:
        # A ledger that was put back from a backup; the tag is the round.
        text = done.model_dump_json()
        this.ledger.record_round(this.number, inputs=text, watermark=done.watermark)
    elif done and not public and row and _in_ledger(row) != done:
        # Rows were erased since, and the ledger let go of what was frozen: all of it anew.
        (this.workspace / inputs_module.FILE).unlink()
        done = None
    if done:
        check_partitions(this.workspace, done.partitions)
        _fetch_models(this, done)
        return done
    frozen = _frozen(this) or _freeze(this)
    _fetch_models(this, frozen)
    failpoints.hit("snapshot.frozen")
    inputs_module.write(this.workspace, frozen)
    return frozen


def _in_ledger(row: Row) -> Inputs | None:
    """What the ledger froze for a round, if anything."""
    where = f"inputs of round {row.number} in the ledger"
    return None if row.inputs is None else inputs_module.parse(row.inputs, where)


def _frozen(this: Round) -> Inputs | None:
    """What another process has frozen for this round already, with its data made again here."""
    row = this.ledger.round(this.number)
    frozen = _in_ledger(row) if row else None
    if frozen is None:
        return None
    if _make_data(this, frozen.watermark) != frozen.partitions:
        raise DataError(
            f"the ledger no longer gives the rows that round {this.number} was begun with: "
            "start a new round"
        )
    return frozen


def _freeze(this: Round) -> Inputs:
    """Takes today's ledger, champion and people's words as this round's inputs."""
    expire(this.places, this.ledger, this.settings.retention.days, at_work=this.number)
    watermark, counts = this.ledger.standing()
    partitions = _make_data(this, watermark)
    frozen = Inputs(
        round=this.number,
        at=now(),
        watermark=watermark,
        chain=this.ledger.chain(watermark),
        previous=this.previous,
        champion=current_champion(this.ledger),
        earlier_reward=earlier_reward(this, partitions),
        base=_base_hash(this),
        seed=this.settings.seed,
        accepted=tuple(check for check, _ in this.accept),
        rater_states=_words(this),
        partitions=partitions,
    )
    text = frozen.model_dump_json()
    this.ledger.record_round(this.number, inputs=text, watermark=watermark, counts=counts)
    return frozen


def _words(this: Round) -> dict[str, dict[str, str]]:
    """The last word of people on each rater, by key, where it stands."""
    said = {
        # The reason is somebody's words: it stays in the ledger.
        # And so does the name: inputs.json is committed, and git forgets nothing.
        rater_key(word.subject, this.settings.split.salt): {
            "state": word.state,
            "why": f"a person's word of {word.at}",
        }
        for word in this.ledger.overrides(kind="rater")
    }
    return {key: word for key, word in said.items() if word["state"] != AUTO}


def _make_data(this: Round, watermark: int) -> dict[str, Partition]:
    """Writes the rows up to the watermark as this round's partition; returns all partitions.

    Raises:
        DataError: an earlier partition, or the ledger, is not what the previous round recorded.
    """
    before = this.previous_inputs
    recorded = dict(before.partitions) if before else {}
    partitions = erased.current(this.ledger, recorded)
    _restore(this, [] if partitions == recorded else list(partitions))
    check_partitions(this.workspace, partitions)
    if before and this.ledger.chain(before.watermark) != before.chain:
        raise DataError(
            f"the ledger is not the one that {this.previous} was made from (its chain differs at "
            f"row {before.watermark}): put that ledger back"
        )
    name = f"{this.number:04d}.jsonl"
    path = this.workspace / FEEDBACK / name
    rows = this.ledger.rows(after=before.watermark if before else 0, to=watermark)
    count = jsonl.write(path, rows)
    if count or not before:
        partitions[name] = Partition(rows=count, sha256=sha256_file(path))
    else:
        # Nothing new came: a round that only tries another setting has the last one's data.
        path.unlink()
    failpoints.hit("snapshot.partition")
    dvc("add", str(FEEDBACK), workspace=this.workspace, root=this.places.root)
    failpoints.hit("snapshot.added")
    return partitions


def _restore(this: Round, replaced: Sequence[str]) -> None:
    """Brings back the previous round's partitions, and drops what a try that died left behind.

    Where rows were erased since, the tag's pointer names bytes that are gone: the files are put
    together from what is left, and become the data that the next round starts from.
    """
    folder = this.workspace / FEEDBACK
    shutil.rmtree(folder, ignore_errors=True)
    if this.previous and replaced:
        published = objects.Reader(this.places, this.previous)
        folder.mkdir(parents=True)
        for name in replaced:
            (folder / name).write_bytes(published.read((FEEDBACK / name).as_posix()))
    elif this.previous:
        git("checkout", "--quiet", this.previous, "--", DATA_POINTER, cwd=this.workspace)
        transfer.pull(this.places, this.workspace, DATA_POINTER)


def check_partitions(workspace: Path, record: dict[str, Partition]) -> None:
    """Compares data/feedback with the record, by name and by hash; DVC may hand out less, silently.

    Raises:
        DataError: names the partition that is missing, altered or not on record.
    """
    folder = workspace / FEEDBACK
    found = {path.name for path in folder.glob("*.jsonl")}
    for name in sorted(found ^ set(record)):
        state = "is missing" if name in record else "is not on record"
        raise DataError(f"{folder / name} {state}: run `roundhouse audit verify`")
    for name, partition in record.items():
        if sha256_file(folder / name) != partition.sha256:
            raise DataError(
                f"{folder / name} differs from its record: run `roundhouse audit verify`"
            )


def _fetch_models(this: Round, inputs: Inputs) -> None:
    """Models of earlier rounds that stages compare with.

    What another try of this round fetched is fetched anew, and checked.
    """
    if inputs.champion:
        fetch_champion(inputs.champion, this.workspace, this.places)
    if inputs.earlier_reward:
        fetch_earlier(inputs.earlier_reward, this.workspace, this.places)


def _base_hash(this: Round) -> str:
    model = this.settings.model
    if model.base == model_folder.SCRATCH:
        return model.base
    return model_folder.digest(model_folder.of_checkout(this.places.root, model))
