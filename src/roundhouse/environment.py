"""The environment of every process that a round or `roundhouse up` starts, in one place.

It turns off what tools send out by themselves, keeps each tool's files inside the checkout, and
bounds how long a process waits for a server.
"""

import os
from collections.abc import Mapping
from pathlib import Path

#: Nothing is sent to anyone. MLflow takes only the word `true` for DO_NOT_TRACK.
PRIVATE = {
    "DO_NOT_TRACK": "true",
    "DVC_NO_ANALYTICS": "1",
    "DVC_STUDIO_OFFLINE": "true",
    "GX_ANALYTICS_ENABLED": "false",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "ITERATIVE_DO_NOT_TRACK": "true",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
}

#: MLflow's client: by default it retries seven times, which holds a caller for four minutes.
MLFLOW = {
    "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "3",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
}

#: Prefect: its own server needs more than the default 20 s to start on a busy machine, and a flow
#: run tells every 30 s that it lives, so that a dead one is noticed.
PREFECT = {
    "PREFECT_CLI_PROMPT": "false",
    "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "30",
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",
}

#: Libraries that would otherwise look for a display or warn about forks.
QUIET = {"MPLBACKEND": "Agg", "TOKENIZERS_PARALLELISM": "false"}


def environment(root: Path, given: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Variables to lay over a process's own environment, for the checkout at `root`.

    Places that a person has chosen in `given` stay: MLFLOW_TRACKING_URI, PREFECT_HOME,
    MPLCONFIGDIR.
    """
    state = root.resolve() / "state"
    places = {
        "MLFLOW_TRACKING_URI": mlflow_uri(root),
        "MPLCONFIGDIR": str(state / "cache" / "matplotlib"),
        "PREFECT_HOME": str(state / "prefect"),
    }
    chosen = {name: given.get(name) or value for name, value in places.items()}
    return PRIVATE | MLFLOW | PREFECT | QUIET | chosen


def mlflow_uri(root: Path) -> str:
    """The embedded MLflow store of a checkout; artifacts lie beside the database file."""
    return f"sqlite:///{root.resolve() / 'state' / 'mlflow' / 'mlflow.db'}"
