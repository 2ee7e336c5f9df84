"""Ending the processes that `up` or a round started: whole groups, and what has left its group.

Whatever a service starts carries a mark in its environment, and a flow run or a stage that has made
a session of its own is found by it. That reads /proc; elsewhere only the groups are ended.
"""

import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

#: Environment variable whose value marks everything that one `roundhouse up` has started.
MARK = "ROUNDHOUSE_UP"
#: The same for one round, which may itself have been started by `up`.
ROUND_MARK = "ROUNDHOUSE_ROUND"
#: Whom a stage works for: process id and birth, such as `4711 123456`.
OWNER = "ROUNDHOUSE_OWNER"


def end(
    process: "subprocess.Popen[bytes]", patience: float, how: signal.Signals = signal.SIGTERM
) -> None:
    """Asks a process that leads a group to end, then ends the group for certain.

    Args:
        process: our child, started in a session of its own.
        patience: seconds it gets to end by itself.
        how: the signal that asks.
    """
    try:
        process.send_signal(how)
        process.wait(patience)
    except (ProcessLookupError, subprocess.TimeoutExpired):
        pass
    kill_group(process.pid)
    process.wait()


def kill_group(group: int) -> None:
    """Ends every process of a group at once."""
    try:
        os.killpg(group, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        return


@contextmanager
def killed_on_error(process: "subprocess.Popen[Any]") -> Iterator[None]:
    """Kills our child's group, and waits for it, where an error or a signal leaves the block.

    Whoever waits for it holds a lock that says that nobody is at work.

    Args:
        process: our child, started in a session of its own.
    """
    try:
        yield
    except BaseException:
        kill_group(process.pid)
        process.wait()
        raise


def end_signals() -> list[signal.Signals]:
    """What asks this process to end, beside Ctrl-C; not a SIGHUP that `nohup` has it ignore."""
    hangs_up = signal.getsignal(signal.SIGHUP) != signal.SIG_IGN
    return [signal.SIGTERM, signal.SIGHUP] if hangs_up else [signal.SIGTERM]


def children(parent: int) -> list[int]:
    """The processes that a process has started itself and that still run."""
    found = []
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            ancestor = status.read_text(encoding="utf-8").rsplit(")", 1)[1].split()[1]
        except (OSError, IndexError):
            continue
        if int(ancestor) == parent:
            found.append(int(status.parent.name))
    return found


def birth(pid: int) -> str | None:
    """Start time of a live process in clock ticks since boot: with its id, it names it for good.

    None where it is gone, dead but not yet collected by its parent, or the system has no /proc.
    """
    try:
        status = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rsplit(")", 1)[1].split()
    except (OSError, IndexError):
        return None
    return None if status[0] in "ZX" else status[19]


def owner() -> str:
    """This process as the value of OWNER for what it starts."""
    return f"{os.getpid()} {birth(os.getpid())}"


def end_with_owner(every: float = 1.0) -> None:
    """Ends this process's whole group soon after the process that OWNER names is gone.

    Where no owner is named nothing is watched, and where the system has no /proc.

    Args:
        every: seconds between two looks.
    """
    pid, _, born = os.environ.get(OWNER, "").partition(" ")
    if not pid.isdigit() or birth(int(pid)) != born:
        return

    def watch() -> None:
        while birth(int(pid)) == born:
            time.sleep(every)
        os.killpg(0, signal.SIGKILL)

    threading.Thread(target=watch, name="end-with-owner", daemon=True).start()


def ask(pids: list[int], number: signal.Signals = signal.SIGTERM) -> None:
    """Sends a signal to processes, some of which may be gone."""
    for pid in pids:
        try:
            os.kill(pid, number)
        except (ProcessLookupError, PermissionError):
            continue


def marked(value: str, variable: str = MARK) -> Iterator[int]:
    """Live processes whose environment has a mark that begins with this value, ours left out."""
    entry = f"{variable}={value}".encode()
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            entries = (folder / "environ").read_bytes().split(b"\0")
        except OSError:
            continue
        ours = int(folder.name) == os.getpid()
        if not ours and any(line.startswith(entry) for line in entries):
            yield int(folder.name)


def sweep(value: str, patience: float = 5.0, variable: str = MARK) -> list[int]:
    """Ends all marked processes: asked first, killed when the patience (seconds) is over."""
    found = list(marked(value, variable))
    ask(found)
    until = time.monotonic() + patience
    while (left := list(marked(value, variable))) and time.monotonic() < until:
        time.sleep(0.1)
    while left:
        ask(left, signal.SIGKILL)
        time.sleep(0.05)
        left = list(marked(value, variable))
    return found
