"""The snapshot: taken again after its process died at any moment."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from roundhouse import jsonl
from roundhouse.feedback import parse
from roundhouse.ledger import Candidate, Ledger
from roundhouse.locations import Locations
from roundhouse.rounds import git, inputs, snapshot, workspace
from roundhouse.rounds.begin import Round
from roundhouse.rounds.dvc import dvc
from roundhouse.settings import load


@pytest.fixture
def second(make_checkout: Callable[..., Path]) -> Round:
    """Round 2 before its snapshot: round 1 is published, and one row came since."""
    root = make_checkout()
    places = Locations(root)
    ledger = Ledger.open(places.ledger_url)
    _receive(ledger, "first")
    first = _open(places, ledger, None)
    snapshot.take_snapshot(first)
    dvc("push", "--quiet", workspace=first.workspace, root=root)
    (first.workspace / "dvc.lock").write_text("schema: '2.0'\n", encoding="utf-8")
    workspace.commit(first.workspace, 1, None, "Round 1")
    workspace.publish_tag(first.workspace, places, 1, None)
    _receive(ledger, "second")
    return _open(places, ledger, "round-0001")


def _receive(ledger: Ledger, prompt: str) -> None:
    row: dict[str, Any] = {"kind": "demonstration", "prompt": prompt, "response": "a", "rater": "r"}
    row = parse(row | {"created_at": "2026-01-01T00:00:00Z"}, datetime.now(UTC))
    ledger.append(ledger.start_batch("f", "jsonl"), [Candidate(1, row, b"")])


def _open(places: Locations, ledger: Ledger, previous: str | None) -> Round:
    text = (places.root / "params.yaml").read_text(encoding="utf-8")
    number = ledger.take_round_number()
    plan = workspace.Plan(git.head(places.root), previous, text, allow_dirty=False)
    folder = workspace.create(places, number, plan)
    return Round(number, places, folder, load(folder / "params.yaml"), ledger, previous, ())


def _prompts(folder: Path) -> dict[str, list[str]]:
    return {
        path.name: [row["prompt"] for row in jsonl.read(path)]
        for path in sorted((folder / snapshot.FEEDBACK).glob("*"))
    }


@pytest.mark.parametrize("died", ["after the partition", "after dvc add"])
def test_it_is_taken_again_after_a_crash(second: Round, died: str) -> None:
    if died == "after dvc add":
        snapshot.take_snapshot(second)
        (second.workspace / inputs.FILE).unlink()
    else:
        dvc("pull", workspace.DATA_POINTER, workspace=second.workspace, root=second.places.root)
        jsonl.write(second.workspace / snapshot.FEEDBACK / "0002.jsonl", [{"prompt": "old"}])
    _receive(second.ledger, "third")
    frozen = snapshot.take_snapshot(second)
    assert frozen.watermark == 3
    assert _prompts(second.workspace) == {"0001.jsonl": ["first"], "0002.jsonl": ["second", "third"]}
    assert {name: part.rows for name, part in frozen.partitions.items()} == {
        "0001.jsonl": 1,
        "0002.jsonl": 2,
    }
    assert snapshot.take_snapshot(second) == frozen

