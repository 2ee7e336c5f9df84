"""The champion: which model it is, and its bytes, fetched from DVC and checked by our own hash."""

import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

import yaml

from roundhouse.errors import DataError, RoundhouseError
from roundhouse.hashes import sha256_folder
from roundhouse.ledger import Ledger
from roundhouse.locations import Locations, tag_name
from roundhouse.rounds import objects
from roundhouse.rounds.git import show
from roundhouse.rounds.inputs import Champion


def current_champion(ledger: Ledger) -> Champion | None:
    """The champion by the ledger's decision row, or None before the first promotion."""
    row = ledger.champion()
    if row is None:
        return None
    return Champion(**asdict(row))


def fetch_champion(champion: Champion, workspace: Path, places: Locations) -> Path:
    """Puts the champion's model at `champion/model` in the clone.

    Raises:
        DataError: the bytes that DVC gave are not the bytes that were promoted.
    """
    tag = tag_name(champion.round)
    folder = fetch_output(tag, "ppo", "champion", workspace, places) / "model"
    if sha256_folder(folder) != champion.sha256:
        shutil.rmtree(workspace / "champion")
        raise DataError(
            f"the champion of {tag} differs from its record: run `roundhouse audit verify`"
        )
    return folder


def fetch_output(tag: str, stage: str, name: str, workspace: Path, places: Locations) -> Path:
    """Brings a published stage's output folder into the clone under another name.

    A pointer file of DVC's own format is written for it, so that DVC takes it from the cache, or
    from the remote where the cache lacks it.
    """
    output = locked_output(places.root, tag, stage)
    pointer = workspace / f"{name}.dvc"
    entry = {key: output[key] for key in ("md5", "size", "nfiles", "hash") if key in output}
    pointer.write_text(yaml.safe_dump({"outs": [entry | {"path": name}]}), encoding="utf-8")
    return objects.pull(places, workspace, pointer.name)


def locked_output(root: Path, tag: str, stage: str) -> dict[str, Any]:
    """The entry of a stage's output in a published round's dvc.lock.

    Raises:
        RoundhouseError: the tag holds no such output.
    """
    lock = yaml.safe_load(show(root, tag, "dvc.lock") or "{}")
    try:
        entry: dict[str, Any] = lock["stages"][stage]["outs"][0]
    except (KeyError, IndexError):
        raise RoundhouseError(f"{tag} published no output of stage {stage}") from None
    return entry
