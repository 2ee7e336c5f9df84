"""A training stage as several processes of this machine, started by `accelerate launch`."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import psutil

from roundhouse import processes
from roundhouse.errors import SettingsError
from roundhouse.params import ROOT_VARIABLE

LOOPBACK = "127.0.0.1"


def of_checkout(root: Path, configuration: str) -> Path:
    """accelerate's configuration; a relative path starts at the checkout's root.

    Raises:
        SettingsError: there is no such file.
    """
    path = root / configuration
    if not path.is_file():
        raise SettingsError(f"compute.accelerate {configuration}: no such file in {root}")
    return path


def launch(stage: str, configuration: str) -> None:
    """Runs `tasks.STAGE` as accelerate's configuration says; its processes end when this one does.

    Raises: as `of_checkout`, and
        SystemExit: a process failed; what it said stands in the stage's log.
    """
    path = of_checkout(Path(os.environ.get(ROOT_VARIABLE, ".")), configuration)
    port = str(_free_port())
    own = ["--config_file", str(path), "--main_process_port", port, "-m", f"tasks.{stage}"]
    done = subprocess.run(
        [sys.executable, "-m", "accelerate.commands.launch", *own],
        # What processes tell each other without a GPU does not leave the machine.
        env={"GLOO_SOCKET_IFNAME": _loopback(), **os.environ, processes.OWNER: processes.owner()},
        check=False,
    )
    if done.returncode:
        raise SystemExit(done.returncode)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        port: int = probe.getsockname()[1]
    return port


def _loopback() -> str:
    """The name of the interface that leads back to this machine."""
    for name, addresses in psutil.net_if_addrs().items():
        if any(address.address == LOOPBACK for address in addresses):
            return name
    return "lo"
