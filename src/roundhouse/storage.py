"""Says in one line that a disk is full or fails: which path, how much was wanted, what is free."""

import errno
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from roundhouse.errors import StorageError

_FULL = (errno.ENOSPC, errno.EDQUOT)
#: A disk with fewer bytes free is full for all that rounds write.
ALMOST_NOTHING = 1_000_000


class Guard:
    """Looks after a disk while another program writes to it.

    DVC's own databases try a write again for ever where the disk is full, without a word.

    Args:
        path: on the disk, named in the error.
        patience: seconds that the disk may stay full; the program has them to say so itself.
    """

    def __init__(self, path: Path, patience: float = 20.0) -> None:
        self._path = path
        self._patience = patience
        self._since: float | None = None

    def look(self) -> None:
        """To be called again and again, every few seconds or more often.

        Raises:
            StorageError: the disk was full at every look for as long as the patience.
        """
        now = time.monotonic()
        if free(self._path) >= ALMOST_NOTHING:
            self._since = None
        elif self._since is None:
            self._since = now
        elif now - self._since > self._patience:
            raise full(self._path)


@contextmanager
def writing(path: Path, need: int = 0) -> Iterator[None]:
    """Words what a disk says while a file or folder is written.

    Args:
        path: what is written.
        need: its size in bytes, 0 where it is not known.

    Raises:
        StorageError: the disk is full or fails; other errors pass as they are.
    """
    try:
        yield
    except StorageError:
        raise
    # Libraries in other languages have errors of their own, with the system's words in them.
    except Exception as error:
        raise (worded(error, path, need) or error) from None


def worded(error: BaseException, path: Path, need: int = 0) -> StorageError | None:
    """The line for an error that comes from the disk; None for any other."""
    number = error.errno if isinstance(error, OSError) else None
    if number in _FULL or "No space left on device" in str(error):
        return full(path, need)
    if number == errno.EIO:
        return StorageError(
            f"{path}: the disk fails ({os.strerror(errno.EIO)}): check it, then go on"
        )
    return None


def full(path: Path, need: int = 0) -> StorageError:
    """The line for a full disk."""
    path = path.absolute()
    wanted = f"{_size(max(need, 1000))} wanted, " if need else ""
    return StorageError(
        f"{path}: no space left on its disk ({wanted}{_size(free(path))} free): "
        "free some, then say it again"
    )


def free(path: Path) -> int:
    """Bytes that the disk of a path, or of the first folder above it that exists, has left."""
    while not path.exists() and path != path.parent:
        path = path.parent
    return shutil.disk_usage(path).free


def _size(count: int) -> str:
    if count < 1_000_000:
        return f"{count / 1000:.0f} kB"
    return f"{count / 1_000_000:,.0f} MB"
