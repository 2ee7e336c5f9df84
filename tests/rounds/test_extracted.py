"""Published models taken out by several processes at once, beside a cleaning, or by halves."""

import hashlib
import io
import json
import os
import random
import signal
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier
from typing import NamedTuple

import pytest

from roundhouse import jsonl
from roundhouse.errors import DataError
from roundhouse.hashes import sha256_folder
from roundhouse.ledger import Ledger
from roundhouse.locations import Locations
from roundhouse.rounds.clean import Cleaned, clean
from roundhouse.rounds.decide import MODEL, write_manifest
from roundhouse.rounds.dvc import stores
from roundhouse.rounds.extracted import published_model
from roundhouse.rounds.git import git

TAKE = """
import sys
from pathlib import Path
from roundhouse.locations import Locations
from roundhouse.rounds.extracted import published_model
with published_model(Locations(Path(sys.argv[1])), 1, sys.argv[2]) as folder:
    print(folder, flush=True)
    sys.stdin.readline()
"""


class Release(NamedTuple):
    """Round 1's model, published from a checkout: its folder's hash, and where it is taken out."""

    places: Locations
    sha256: str

    @property
    def models(self) -> Path:
        """What `chat` and `rollback` took out."""
        return self.places.state / "models"

    def take(self, **env: str) -> "subprocess.Popen[str]":
        """Another process that takes it out, says so, and uses it until it is told to end."""
        return subprocess.Popen(
            [sys.executable, "-c", TAKE, str(self.places.root), self.sha256],
            env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)} | env,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def clean(self) -> Cleaned:
        """Cleans as the end of a round does; no model is the champion's."""
        with Ledger.open(self.places.ledger_url) as ledger:
            return clean(self.places, ledger, keep=1)


@pytest.fixture
def release(make_checkout: Callable[..., Path]) -> Release:
    """A checkout with a model of 8 MB in its stores, in forty files, and the tag that names it."""
    places, drawn = Locations(make_checkout()), random.Random(17)
    files = {f"part-{part:02d}": drawn.randbytes(200_000) for part in range(40)}
    for name, data in files.items():
        (places.root / MODEL / name).parent.mkdir(parents=True, exist_ok=True)
        (places.root / MODEL / name).write_bytes(data)
    listing = [
        {"md5": hashlib.md5(data, usedforsecurity=False).hexdigest(), "relpath": f"model/{name}"}
        for name, data in files.items()
    ]
    listed = json.dumps(listing).encode()
    md5 = f"{hashlib.md5(listed, usedforsecurity=False).hexdigest()}.dir"
    for store in stores(places):
        store.put(md5, io.BytesIO(listed))
        for entry, data in zip(listing, files.values(), strict=True):
            store.put(entry["md5"], io.BytesIO(data))
    stage = {"outs": [{"path": "out/align", "md5": md5}]}
    jsonl.write_json(places.root / "dvc.lock", {"schema": "2.0", "stages": {"align": stage}})
    write_manifest(places.root)
    git("add", "--force", "dvc.lock", "manifest.json", cwd=places.root)
    person = ("-c", "user.name=T", "-c", "user.email=t@localhost")
    git(*person, "commit", "--quiet", "--message", "Round 1", cwd=places.root)
    git(*person, "tag", "--annotate", "round-0001", "--message", "Round 1", cwd=places.root)
    with Ledger.open(places.ledger_url):
        return Release(places, sha256_folder(places.root / MODEL))


@pytest.mark.parametrize("damaged", [False, True])
def test_taken_out_by_many_at_once_it_is_whole_for_each(release: Release, damaged: bool) -> None:
    if damaged:
        (release.models / release.sha256).mkdir(parents=True)
        (release.models / release.sha256 / "part-00").write_bytes(b"half")
    together = Barrier(6)

    def take(_: int) -> str:
        together.wait()
        with published_model(release.places, 1, release.sha256) as folder:
            return sha256_folder(folder)

    with ThreadPoolExecutor(6) as pool:
        assert set(pool.map(take, range(6))) == {release.sha256}
    assert [path.name for path in release.models.iterdir()] == [release.sha256]


def test_cleaning_leaves_what_is_in_use_and_takes_it_later(release: Release) -> None:
    user = release.take()
    assert user.stdout is not None
    folder = Path(user.stdout.readline().strip())
    assert release.clean().models == 0
    assert sha256_folder(folder) == release.sha256
    user.communicate("\n", timeout=60)
    assert user.returncode == 0
    assert release.clean().models == 1
    assert list(release.models.iterdir()) == []


def test_while_one_is_taken_out_it_is_cleaned_again_and_again(release: Release) -> None:
    def take(_: int) -> None:
        with published_model(release.places, 1, release.sha256) as folder:
            assert sha256_folder(folder) == release.sha256

    with ThreadPoolExecutor(2) as pool:
        taken = [pool.submit(take, number) for number in range(8)]
        while not all(one.done() for one in taken):
            release.clean()
    for one in taken:
        one.result()


def test_what_a_dead_process_left_is_cleaned(release: Release) -> None:
    dead = release.take(ROUNDHOUSE_FAIL="release.extracted=kill")
    dead.communicate(timeout=60)
    assert dead.returncode == -signal.SIGKILL
    (left,) = release.models.iterdir()
    assert left.name.startswith(f".{release.sha256}.")
    with published_model(release.places, 1, release.sha256) as folder:
        assert sha256_folder(folder) == release.sha256
    cleaned = release.clean()
    assert cleaned.models == 2 and cleaned.bytes >= 16_000_000
    assert list(release.models.iterdir()) == []


def test_another_model_than_was_released_is_named_and_not_kept(release: Release) -> None:
    with (
        pytest.raises(DataError, match="model of round 1 differs from its release"),
        published_model(release.places, 1, "0" * 64),
    ):
        pass
    assert list(release.models.iterdir()) == []
