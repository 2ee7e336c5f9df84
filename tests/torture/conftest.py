"""What the torture suite shares: its seed, one Prefect server a worker, and a tally."""

import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import command_environment

#: Every ten seconds, in Prefect's sixth field.
ALWAYS = "* * * * * */10"
#: Where the tallies of all workers are gathered; `make torture` prints them.
TALLY = "ROUNDHOUSE_TORTURE_TALLY"


@pytest.fixture(scope="session")
def seed() -> int:
    """What the faults are drawn from."""
    return int(os.environ.get("ROUNDHOUSE_TORTURE_SEED", "1"))


@pytest.fixture(scope="session")
def prefect_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The environment of a real Prefect server, so that not every command starts its own."""
    folder = tmp_path_factory.mktemp("prefect")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    from roundhouse.environment import environment  # noqa: PLC0415 - after the path is set

    home = {"PREFECT_HOME": str(folder / "home")}
    env = command_environment(folder) | environment(folder, given=home)
    command = ["prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port)]
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen(
            [sys.executable, "-m", *command], env=env, cwd=folder, stdout=log, stderr=log
        )
    try:
        until = time.monotonic() + 120
        while not _ready(port):
            assert server.poll() is None, (folder / "log").read_text(encoding="utf-8")
            assert time.monotonic() < until, "the Prefect server does not answer"
            time.sleep(0.5)
        yield {"PREFECT_API_URL": f"http://127.0.0.1:{port}/api"}
    finally:
        server.terminate()
        server.wait(30)


def _ready(port: int) -> bool:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(f"http://127.0.0.1:{port}/api/ready", timeout=5):
            return True
    except OSError:
        return False


def start_up(root: Path) -> "subprocess.Popen[bytes]":
    """`roundhouse up` with a schedule that starts a round as soon as the last one is over."""
    with socket.socket() as one, socket.socket() as other:
        one.bind(("127.0.0.1", 0))
        other.bind(("127.0.0.1", 0))
        ports = one.getsockname()[1], other.getsockname()[1]
    options = ["--prefect-port", str(ports[0]), "--mlflow-port", str(ports[1]), "--cron", ALWAYS]
    with (root / "up.log").open("wb") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "roundhouse.cli", "up", *options],
            cwd=root,
            env=command_environment(root) | {"PREFECT_RUNNER_POLL_FREQUENCY": "2"},
            stdout=log,
            stderr=log,
        )


@pytest.fixture
def tally(request: pytest.FixtureRequest) -> Callable[..., None]:
    """Adds figures to the run's tally: one JSON line a test in the file that TALLY names."""

    def add(**figures: Any) -> None:
        path = os.environ.get(TALLY)
        if path:
            line = {"test": request.node.name, **figures}
            with Path(path).open("a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")

    return add
