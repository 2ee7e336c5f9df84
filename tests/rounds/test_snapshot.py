"""The snapshot: taken again after its process died at any moment."""

import shutil
from pathlib import Path

import pytest

from roundhouse import jsonl
from roundhouse.errors import DataError
from roundhouse.feedback import rater_key
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


def test_it_is_taken_anew_while_nothing_was_frozen(second: Round) -> None:
    dvc("pull", workspace.DATA_POINTER, workspace=second.workspace, root=second.places.root)
    jsonl.write(second.workspace / snapshot.FEEDBACK / "0002.jsonl", [{"prompt": "old"}])
    receive(second.ledger, "third")
    frozen = snapshot.take_snapshot(second)
    assert frozen.watermark == 3
    assert _prompts(second.workspace) == {
        "0001.jsonl": ["first"],
        "0002.jsonl": ["second", "third"],
    }
    assert {name: part.rows for name, part in frozen.partitions.items()} == {
        "0001.jsonl": 1,
        "0002.jsonl": 2,
    }
    assert snapshot.take_snapshot(second) == frozen


def test_the_last_word_on_a_rater_stands_until_it_is_taken_back(second: Round) -> None:
    for rater, state in (("r1", "watch"), ("r2", "suspended"), ("r1", "ok"), ("r2", inputs.AUTO)):
        second.ledger.add_override(None, rater, state, "because", kind="rater")
    states = snapshot.take_snapshot(second).rater_states
    key = rater_key("r1", second.settings.split.salt)
    assert {name: word["state"] for name, word in states.items()} == {key: "ok"}


def test_what_was_frozen_stays_though_the_clone_is_lost(second: Round) -> None:
    """Another machine has the ledger alone, and more rows have come since."""
    frozen = snapshot.take_snapshot(second)
    version = data_version(second.workspace)
    (second.workspace / inputs.FILE).unlink()
    shutil.rmtree(second.workspace / "data")
    receive(second.ledger, "third")
    assert snapshot.take_snapshot(second) == frozen
    assert inputs.read(second.workspace) == frozen
    assert frozen.watermark == 2
    assert _prompts(second.workspace) == {"0001.jsonl": ["first"], "0002.jsonl": ["second"]}
    assert data_version(second.workspace) == version


def test_what_is_public_stands_though_the_ledger_comes_from_a_backup(second: Round) -> None:
    snapshot_and_publish(second)
    frozen = snapshot.take_snapshot(second)
    receive(second.ledger, "third")
    second.ledger.record_round(second.number, inputs=None, watermark=None)
    assert snapshot.take_snapshot(second) == frozen
    row = second.ledger.round(second.number)
    assert row and (row.inputs, row.watermark) == (frozen.model_dump_json(), frozen.watermark)


def test_a_ledger_that_lost_its_rows_is_named(second: Round) -> None:
    frozen = snapshot.take_snapshot(second)
    (second.workspace / inputs.FILE).unlink()
    other = frozen.model_copy(update={"partitions": {}})
    second.ledger.record_round(second.number, inputs=other.model_dump_json())
    with pytest.raises(DataError, match="no longer gives the rows that round 2 was begun with"):
        snapshot.take_snapshot(second)


def test_a_round_without_new_rows_has_the_last_ones_data(second: Round) -> None:
    snapshot_and_publish(second)
    third = open_round(second.places, second.ledger, "round-0002")
    frozen = snapshot.take_snapshot(third)
    before = third.previous_inputs
    assert before is not None
    assert frozen.partitions == before.partitions
    assert _prompts(third.workspace) == {"0001.jsonl": ["first"], "0002.jsonl": ["second"]}
    assert data_version(third.workspace) == data_version(second.workspace) != ""
