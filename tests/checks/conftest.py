"""Rows of a sound partition, to plant defects in."""

from pathlib import Path
from typing import Any

import pytest

from roundhouse import params
from roundhouse.settings import SplitSettings, ValidateSettings

PARAMS = params.load(Path(__file__).parents[2] / "params.yaml")
Row = dict[str, Any]


@pytest.fixture
def split() -> SplitSettings:
    """The split of the shipped settings."""
    return PARAMS.split


@pytest.fixture
def limits() -> ValidateSettings:
    """The shipped limits of validation."""
    return PARAMS.validation


@pytest.fixture
def rows() -> list[Row]:
    """120 sound rows of six raters: comparisons in balance, and ten of each other kind."""
    found: list[Row] = []
    for number in range(120):
        row: Row = {
            "id": f"f{number}", "prompt": f"Question {number}", "rater": f"r{number % 6}",
            "created_at": f"2026-01-31T16:{number // 60:02d}:{number % 60:02d}Z",
        }  # fmt: skip
        kind = ("rating", "correction", "demonstration", "flag")[number % 4]
        if number < 80:
            row |= {"kind": "comparison", "responses": ["one", "two"], "choice": number // 2 % 2}
        else:
            row |= {"kind": kind, "response": "one"}
            extra: dict[str, Row] = {
                "rating": {"score": 1 if number % 8 else 5, "scale": [1, 5]},
                "correction": {"correction": "two"},
                "flag": {"reason": "unsafe"},
            }
            row |= extra.get(kind, {})
        found.append(row)
    return found
