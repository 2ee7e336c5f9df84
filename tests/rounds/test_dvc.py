"""DVC under a round: it ends with the call that waits for it."""

import os
import signal
import subprocess
import sys
import time
import traceback
from pathlib import Path

import pytest

from roundhouse import processes
from roundhouse.errors import RemoteError
from roundhouse.locations import Locations
from roundhouse.processes import ROUND_MARK
from roundhouse.rounds import dvc

#: A stage that says that it runs, and goes on for longer than any test.
STAGE = """
stages:
  long:
    cmd: touch runs && sleep 600
"""

#: A blank in the host's name, as no address may have it; what is raised repeats the address.
UNREACHABLE = """
[core]
    remote = away
['remote "away"']
    url = s3://bucket/path
    endpointurl = http://me:geheim@ho st/
"""

CALL = """
import sys
from pathlib import Path
from roundhouse.rounds.dvc import dvc
dvc("repro", workspace=Path(sys.argv[1]), root=Path(sys.argv[1]))
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_ends_dvc_and_what_it_runs(tmp_path: Path, number: signal.Signals) -> None:
    dvc.dvc("init", "--no-scm", "--quiet", workspace=tmp_path, root=tmp_path)
    (tmp_path / "dvc.yaml").write_text(STAGE, encoding="utf-8")
    mark = tmp_path.name
    own = {ROUND_MARK: mark, "PYTHONPATH": os.pathsep.join(sys.path)}
    # A flow turns SIGTERM into an error, too.
    call = f"import signal\nsignal.signal({int(number)}, signal.default_int_handler)\n{CALL}"
    caller = subprocess.Popen(
        [sys.executable, "-c", call, str(tmp_path)],
        env=os.environ | own,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        until = time.monotonic() + 120
        while not (tmp_path / "runs").exists():
            assert caller.poll() is None, caller.communicate()[1]
            assert time.monotonic() < until, "DVC did not start its stage"
            time.sleep(0.1)
        caller.send_signal(number)
        assert caller.wait(120) != 0
        # What was killed beside the DVC that it waited for may be dying still.
        until = time.monotonic() + 10
        while (left := list(processes.marked(mark, ROUND_MARK))) and time.monotonic() < until:
            time.sleep(0.1)
        assert left == []
    finally:
        processes.sweep(mark, variable=ROUND_MARK)
        caller.communicate()


def test_a_remote_that_cannot_be_opened_is_named_without_its_password(tmp_path: Path) -> None:
    pytest.importorskip("dvc_s3", reason="the s3 extra is not installed")
    dvc.dvc("init", "--no-scm", "--quiet", workspace=tmp_path, root=tmp_path)
    (tmp_path / ".dvc" / "config").write_text(UNREACHABLE, encoding="utf-8")
    with pytest.raises(RemoteError, match=r"remote away .* cannot be opened: .*ho st") as caught:
        dvc.stores(Locations(tmp_path))
    assert "geheim" not in "".join(traceback.format_exception(caught.value))
