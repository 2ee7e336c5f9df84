"""One round at a time, whoever dies."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from roundhouse.errors import BusyError
from roundhouse.rounds.lock import is_held, owned

HOLDER = """
import sys, time
from pathlib import Path
from roundhouse.rounds.lock import owned
with owned(Path(sys.argv[1]), "the first"):
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_second_owner_is_refused_and_told_who_is_first(tmp_path: Path) -> None:
    path = tmp_path / "round.lock"
    with (
        owned(path, "roundhouse round"),
        pytest.raises(BusyError, match=rf"roundhouse round \(process {os.getpid()} on"),
        owned(path, "another"),
    ):
        pass


def test_the_lock_dies_with_its_owner(tmp_path: Path) -> None:
    path = tmp_path / "round.lock"
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(path)], stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        assert is_held(path)
        with pytest.raises(BusyError, match="the first"), owned(path, "the second"):
            pass
        os.kill(holder.pid, signal.SIGKILL)
    deadline = time.monotonic() + 5
    while is_held(path) and time.monotonic() < deadline:
        time.sleep(0.05)
    with owned(path, "the second"):
        assert json.loads(path.read_text(encoding="utf-8"))["purpose"] == "the second"
