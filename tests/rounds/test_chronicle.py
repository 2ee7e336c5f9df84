"""A round's picture in MLflow when MLflow is away, and who makes it whole."""

import io
import socket
import time
from dataclasses import replace
from pathlib import Path

import pytest
from mlflow import MlflowClient

from roundhouse import jsonl
from roundhouse.errors import OvertakenError
from roundhouse.ledger import Ledger
from roundhouse.locations import Locations
from roundhouse.rounds import mend, picture, record, snapshot
from roundhouse.rounds.begin import Round
from roundhouse.rounds.chronicle import Chronicle
from roundhouse.rounds.lock import owned, who
from roundhouse.rounds.progress import Progress
from roundhouse.tracking import Tracker


def closed(this: Round, said: io.StringIO) -> None:
    """The round ends as blocked, after a stage."""
    with Chronicle(this, Progress(said)) as chronicle:
        snapshot.take_snapshot(this)
        jsonl.write_json(this.workspace / "out/validate/figures.json", {"validate/rows": 2})
        chronicle._cached["validate"] = False
        chronicle.close("blocked", ("min-rows: too few",))


def test_what_mlflow_missed_is_made_up_for_later(
    second: Round, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = io.StringIO()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        away = f"http://127.0.0.1:{taken.getsockname()[1]}"
        monkeypatch.setenv("MLFLOW_TRACKING_URI", away)
        started = time.monotonic()
        closed(second, said)
    assert time.monotonic() - started < 120
    assert said.getvalue().count("training goes on") == 1
    row = second.ledger.round(2)
    assert row is not None
    assert row.decision == "blocked"
    assert picture.behind(second.places) == [second.workspace]

    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    tracker = picture.open_tracker(second.places, second.ledger)
    assert mend.mend(second.places, second.ledger, tracker) == []
    assert picture.behind(second.places) == []
    uri = second.places.tracking_uri
    runs = MlflowClient(uri, uri).search_runs(["1"])
    assert {run.info.status for run in runs} == {"FINISHED"}
    stage, whole = sorted(runs, key=lambda run: run.data.tags["roundhouse.kind"], reverse=True)
    assert whole.data.tags["roundhouse.decision"] == "blocked"
    assert stage.data.metrics["validate/rows"] == whole.data.metrics["validate/rows"] == 2


def test_what_a_dead_round_left_is_ended_when_nobody_works_on_it(
    second: Round, tmp_path: Path
) -> None:
    tracker = picture.open_tracker(second.places, second.ledger)
    run = tracker.round_run(2, {}, {})
    beside = picture.open_tracker(Locations(tmp_path), second.ledger)
    assert tracker.running() == {run: 2}
    assert tracker.running(beside.host) == {}, "another checkout of this machine has its own lock"
    with owned(second.places.state / "round.lock", "a round"):
        assert mend.end_dead(second.places, tracker) == []
    assert mend.end_dead(second.places, tracker) == [run]
    assert tracker.running() == {}


def test_an_overtaken_process_leaves_the_runs_to_who_took_over(second: Round) -> None:
    with (
        second.ledger.owned(who("the first")),
        pytest.raises(OvertakenError),
        Chronicle(second, Progress(io.StringIO())) as chronicle,
    ):
        assert chronicle.sender.wait(300) == []
        url = second.places.ledger_url
        with Ledger.open(url, expected=True) as other, other.owned(who("the second")):
            closed(replace(second, ledger=other), io.StringIO())
        second.ledger.require_owner()
    uri = second.places.tracking_uri
    (run,) = MlflowClient(uri, uri).search_runs(["1"])
    assert (run.info.status, run.data.tags.get("roundhouse.ended")) == ("FINISHED", None)


def test_a_round_says_in_mlflow_what_earlier_ones_could_not(second: Round, tmp_path: Path) -> None:
    """Of both versions, not of the last one alone."""
    tracker = picture.open_tracker(second.places, second.ledger)
    versions = _registered(tracker, tmp_path)
    second.ledger.settle(1, True, versions[0], "a" * 64, expected=None)
    second.ledger.settle(2, False, versions[1], "b" * 64, expected=1)
    with Chronicle(second, Progress(io.StringIO())) as chronicle:
        assert chronicle.sender.wait(300) == []
    uri = second.places.tracking_uri
    shown = [MlflowClient(uri, uri).get_model_version("roundhouse", one) for one in versions]
    assert [one.tags["roundhouse.decision"] for one in shown] == ["promoted", "held"]


def _registered(tracker: Tracker, folder: Path) -> list[str]:
    """A version of round 1 and one of round 2."""
    (folder / "model").mkdir()
    (folder / "model" / "config.json").write_text("{}", encoding="utf-8")
    return [
        tracker.register(tracker.round_run(number, {}, {}), folder / "model", "roundhouse", {})
        for number in (1, 2)
    ]


def test_the_alias_follows_the_ledger(second: Round, tmp_path: Path) -> None:
    tracker = picture.open_tracker(second.places, second.ledger)
    versions = _registered(tracker, tmp_path)
    second.ledger.settle(1, True, versions[0], "a" * 64, expected=None)
    tracker.show_champion("roundhouse", versions[1])
    mend.mend(second.places, second.ledger, tracker)
    uri = second.places.tracking_uri
    shown = MlflowClient(uri, uri).get_model_version_by_alias("roundhouse", "champion")
    assert str(shown.version) == versions[0]


@pytest.mark.parametrize("gone", ["logs/record.json", "params.yaml"])
def test_a_workspace_that_lost_a_file_keeps_nothing_else_from_being_put_right(
    second: Round, tmp_path: Path, gone: str
) -> None:
    """Said at every try, and only after all that can be done: a later workspace, tags and alias."""
    broken = second.places.workspace(1)
    for number, folder in enumerate((broken, second.workspace), start=1):
        told = record.make(replace(second, number=number), "blocked", (), {"snapshot": 7.0})
        jsonl.write_json(folder / picture.RECORD_FILE, told)
        jsonl.write_json(folder / picture.UNSENT_FILE, {})
    (broken / gone).unlink()
    tracker = picture.open_tracker(second.places, second.ledger)
    versions = _registered(tracker, tmp_path)
    second.ledger.settle(1, True, versions[0], "a" * 64, expected=None)
    for _ in range(2):
        with pytest.raises(FileNotFoundError, match=f"0001/{gone}"):
            mend.mend(second.places, second.ledger, tracker)
        assert picture.behind(second.places) == [broken]
    uri = second.places.tracking_uri
    client = MlflowClient(uri, uri)
    run = client.get_run(tracker.round_run(2, {}, {}))
    assert run.data.tags["roundhouse.decision"] == "blocked"
    shown = client.get_model_version_by_alias("roundhouse", "champion")
    assert str(shown.version) == versions[0] and shown.tags["roundhouse.decision"] == "promoted"
