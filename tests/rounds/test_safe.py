"""Whole rounds are safe: nothing unpickled or sent, no secret kept; what must not pass is held."""

import json
import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from roundhouse import gate, jsonl
from roundhouse.gate import Decision
from roundhouse.hashes import sha256_folder
from roundhouse.ledger import Ledger
from roundhouse.params import load
from roundhouse.rounds import decide, release
from roundhouse.rounds.begin import Round
from roundhouse.rounds.dvc import process_environment
from roundhouse.rounds.stages import STAGES
from tests.conftest import outward_log, pickle_log
from tests.rounds.conftest import DVC_SECRET, SECRETS, Played

pytestmark = pytest.mark.round


def test_nothing_was_unpickled(played: Played) -> None:
    log = pickle_log(played.root)
    assert not log.exists(), log.read_text(encoding="utf-8")


def test_the_guard_was_in_every_process(played: Played) -> None:
    """Otherwise nothing unpickled and nothing sent would say little."""
    watched = Path(f"{outward_log(played.root)}.guarded").read_text(encoding="utf-8")
    for stage in STAGES:
        assert f'"-m", "tasks.{stage}"' in watched
    for program in ("roundhouse.cli", "flows", "dvc", "roundhouse.smoke", "roundhouse.simulate",
                    "roundhouse.learn.reward"):  # fmt: skip
        assert f'"-m", "{program}"' in watched
    assert '"prefect.server.api.server:create_app"' in watched


def test_the_guard_sees_a_pickle_that_is_loaded(tmp_path: Path) -> None:
    code = "import pickle, pathlib; pickle.loads(pickle.dumps(pathlib.PurePosixPath('x')))"
    log = tmp_path / "pickles.jsonl"
    guard = Path(__file__).resolve().parents[1] / "offline"
    given = {"PYTHONPATH": str(guard), "ROUNDHOUSE_PICKLE_LOG": str(log)}
    subprocess.run([sys.executable, "-c", code], env=os.environ | given, check=True)
    (line,) = log.read_text(encoding="utf-8").splitlines()
    assert json.loads(line)["class"] == "pathlib.PurePosixPath"


def _files(played: Played) -> Iterator[tuple[Path, bytes]]:
    for folder, names, files in os.walk(played.root):
        names.sort()
        for name in sorted(files):
            path = Path(folder, name)
            if path.is_file() and not path.is_symlink():
                yield path, path.read_bytes()


def test_no_secret_is_kept_anywhere(played: Played) -> None:
    hidden = [value.rpartition(":")[2].encode() for value in (*SECRETS.values(), DVC_SECRET)]
    looked_at, found = 0, []
    for path, data in _files(played):
        looked_at += 1
        private = path.name == "config.local" and path.parent.name == ".dvc"
        if private:
            # DVC's own place for credentials: the checkout's, and its copy in each clone.
            assert DVC_SECRET.encode() in data
            assert stat.S_IMODE(path.stat().st_mode) == 0o600, path
        found += [(path, secret) for secret in hidden if secret in data and not private]
    assert looked_at > 500
    assert found == []
    told = json.dumps(played.records) + played.output
    assert not any(secret.decode() in told for secret in hidden)


def _copy(played: Played, folder: Path) -> Round:
    """Round 2 once more, before its evaluation."""
    clone = Path(shutil.copytree(played.places.workspace(2), folder / "clone", symlinks=True))
    ledger = Ledger.open(f"sqlite:///{folder / 'ledger.db'}")
    settings = load(clone / "params.yaml")
    return Round(2, played.places, clone, settings, ledger, "round-0001", ())


def _evaluated(this: Round) -> dict[str, float]:
    """The stage's own program, in the clone."""
    done = subprocess.run(
        [sys.executable, "-m", "tasks.evaluate"],
        cwd=this.workspace,
        env=process_environment(this.workspace, this.places.root),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, float] = jsonl.read_json(this.workspace / "out" / "evaluate" / "figures.json")
    return found


def test_what_was_tampered_with_is_held(played: Played, tmp_path: Path) -> None:
    """An evaluation row among those that train, a judge's pair on PPO's side, the same model."""
    this = _copy(played, tmp_path)
    path = this.workspace / "out" / "raters" / "pairs.jsonl"
    rows = list(jsonl.read(path))
    sides = {side: next(row for row in rows if row["side"] == side) for side in ("eval", "judge")}
    path.unlink()
    jsonl.write(path, [*rows, *({**row, "side": "train"} for row in sides.values())])
    challenger = this.workspace / "out" / "align" / "model"
    shutil.rmtree(challenger)
    shutil.copytree(this.workspace / "champion" / "model", challenger)
    shutil.rmtree(this.workspace / "out" / "evaluate")
    figures = _evaluated(this)
    assert (figures["evaluate/leaked_prompts"], figures["evaluate/judge_overlap"]) == (1, 1)
    decision = decide.decide(this)
    assert decision.outcome == "held"
    assert set(decision.failed) == {"leak", "judge-overlap", "same-model"}


def test_infinity_in_a_figure_on_disk_is_held(played: Played, tmp_path: Path) -> None:
    this = _copy(played, tmp_path)
    path = this.workspace / "out" / "reward" / "figures.json"
    text = json.dumps(jsonl.read_json(path) | {"reward/loss": float("inf")})
    path.unlink()
    path.write_text(text, encoding="utf-8")
    decision = decide.decide(this)
    assert (decision.outcome, decision.failed) == ("held", ("finite",))
    again = Decision.from_record(json.loads((this.workspace / "decision.json").read_text("utf-8")))
    assert again == decision


def test_the_remote_gives_out_a_model_that_answers_and_no_other(
    played: Played, tmp_path: Path
) -> None:
    folder = played.places.workspace(2) / "out" / "align" / "model"
    probe = load(played.root / "params.yaml").probes[0]
    result = release.answers_as_published(played.places, 2, sha256_folder(folder), probe)
    assert result.passed, result.text
    assert result.sha256 == sha256_folder(folder)
    candidate = gate.Candidate(result.sha256, "5" * 64, None, "1" * 64, result)
    assert gate._smoke(candidate).passed
    assert not gate._smoke(replace(candidate, model="0" * 64)).passed
