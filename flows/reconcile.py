"""Which flow runs are dead, and the end that they could not record themselves.

A flow run says at its start which process it is: labels name machine, process and its birth. One
of this machine whose process is gone gets the state Crashed, which frees its place in the
deployment's limit. It runs when a round starts, and all the time under `roundhouse up`; Prefect's
own heartbeats would also take a round for dead whose server was away for a while.
"""

import os
import socket
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import FlowFilter, FlowRunFilter, TaskRunFilter
from prefect.client.schemas.objects import FlowRun, State, StateType
from prefect.states import Crashed

from roundhouse import processes

FLOW = "rlhf-round"
#: Label of a run that has owned the rounds of a ledger.
LEDGER = "roundhouse.ledger"
#: A run gets this long from its submission to its first line (seconds).
START = 60.0
#: Prefect's runner puts the id of its flow run into the process's environment.
_RUN_VARIABLE = "PREFECT__FLOW_RUN_ID"
_OPEN = [StateType.RUNNING.value, StateType.PENDING.value, StateType.CANCELLING.value]


def sign(run: UUID) -> None:
    """Says that this process is the flow run's."""
    pid = os.getpid()
    labels: dict[str, bool | int | float | str] = {
        "roundhouse.host": socket.gethostname(),
        "roundhouse.pid": pid,
        "roundhouse.born": processes.birth(pid) or "",
    }
    with get_client(sync_client=True) as client:
        client.update_flow_run_labels(run, labels)


def end_dead(root: Path, but: UUID | None = None) -> list[str]:
    """Marks this machine's dead flow runs as crashed; returns their names.

    Args:
        root: the checkout; a run that never reached its first line is known by it.
        but: a run that is alive, namely our own.
    """
    with get_client(sync_client=True) as client:
        dead = [run for run in _open_runs(client) if run.id != but and _is_dead(run, root)]
        for run in dead:
            _end(client, run)
        _end_tasks(client)
    return [run.name for run in dead]


def _end_tasks(client: SyncPrefectClient) -> None:
    """Ends tasks that a crashed run left as running: whoever saw its process end knew none."""
    ended = {"state": {"type": {"any_": [StateType.CRASHED.value, StateType.FAILED.value]}}}
    only = {"state": {"type": {"any_": _OPEN}}}
    for task in client.read_task_runs(
        flow_filter=FlowFilter.model_validate({"name": {"any_": [FLOW]}}),
        flow_run_filter=FlowRunFilter.model_validate(ended),
        task_run_filter=TaskRunFilter.model_validate(only),
    ):
        state: State[None] = Crashed(message="its process was gone")
        client.set_task_run_state(task.id, state, force=True)


def end_lost(own: UUID, ledger: str) -> list[str]:
    """Marks runs of other machines that have lost the rounds of a ledger; returns their names.

    The caller is at the end of its round and owns the rounds still: a run that owned them before,
    and had all this time to end, is gone with its machine.
    """
    with get_client(sync_client=True) as client:
        began = client.read_flow_run(own).start_time
        lost = [run for run in _open_runs(client) if began and _is_lost(run, own, ledger, began)]
        for run in lost:
            _end(client, run)
    return [run.name for run in lost]


def _open_runs(client: SyncPrefectClient) -> list[FlowRun]:
    return client.read_flow_runs(
        flow_filter=FlowFilter.model_validate({"name": {"any_": [FLOW]}}),
        flow_run_filter=FlowRunFilter.model_validate({"state": {"type": {"any_": _OPEN}}}),
    )


def _is_lost(run: FlowRun, own: UUID, ledger: str, began: datetime) -> bool:
    started = run.start_time
    before = started is not None and started < began
    return run.id != own and run.labels.get(LEDGER) == ledger and before


def _is_dead(run: FlowRun, root: Path) -> bool:
    host = run.labels.get("roundhouse.host")
    if host is not None:
        born = processes.birth(int(run.labels["roundhouse.pid"]))
        return host == socket.gethostname() and born != (run.labels["roundhouse.born"] or None)
    if run.parameters.get("root") != str(root) or run.state is None:
        return False
    waiting = (datetime.now(UTC) - run.state.timestamp).total_seconds()
    return waiting > START and not any(processes.marked(str(run.id), _RUN_VARIABLE))


def _end(client: SyncPrefectClient, run: FlowRun) -> None:
    state: State[None] = Crashed(message="its process was gone")
    only = {"flow_run_id": {"any_": [str(run.id)]}, "state": {"type": {"any_": _OPEN}}}
    for task in client.read_task_runs(task_run_filter=TaskRunFilter.model_validate(only)):
        client.set_task_run_state(task.id, state, force=True)
    client.set_flow_run_state(run.id, state, force=True)
