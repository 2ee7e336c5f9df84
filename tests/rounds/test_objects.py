"""Damage in DVC's stores, which DVC itself hands on with exit code 0."""

import io
import shutil
from pathlib import Path

import pytest

from roundhouse.errors import DataError
from roundhouse.rounds import objects, snapshot, stages, transfer
from roundhouse.rounds.begin import Round
from roundhouse.rounds.dvc import dvc, stores
from roundhouse.rounds.stores import Folder, Store
from roundhouse.rounds.verify import verify
from tests.rounds.conftest import open_round, snapshot_and_publish

PIPELINE = """stages:
  sft:
    cmd: >-
      mkdir -p out/sft && echo '{"a": 1}' > out/sft/figures.json && touch logs/sft.jsonl
    deps: [inputs.json]
    outs: [out/sft]
"""
FIGURES = b'{"a": 1}\n'


def _damage(store: Store, md5: str) -> bytes:
    """Turns the object's ones into twos, and returns what it was."""
    assert isinstance(store, Folder)
    path = store.path(md5)
    whole = path.read_bytes()
    path.chmod(0o644)
    path.write_bytes(whole.replace(b"1", b"2"))
    path.chmod(0o444)
    assert path.read_bytes() != whole
    return whole


def _named(store: Store, content: bytes) -> str:
    """The name under which a store keeps these bytes."""
    for md5 in store.names():
        data = io.BytesIO()
        store.copy(md5, data)
        if data.getvalue() == content:
            return md5
    raise LookupError(content)


def _stay(journal: Path) -> None:
    return


@pytest.mark.parametrize("pushed", [False, True])
def test_a_skipped_stage_is_not_believed_unseen(second: Round, pushed: bool) -> None:
    folder, root = second.workspace, second.places.root
    (folder / "dvc.yaml").write_text(PIPELINE, encoding="utf-8")
    snapshot.take_snapshot(second)
    assert not stages.run_stage(folder, root, "sft", _stay).cached
    assert stages.run_stage(folder, root, "sft", _stay).cached
    if pushed:
        dvc("push", "--quiet", workspace=folder, root=root)
    cache = stores(second.places)[0]
    _damage(cache, md5 := _named(cache, FIGURES))
    figures = folder / "out" / "sft" / "figures.json"
    figures.unlink()
    if pushed:
        assert stages.run_stage(folder, root, "sft", _stay).cached
        assert figures.read_bytes() == FIGURES
        assert cache.digest(md5) == md5
    else:
        with pytest.raises(DataError, match=r"sft: .*figures\.json is not what was recorded"):
            stages.run_stage(folder, root, "sft", _stay)


def test_an_earlier_partition_is_fetched_again_or_named(second: Round) -> None:
    cache, remote = stores(second.places)
    (md5,) = objects.published(second.places, "round-0001").values()
    whole = _damage(cache, md5)
    frozen = snapshot.take_snapshot(second)
    assert cache.digest(md5) == md5
    assert (second.workspace / snapshot.FEEDBACK / "0001.jsonl").read_bytes() == whole
    snapshot_and_publish(second)
    third = open_round(second.places, second.ledger, "round-0002")
    for store in (cache, remote):
        _damage(store, md5)
    with pytest.raises(DataError, match=rf"0001\.jsonl is not what was recorded.*{md5}"):
        snapshot.take_snapshot(third)
    cache.put(md5, io.BytesIO(whole))
    assert snapshot.take_snapshot(third).partitions == frozen.partitions


def test_a_damaged_list_is_found_and_put_right_from_another_store(second: Round) -> None:
    places = second.places
    snapshot_and_publish(second)
    cache, remote = stores(places)
    (md5,) = objects.folders(places.root, "round-0002").values()
    _damage(cache, md5)
    found = [one for one in verify(places, second.ledger).findings if one.round == 2]
    lists = [(one.what, one.where, one.problem) for one in found if "list" in one.what]
    assert lists == [("list of data/feedback", cache.where, "altered")]
    assert sorted(objects.published(places, "round-0002")) == [
        "data/feedback/0001.jsonl",
        "data/feedback/0002.jsonl",
    ]
    assert cache.digest(md5) == md5.removesuffix(".dir")
    cache.delete(md5)
    _damage(remote, md5)
    with pytest.raises(DataError, match="the list of data/feedback of round-0002 is in no store"):
        objects.published(places, "round-0002")


def test_what_is_read_is_hashed_against_the_manifest(second: Round) -> None:
    places = second.places
    cache, remote = stores(places)
    (md5,) = objects.published(places, "round-0001").values()
    whole = _damage(cache, md5)
    name = "data/feedback/0001.jsonl"
    assert objects.read(places, "round-0001", name) == whole
    assert cache.digest(md5) == md5
    for store in (cache, remote):
        _damage(store, md5)
    with pytest.raises(DataError, match=rf"{name} of round-0001 is missing or altered"):
        objects.read(places, "round-0001", name)


def test_a_push_proves_what_the_remote_has(second: Round) -> None:
    folder, places = second.workspace, second.places
    (folder / "dvc.yaml").write_text(PIPELINE, encoding="utf-8")
    frozen = snapshot.take_snapshot(second)
    stages.run_stage(folder, places.root, "sft", _stay)
    cache, remote = stores(places)
    whole = _damage(cache, md5 := _named(cache, FIGURES))
    transfer.push(places, folder)
    assert cache.digest(md5) == remote.digest(md5) == md5
    assert whole == FIGURES
    shutil.rmtree(places.state / "dvc" / "cache")
    for name in list(remote.names()):
        remote.delete(name)
    if second.previous:
        # What an earlier round published is in the clone too, and its list is made again.
        assert len(frozen.partitions) == 2
    transfer.push(places, folder)
    assert all(remote.digest(md5) == md5.removesuffix(".dir") for md5 in remote.names())
    assert {md5 for _, md5 in transfer.made(places, folder)} <= set(remote.names())


def test_a_clone_that_lost_its_files_is_not_pushed(second: Round) -> None:
    snapshot.take_snapshot(second)
    cache = stores(second.places)[0]
    partition = second.workspace / snapshot.FEEDBACK / "0002.jsonl"
    _damage(cache, _named(cache, partition.read_bytes()))
    partition.chmod(0o644)
    partition.write_text("other rows\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"0002.jsonl is not what the round has made"):
        transfer.push(second.places, second.workspace)
