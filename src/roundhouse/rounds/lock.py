"""One round at a time: a file lock that the kernel frees when its owner dies.

The lock is the open file, not its text, so a process id that is used again can never hold it by
mistake; the text only names the owner for whoever is refused, and the mark that all of its
processes carry, so that the next owner can end what a killed one left behind.
"""

import fcntl
import json
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from roundhouse.errors import BusyError
from roundhouse.processes import ROUND_MARK, sweep


@contextmanager
def owned(path: Path, purpose: str, mark: str = "") -> Iterator[None]:
    """Holds the lock at `path` while the block runs.

    Args:
        path: the lock's file.
        purpose: what the owner does, for whoever is refused.
        mark: value of `processes.ROUND_MARK` that the owner's processes carry; none by default.

    Raises:
        BusyError: another live process holds it; the message names that process and its purpose.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+", encoding="utf-8") as file:
        if not _taken(file):
            raise BusyError(f"{_owner(path)} is at work here: wait for it, or stop it")
        _end_leftovers(path)
        file.seek(0)
        file.truncate()
        file.write(json.dumps(who(purpose) | {"mark": mark}))
        file.flush()
        try:
            yield
        finally:
            file.seek(0)
            file.truncate()


def _taken(file: TextIO) -> bool:
    """Takes the lock; whoever only looks at it (`is_held`) has it for an instant."""
    for wait in (0.02, 0.1, 0.3, None):
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            if wait is None:
                break
            time.sleep(wait)
    return False


def who(purpose: str) -> dict[str, str]:
    """This process, for whoever is refused: its id, host, purpose and the time (UTC)."""
    since = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    owner = {"pid": str(os.getpid()), "host": socket.gethostname()}
    return owner | {"purpose": purpose, "since": since}


def is_held(path: Path) -> bool:
    """Whether a live process holds the lock."""
    if not path.exists():
        return False
    with path.open("a+", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def _end_leftovers(path: Path) -> None:
    """Ends what an owner that was killed had started: its text still stands in the free lock."""
    try:
        mark = json.loads(path.read_text(encoding="utf-8"))["mark"]
    except (ValueError, KeyError, TypeError):
        return
    if mark:
        sweep(mark, variable=ROUND_MARK)


def _owner(path: Path) -> str:
    try:
        owner = json.loads(path.read_text(encoding="utf-8"))
        where = f"process {owner['pid']} on {owner['host']}, since {owner['since']}"
        return f"{owner['purpose']} ({where})"
    except (ValueError, KeyError, OSError):
        return "another process"
