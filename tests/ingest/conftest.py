"""A ledger on a real SQLite file, and files to bring into it."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from roundhouse.ledger import Ledger

ROW: dict[str, Any] = {
    "kind": "comparison",
    "prompt": "May I?",
    "responses": ["Yes.", "No."],
    "choice": 0,
    "rater": "r17",
    "created_at": "2026-01-31T16:59:52Z",
}

Write = Callable[[str, bytes], Path]


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    """An empty ledger."""
    with Ledger.open(f"sqlite:///{tmp_path / 'ledger.db'}") as opened:
        yield opened


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Writes a file of given bytes and returns its path."""

    def written(name: str, content: bytes) -> Path:
        path = tmp_path / name
        path.write_bytes(content)
        return path

    return written


@pytest.fixture
def good() -> Callable[[int], bytes]:
    """The line of a good row, another one for every number, without its line end."""

    def line(number: int) -> bytes:
        return json.dumps(ROW | {"id": f"good-{number}", "comment": str(number)}).encode()

    return line
