"""A machine is lost after it published a round's bytes and tag: another finishes from the tag."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from roundhouse import jsonl
from roundhouse.locations import Locations
from roundhouse.rounds.git import git
from roundhouse.rounds.workspace import DECISION_FILE
from tests.rounds import killing
from tests.rounds.conftest import Command
from tests.rounds.killing import Kill

pytestmark = pytest.mark.round


def test_what_is_public_is_not_trained_again(
    make_checkout: Callable[..., Path], roundhouse: Command
) -> None:
    root = make_checkout()
    assert killing.play(root, (Kill("publish.tagged"),), finish=False)
    before = killing.published(root), git("rev-parse", "round-0001", cwd=root)
    # As it is on another machine, where a try of the same round came to other bytes.
    workspace = Locations(root).workspace(1)
    own = jsonl.read_json(workspace / DECISION_FILE)
    own["bound"]["model"] = "a" * 64
    jsonl.write_json(workspace / DECISION_FILE, own)
    shutil.rmtree(root / "state" / "dvc" / "cache")

    done = roundhouse(root, "resume", "1", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["decision"] in ("promoted", "held")
    assert not (workspace / "logs" / "sft.jsonl").exists(), "the stage began again"
    assert (killing.published(root), git("rev-parse", "round-0001", cwd=root)) == before
    assert list(workspace.parent.glob(".[mr]*")) == []
    killing.check_end(root)
    assert roundhouse(root, "audit", "verify").returncode == 0
