"""The environment of every process that a round or `roundhouse up` starts, in one place.

It turns off what tools send out by themselves, keeps each tool's files inside the checkout, and
bounds how long a process waits for a server.
"""

import os
from collections.abc import Mapping
from pathlib import Path

from roundhouse import jsonl
from roundhouse.rounds.lock import is_held

#: Nothing is sent to anyone. MLflow takes only the word `true` for DO_NOT_TRACK.
PRIVATE = {
    "DO_NOT_TRACK": "true",
    "DVC_NO_ANALYTICS": "1",
    "DVC_STUDIO_OFFLINE": "true",
    "GX_ANALYTICS_ENABLED": "false",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "ITERATIVE_DO_NOT_TRACK": "true",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "PREFECT_CLOUD_ENABLE_ORCHESTRATION_TELEMETRY": "false",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
}

#: MLflow's client by default retries seven times, which holds a caller for four minutes. Its server
#: by default runs jobs, a gateway to model vendors, and an assistant that may run shell commands on
#: this machine: the first two are off, the last only ever works inside a container.
MLFLOW = {
    "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
    "MLFLOW_ENABLE_AI_GATEWAY": "false",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_ENABLE_ASSISTANT_SANDBOX": "true",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "3",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    # Standard output is the round's record, with --json.
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
}

#: Prefect: its own server needs more than the default 20 s to start on a busy machine. A flow run
#: holds a lease on its place in the deployment's limit: by default the server forgets all leases
#: when it is started again, and the run is then stopped. A client that had an answer once waits for
#: a server that is away up to four minutes (2 + 4 + ... + 128 s).
PREFECT = {
    "PREFECT_CLI_PROMPT": "false",
    "PREFECT_CLIENT_MAX_RETRIES": "7",
    "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "30",
    "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": (
        "prefect.server.concurrency.lease_storage.filesystem"
    ),
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",
}

#: Libraries that would otherwise look for a display or warn about forks.
QUIET = {"MPLBACKEND": "Agg", "TOKENIZERS_PARALLELISM": "false"}


#: Held by `roundhouse up` while it runs, and where it says at which addresses.
UP_LOCK, UP_FILE = Path("state") / "up.lock", Path("state") / "up.json"


def environment(root: Path, given: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Variables to lay over a process's own environment, for the checkout at `root`.

    What a person has chosen in `given` stays: MLFLOW_TRACKING_URI, PREFECT_API_URL, PREFECT_HOME,
    MPLCONFIGDIR. While `roundhouse up` runs here, its servers are used.
    """
    state = root.resolve() / "state"
    places = {
        "MLFLOW_TRACKING_URI": mlflow_uri(root),
        "MPLCONFIGDIR": str(state / "cache" / "matplotlib"),
        "PREFECT_HOME": str(state / "prefect"),
        **running_servers(root),
    }
    chosen = {name: given.get(name) or value for name, value in places.items()}
    # A proxy that the machine is set up with must not get to see what stays on it.
    direct = ",".join(filter(None, [given.get("NO_PROXY"), "127.0.0.1", "localhost"]))
    return PRIVATE | MLFLOW | PREFECT | QUIET | chosen | {"NO_PROXY": direct, "no_proxy": direct}


def import_path(folder: Path, given: Mapping[str, str] = os.environ) -> str:
    """PYTHONPATH with which the code in `folder` is what runs, before whatever stood there."""
    before = given.get("PYTHONPATH")
    return os.pathsep.join([str(folder / "src"), str(folder), *([before] if before else [])])


def running_servers(root: Path) -> dict[str, str]:
    """PREFECT_API_URL and MLFLOW_TRACKING_URI of a live `roundhouse up`; empty where none runs."""
    if not (root / UP_FILE).exists() or not is_held(root / UP_LOCK):
        return {}
    servers: dict[str, str] = jsonl.read_json(root / UP_FILE)["servers"]
    return servers


def mlflow_uri(root: Path) -> str:
    """The embedded MLflow store of a checkout; artifacts lie beside the database file."""
    return f"sqlite:///{root.resolve() / 'state' / 'mlflow' / 'mlflow.db'}"
