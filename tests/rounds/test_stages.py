"""A stage's processes end with the round that started them, whatever goes wrong."""

from pathlib import Path

import pytest

from roundhouse import failpoints, processes
from roundhouse.errors import StorageError
from roundhouse.processes import ROUND_MARK
from roundhouse.rounds import stages
from roundhouse.rounds.dvc import dvc

LONG = """
stages:
  sft:
    cmd: sleep 600
"""


def _stay(journal: Path) -> None:
    return


def test_a_disk_that_fills_as_a_stage_begins_leaves_no_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dvc("init", "--no-scm", "--quiet", workspace=tmp_path, root=tmp_path)
    (tmp_path / "dvc.yaml").write_text(LONG, encoding="utf-8")
    mark = tmp_path.name
    monkeypatch.setenv(ROUND_MARK, mark)
    monkeypatch.setenv(failpoints.VARIABLE, "json.write[running.json]=full")
    try:
        with pytest.raises(StorageError, match=r"running\.json: no space left"):
            stages.run_stage(tmp_path, tmp_path, "sft", _stay)
        assert list(processes.marked(mark, ROUND_MARK)) == []
        assert not (tmp_path / ".dvc" / "running.json").exists()
    finally:
        processes.sweep(mark, variable=ROUND_MARK)
