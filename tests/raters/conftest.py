"""Builders of canonical rows and of simulated ratings."""

from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from roundhouse import params
from roundhouse.settings import RaterSettings, SplitSettings

PARAMS = params.load(Path(__file__).parents[2] / "params.yaml")


class Simulated(NamedTuple):
    """Ratings whose raters' accuracies and items' truths are known."""

    votes: pd.DataFrame
    accuracy: NDArray[np.float64]
    truth: NDArray[np.int64]


class Simulate(Protocol):
    """Makes ratings: each item gets `votes` votes of different raters."""

    def __call__(
        self, items: int, votes: int, accuracy: NDArray[np.float64], seed: int, labels: int = 2
    ) -> Simulated: ...


class Compare(Protocol):
    """Makes a canonical comparison row."""

    def __call__(self, rater: str, choice: int | str, **fields: Any) -> dict[str, Any]: ...


@pytest.fixture
def split() -> SplitSettings:
    """The split of the shipped settings."""
    return PARAMS.split


@pytest.fixture
def rater_settings() -> RaterSettings:
    """The shipped rater settings with few draws."""
    return PARAMS.raters.model_copy(update={"bootstrap_draws": 200})


@pytest.fixture
def simulate() -> Simulate:
    """Ratings from the one-coin model."""

    def make(
        items: int, votes: int, accuracy: NDArray[np.float64], seed: int, labels: int = 2
    ) -> Simulated:
        generator = np.random.default_rng(seed)
        truth = generator.integers(0, labels, items)
        # The first `votes` of a random order of the raters, for every item.
        order = generator.random((items, len(accuracy))).argpartition(votes - 1, axis=1)
        rater, item = order[:, :votes].ravel(), np.repeat(np.arange(items), votes)
        right = generator.random(len(item)) < accuracy[rater]
        wrong = (truth[item] + generator.integers(1, labels, len(item))) % labels
        label = np.where(right, truth[item], wrong)
        names = np.array([f"r{number:04d}" for number in range(len(accuracy))])[rater]
        frame = pd.DataFrame({"item": item, "rater": names, "label": label})
        return Simulated(frame, accuracy, truth)

    return make


@pytest.fixture
def compare() -> Compare:
    """Comparison rows with ids of their own."""
    count = 0

    def make(rater: str, choice: int | str, **fields: Any) -> dict[str, Any]:
        nonlocal count
        count += 1
        row = {
            "id": f"c{count}",
            "kind": "comparison",
            "prompt": "What is a lease?",
            "responses": ["A contract.", "A tree."],
            "choice": choice,
            "rater": rater,
            "created_at": "2026-01-31T16:59:52Z",
        }
        return {**row, **fields}

    return make
