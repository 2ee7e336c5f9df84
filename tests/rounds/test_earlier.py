"""The reward model that new labels are tried on: named by its tag, every file of it checked."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from roundhouse.errors import DataError
from roundhouse.hashes import sha256_folder
from roundhouse.ledger import Ledger
from roundhouse.locations import Locations
from roundhouse.rounds import snapshot, stages, transfer, workspace
from roundhouse.rounds.begin import Round
from roundhouse.rounds.decide import write_manifest
from roundhouse.rounds.dvc import stores
from roundhouse.rounds.inputs import EarlierReward
from roundhouse.rounds.stores import Folder
from tests.rounds.conftest import open_round, receive

PIPELINE = """stages:
  reward:
    cmd: >-
      mkdir -p out/reward/model && echo '{{"round": {number}}}' > out/reward/model/reward.json
      && echo '{{"a": 1}}' > out/reward/figures.json && touch logs/reward.jsonl
    outs: [out/reward]
"""


def publish(this: Round) -> str:
    """Ends a round with a reward model of its own, and returns the hash of its folder."""
    folder = this.workspace
    snapshot.take_snapshot(this)
    (folder / "dvc.yaml").write_text(PIPELINE.format(number=this.number), encoding="utf-8")
    stages.run_stage(folder, this.places.root, "reward", lambda _: None)
    transfer.push(this.places, folder)
    write_manifest(folder)
    workspace.commit(folder, this.number, this.previous, f"Round {this.number}")
    workspace.publish_tag(folder, this.places, this.number, None)
    return sha256_folder(folder / "out" / "reward" / "model")


@pytest.fixture
def first(make_checkout: Callable[..., Path]) -> Round:
    """Round 1 before its snapshot."""
    places = Locations(make_checkout())
    ledger = Ledger.open(places.ledger_url)
    receive(ledger, "first")
    return open_round(places, ledger, None)


def test_new_rows_meet_the_last_rounds_model_and_no_rows_the_one_before(first: Round) -> None:
    digest = publish(first)
    receive(first.ledger, "second")
    second = open_round(first.places, first.ledger, "round-0001")
    frozen = snapshot.take_snapshot(second)
    assert frozen.earlier_reward == EarlierReward(round=1, sha256=digest)
    fetched = second.workspace / "earlier" / "model"
    assert sha256_folder(fetched) == digest
    # A try that died may have left anything there.
    (fetched / "reward.json").write_text("{}", encoding="utf-8")
    assert snapshot.take_snapshot(second) == frozen
    assert sha256_folder(fetched) == digest
    publish(second)
    third = open_round(first.places, first.ledger, "round-0002")
    assert snapshot.take_snapshot(third).earlier_reward == frozen.earlier_reward
    assert sha256_folder(third.workspace / "earlier" / "model") == digest


def test_a_first_round_has_none(first: Round) -> None:
    assert snapshot.take_snapshot(first).earlier_reward is None
    assert not (first.workspace / "earlier").exists()


def test_a_model_that_no_store_has_unharmed_is_named(first: Round) -> None:
    publish(first)
    receive(first.ledger, "second")
    second = open_round(first.places, first.ledger, "round-0001")
    shutil.rmtree(first.workspace)
    for store in stores(first.places):
        assert isinstance(store, Folder)
        for name in store.names():
            path = store.path(name)
            if path.read_bytes() == b'{"round": 1}\n':
                path.chmod(0o644)
                path.write_bytes(b'{"round": 2}\n')
    with pytest.raises(DataError, match=r"reward\.json of round-0001 is missing or altered"):
        snapshot.take_snapshot(second)
