"""A disk that is really full: one line, nothing corrupt, and the round goes on afterwards."""

import os
import random
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.rounds import killing
from tests.rounds.conftest import Command

pytestmark = pytest.mark.torture

#: How often the disk is full in one round, and the most that is left free then, in bytes.
TIMES, MOST = 8, 12_000_000


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 400 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if (
        os.geteuid()
        or subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=400m", "tmpfs", str(folder)], check=False
        ).returncode
    ):
        pytest.skip("a file system can only be mounted by root")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def test_a_full_disk_again_and_again(
    disk: Path,
    seed: int,
    make_checkout: Callable[..., Path],
    roundhouse: Command,
    prefect_server: dict[str, str],
    tally: Callable[..., None],
) -> None:
    source = make_checkout()
    done = roundhouse(source, "round", **prefect_server)
    assert done.returncode == 0, done.stderr
    root = disk / "checkout"
    subprocess.run(["git", "clone", "--quiet", "--no-tags", str(source), str(root)], check=True)
    draw = random.Random(seed)
    said = []
    for left in sorted(int(MOST * draw.random() ** 2) for _ in range(TIMES)):
        _fill(disk, left)
        done = _go_on(root, roundhouse, prefect_server)
        (disk / "ballast").unlink()
        if done.returncode == 0:
            break
        last = done.stderr.splitlines()[-1]
        assert last.startswith("roundhouse: "), done.stderr
        assert "Traceback" not in done.stderr, done.stderr
        said.append(f"{left:>9,} bytes free: {last.replace(str(root), '')}")
        if (root / "state" / "ledger.db").exists():
            killing.check_always(root)
    done = _go_on(root, roundhouse, prefect_server)
    assert done.returncode == 0, done.stderr
    assert killing.published(root) == killing.published(source)
    assert roundhouse(root, "audit", "verify").returncode == 0
    tally(full=len(said), said=said)
    assert len(said) >= 3


def _go_on(
    root: Path, roundhouse: Command, env: dict[str, str]
) -> "subprocess.CompletedProcess[str]":
    begun = (root / "rounds").exists() or (root / "state" / "ledger.db").exists()
    done = roundhouse(root, *(["resume", "1"] if begun else ["round"]), **env)
    if begun and "there is no round 1" in done.stderr:
        done = roundhouse(root, "round", **env)
    return done


def _fill(disk: Path, left: int) -> None:
    free = shutil.disk_usage(disk).free
    with (disk / "ballast").open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, max(1, free - left))
