"""The same bytes from a folder and from a real S3 server, and what both say when they cannot."""

import io
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from roundhouse.errors import DataError, RemoteError
from roundhouse.ledger import Ledger
from roundhouse.locations import Locations
from roundhouse.rounds import git, objects, snapshot
from roundhouse.rounds.begin import Round
from roundhouse.rounds.dvc import stores
from roundhouse.rounds.stores import Folder, Remote, Store
from roundhouse.rounds.verify import verify
from tests.rounds.conftest import Command, receive, snapshot_and_publish
from tests.rounds.conftest import open_round as open_another
from tests.s3 import S3

EARLIER, LATER = "data/feedback/0001.jsonl", "data/feedback/0002.jsonl"
NAME, LIST = "0123456789abcdef0123456789abcdef", "fedcba9876543210fedcba9876543210.dir"


@pytest.fixture(params=["folder", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    """An empty store of each kind."""
    if request.param == "folder":
        return Folder(tmp_path)
    s3: S3 = request.getfixturevalue("s3")
    s3.lend(monkeypatch)
    (tmp_path / ".dvc").mkdir()
    s3.become_remote(tmp_path, f"{s3.bucket}/{tmp_path.name}")
    return stores(Locations(tmp_path))[-1]


def test_objects_are_put_read_replaced_listed_and_deleted(store: Store) -> None:
    assert store.digest(NAME) is None
    assert not store.copy(NAME, io.BytesIO())
    assert list(store.names()) == []
    store.put(NAME, io.BytesIO(b"first"))
    store.put(NAME, io.BytesIO(b"a"))
    store.put(LIST, io.BytesIO(b"[]"))
    sink = io.BytesIO(b"what was here before")
    assert store.copy(NAME, sink)
    assert sink.getvalue() == b"a"
    assert store.digest(NAME) == "0cc175b9c0f1b6a831c399e269772661"
    assert store.digest(NAME, "sha256") == (
        "ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb"
    )
    assert sorted(store.names()) == [NAME, LIST]
    store.delete(NAME)
    store.delete(NAME)
    assert list(store.names()) == [LIST]


@pytest.fixture(scope="module")
def published(make_checkout: Callable[..., Path], s3: S3) -> Iterator[Round]:
    """Two rounds of data published to S3, after which every cached byte is lost."""
    root = make_checkout()
    s3.become_remote(root, f"{s3.bucket}/{root.name}")
    places = Locations(root)
    with pytest.MonkeyPatch.context() as patch, Ledger.open(places.ledger_url) as ledger:
        s3.lend(patch)
        for number, previous in ((1, None), (2, "round-0001")):
            receive(ledger, f"prompt {number}")
            this = open_another(places, ledger, previous)
            snapshot_and_publish(this)
        shutil.rmtree(places.state / "dvc" / "cache")
        shutil.rmtree(places.rounds)
        yield this


def test_with_an_empty_cache_all_is_read_from_s3_and_checked(published: Round) -> None:
    places = published.places
    found = verify(places, published.ledger)
    assert (found.rounds, found.findings) == (2, ())
    assert json.loads(objects.read(places, "round-0002", LATER))["prompt"] == "prompt 2"


def test_what_was_altered_in_s3_is_named_and_not_used(published: Round) -> None:
    places = published.places
    md5 = objects.published(places, "round-0002")[EARLIER]
    remote = stores(places)[-1]
    assert isinstance(remote, Remote)
    data = objects.read(places, "round-0002", EARLIER)
    try:
        remote.put(md5, io.BytesIO(data.replace(b"1", b"2")))
        found = verify(places, published.ledger).findings
        assert {(one.round, one.what, one.where, one.problem) for one in found} == {
            (number, EARLIER, remote.where, "altered") for number in (1, 2)
        }
        third = open_another(places, published.ledger, "round-0002")
        with pytest.raises(DataError, match=r"0001\.jsonl is not what was recorded"):
            snapshot.take_snapshot(third)
        remote.delete(md5)
        # What DVC fetched before lies in the cache now: damaged.
        found = verify(places, published.ledger).findings
        assert {(one.where == remote.where, one.problem) for one in found} == {
            (True, "missing"),
            (False, "altered"),
        }
        with pytest.raises(DataError, match=f"{EARLIER} of round-0002 is missing or altered"):
            objects.read(places, "round-0002", EARLIER)
    finally:
        remote.put(md5, io.BytesIO(data))
    assert set(snapshot.take_snapshot(third).partitions) == {"0001.jsonl", "0002.jsonl"}
    shutil.rmtree(places.state / "dvc" / "cache")


@pytest.mark.parametrize("refusal", ["password", "address", "driver", "none"])
def test_a_store_that_refuses_is_said_once_in_one_line(
    published: Round, refusal: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = published.places.root / ".dvc" / "config.local"
    text = settings.read_text(encoding="utf-8")
    replaced = {"address": ("127.0.0.1:", "127.0.0.1:1/"), "driver": ("s3://", "gs://")}
    if refusal == "password":
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong-secret-key")
    elif refusal == "none":
        monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    try:
        settings.write_text(text.replace(*replaced.get(refusal, ("", ""))), encoding="utf-8")
        if refusal in ("driver", "none"):
            with pytest.raises(RemoteError, match=r"DVC remote store .* cannot be opened: .*\w"):
                stores(published.places)
            return
        (one,) = verify(published.places, published.ledger).findings
    finally:
        settings.write_text(text, encoding="utf-8")
    assert (one.round, one.where) == (1, "DVC")
    assert "check its address and credentials" in one.problem
    assert "wrong-secret-key" not in one.problem
    assert "\n" not in one.problem


def test_the_command_line_verifies_s3(published: Round, roundhouse: Command) -> None:
    root = published.places.root
    done = roundhouse(root, "audit", "verify")
    assert "all as published: 2 rounds" in done.stdout, done.stdout + done.stderr
    assert git.git("status", "--porcelain", cwd=root) == ""
