"""What a flow starts does not outlive it."""

import subprocess
import sys
import time

import pytest

from roundhouse import processes

STAGE = """
import subprocess, time
from roundhouse import processes
processes.end_with_owner(every=0.1)
print(subprocess.Popen(["sleep", "600"]).pid, flush=True)
time.sleep(600)
"""
FLOW = f"""
import os, subprocess, sys, time
from roundhouse import processes
stage = subprocess.Popen(
    [sys.executable, "-c", {STAGE!r}],
    env=os.environ | {{processes.OWNER: processes.owner()}},
    start_new_session=True,
)
print(stage.pid, flush=True)
time.sleep(600)
"""


def test_a_stage_and_all_that_it_started_end_with_the_flow() -> None:
    flow = subprocess.Popen([sys.executable, "-c", FLOW], stdout=subprocess.PIPE, text=True)
    assert flow.stdout is not None
    started = sorted([int(flow.stdout.readline()), int(flow.stdout.readline())])
    assert all(processes.birth(pid) for pid in started)
    flow.kill()
    flow.wait()
    flow.stdout.close()
    until = time.monotonic() + 20
    while any(processes.birth(pid) for pid in started):
        assert time.monotonic() < until, "left alone"
        time.sleep(0.1)


@pytest.mark.parametrize("owner", ["", "no process", "1 0"])
def test_without_an_owner_nothing_is_watched(owner: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(processes.OWNER, owner)
    processes.end_with_owner()
