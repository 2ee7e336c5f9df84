"""A checkout in which two tiny rounds were played, through every real component."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from roundhouse.ledger import Ledger
from roundhouse.locations import Locations
from roundhouse.rounds import git

Command = Callable[..., subprocess.CompletedProcess[str]]


class Played(NamedTuple):
    """A checkout after two rounds.

    Attributes:
        root: the checkout.
        before: its tracked state before the first round.
        records: what `round --json` printed, a round each.
        output: what the rounds printed on standard error.
    """

    root: Path
    before: dict[str, object]
    records: list[dict[str, Any]]
    output: str

    @property
    def places(self) -> Locations:
        """Where its state lies."""
        return Locations(self.root)

    def ledger(self) -> Ledger:
        """Its ledger."""
        return Ledger.open(self.places.ledger_url, expected=True)


def tracked_state(root: Path) -> dict[str, object]:
    """Everything of a checkout that a round must leave alone."""
    tracked = git.git("ls-files", cwd=root).splitlines()
    return {
        "files": {name: (root / name).read_bytes() for name in tracked},
        "index": (root / ".git" / "index").read_bytes(),
        "HEAD": (root / ".git" / "HEAD").read_bytes(),
        "branches": git.git("for-each-ref", "refs/heads", "refs/remotes", cwd=root),
        "status": git.git("status", "--porcelain", cwd=root),
        "config": (root / ".git" / "config").read_bytes(),
    }


@pytest.fixture(scope="session")
def played(make_checkout: Callable[..., Path], roundhouse: Command) -> Played:
    """Two rounds, the second on the first one's champion."""
    root = make_checkout()
    before = tracked_state(root)
    records, output = [], ""
    for _ in range(2):
        done = roundhouse(root, "round", "--json")
        assert done.returncode == 0, done.stderr
        records.append(json.loads(done.stdout))
        output += done.stderr
    return Played(root, before, records, output)
