"""`roundhouse up` with the real servers: a scheduled run executes; one signal ends everything."""

import contextlib
import json
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from http.client import HTTPException
from pathlib import Path
from typing import Any

import pytest

from roundhouse import failpoints, jsonl, processes, services
from roundhouse.environment import UP_FILE, environment, mlflow_uri
from roundhouse.errors import StorageError
from roundhouse.feedback import parse
from roundhouse.ledger import Candidate, Ledger
from roundhouse.locations import Locations
from tests.sockets import listening

REPOSITORY = Path(__file__).parents[1]

#: A round that notes where it ran and stays at work, with a child in a session of its own, until
#: it is told to end; it notes every signal that reaches it while it ends.
STAND_IN = """
import json, os, subprocess, sys, time
from pathlib import Path
from prefect import flow
from flows.step import enter
from roundhouse.rounds.lock import owned

@flow(name="rlhf-round")
def rlhf_round(root: str = ".", min_feedback: int | None = None, finish: bool = False):
    enter(Path(root))
    with owned(Path(root, "state", "round.lock"), "the stand-in"):
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"],
                                 start_new_session=True)
        names = ("MLFLOW_TRACKING_URI", "PREFECT_API_URL", "DO_NOT_TRACK")
        note = {name: os.environ[name] for name in names} | {"min_feedback": min_feedback}
        Path(root, "part").write_text(json.dumps(note | {"pid": os.getpid()}))
        Path(root, "part").rename(Path(root, "ran"))
        try:
            while not Path(root, "enough").exists():
                time.sleep(0.2)
        except BaseException as first:
            try:
                time.sleep(3)
            except BaseException as second:
                Path(root, "signals").write_text(f"{first!r}, then {second!r}")
            Path(root, "stopped").touch()
            raise
"""

#: Prefect takes a sixth field for seconds.
EVERY_5_SECONDS = "* * * * * */5"

#: What the command line does, without it: argparse and the search for the checkout.
UP = """
import sys
from pathlib import Path
from roundhouse.errors import RoundhouseError
from roundhouse.services import Plan, up
try:
    ports = int(sys.argv[2]), int(sys.argv[3])
    plan = Plan(sys.argv[4] or None, 5, "UTC", *ports, int(sys.argv[5]) or None)
    sys.exit(up(Path(sys.argv[1]), plan))
except RoundhouseError as error:
    sys.exit(f"{type(error).__name__}: {error}")
"""


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Path]:
    (tmp_path / "src").symlink_to(REPOSITORY / "src")
    (tmp_path / "flows").mkdir()
    for name in ("reconcile", "serve", "step", "watch"):
        shutil.copy(REPOSITORY / "flows" / f"{name}.py", tmp_path / "flows")
    subprocess.run(["git", "init", "--quiet", str(tmp_path)], check=True)
    (tmp_path / "flows" / "round.py").write_text(STAND_IN, encoding="utf-8")
    yield tmp_path
    if (tmp_path / UP_FILE).exists():
        processes.sweep(json.loads((tmp_path / UP_FILE).read_text(encoding="utf-8"))["mark"])


def free_ports() -> tuple[int, int]:
    with socket.socket() as one, socket.socket() as other:
        one.bind(("127.0.0.1", 0))
        other.bind(("127.0.0.1", 0))
        return one.getsockname()[1], other.getsockname()[1]


def start(
    root: Path,
    ports: tuple[int, int],
    cron: str = EVERY_5_SECONDS,
    on_feedback: int = 0,
    **variables: str,
) -> "subprocess.Popen[str]":
    paths = [str(REPOSITORY / "tests" / "offline"), str(REPOSITORY / "src")]
    own = {
        "PREFECT_RUNNER_POLL_FREQUENCY": "2",
        "PYTHONPATH": os.pathsep.join(paths),
        "ROUNDHOUSE_OFFLINE_LOG": str(root / "outward.jsonl"),
    }
    return subprocess.Popen(
        [sys.executable, "-c", UP, str(root), *map(str, ports), cron, str(on_feedback)],
        env=os.environ | own | variables,
        umask=0o022,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # Tests that `nohup` started ignore it, and so would their children.
        preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_DFL),
    )


def wait_for(what: Callable[[], bool], up: "subprocess.Popen[str]", seconds: float) -> None:
    until = time.monotonic() + seconds
    while not what():
        assert up.poll() is None, up.communicate()
        assert time.monotonic() < until, "it did not happen"
        time.sleep(0.2)


def ask(url: str, body: dict[str, Any] | None = None) -> Any:
    data = json.dumps(body).encode() if body is not None else None
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"})
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request) as answer:
        text = answer.read()
        return json.loads(text) if text else None


def test_a_scheduled_round_runs_and_one_signal_ends_everything(root: Path) -> None:
    ports = free_ports()
    up = start(root, ports)
    assert up.stdout is not None
    first = up.stdout.readline()
    assert first.startswith(f"Prefect  http://127.0.0.1:{ports[0]}"), up.communicate()
    assert f"http://127.0.0.1:{ports[1]}" in up.stdout.readline()
    assert f'"{EVERY_5_SECONDS}" (UTC); skipped below 5 new rows' in up.stdout.readline()
    mark = json.loads((root / UP_FILE).read_text(encoding="utf-8"))["mark"]

    servers = environment(root, given={})
    assert servers["MLFLOW_TRACKING_URI"] == f"http://127.0.0.1:{ports[1]}"
    second = start(root, free_ports())
    assert "BusyError: roundhouse up (process" in second.communicate(timeout=60)[1]
    assert second.returncode == 1

    wait_for((root / "ran").exists, up, 120)
    heard = listening([up.pid, *processes.marked(mark)])
    assert {port for _, port in heard} >= set(ports)
    assert {address for address, _ in heard} == {"127.0.0.1"}, heard
    note = json.loads((root / "ran").read_text(encoding="utf-8"))
    assert note.pop("pid")
    assert note == {
        "MLFLOW_TRACKING_URI": f"http://127.0.0.1:{ports[1]}",
        "PREFECT_API_URL": f"http://127.0.0.1:{ports[0]}/api",
        "DO_NOT_TRACK": "true",
        "min_feedback": 5,
    }

    def states() -> set[str]:
        runs = ask(f"http://127.0.0.1:{ports[0]}/api/flow_runs/filter", {})
        assert all(run["auto_scheduled"] for run in runs)
        return {run["state_type"] for run in runs}

    assert "RUNNING" in states()
    # The next ones come due while the first is at work.
    wait_for(lambda: "CANCELLED" in states(), up, 60)

    assert list(processes.marked(mark))
    up.send_signal(signal.SIGINT)
    out, err = up.communicate(timeout=180)
    assert up.returncode == 0, (out, err)
    assert list(processes.marked(mark)) == []
    assert not (root / UP_FILE).exists()
    assert environment(root, given={})["MLFLOW_TRACKING_URI"] == mlflow_uri(root)
    assert ended_states(root) == {"Crashed", "Cancelled"}
    assert (root / "stopped").exists()
    assert not (root / "signals").exists(), (root / "signals").read_text(encoding="utf-8")
    assert not (root / "outward.jsonl").exists(), (root / "outward.jsonl").read_text()
    guarded = (root / "outward.jsonl.guarded").read_text(encoding="utf-8")
    for program in ('"-m", "prefect", "server"', '"-m", "mlflow", "server"', "flows.serve"):
        assert program in guarded
    for port in ports:
        socket.create_server(("127.0.0.1", port)).close()


def ended_states(root: Path) -> set[str]:
    """What the Prefect server had recorded when it ended: no run is left as running or waiting."""
    with contextlib.closing(sqlite3.connect(root / "state" / "prefect" / "prefect.db")) as database:
        return {name for (name,) in database.execute("select state_name from flow_run")}


def receive(root: Path, prompts: list[str]) -> None:
    """Demonstrations come in."""
    fields = {"kind": "demonstration", "response": "a", "rater": "r"}
    fields["created_at"] = "2026-01-01T00:00:00Z"
    rows = [parse(fields | {"prompt": prompt}, datetime.now(UTC)) for prompt in prompts]
    with Ledger.open(Locations(root).ledger_url) as ledger:
        batch = ledger.start_batch("f", "jsonl")
        ledger.append(batch, [Candidate(at, row, b"") for at, row in enumerate(rows)])


def command_lines(mark: str) -> dict[int, str]:
    """Live processes of an `up`, id to command line."""
    found = {}
    for pid in processes.marked(mark):
        with contextlib.suppress(OSError):
            found[pid] = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    return found


def test_feedback_starts_a_round_a_dead_one_gives_way_and_a_server_may_come_again(
    root: Path,
) -> None:
    ports = free_ports()
    up = start(root, ports, cron="", on_feedback=3)
    assert up.stdout is not None
    lines = [up.stdout.readline() for _ in range(3)]
    assert lines[2] == "schedule: whenever 3 new rows have come\n", up.communicate()
    ready = time.monotonic()
    health = f"http://127.0.0.1:{ports[1]}/health"
    api = f"http://127.0.0.1:{ports[0]}/api"
    mark = json.loads((root / UP_FILE).read_text(encoding="utf-8"))["mark"]

    def flow_runs() -> list[Any]:
        """Asked until it answers: a busy server says 503, and one is killed below."""
        until = time.monotonic() + 300
        while True:
            try:
                return list(ask(f"{api}/flow_runs/filter", {"sort": "EXPECTED_START_TIME_ASC"}))
            except (OSError, HTTPException):
                assert up.poll() is None, up.communicate()
                assert time.monotonic() < until, "Prefect does not answer"
                time.sleep(0.5)

    def answers() -> bool:
        try:
            opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
            opener.open(health, timeout=60).close()
        except (OSError, HTTPException):
            return False
        return True

    for pid, line in command_lines(mark).items():
        if "mlflow" in line:
            os.kill(pid, signal.SIGSTOP)
    receive(root, ["one", "two"])
    time.sleep(12)
    assert flow_runs() == []
    receive(root, ["three"])
    wait_for((root / "ran").exists, up, 300)
    note = json.loads((root / "ran").read_text(encoding="utf-8"))
    assert note["min_feedback"] == 3
    (first,) = flow_runs()
    assert "feedback" in first["tags"]
    receive(root, ["four", "five", "six"])
    time.sleep(12)
    assert len(flow_runs()) == 1, "a round is at work"

    # Services that die within a minute end `up`.
    time.sleep(max(0.0, ready + 61 - time.monotonic()))
    (root / "ran").unlink()
    runner = next(pid for pid, line in command_lines(mark).items() if "flows.serve" in line)
    for pid in (runner, note["pid"]):
        os.kill(pid, signal.SIGKILL)
    killed = time.monotonic()
    wait_for(lambda: (root / "ran").exists(), up, 240)
    assert time.monotonic() - killed < 240, "not noticed before the lease of 300 s had passed"
    dead, alive = flow_runs()
    assert (dead["state_name"], dead["state"]["message"]) == ("Crashed", "its process was gone")
    assert alive["state_name"] == "Running"

    server = [pid for pid, line in command_lines(mark).items() if "prefect server" in line]
    for pid in server:
        os.kill(pid, signal.SIGKILL)
    assert len(flow_runs()) == 2
    lease = alive["state"]["state_details"]["deployment_concurrency_lease_id"]
    # Prefect stops a run whose lease the server has forgotten.
    ask(f"{api}/v2/concurrency_limits/leases/{lease}/renew", {"lease_duration": 300})
    assert flow_runs()[1]["state_name"] == "Running"
    # It had stopped answering, and is not the same one.
    wait_for(answers, up, 300)
    (root / "enough").touch()
    wait_for(lambda: flow_runs()[1]["state_name"] == "Completed", up, 300)
    up.send_signal(signal.SIGINT)
    out, err = up.communicate(timeout=180)
    assert up.returncode == 0, (out, err)
    assert list(processes.marked(mark)) == []


def test_the_end_of_its_terminal_ends_everything(root: Path) -> None:
    up = start(root, free_ports(), cron="")
    assert up.stdout is not None
    assert up.stdout.readline().startswith("Prefect"), up.communicate()
    mark = json.loads((root / UP_FILE).read_text(encoding="utf-8"))["mark"]
    assert list(processes.marked(mark))
    # As after `up | tee log`, whose `tee` the Ctrl-C ended: nobody reads what `up` says any more.
    up.stdout.close()
    up.send_signal(signal.SIGHUP)
    assert up.stderr is not None
    assert (up.wait(180), up.stderr.read()) == (0, "")
    up.stderr.close()
    assert list(processes.marked(mark)) == []
    assert not (root / UP_FILE).exists()


def test_a_wrong_schedule_is_said_before_anything_starts(root: Path) -> None:
    up = start(root, free_ports(), "every monday")
    _, err = up.communicate(timeout=60)
    assert err == 'UsageError: --cron "every monday": five fields are wanted, such as "0 2 * * 1"\n'
    assert not (root / "state" / "logs").exists()


@pytest.mark.parametrize(
    "answer",
    [
        b"no HTTP\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nha",
        b"HTTP/1.1 200 OK\r\n\r\n{",
    ],
)
def test_a_server_that_answers_by_halves_is_not_ready(answer: bytes) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(1000)
                connection.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        port = server.getsockname()[1]
        assert not services._answers(f"http://127.0.0.1:{port}/api", services._is_served)()
        thread.join()


def test_what_a_killed_up_left_is_ended_by_the_next(root: Path) -> None:
    child = subprocess.Popen(
        [sys.executable, "-c", "import time; time.sleep(600)"],
        env=os.environ | {processes.MARK: "dead.1"},
        start_new_session=True,
    )
    (root / "state").mkdir()
    (root / UP_FILE).write_text('{"mark": "dead", "servers": {}}', encoding="utf-8")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        up = start(root, (port, free_ports()[0]))
        _, err = up.communicate(timeout=60)
    assert f"ServiceError: port {port} is not free (Address already in use)" in err
    assert len(err.splitlines()) == 1
    assert child.wait(10) == -signal.SIGTERM


def test_where_another_mlflow_is_named_none_starts_and_its_port_may_be_taken(root: Path) -> None:
    named = "http://me:pass@127.0.0.1:9"
    with socket.create_server(("127.0.0.1", 0)) as taken:
        ports = free_ports()[0], taken.getsockname()[1]
        up = start(root, ports, cron="", MLFLOW_TRACKING_URI=named)
        logs = root / "state" / "logs"
        wait_for((logs / "prefect.log").exists, up, 60)
        assert (root / UP_FILE).stat().st_mode & 0o777 == 0o600
        found = jsonl.read_json(root / UP_FILE)
        assert found["servers"]["MLFLOW_TRACKING_URI"] == named
        up.send_signal(signal.SIGINT)
        out, err = up.communicate(timeout=180)
    assert up.returncode == 0, (out, err)
    assert list(processes.marked(found["mark"])) == []
    assert not (logs / "mlflow.log").exists()


def test_a_private_file_is_private_before_anything_is_in_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    part = tmp_path / "private.json.part"
    part.write_text("left by one that died", encoding="utf-8")
    part.chmod(0o644)
    monkeypatch.setenv(failpoints.VARIABLE, "json.write[private.json]=io")
    with pytest.raises(StorageError):
        jsonl.write_json(tmp_path / "private.json", {"password": "x"}, private=True)
    assert (part.stat().st_mode & 0o777, part.read_bytes()) == (0o600, b"")
