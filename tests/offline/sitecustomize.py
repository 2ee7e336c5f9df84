"""Python imports this at start where its folder is on PYTHONPATH: nothing may leave the machine.

Every attempt to reach or look up a host that is not loopback is written to the file that
ROUNDHOUSE_OFFLINE_LOG names, with the process that made it, and is refused. Unix sockets, loopback
and the machine's own name are free. Child processes are covered while they keep both variables.
"""

import ipaddress
import json
import os
import socket
import sys
import traceback
from typing import Any

VARIABLE = "ROUNDHOUSE_OFFLINE_LOG"
EVENTS = {
    "socket.connect": 1,
    "socket.sendto": 1,
    "socket.sendmsg": 1,
    "socket.getaddrinfo": 0,
    "socket.gethostbyname": 0,
    "socket.gethostbyaddr": 0,
}


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


def watch(event: str, arguments: tuple[Any, ...]) -> None:
    """The audit hook: records and refuses what would leave the machine."""
    if event not in EVENTS:
        return
    target = arguments[EVENTS[event]]
    if event in ("socket.connect", "socket.sendto", "socket.sendmsg"):
        # A Unix socket's address is a path; a connected one sends to None.
        if not isinstance(target, tuple):
            return
        target = target[0]
    if is_local(target):
        return
    calls = [f"{c.filename}:{c.lineno}" for c in traceback.extract_stack()[-8:-1]]
    line = {"event": event, "target": str(target), "command": sys.argv, "calls": calls}
    with open(os.environ[VARIABLE], "a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")
    raise ConnectionRefusedError(f"{event} {target}: refused by tests/offline/sitecustomize.py")


if os.environ.get(VARIABLE):
    sys.addaudithook(watch)
