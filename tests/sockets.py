"""Which addresses processes listen at, read from /proc."""

import os
import re
from collections.abc import Iterable
from ipaddress import ip_address
from pathlib import Path

LISTEN = "0A"


def listening(pids: Iterable[int]) -> set[tuple[str, int]]:
    """Address and port of every TCP socket that one of the processes listens at."""
    held = {inode for pid in pids for inode in _inodes(pid)}
    found = set()
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text(encoding="ascii").splitlines()[1:]:
            fields = line.split()
            if fields[3] == LISTEN and fields[9] in held:
                address, port = fields[1].split(":")
                found.add((_address(address), int(port, 16)))
    return found


def _inodes(pid: int) -> set[str]:
    """Of the sockets that a process holds; none where it is gone."""
    found = set()
    try:
        for entry in Path(f"/proc/{pid}/fd").iterdir():
            if match := re.fullmatch(r"socket:\[(\d+)\]", os.readlink(entry)):
                found.add(match[1])
    except OSError:
        pass
    return found


def _address(text: str) -> str:
    """The kernel writes addresses as words of four bytes in the machine's order."""
    words = [bytes.fromhex(text[place : place + 8])[::-1] for place in range(0, len(text), 8)]
    return str(ip_address(b"".join(words)))
