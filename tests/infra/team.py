"""What a team shares, started for real on this machine: infra/ without its containers.

Every process gets the environment that compose.yaml gives to its container, with the names of
services replaced by addresses on loopback, and is started by the same command or script.
"""

import base64
import json
import os
import re
import secrets
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import yaml

from tests import postgres
from tests.conftest import PROJECT
from tests.s3 import S3
from tests.s3 import served as served_s3

INFRA = PROJECT / "infra"
DEPLOYMENT = "rlhf-round/process"


@dataclass
class Team:
    """The servers, and the git repository, that workers share.

    Attributes:
        folder: logs, and the clones of workers.
        repository: a bare one, `origin` of every worker's clone.
        database: PostgreSQL with a database each for Prefect, MLflow and the ledger.
        s3: the store of data, models and MLflow's artifacts.
        values: of the variables in .env.example.
        ports: service name to port.
    """

    folder: Path
    repository: Path
    database: postgres.Postgres
    s3: S3
    values: dict[str, str]
    ports: dict[str, int]
    processes: "list[subprocess.Popen[bytes]]" = field(default_factory=list)
    workers: list[str] = field(default_factory=list)

    def environment(self, service: str, checkout: Path | None = None) -> dict[str, str]:
        """What compose.yaml sets for a service, with addresses on this machine."""
        text = (INFRA / "compose.yaml").read_text(encoding="utf-8")
        given = yaml.safe_load(text)["services"][service]["environment"]
        found = {name: self._here(str(value), checkout) for name, value in given.items()}
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
        home = self.folder / "home"
        # Prefect makes its own folder in it, but not the folders above that.
        (home / "prefect").mkdir(parents=True, exist_ok=True)
        guard = {"PYTHONPATH": str(PROJECT / "tests" / "offline"), "LC_ALL": "C.UTF-8"}
        log = {"ROUNDHOUSE_OFFLINE_LOG": str(self.folder / "outward.jsonl")}
        return {"PATH": path, "HOME": str(home), **guard, **log, **found}

    def start(self, name: str, command: list[str], env: dict[str, str], cwd: Path) -> None:
        """Starts a process in a session of its own; its output goes to `folder/NAME.log`."""
        with (self.folder / f"{name}.log").open("ab") as log:
            process = subprocess.Popen(
                command, cwd=cwd, env=env, stdout=log, stderr=log, stdin=subprocess.DEVNULL,
                start_new_session=True,
            )  # fmt: skip
        self.processes.append(process)

    def worker(self, name: str) -> Path:
        """Starts a worker as its container would; returns its checkout once it is there."""
        self.workers.append(name)
        checkout = self.folder / name
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        health = {"PREFECT_WORKER_WEBSERVER_HOST": "127.0.0.1"}
        own = health | {"PREFECT_WORKER_WEBSERVER_PORT": str(port), "ROUNDHOUSE_TEAM": name}
        env = self.environment("worker", checkout) | own
        self.start(name, ["sh", str(INFRA / "start-worker.sh")], env, self.folder)
        wait_for(lambda: _answers(f"http://127.0.0.1:{port}/health"), 300, self.log(name))
        return checkout

    def lose(self, name: str) -> None:
        """Kills a worker and everything that it started, at once, as a machine that is cut off."""
        mark = f"ROUNDHOUSE_TEAM={name}".encode()
        for entry in Path("/proc").glob("[0-9]*/environ"):
            try:
                if mark in entry.read_bytes().split(b"\0"):
                    os.kill(int(entry.parent.name), signal.SIGKILL)
            except (OSError, ProcessLookupError):
                continue

    def stop(self) -> None:
        """Ends the servers and workers, but for PostgreSQL and S3."""
        for process in reversed(self.processes):
            if process.poll() is None:
                process.terminate()
        for process in self.processes:
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        # A flow run has a session of its own, and may outlive its worker.
        for name in self.workers:
            self.lose(name)

    def roundhouse(self, checkout: Path, *arguments: str, **env: str) -> Any:
        """The command line in a worker's checkout; returns the finished process."""
        own = {"PYTHONPATH": f"{checkout}/src:{checkout}:{PROJECT / 'tests' / 'offline'}"}
        return subprocess.run(
            [sys.executable, "-m", "roundhouse.cli", *arguments],
            cwd=checkout,
            env=self.environment("worker", checkout) | own | env,
            capture_output=True,
            text=True,
            timeout=540,
            check=False,
        )

    def ask(self, path: str, body: Any = None, login: str | None = None) -> Any:
        """Prefect's API."""
        known = self.values["PREFECT_AUTH"] if login is None else login
        return call(f"http://127.0.0.1:{self.ports['prefect']}/api{path}", known, body)

    def run_round(self, **parameters: Any) -> str:
        """Asks Prefect for a run of the deployment, as its page does; returns the run's id."""
        deployment = self.ask(f"/deployments/name/{DEPLOYMENT}")["id"]
        body = {"parameters": parameters, "state": {"type": "SCHEDULED"}}
        return str(self.ask(f"/deployments/{deployment}/create_flow_run", body)["id"])

    def finished(self, run: str, seconds: float = 900.0) -> dict[str, Any]:
        """The state in which a run ended."""
        state: dict[str, Any] = {}

        def ended() -> bool:
            state.update(self.ask(f"/flow_runs/{run}")["state"])
            return state["type"] in ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")

        wait_for(ended, seconds, self.folder)
        return state

    def log(self, name: str) -> Path:
        """Where a process writes."""
        return self.folder / f"{name}.log"

    @property
    def outward(self) -> str:
        """What any of the processes tried to reach outside this machine."""
        found = self.folder / "outward.jsonl"
        return found.read_text(encoding="utf-8") if found.exists() else ""

    def _here(self, value: str, checkout: Path | None) -> str:
        def filled(match: re.Match[str]) -> str:
            return self.values[match.group(1)]

        port = self.ports
        for name, there in {
            "@postgres/": f"@127.0.0.1:{self.database.port}/",
            "http://store:9000": self.s3.endpoint,
            "mlflow:5000": f"127.0.0.1:{port['mlflow']}",
            "prefect:4200": f"127.0.0.1:{port['prefect']}",
            "127.0.0.1:4200": f"127.0.0.1:{port['prefect']}",
            "127.0.0.1:5000": f"127.0.0.1:{port['mlflow']}",
            "/tmp/prefect": str(
                self.folder / "home" / "prefect" / (checkout.name if checkout else "-")
            ),
            "/var/lib/roundhouse/prefect": str(self.folder / "home" / "prefect" / "server"),
            "/srv/roundhouse/checkout": str(checkout),
        }.items():
            value = value.replace(name, there)
        return re.sub(r"\$\{(\w+):\?\}", filled, value)


@contextmanager
def assembled(folder: Path, repository: Path) -> Iterator[Team]:
    """Starts PostgreSQL, S3, Prefect and MLflow, with their accounts, while the block runs."""
    with ExitStack() as stack:
        database = stack.enter_context(postgres.served(secrets.token_hex(12)))
        s3 = stack.enter_context(served_s3(folder / "s3"))
        ports = {name: _free_port() for name in ("prefect", "mlflow")}
        team = Team(folder, repository, database, s3, _values(repository, database, s3), ports)
        stack.callback(team.stop)
        _make_databases(team)
        for name in ports:
            command = _command(team, name)
            bound = {"MLFLOW_HOST": "127.0.0.1", "MLFLOW_PORT": str(ports["mlflow"])}
            team.start(name, command, team.environment(name) | bound, folder)
        for name, where in (("prefect", "/api/ready"), ("mlflow", "/health")):
            address = f"http://127.0.0.1:{ports[name]}{where}"
            wait_for(partial(_answers, address), 400, team.log(name))
        yield team


def call(address: str, login: str, body: Any = None) -> Any:
    """JSON from an address with a login (`user:password`, or empty for none)."""
    request = urllib.request.Request(address)
    if login:
        token = base64.b64encode(login.encode()).decode()
        request.add_header("Authorization", f"Basic {token}")
    if body is not None:
        request.data = json.dumps(body).encode()
        request.add_header("Content-Type", "application/json")
    with _direct().open(request, timeout=30) as answer:
        return json.load(answer)


def wait_for(what: Any, seconds: float, told_in: Path) -> None:
    """Waits until `what()` is true."""
    until = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < until, f"not within {seconds:.0f} s: read {told_in}"
        time.sleep(0.5)


def _values(repository: Path, database: postgres.Postgres, s3: S3) -> dict[str, str]:
    """A filled-in .env."""
    lines = (INFRA / ".env.example").read_text(encoding="utf-8").splitlines()
    names = [line.rstrip("=") for line in lines if line and not line.startswith("#")]
    known = {
        "POSTGRES_PASSWORD": database.password,
        "PREFECT_AUTH": f"team:{secrets.token_hex(12)}",
        "MLFLOW_ADMIN_USERNAME": "team",
        "S3_ACCESS_KEY": s3.access,
        "S3_SECRET_KEY": s3.secret,
        "ROUNDHOUSE_REPOSITORY": str(repository),
    }
    return {name: known.get(name) or secrets.token_hex(12) for name in names}


def _make_databases(team: Team) -> None:
    """The script that the database's container runs on an empty volume."""
    database = team.database
    connection = {
        "PATH": f"{database.programs}:/usr/bin:/bin",
        "POSTGRES_USER": database.user,
        "PGDATABASE": "postgres",
        "PGHOST": "127.0.0.1",
        "PGPORT": str(database.port),
        "PGPASSWORD": database.password,
    }
    script = INFRA / "postgres" / "create-databases.sh"
    given = {name: value for name, value in team.values.items() if name.endswith("_PASSWORD")}
    subprocess.run(["sh", str(script)], env=connection | given, check=True, capture_output=True)


def _command(team: Team, service: str) -> list[str]:
    """A service's command in compose.yaml, with this machine's paths, host and port."""
    text = (INFRA / "compose.yaml").read_text(encoding="utf-8")
    command = [str(part) for part in yaml.safe_load(text)["services"][service]["command"]]
    here = {"0.0.0.0": "127.0.0.1", "4200": str(team.ports["prefect"])}
    command = [here.get(part, part) for part in command]
    command[0] = command[0].replace("/opt/roundhouse", str(INFRA))
    return ["sh", *command] if command[0].endswith(".sh") else command


def _answers(address: str) -> bool:
    """Whether a server is there; one that wants a login is."""
    try:
        with _direct().open(address, timeout=5):
            return True
    except urllib.error.HTTPError as error:
        error.close()
        return error.code == 401
    except OSError:
        return False


def _direct() -> urllib.request.OpenerDirector:
    return urllib.request.build_opener(urllib.request.ProxyHandler({}))


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
