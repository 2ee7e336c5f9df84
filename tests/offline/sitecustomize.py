"""Python imports this at start where its folder is on PYTHONPATH: nothing leaves, no pickle loads.

Every attempt to reach or look up a host that is not loopback is written to the file that
ROUNDHOUSE_OFFLINE_LOG names, with the process that made it, and is refused. So is listening where
others than this machine could connect. Unix sockets, loopback and the machine's own name are free.
Beside that file, with `.guarded` after its name, stands every process that is watched.

Every class or function that a pickle names while it is loaded is written to the file that
ROUNDHOUSE_PICKLE_LOG names, once a process and caller. It is not refused: the tests look at what
was loaded, by whom. Child processes are covered while they keep the variables.
"""

import ipaddress
import json
import os
import socket
import sys
import traceback
from typing import Any

VARIABLE = "ROUNDHOUSE_OFFLINE_LOG"
PICKLES = "ROUNDHOUSE_PICKLE_LOG"
EVENTS = {
    "socket.bind": 1,
    "socket.connect": 1,
    "socket.sendto": 1,
    "socket.sendmsg": 1,
    "socket.getaddrinfo": 0,
    "socket.gethostbyname": 0,
    "socket.gethostbyaddr": 0,
}
_seen: set[tuple[str, ...]] = set()


def is_local(host: Any) -> bool:
    """Whether a host as the socket functions take it is this machine."""
    if host is None:
        return True
    name = host.decode() if isinstance(host, bytes | bytearray) else str(host)
    if name in ("", "localhost", socket.gethostname()):
        return True
    try:
        address = ipaddress.ip_address(name.partition("%")[0])
    except ValueError:
        return False
    return address.is_loopback or address.is_unspecified


def is_loopback(host: Any) -> bool:
    """Whether who listens there is heard by this machine alone."""
    try:
        return host == "localhost" or ipaddress.ip_address(str(host)).is_loopback
    except ValueError:
        return False


def watch(event: str, arguments: tuple[Any, ...]) -> None:
    """The audit hook: records and refuses what would leave the machine."""
    if event not in EVENTS:
        return
    target = arguments[EVENTS[event]]
    if event in ("socket.bind", "socket.connect", "socket.sendto", "socket.sendmsg"):
        # A Unix socket's address is a path; a connected one sends to None.
        if not isinstance(target, tuple):
            return
        target = target[0]
    if is_loopback(target) if event == "socket.bind" else is_local(target):
        return
    note(VARIABLE, {"event": event, "target": str(target)})
    raise ConnectionRefusedError(f"{event} {target}: refused by tests/offline/sitecustomize.py")


def watch_pickles(event: str, arguments: tuple[Any, ...]) -> None:
    """The second audit hook: records what a pickle asks for, and who loads it."""
    if event != "pickle.find_class":
        return
    named = f"{arguments[0]}.{arguments[1]}"
    caller = sys._getframe(1).f_code.co_filename
    if (named, caller) not in _seen:
        _seen.add((named, caller))
        note(PICKLES, {"class": named, "caller": caller})


def note(variable: str, line: dict[str, Any]) -> None:
    """Adds a line to the log, with the command and the innermost calls."""
    calls = [f"{c.filename}:{c.lineno}" for c in traceback.extract_stack()[-9:-2]]
    with open(os.environ[variable], "a", encoding="utf-8") as file:
        file.write(json.dumps(line | {"command": sys.argv, "calls": calls}) + "\n")


if os.environ.get(VARIABLE):
    with open(os.environ[VARIABLE] + ".guarded", "a", encoding="utf-8") as _file:
        _file.write(json.dumps(sys.orig_argv) + "\n")
    sys.addaudithook(watch)
if os.environ.get(PICKLES):
    sys.addaudithook(watch_pickles)
