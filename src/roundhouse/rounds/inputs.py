"""A round's inputs, frozen before its first stage: `inputs.json` in the clone and the commit."""

from pathlib import Path

from pydantic import BaseModel, ConfigDict

from roundhouse import jsonl
from roundhouse.rounds.committed import parsed

FILE = "inputs.json"
#: The word on a rater that takes earlier ones back: the tests decide again.
AUTO = "auto"


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class Partition(_Frozen):
    """One round's rows, as they were written."""

    rows: int
    """Rows in the file."""
    sha256: str
    """Hash of the file's bytes."""


class Champion(_Frozen):
    """The model that the challenger is measured against."""

    round: int
    """The round that trained it."""
    version: str
    """Its version in the model registry."""
    sha256: str
    """Hash of its folder (`hashes.sha256_folder`)."""
    decision: int
    """The ledger's decision that made it champion; a release must still find it there."""


class EarlierReward(_Frozen):
    """A reward model that was trained before the newest partition came, and is tried on it."""

    round: int
    """The round that trained it."""
    sha256: str
    """Hash of its folder, by the manifest that the round committed."""


class Inputs(_Frozen):
    """Everything a round's result depends on, apart from its code and its settings."""

    round: int
    """The round's number."""
    at: str
    """When the snapshot was taken (UTC)."""
    watermark: int
    """Sequence number of the last ledger row that this round may see."""
    chain: str
    """The ledger's chain value at the watermark: the next round's ledger must still have it."""
    previous: str | None
    """Tag of the last published round, whose partitions this round continues."""
    champion: Champion | None
    """The champion when the round began."""
    earlier_reward: EarlierReward | None = None
    """The reward model that the newest partition's labels are new to; none in the first round."""
    base: str
    """Hash of the base model's folder, or its name where it is made from scratch."""
    seed: int
    """Seed of everything random."""
    accepted: tuple[str, ...]
    """Checks that a person accepted for this round."""
    rater_states: dict[str, dict[str, str]]
    """A person's word on raters, where one stands: rater's key to state and why."""
    partitions: dict[str, Partition]
    """File name to record, for every file of data/feedback."""


def write(workspace: Path, inputs: Inputs) -> None:
    """Writes inputs.json whole or not at all; its presence says that the snapshot is complete."""
    jsonl.write_json(workspace / FILE, inputs.model_dump(mode="json"))


def read(workspace: Path) -> Inputs | None:
    """The round's inputs, or None where its snapshot was not finished."""
    path = workspace / FILE
    return parse(path.read_text(encoding="utf-8"), str(path)) if path.exists() else None


def parse(text: str, where: str) -> Inputs:
    """Inputs as a file or the ledger holds them.

    Raises:
        DataError: they cannot be read; the message calls them `where`.
    """
    return parsed(text, where, Inputs.model_validate_json)
