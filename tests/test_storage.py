"""What a disk that is full or fails makes of an error, and of a program that says nothing."""

import errno
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from roundhouse import storage
from roundhouse.errors import StorageError


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 2 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(folder)]
    if os.geteuid() or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("a file system can only be mounted by root")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_disk_that_is_really_full(tiny_disk: Path) -> None:
    file = tiny_disk / "file"
    with (
        pytest.raises(
            StorageError, match=r"file: no space left on its disk \(3 MB wanted, 0 kB free"
        ),
        storage.writing(file, need=3_000_000),
    ):
        file.write_bytes(b"x" * 3_000_000)


def test_other_errors_pass_as_they_are(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), storage.writing(tmp_path):
        (tmp_path / "none").read_bytes()
    with pytest.raises(StorageError, match="the disk fails"), storage.writing(tmp_path):
        raise OSError(errno.EIO, "x")
    with pytest.raises(StorageError, match="no space left"), storage.writing(tmp_path):
        raise RuntimeError("I/O error: No space left on device (os error 28)")


def test_a_guard_waits_and_then_says_so(tiny_disk: Path) -> None:
    guard = storage.Guard(tiny_disk / "later" / "file", patience=0.0)
    guard.look()
    (tiny_disk / "ballast").write_bytes(b"x" * 1_500_000)
    guard.look()
    with pytest.raises(StorageError, match="later/file: no space left"):
        guard.look()
    (tiny_disk / "ballast").unlink()
    guard.look()
