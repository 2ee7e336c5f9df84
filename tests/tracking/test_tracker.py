"""Tracking against a real MLflow store: calls repeated, processes that die, texts that stay out."""

import json
import math
import signal
import subprocess
import sys
from pathlib import Path

from mlflow import MlflowClient

from roundhouse import jsonl, rater_plots
from roundhouse.tracking import Tracker
from tests.report.story import story
from tests.tracking.conftest import (
    DIGEST,
    LEDGER,
    PROBE,
    artifacts,
    datasets,
    line,
    runs,
    whole_round,
    write_journal,
)


def test_everything_twice_makes_everything_once(
    tracker: Tracker, store: str, client: MlflowClient, folder: Path
) -> None:
    first = whole_round(tracker, folder)
    again = whole_round(Tracker(store, LEDGER, tracker.experiment), folder)
    assert again == first
    assert len(runs(client, tracker)) == 2
    assert len(client.search_model_versions("name = 'm1'")) == 1
    run, stage, _ = first
    for run_id, name, count in [
        (stage, "ppo/kl", 3),
        (stage, "ppo/eos_rate", 1),
        (run, "ppo/kl", 1),
        (run, "seconds/align", 1),
    ]:
        assert len(client.get_metric_history(run_id, name)) == count, name
    assert len(datasets(client, stage)) == 1


def test_a_round_is_a_parent_with_children(
    tracker: Tracker, client: MlflowClient, folder: Path
) -> None:
    run_id, stage_id, version = whole_round(tracker, folder, 2)
    run, stage = client.get_run(run_id), client.get_run(stage_id)
    assert run.info.run_name == "round-0002"
    assert run.data.params["ppo.lr"] == "0.0005"
    assert run.data.tags["mlflow.source.git.commit"] == "abc123"
    assert run.data.tags["roundhouse.decision"] == "promoted"
    assert "| ppo/kl | 0.6 |" in run.data.tags["mlflow.note.content"]
    assert stage.data.tags["mlflow.parentRunId"] == run_id
    assert stage.data.tags["roundhouse.cached"] == "false"
    assert (run.info.status, stage.info.status) == ("FINISHED", "FINISHED")
    assert datasets(client, stage_id) == datasets(client, run_id) == [("feedback", DIGEST)]
    shown = {"plots/losses.png", "plots/reward_against_kl.png", "samples.json", "figures.json"}
    assert artifacts(client, stage_id) == shown
    assert "model/config.json" in artifacts(client, run_id)
    assert client.get_model_version_by_alias("m2", "champion").run_id == run_id
    assert version == "1"


def test_a_story_of_raters_becomes_pictures_and_a_page_on_both_runs(
    tracker: Tracker, client: MlflowClient, folder: Path
) -> None:
    jsonl.write_json(folder / "out/raters/story.json", story())
    jsonl.write_json(folder / "out/raters/figures.json", {"raters/ac1": 0.5})
    run = tracker.round_run(4, {}, {})
    stage = tracker.stage_run(run, "raters")
    tracker.finish_stage(stage, folder)
    pictures = {f"plots/{name}.png" for name in rater_plots.TITLES}
    assert artifacts(client, stage) == {"figures.json", "raters.html", *pictures}
    assert artifacts(client, run) == {"raters.html"}
    page = Path(client.download_artifacts(run, "raters.html", str(folder)))
    text = page.read_text(encoding="utf-8")
    assert "<h1>Raters of round 4</h1>" in text and text.count("data:image/png") == 5


def test_lines_written_while_a_stage_runs_arrive_once_though_processes_die(
    tracker: Tracker, store: str, client: MlflowClient, tmp_path: Path
) -> None:
    stage = tracker.stage_run(tracker.round_run(1, {}, {}), "sft")
    journal = tmp_path / "logs" / "sft.jsonl"
    write_journal(journal, [line(1, {"sft/loss": 3.0})])
    tracker.stream(stage, journal)
    # The flow dies after MLflow took the lines and before it noted that.
    (journal.parent / "sft.sent.json").unlink()
    # The stage dies in the middle of a line and starts again from the beginning.
    with journal.open("a", encoding="utf-8") as file:
        file.write('{"step": 2, "tot\n')
        file.write(line(1, {"sft/loss": 3.0}, time=1767229999.0))
        file.write(line(2, {"sft/loss": 2.0}, time=1767229999.5))
        file.write('{"step": 3,')
    Tracker(store, LEDGER, tracker.experiment).stream(stage, journal)
    Tracker(store, LEDGER, tracker.experiment).stream(stage, journal)
    history = client.get_metric_history(stage, "sft/loss")
    assert [(m.step, m.value, m.timestamp) for m in history] == [
        (1, 3.0, 1767225601000),
        (2, 2.0, 1767229999500),
    ]


def test_a_stage_that_starts_a_new_journal_doubles_nothing(
    tracker: Tracker, store: str, client: MlflowClient, tmp_path: Path
) -> None:
    stage = tracker.stage_run(tracker.round_run(1, {}, {}), "sft")
    journal = tmp_path / "logs" / "sft.jsonl"
    write_journal(journal, [line(step, {"sft/loss": 4.0 - step}) for step in (1, 2)])
    tracker.stream(stage, journal)
    later = [line(step, {"sft/loss": 4.0 - step}, time=1767300000.0 + step) for step in (1, 2, 3)]
    write_journal(journal, later)
    Tracker(store, LEDGER, tracker.experiment).stream(stage, journal)
    history = client.get_metric_history(stage, "sft/loss")
    assert [(m.step, m.value) for m in history] == [(1, 3.0), (2, 2.0), (3, 1.0)]


def test_infinity_is_not_logged(tracker: Tracker, client: MlflowClient, tmp_path: Path) -> None:
    stage = tracker.stage_run(tracker.round_run(1, {}, {}), "sft")
    journal = tmp_path / "sft.jsonl"
    bad = {"sft/loss": math.inf, "sft/grad": math.nan, "sft/lr": 0.1}
    write_journal(journal, [line(1, bad)])
    tracker.stream(stage, journal)
    assert client.get_run(stage).data.metrics == {"sft/lr": 0.1}


def test_no_text_but_the_probes_reaches_mlflow(
    tracker: Tracker, store: str, client: MlflowClient, folder: Path
) -> None:
    _, stage, _ = whole_round(tracker, folder, 3)
    local = client.download_artifacts(stage, "samples.json", str(folder))
    table = json.loads(Path(local).read_text(encoding="utf-8"))
    assert table == {
        "columns": ["prompt", "response"],
        "data": [[PROBE, "Pay within thirty days."]],
    }
    for path in Path(store.removeprefix("sqlite:///")).parent.rglob("*"):
        assert path.is_dir() or b"Zorblax" not in path.read_bytes(), path


def test_a_dead_run_is_marked_and_runs_again(tracker: Tracker, client: MlflowClient) -> None:
    dead = tracker.round_run(1, {}, {})
    stage = tracker.stage_run(dead, "sft")
    alive = tracker.round_run(2, {}, {})
    assert set(tracker.reconcile(alive={2})) == {dead, stage}
    assert client.get_run(dead).info.status == "KILLED"
    assert client.get_run(alive).info.status == "RUNNING"
    assert tracker.round_run(1, {}, {}) == dead
    assert client.get_run(dead).info.status == "RUNNING"
    assert client.get_run(stage).info.status == "KILLED"


def test_a_failed_round_says_why(tracker: Tracker, client: MlflowClient) -> None:
    run = tracker.round_run(1, {}, {})
    tracker.fail(run, "sft: out of memory")
    assert client.get_run(run).info.status == "FAILED"
    assert client.get_run(run).data.tags["roundhouse.ended"] == "sft: out of memory"


def test_two_ledgers_share_a_server_and_leave_each_other_alone(
    tracker: Tracker, store: str, client: MlflowClient, folder: Path
) -> None:
    ours = tracker.round_run(1, {}, {})
    other = Tracker(store, "f" * 32, tracker.experiment)
    theirs = other.round_run(1, {}, {})
    assert theirs != ours
    assert other.reconcile(alive=()) == [theirs]
    assert client.get_run(ours).info.status == "RUNNING"
    first = tracker.register(ours, folder / "out/align/model", "both", {})
    assert other.register(theirs, folder / "out/align/model", "both", {}) != first
    assert tracker.show_champion("both", first)
    assert not other.show_champion("both", "2"), "the alias shows another ledger's model"
    assert str(client.get_model_version_by_alias("both", "champion").version) == first


def test_the_alias_leaves_a_name_that_the_model_had_before(
    tracker: Tracker, store: str, client: MlflowClient, folder: Path
) -> None:
    ours, later = tracker.round_run(1, {}, {}), tracker.round_run(2, {}, {})
    other = Tracker(store, "f" * 32, tracker.experiment)
    first = tracker.register(ours, folder / "out/align/model", "before", {})
    second = tracker.register(later, folder / "out/align/model", "after", {})
    theirs = other.register(other.round_run(1, {}, {}), folder / "out/align/model", "theirs", {})
    tracker.register(ours, folder / "out/align/model", "theirs", {})
    assert tracker.show_champion("before", first) and other.show_champion("theirs", theirs)
    for name, version, former in (("after", second, "before"), ("before", first, "after")):
        assert tracker.show_champion(name, version)
        assert str(client.get_model_version_by_alias(name, "champion").version) == version
        assert client.get_registered_model(former).aliases == {}
    assert str(client.get_model_version_by_alias("theirs", "champion").version) == theirs


def test_one_machine_ends_only_its_own_dead_runs(
    tracker: Tracker, store: str, client: MlflowClient
) -> None:
    ours = tracker.round_run(1, {}, {})
    away = Tracker(store, LEDGER, tracker.experiment, host="elsewhere").round_run(2, {}, {})
    claimed = tracker.running(tracker.host)
    assert claimed == {ours: 1}
    tracker.finish_round(ours, Path("none"), "held", [])
    assert tracker.end_dead(claimed) == [], "it ended by itself since it was listed"
    assert client.get_run(ours).info.status == "FINISHED"
    assert tracker.running() == {away: 2}


def test_a_version_is_tagged_with_what_the_ledger_decided(
    tracker: Tracker, client: MlflowClient, folder: Path
) -> None:
    run, _, version = whole_round(tracker, folder, 7)
    assert client.get_model_version("m7", version).tags["roundhouse.decision"] == "promoted"
    tracker.show_decisions({(7, version): "held", (8, version): "promoted", (7, "9"): "promoted"})
    assert client.get_model_version("m7", version).tags["roundhouse.decision"] == "held"
    truth = {"simulation/win_rate/reference": 0.75}
    tracker.finish_round(run, folder, "held", ["win-rate"], simulation=truth)
    kept = client.get_run(run).data
    assert kept.metrics["simulation/win_rate/reference"] == 0.75
    assert kept.tags["roundhouse.simulated"] == "true"
    figures, _, simulated = kept.tags["mlflow.note.content"].partition("**SIMULATION**")
    assert "simulation/" not in figures
    assert "| simulation/win_rate/reference | 0.75 |" in simulated


def test_a_request_that_was_sent_twice_leaves_one_run(
    tracker: Tracker, client: MlflowClient
) -> None:
    first = tracker.round_run(1, {}, {})
    run = client.get_run(first)
    client.create_run(run.info.experiment_id, tags=run.data.tags)
    assert tracker.round_run(1, {}, {}) == first
    assert len(runs(client, tracker)) == 1


def test_a_process_that_dies_while_it_makes_the_store_leaves_none(tmp_path: Path) -> None:
    database = tmp_path / "mlflow" / "mlflow.db"
    script = f"""
import os, threading, time
from pathlib import Path
from roundhouse.tracking.connection import make_store
database = Path({str(database)!r})
def die():
    # In the midst of the migrations.
    while not any(path.stat().st_size > 100_000 for path in database.parent.glob(".*[0-9]")):
        time.sleep(0.001)
    os.kill(os.getpid(), 9)
threading.Thread(target=die, daemon=True).start()
make_store(database)
"""
    done = subprocess.run([sys.executable, "-c", script], check=False, capture_output=True)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert not database.exists()
    # It can die with a journal open, or between two.
    left = next(database.parent.glob(".*[0-9]"))
    left.with_name(f"{left.name}-journal").touch()
    assert Tracker(f"sqlite:///{database}", LEDGER).round_run(1, {}, {})
    assert [path.name for path in database.parent.iterdir()] == [database.name]
