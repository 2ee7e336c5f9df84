"""The snapshot: taken again after its process died at any moment."""

from pathlib import Path

import pytest

from roundhouse import jsonl
from roundhouse.rounds import inputs, snapshot, workspace
from roundhouse.rounds.begin import Round
from roundhouse.rounds.dvc import dvc
from roundhouse.rounds.record import data_version
from tests.rounds.conftest import open_round, receive, snapshot_and_publish


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
    receive(second.ledger, "third")
    frozen = snapshot.take_snapshot(second)
    assert frozen.watermark == 3
    assert _prompts(second.workspace) == {"0001.jsonl": ["first"], "0002.jsonl": ["second", "third"]}
    assert {name: part.rows for name, part in frozen.partitions.items()} == {
        "0001.jsonl": 1,
        "0002.jsonl": 2,
    }
    assert snapshot.take_snapshot(second) == frozen


def test_a_round_without_new_rows_has_the_last_ones_data(second: Round) -> None:
    snapshot_and_publish(second)
    third = open_round(second.places, second.ledger, "round-0002")
    frozen = snapshot.take_snapshot(third)
    before = third.previous_inputs
    assert before is not None
    assert frozen.partitions == before.partitions
    assert _prompts(third.workspace) == {"0001.jsonl": ["first"], "0002.jsonl": ["second"]}
    assert data_version(third.workspace) == data_version(second.workspace) != ""
