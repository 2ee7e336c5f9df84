"""The champion: which model it is, and its bytes, fetched from DVC and checked by our own hash."""

import shutil
from dataclasses import asdict
from pathlib import Path

from roundhouse.errors import DataError
from roundhouse.hashes import sha256_folder
from roundhouse.ledger import Ledger
from roundhouse.locations import Locations, tag_name
from roundhouse.rounds import objects
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
    folder = fetch_model(tag_name(champion.round), "align", "champion", workspace, places)
    if sha256_folder(folder) != champion.sha256:
        shutil.rmtree(workspace / "champion")
        raise DataError(
            f"the champion of round {champion.round} differs from its record: "
            "run `roundhouse audit verify`"
        )
    return folder


def fetch_model(tag: str, stage: str, name: str, workspace: Path, places: Locations) -> Path:
    """Writes the model that a stage of a published round made to `name/model` in the clone.

    Only the model: answers that were sampled beside it may have been erased since.

    Raises:
        DataError: no store has it unharmed.
    """
    shutil.rmtree(workspace / name, ignore_errors=True)
    return objects.extract(places, tag, f"out/{stage}/model", workspace / name / "model")
