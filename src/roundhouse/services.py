"""`roundhouse up`: the Prefect server, the MLflow server and the schedule, on this machine alone.

All of it listens on loopback and keeps its files under state/. The servers start first; once they
answer, the deployment is served by `python -m flows.serve`. Everything ends with `up`: the runner
first, so that a round at work can stop its stage and say so, then the servers, then what is left.
"""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
import uuid
import zoneinfo
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.client import HTTPException
from pathlib import Path

from roundhouse import jsonl, processes
from roundhouse.environment import UP_FILE, UP_LOCK, environment, mlflow_uri
from roundhouse.errors import ServiceError, UsageError, masked
from roundhouse.rounds.lock import owned
from roundhouse.tracking.connection import make_store

HOST = "127.0.0.1"
#: The deployment as Prefect names it: flow/deployment.
DEPLOYMENT = "rlhf-round/schedule"
#: Seconds until a service must answer, and that it gets to end by itself.
START, PATIENCE = 180.0, 20.0
#: A service that lived longer than this (seconds) before it died is started again.
STEADY = 60.0
#: A server that answers no request for this long (seconds) is ended and started again, and how
#: often it is asked.
SILENT, ASK = 60.0, 15.0
#: A log that is larger (bytes) when its service starts is put aside; one such is kept.
MAX_LOG = 20_000_000


@dataclass(frozen=True)
class Plan:
    """What `roundhouse up` is asked to run.

    Attributes:
        cron: when rounds start, five fields; None serves the deployment without a schedule.
        min_feedback: a scheduled round is skipped below this many new rows; None takes the setting.
        timezone: the cron expression's, an IANA name.
        prefect_port: on loopback.
        mlflow_port: on loopback.
        on_feedback: a round starts when this many new rows have come; None: never for that.
    """

    cron: str | None = None
    min_feedback: int | None = None
    timezone: str = "UTC"
    prefect_port: int = 4200
    mlflow_port: int = 5000
    on_feedback: int | None = None

    @property
    def prefect(self) -> str:
        """Address of the Prefect UI; its API lies under /api."""
        return f"http://{HOST}:{self.prefect_port}"

    @property
    def mlflow(self) -> str:
        """Address of the MLflow UI."""
        return f"http://{HOST}:{self.mlflow_port}"


@dataclass
class Service:
    """One process that `up` starts, watches and ends.

    Attributes:
        name: also that of its log.
        command: after the Python interpreter.
        ready: whether it does its work.
        how: the signal that asks it to end.
        variables: its own part of the environment; what is secret stands here, not in `command`.
    """

    name: str
    command: list[str]
    ready: Callable[[], bool]
    how: signal.Signals = signal.SIGTERM
    variables: dict[str, str] = field(default_factory=dict)
    process: "subprocess.Popen[bytes] | None" = field(default=None, init=False)
    started: float = field(default=0.0, init=False)
    answered: float = field(default=0.0, init=False)
    asked: float = field(default=0.0, init=False)


def up(root: Path, plan: Plan, say: Callable[[str], None] | None = None) -> int:
    """Runs until Ctrl-C, SIGTERM, or the end of its terminal; returns 0.

    Args:
        root: the checkout.
        plan: ports and schedule.
        say: gets the lines meant for the person at the terminal.

    Raises:
        BusyError: another `up` runs in this checkout.
        UsageError: the schedule cannot be read.
        ServiceError: a port is taken, or a service did not start or did not stay.
    """
    say = say or _print
    with owned(root / UP_LOCK, "roundhouse up"), _stop_signals() as stopped:
        _end_leftovers(root)
        _require_schedule(plan)
        for port in (plan.prefect_port, *([plan.mlflow_port] if _has_own_mlflow(root) else [])):
            _require_free(port)
        machine = Machine(root, plan)
        try:
            for group in machine.services:
                machine.start(group, stopped)
            if not stopped.is_set():
                machine.announce(say)
            machine.watch(stopped, say)
        finally:
            say("stopping")
            machine.stop()
    return 0


class Machine:
    """The services of one `up`, in the order in which they start."""

    def __init__(self, root: Path, plan: Plan) -> None:
        self.root = root
        self.plan = plan
        self._mark = uuid.uuid4().hex
        store = environment(root)["MLFLOW_TRACKING_URI"]
        self.mlflow = plan.mlflow if _has_own_mlflow(root) else store
        self._environment = self._variables()
        servers = [Service("prefect", _prefect(plan), _answers(f"{plan.prefect}/api/ready"))]
        if _has_own_mlflow(root):
            if store == mlflow_uri(root):
                make_store(Path(store.removeprefix("sqlite:///")))
            ready = _answers(f"{plan.mlflow}/health")
            own = {"MLFLOW_BACKEND_STORE_URI": store}
            servers.append(Service("mlflow", _mlflow(root, plan), ready, variables=own))
        served = _answers(f"{plan.prefect}/api/deployments/name/{DEPLOYMENT}", _is_served)
        runner = Service("rounds", _runner(root, plan), served, signal.SIGINT)
        self.services: list[list[Service]] = [servers, [runner]]
        # Another server's address may hold a password.
        said = {"mark": self._mark, "servers": self._servers()}
        jsonl.write_json(root / UP_FILE, said, private=True)

    def start(self, group: list[Service], stopped: threading.Event) -> None:
        """Starts services side by side and waits until each does its work, or `up` is stopped."""
        for service in group:
            self._launch(service)
        for service in group:
            until = time.monotonic() + START
            while not stopped.wait(0.2) and not service.ready():
                if service.process is None or service.process.poll() is not None:
                    raise ServiceError(
                        f"{service.name} ended at its start: {self._last_line(service)}"
                    )
                if time.monotonic() > until:
                    log = self._log(service)
                    raise ServiceError(
                        f"{service.name} does not answer after {START:.0f} s: read {log}"
                    )
            service.answered = time.monotonic()

    def watch(self, stopped: threading.Event, say: Callable[[str], None]) -> None:
        """Starts again what dies, until stopped.

        Raises:
            ServiceError: a service died soon after its start.
        """
        while not stopped.wait(1.0):
            for service in [each for group in self.services for each in group]:
                if service.process is None:
                    continue
                if service.process.poll() is not None:
                    what = f"{service.name} ended with code {service.process.returncode}"
                    if time.monotonic() - service.started < STEADY:
                        raise ServiceError(f"{what}: {self._last_line(service)}")
                elif service in self.services[0] and self._is_silent(service):
                    what = f"{service.name} has not answered for {SILENT:.0f} s"
                else:
                    continue
                say(f"{what}; started again, see {self._log(service)}")
                processes.kill_group(service.process.pid)
                service.process.wait()
                self._launch(service)

    def _is_silent(self, service: Service) -> bool:
        """Asks a server now and then; says whether it has been silent for too long."""
        if time.monotonic() - service.asked > ASK:
            if service.ready():
                service.answered = time.monotonic()
            service.asked = time.monotonic()
        return time.monotonic() - service.answered > SILENT

    def announce(self, say: Callable[[str], None]) -> None:
        """Says where to look and what will run when."""
        plan = self.plan
        say(f"Prefect  {plan.prefect}   rounds, their steps and logs, the schedule")
        say(f"MLflow   {masked(self.mlflow)}   figures, plots and models of all rounds")
        say(_when(plan))
        say(f"logs in {self.root / 'state' / 'logs'}; Ctrl-C ends all of it")

    def stop(self) -> None:
        """Ends every service, last started first, and everything they left behind.

        A flow run has a session of its own. It is asked to end while the servers can still hear how
        it ended: it stops its stage and closes its runs. What does not is found by its mark.
        """
        for place, group in reversed(list(enumerate(self.services))):
            for service in group:
                if service.process is None:
                    continue
                if group is self.services[-1]:
                    processes.ask(processes.children(service.process.pid))
                processes.end(service.process, PATIENCE, service.how)
            processes.sweep(f"{self._mark}.{place}")
        (self.root / UP_FILE).unlink(missing_ok=True)

    def _launch(self, service: Service) -> None:
        log = self._log(service)
        log.parent.mkdir(parents=True, exist_ok=True)
        if log.exists() and log.stat().st_size > MAX_LOG:
            log.replace(log.with_suffix(".log.1"))
        place = next(i for i, group in enumerate(self.services) if service in group)
        variables = os.environ | self._environment | service.variables
        variables[processes.MARK] = f"{self._mark}.{place}"
        with log.open("ab") as output:
            service.process = subprocess.Popen(
                [sys.executable, *service.command],
                cwd=self.root,
                env=variables,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        service.started = service.asked = time.monotonic()
        # It gets the time of a start before it counts as silent.
        service.answered = service.started + START

    def _log(self, service: Service) -> Path:
        return self.root / "state" / "logs" / f"{service.name}.log"

    def _last_line(self, service: Service) -> str:
        log = self._log(service)
        lines = log.read_text(encoding="utf-8", errors="replace").split("\n")
        return f"{next((line for line in reversed(lines) if line.strip()), 'no word')} (see {log})"

    def _servers(self) -> dict[str, str]:
        return {
            "PREFECT_API_URL": f"{self.plan.prefect}/api",
            "MLFLOW_TRACKING_URI": self.mlflow,
        }

    def _variables(self) -> dict[str, str]:
        plan = self.plan
        given = os.environ.get("PYTHONPATH")
        paths = [str(self.root / "src"), str(self.root), *([given] if given else [])]
        own = {
            "PREFECT_SERVER_CORS_ALLOWED_ORIGINS": plan.prefect,
            "PREFECT_SERVER_UI_API_URL": f"{plan.prefect}/api",
            "PREFECT_UI_URL": plan.prefect,
            "PYTHONPATH": os.pathsep.join(paths),
            "PYTHONUNBUFFERED": "1",
        }
        return environment(self.root) | self._servers() | own


def _when(plan: Plan) -> str:
    """When rounds start, in one line."""
    found = []
    if plan.cron:
        few = f"; skipped below {plan.min_feedback} new rows" if plan.min_feedback else ""
        found.append(f'"{plan.cron}" ({plan.timezone}){few}')
    if plan.on_feedback:
        found.append(f"whenever {plan.on_feedback} new rows have come")
    return f"schedule: {', and '.join(found) or 'none (--cron, --on-feedback)'}"


def _prefect(plan: Plan) -> list[str]:
    address = ["--host", HOST, "--port", str(plan.prefect_port)]
    return ["-m", "prefect", "server", "start", *address]


def _mlflow(root: Path, plan: Plan) -> list[str]:
    artifacts = str(root / "state" / "mlflow" / "artifacts")
    hosts = f"{HOST}:{plan.mlflow_port},localhost:{plan.mlflow_port}"
    return [
        *["-m", "mlflow", "server", "--host", HOST, "--port", str(plan.mlflow_port)],
        *["--workers", "1"],
        # The same place without a server (tracking), so that rounds can run with it or without.
        *["--artifacts-destination", artifacts, "--default-artifact-root", artifacts],
        *["--allowed-hosts", hosts, "--cors-allowed-origins", plan.mlflow],
    ]


def _runner(root: Path, plan: Plan) -> list[str]:
    command = ["-m", "flows.serve", "--root", str(root), "--timezone", plan.timezone]
    if plan.cron:
        command += ["--cron", plan.cron]
    if plan.min_feedback is not None:
        command += ["--min-feedback", str(plan.min_feedback)]
    if plan.on_feedback is not None:
        command += ["--on-feedback", str(plan.on_feedback)]
    return command


def _answers(url: str, good: Callable[[bytes], bool] = bool) -> Callable[[], bool]:
    # A proxy of the machine has no business with loopback.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def ready() -> bool:
        try:
            with opener.open(url, timeout=5) as answer:
                return good(answer.read())
        # A server that is just dying answers by halves.
        except (OSError, HTTPException, ValueError):
            return False

    return ready


def _is_served(body: bytes) -> bool:
    deployment = json.loads(body)
    return bool(deployment["status"] == "READY" and not deployment["paused"])


def _require_schedule(plan: Plan) -> None:
    # The servers take half a minute; what is plainly wrong is said before.
    if plan.cron is not None and not re.fullmatch(r"(\S+\s+){4,5}\S+", plan.cron.strip()):
        raise UsageError(f'--cron "{plan.cron}": five fields are wanted, such as "0 2 * * 1"')
    if plan.timezone not in zoneinfo.available_timezones():
        raise UsageError(f"--timezone {plan.timezone}: not an IANA name such as Europe/Berlin")


def _has_own_mlflow(root: Path) -> bool:
    """Whether `up` starts an MLflow server: not where another one is named."""
    return not environment(root)["MLFLOW_TRACKING_URI"].startswith("http")


def _require_free(port: int) -> None:
    try:
        socket.create_server((HOST, port)).close()
    except OSError as error:
        why = os.strerror(error.errno) if error.errno else str(error)
        options = "--prefect-port or --mlflow-port"
        raise ServiceError(f"port {port} is not free ({why}): choose another, {options}") from None


def _end_leftovers(root: Path) -> None:
    """What an `up` that was killed could not end; the lock shows that it is gone."""
    if (root / UP_FILE).exists():
        processes.sweep(jsonl.read_json(root / UP_FILE)["mark"])
        (root / UP_FILE).unlink()


@contextmanager
def _stop_signals() -> Iterator[threading.Event]:
    """An event that a signal to end sets; the handlers before are put back."""
    stopped = threading.Event()
    before = {
        number: signal.signal(number, lambda *_: stopped.set())
        for number in (signal.SIGINT, *processes.end_signals())
    }
    try:
        yield stopped
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _print(line: str) -> None:
    """Prints for whoever still reads: a terminal that is closed, or a pipe, stops no service."""
    try:
        sys.stdout.write(line + "\n")
        sys.stdout.flush()
    except OSError:
        # What it could not write it would try again, and fail, at its exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
