"""A training stage as several processes of this machine, started by `accelerate launch`."""

import os
import socket
import subprocess
import sys

import psutil

from roundhouse import processes
from roundhouse.settings import ComputeSettings

#: Set for the processes of a stage that was launched; their number from 0 is in RANK.
VARIABLE = "ROUNDHOUSE_LAUNCHED"
_LOOPBACK = "127.0.0.1"


def launched() -> bool:
    """Whether this process is one of several that `launch` started."""
    return os.environ.get(VARIABLE) == "1"


def first() -> bool:
    """Whether this process writes what comes out; of several the first one does."""
    return not launched() or os.environ["RANK"] == "0"


def launch(stage: str, compute: ComputeSettings) -> None:
    """Runs `tasks.STAGE` in as many processes as the settings say; they end when this one does.

    Raises:
        SystemExit: a process failed; what it said stands in the stage's log.
    """
    threads = compute.threads or max(1, (os.cpu_count() or 1) // compute.processes)
    # MULTI_GPU is accelerate's word for processes of one machine, with GPUs or without.
    command = [
        *(sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu"),
        *("--num_processes", str(compute.processes), "--num_machines", "1"),
        *("--num_cpu_threads_per_process", str(threads), "--mixed_precision", "no"),
        *("--dynamo_backend", "no", "--main_process_port", str(_free_port())),
        *("-m", f"tasks.{stage}"),
    ]
    # What processes tell each other without a GPU does not leave the machine.
    env = {"GLOO_SOCKET_IFNAME": _loopback(), **os.environ, VARIABLE: "1"}
    done = subprocess.run(command, env={**env, processes.OWNER: processes.owner()}, check=False)
    if done.returncode:
        raise SystemExit(done.returncode)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((_LOOPBACK, 0))
        port: int = probe.getsockname()[1]
    return port


def _loopback() -> str:
    """The name of the interface that leads back to this machine."""
    for name, addresses in psutil.net_if_addrs().items():
        if any(address.address == _LOOPBACK for address in addresses):
            return name
    return "lo"
