"""Which flow runs count as dead."""

import os
import socket
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

from prefect.client.schemas.objects import FlowRun, State
from prefect.states import Pending, Running

from flows import reconcile
from roundhouse import processes

ROOT = Path("/checkout")


def signed(pid: int, born: str | None, host: str = "") -> FlowRun:
    labels: dict[str, bool | int | float | str]
    labels = {"roundhouse.pid": pid, "roundhouse.born": born or ""}
    labels["roundhouse.host"] = host or socket.gethostname()
    return FlowRun(flow_id=uuid4(), labels=labels, state=Running())


def submitted(seconds_ago: float, root: Path = ROOT) -> FlowRun:
    state: State[None] = Pending()
    state.timestamp = datetime.now(UTC) - timedelta(seconds=seconds_ago)
    return FlowRun(flow_id=uuid4(), parameters={"root": str(root)}, state=state)


def test_a_process_is_known_by_its_id_and_its_birth() -> None:
    pid = os.getpid()
    born = processes.birth(pid)
    assert not reconcile._is_dead(signed(pid, born), ROOT)
    assert reconcile._is_dead(signed(pid, "1"), ROOT), "the id is used again"
    assert not reconcile._is_dead(signed(pid, "1", "elsewhere"), ROOT)
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        run = signed(child.pid, processes.birth(child.pid))
        assert not reconcile._is_dead(run, ROOT)
        child.kill()
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        assert reconcile._is_dead(run, ROOT), "dead, though nobody has collected it"
    assert reconcile._is_dead(run, ROOT)


def test_a_run_that_owned_the_rounds_before_is_lost() -> None:
    began = datetime.now(UTC)
    fields = {"flow_id": uuid4(), "labels": {reconcile.LEDGER: "ours"}}
    before = FlowRun.model_validate(fields | {"start_time": began - timedelta(hours=1)})
    assert reconcile._is_lost(before, uuid4(), "ours", began)
    assert not reconcile._is_lost(before, before.id, "ours", began)
    assert not reconcile._is_lost(before, uuid4(), "another's", began)
    later = before.model_copy(update={"start_time": began + timedelta(seconds=1)})
    assert not reconcile._is_lost(later, uuid4(), "ours", began)


def test_a_run_that_never_began_gets_a_while() -> None:
    assert not reconcile._is_dead(submitted(5), ROOT)
    assert not reconcile._is_dead(submitted(3600, Path("/another")), ROOT)
    late = submitted(3600)
    assert reconcile._is_dead(late, ROOT)
    env = os.environ | {"PREFECT__FLOW_RUN_ID": str(late.id)}
    command = [sys.executable, "-c", "print(flush=True); input()"]
    with subprocess.Popen(command, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        child.stdout.readline()
        assert not reconcile._is_dead(late, ROOT), "its process is still on its way"
        child.kill()
