"""Cleaning: what can be made again goes, what is needed stays, whoever dies in between."""

import json
import re
import shutil
import signal
from pathlib import Path

import pytest

from roundhouse.ledger import Ledger
from roundhouse.locations import Locations
from roundhouse.rounds import git
from tests.rounds.conftest import Command, Played

pytestmark = pytest.mark.round


@pytest.fixture
def checkout(played: Played, tmp_path: Path) -> Path:
    """A copy of the checkout with two rounds; a try that came to nothing left an object behind."""
    root = tmp_path / "checkout"
    shutil.copytree(played.root, root, symlinks=True)
    _object(root, "cache", "ab" + "0" * 30).parent.mkdir(parents=True, exist_ok=True)
    _object(root, "cache", "ab" + "0" * 30).write_bytes(b"of a round that was never published")
    return root


def _object(root: Path, store: str, md5: str) -> Path:
    return root / "state" / "dvc" / store / "files" / "md5" / md5[:2] / md5[2:]


def _cached(root: Path) -> set[str]:
    top = root / "state" / "dvc" / "cache" / "files" / "md5"
    return {path.parent.name + path.name for path in top.glob("*/*")}


def test_old_rounds_give_their_space_back(checkout: Path, roundhouse: Command) -> None:
    before, places = _cached(checkout), Locations(checkout)
    logs = sorted(path.name for path in (places.workspace(1) / "logs").iterdir())
    champion = json.loads(roundhouse(checkout, "chat", "--prompt", "Hello?", "--json").stdout)
    done = roundhouse(checkout, "clean", "--keep", "1", "--json")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    with Ledger.open(places.ledger_url, expected=True) as ledger:
        released = ledger.champion()
    assert released is not None
    assert released.round == 2
    assert report["workspaces"] == [1]
    assert not places.workspace(1).exists() and places.workspace(2).exists()
    moved = checkout / "state" / "logs" / "rounds" / "0001"
    assert sorted(path.name for path in moved.iterdir()) == logs
    assert report["objects"] == len(before - _cached(checkout)) > 0
    assert "ab" + "0" * 30 not in _cached(checkout)
    assert json.loads(roundhouse(checkout, "clean", "--keep", "1", "--json").stdout) == {
        "workspaces": [],
        "objects": 0,
        "models": 0,
        "bytes": 0,
    }
    assert roundhouse(checkout, "audit", "verify").returncode == 0
    assert roundhouse(checkout, "audit", "round", "1").returncode == 0
    again = json.loads(roundhouse(checkout, "chat", "--prompt", "Hello?", "--json").stdout)
    assert again == champion


def test_what_the_remote_lacks_stays(checkout: Path, roundhouse: Command) -> None:
    damaged = sorted(_cached(checkout))[0]
    _object(checkout, "remote", damaged).unlink(missing_ok=True)
    assert roundhouse(checkout, "clean", "--keep", "1").returncode == 0
    assert damaged in _cached(checkout)


@pytest.mark.parametrize("place", ["clean.workspaces", "clean.renamed"])
def test_a_death_in_between(checkout: Path, roundhouse: Command, place: str) -> None:
    killed = roundhouse(checkout, "clean", "--keep", "1", ROUNDHOUSE_FAIL=f"{place}=kill")
    assert killed.returncode == -signal.SIGKILL
    assert roundhouse(checkout, "clean", "--keep", "1").returncode == 0
    assert not list((checkout / "rounds").glob(".*"))
    assert roundhouse(checkout, "audit", "verify").returncode == 0
    assert git.round_tags(checkout) == [1, 2]


def test_a_try_that_was_overtaken_goes_and_one_whose_list_is_lost_stands_in_nobodys_way(
    checkout: Path, roundhouse: Command
) -> None:
    places = Locations(checkout)
    with Ledger.open(places.ledger_url, expected=True) as ledger:
        number = ledger.take_round_number(note={})
    shutil.copytree(places.workspace(2), places.workspace(number))
    pointer = places.workspace(number) / "dvc.lock"
    lost = pointer.read_text(encoding="utf-8")
    for md5 in set(re.findall(r"[0-9a-f]{32}\.dir", lost)):
        lost = lost.replace(md5, "0" * 32 + ".dir")
    pointer.write_text(lost, encoding="utf-8")
    assert roundhouse(checkout, "clean", "--keep", "1").returncode == 0
    assert places.workspace(number).exists(), "it can be resumed"
    with Ledger.open(places.ledger_url, expected=True) as ledger:
        ledger.finish_round(number, state="abandoned", reasons=["given up"])
    assert roundhouse(checkout, "clean", "--keep", "1").returncode == 0
    assert places.workspace(number).exists(), "no later round has overtaken it"
    with Ledger.open(places.ledger_url, expected=True) as ledger:
        later = ledger.take_round_number(note={})
        ledger.finish_round(later, state="published", reasons=[])
    git.git("tag", f"round-{later:04d}", "round-0002", cwd=checkout)
    assert roundhouse(checkout, "clean", "--keep", "1").returncode == 0
    assert not places.workspace(number).exists()
