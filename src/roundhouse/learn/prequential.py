"""The prequential check: an earlier round's reward model on labels that came after it was trained.

Each label is predicted before it teaches (Dawid 1984, Statistical theory: the prequential
approach). The new pairs are answers of a policy that was trained against this very reward model, so
the figure says how far the distribution has moved from what it had learned.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from roundhouse.errors import DataError
from roundhouse.hashes import sha256_folder
from roundhouse.learn import preferences, reward_model
from roundhouse.learn.preferences import Pair
from roundhouse.settings import EvaluateSettings


class Earlier(NamedTuple):
    """A published round's reward model.

    Attributes:
        folder: where it lies.
        sha256: of the folder, as it was published.
        round: the round that trained it.
    """

    folder: Path
    sha256: str
    round: int


def measure(
    earlier: Earlier, pairs: Sequence[Pair], settings: EvaluateSettings, seed: int
) -> dict[str, float]:
    """Its accuracy on the pairs that nobody had judged when it was trained; nothing without any.

    Args:
        earlier: the reward model.
        pairs: of the training side, whose raters its own labels came from.
        settings: of the interval.
        seed: of the interval.

    Raises:
        DataError: the folder does not hold these bytes.
        ModelError: it holds no reward model.
    """
    if not earlier.folder.is_dir() or sha256_folder(earlier.folder) != earlier.sha256:
        raise DataError(
            f"{earlier.folder}: not the reward model that round {earlier.round} published; "
            "`roundhouse audit verify` names what is altered or missing"
        )
    new = [pair for pair in pairs if pair.since > earlier.round]
    if not new:
        return {}
    margins = preferences.scores(reward_model.load(earlier.folder), new).margins
    name = "reward/prequential_accuracy"
    figures = preferences.with_interval(name, margins, new, settings, seed)
    return figures | {"reward/prequential_pairs": float(len(new))}
