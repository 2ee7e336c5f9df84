"""The reward model of the round before the newest data: what the prequential check tries on it."""

from collections.abc import Container
from pathlib import Path

from roundhouse.locations import Locations, tag_name, tag_number
from roundhouse.rounds import objects
from roundhouse.rounds.begin import Round
from roundhouse.rounds.champion import fetch_model
from roundhouse.rounds.inputs import EarlierReward

#: Where it lies in a round's clone.
NAME = "earlier"


def earlier_reward(this: Round, partitions: Container[str]) -> EarlierReward | None:
    """The last published round's reward model, by what that round committed.

    A round to which nothing new came keeps its predecessor's, so that its figures, and the stage
    that makes them, stay as they were.
    """
    before = this.previous_inputs
    if this.previous is None or before is None:
        return None
    if f"{this.number:04d}.jsonl" not in partitions:
        return before.earlier_reward
    digests = objects.manifest(this.places.root, this.previous)
    if not any(name.startswith("out/reward/model/") for name in digests):
        return None
    digest = objects.folder_digest(digests, "out/reward/model")
    return EarlierReward(round=tag_number(this.previous), sha256=digest)


def fetch_earlier(earlier: EarlierReward, workspace: Path, places: Locations) -> Path:
    """Puts it at `earlier/model` in the clone, every file checked; the stage checks the whole.

    Raises:
        DataError: no store has it unharmed.
    """
    return fetch_model(tag_name(earlier.round), "reward", NAME, workspace, places)
