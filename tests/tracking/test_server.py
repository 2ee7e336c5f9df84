"""Tracking against a real MLflow server: away, failing, losing its answers, keeping files."""

import socket
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from mlflow import MlflowClient

from roundhouse.errors import TrackingError
from roundhouse.tracking import Artifacts, Tracker
from tests.mlflow_server import Proxy, Server
from tests.tracking.conftest import DIGEST, LEDGER, SETTINGS, artifacts, runs, whole_round


@pytest.fixture
def closed_port() -> Iterator[int]:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]


def test_an_absent_server_is_one_line_and_is_not_asked_at_once_again(closed_port: int) -> None:
    away = Tracker(f"http://user:secret@127.0.0.1:{closed_port}", LEDGER)
    with pytest.raises(TrackingError) as first:
        away.round_run(1, {}, {})
    assert "\n" not in str(first.value)
    assert "secret" not in str(first.value)
    with pytest.raises(TrackingError, match="not asked again yet"):
        away.round_run(1, {}, {})


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    folder = tmp_path / "server"
    folder.mkdir()
    server = Server(folder)
    yield server
    server.kill()


@pytest.fixture
def proxy(server: Server) -> Iterator[Proxy]:
    server.start()
    proxy = Proxy(server.port)
    yield proxy
    proxy.shutdown()
    proxy.server_close()


def test_every_write_applied_and_its_answer_lost_leaves_one_of_everything(
    proxy: Proxy, server: Server, folder: Path
) -> None:
    proxy.fault = "lost"
    tracker = Tracker(proxy.uri, LEDGER)
    run, stage, version = whole_round(tracker, folder)
    assert proxy.writes > 2 * 10
    client = MlflowClient(server.uri, server.uri)
    assert {each.info.run_id for each in runs(client, tracker)} == {run, stage}
    assert {each.info.status for each in runs(client, tracker)} == {"FINISHED"}
    (only,) = client.search_model_versions("name = 'm1'")
    assert str(only.version) == version
    assert str(client.get_model_version_by_alias("m1", "champion").version) == version
    assert len(client.get_metric_history(stage, "ppo/kl")) == 3
    assert "model/config.json" in artifacts(client, run)

    for fault in ("error", "down"):
        proxy.fault = fault
        with pytest.raises(TrackingError) as refused:
            tracker.fail(run, "no")
        assert "\n" not in str(refused.value)
        tracker.ask_again()
    proxy.fault = ""
    assert whole_round(Tracker(proxy.uri, LEDGER), folder) == (run, stage, version)


def test_what_a_server_missed_while_it_was_away_arrives_later_and_once(
    server: Server, folder: Path
) -> None:
    server.start()
    tracker = Tracker(server.uri, LEDGER)
    run = tracker.round_run(1, {"data_version": DIGEST}, SETTINGS)
    stage = tracker.stage_run(run, "align", params=SETTINGS["ppo"])  # type: ignore[arg-type]
    tracker.stream(stage, folder / "logs" / "align.jsonl")
    server.kill()
    with pytest.raises(TrackingError):
        tracker.finish_stage(stage, folder)
    server.start()
    first = whole_round(Tracker(server.uri, LEDGER), folder)
    again = whole_round(Tracker(server.uri, LEDGER), folder)
    assert first == again == (run, stage, first[2])
    client = MlflowClient(server.uri, server.uri)
    assert len(runs(client, tracker)) == 2
    assert len(client.search_model_versions("name = 'm1'")) == 1
    assert [m.value for m in client.get_metric_history(stage, "ppo/kl")] == [0.2, 0.4, 0.2 * 3]
    assert "model/config.json" in artifacts(client, run)
    assert "plots/losses.png" in artifacts(client, stage)
    assert client.get_run(run).info.artifact_uri.startswith("mlflow-artifacts:")


def test_words_are_taken_out_of_the_files_that_a_server_keeps(server: Server, folder: Path) -> None:
    server.start()
    run, stage, _ = whole_round(Tracker(server.uri, LEDGER), folder)
    other = Tracker(server.uri, "another-ledger").round_run(1, {}, {})
    client = MlflowClient(server.uri, server.uri)
    client.log_text(stage, "Pay within thirty days.", "deep/er/note.txt")
    client.log_text(other, "Pay within thirty days.", "note.txt")
    before = artifacts(client, run)

    changed = Artifacts(server.uri, LEDGER).rewrite(lambda data: data.replace(b"thirty", b"..."))
    assert set(changed) == {f"{stage}/deep/er/note.txt", f"{stage}/samples.json"}
    kept = [mlflow_artifact(client, stage, name) for name in ("deep/er/note.txt", "samples.json")]
    assert all(b"within ... days" in text for text in kept)
    assert mlflow_artifact(client, other, "note.txt") == b"Pay within thirty days."
    assert artifacts(client, run) == before
    assert Artifacts(server.uri, LEDGER).rewrite(lambda data: data) == []


def mlflow_artifact(client: MlflowClient, run: str, path: str) -> bytes:
    """A file as the server gives it out."""
    with TemporaryDirectory() as scratch:
        return Path(client.download_artifacts(run, path, scratch)).read_bytes()
