"""Where a checkout keeps its state: under itself, unless the environment says otherwise.

ROUNDHOUSE_LEDGER_URL     SQLAlchemy URL of the ledger   (default: SQLite in state/)
MLFLOW_TRACKING_URI       tracking store or server       (default: SQLite in state/mlflow/)
"""

import os
from dataclasses import dataclass
from pathlib import Path

LEDGER_VARIABLE = "ROUNDHOUSE_LEDGER_URL"
TRACKING_VARIABLE = "MLFLOW_TRACKING_URI"


@dataclass(frozen=True)
class Locations:
    """The places of one checkout.

    Attributes:
        root: the checkout's top folder.
    """

    root: Path

    @property
    def state(self) -> Path:
        """Everything that must be kept: ledger, tracking store, DVC cache and remote."""
        return self.root / "state"

    @property
    def rounds(self) -> Path:
        """The rounds' own clones; they can be made again from the tags and the cache."""
        return self.root / "rounds"

    @property
    def ledger_url(self) -> str:
        """SQLAlchemy URL of the ledger."""
        return os.environ.get(LEDGER_VARIABLE) or f"sqlite:///{self.state / 'ledger.db'}"

    @property
    def tracking_uri(self) -> str:
        """MLflow store or server."""
        default = f"sqlite:///{self.state / 'mlflow' / 'mlflow.db'}"
        return os.environ.get(TRACKING_VARIABLE) or default

    def workspace(self, number: int) -> Path:
        """The clone of round `number`."""
        return self.rounds / f"{number:04d}"


def tag_name(number: int) -> str:
    """The git tag of round `number`."""
    return f"round-{number:04d}"


def tag_number(tag: str) -> int:
    """The round of a tag made by `tag_name`."""
    return int(tag.removeprefix("round-"))
