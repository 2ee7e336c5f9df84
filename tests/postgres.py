"""A real PostgreSQL server for tests, on loopback, from the system's own package."""

import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest


class Postgres(NamedTuple):
    """A server that runs.

    Attributes:
        port: on 127.0.0.1.
        user: its administrator.
        password: of that user; empty where everybody is let in.
        programs: the folder with psql, pg_dump and the rest.
    """

    port: int
    user: str
    password: str
    programs: Path


@contextmanager
def served(password: str = "") -> Iterator[Postgres]:
    """Runs a server while the block runs; skips the test where PostgreSQL is not installed."""
    pytest.importorskip("psycopg2", reason="the postgres extra is not installed")
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if not found:
        pytest.skip("PostgreSQL's initdb is not installed under /usr/lib/postgresql")
    programs = found[-1].parent
    folder = Path(tempfile.mkdtemp(prefix="roundhouse-pg-"))
    # PostgreSQL refuses to run as root.
    user = "postgres" if os.geteuid() == 0 else None
    secret = folder / "password"
    secret.write_text(password, encoding="utf-8")
    if user:
        shutil.chown(folder, user)
        shutil.chown(secret, user)

    def run(program: str, *arguments: str) -> None:
        subprocess.run(
            [str(programs / program), "-D", str(folder / "data"), *arguments],
            check=True,
            user=user,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
        )

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    options = f"-p {port} -k {folder} -c listen_addresses=127.0.0.1 -c fsync=off"
    access = ["-A", "scram-sha-256", "--pwfile", str(secret)] if password else ["-A", "trust"]
    try:
        run("initdb", "-U", "roundhouse", *access, "-E", "UTF8", "--locale=C", "--no-sync")
        run("pg_ctl", "-w", "-t", "300", "-o", options, "-l", str(folder / "log"), "start")
        try:
            yield Postgres(port, "roundhouse", password, programs)
        finally:
            run("pg_ctl", "-w", "-t", "300", "-m", "immediate", "stop")
    finally:
        shutil.rmtree(folder)
