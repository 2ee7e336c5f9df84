"""Whole rounds while MLflow is away, slow, broken, or loses its answers after a write."""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from mlflow import MlflowClient

from roundhouse.ledger import Ledger
from roundhouse.locations import Locations
from roundhouse.rounds import mend, picture
from tests.conftest import command_environment
from tests.mlflow_server import Proxy, Server

pytestmark = pytest.mark.torture


@pytest.fixture
def proxy(tmp_path: Path) -> Iterator[Proxy]:
    server = Server(tmp_path)
    server.start()
    proxy = Proxy(server.port)
    yield proxy
    proxy.shutdown()
    proxy.server_close()
    server.kill()


@pytest.mark.parametrize("fault", ["", "slow", "lost", "down", "error"])
def test_a_round_under_a_fault(
    fault: str,
    make_checkout: Callable[..., Path],
    proxy: Proxy,
    prefect_server: dict[str, str],
    tally: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    root = make_checkout()
    places = Locations(root)
    env = command_environment(root) | prefect_server | {"MLFLOW_TRACKING_URI": proxy.uri}
    proxy.fault = fault
    with (root / "round.log").open("w", encoding="utf-8") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "roundhouse.cli", "round", "--json"],
            cwd=root,
            env=env,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
        if fault in ("down", "error"):
            # It is back for the registry.
            while not (places.workspace(1) / "logs" / "evaluate.jsonl").exists():
                assert process.poll() is None, (root / "round.log").read_text(encoding="utf-8")
                time.sleep(0.2)
            proxy.fault = ""
        out, _ = process.communicate(timeout=900)
    said = (root / "round.log").read_text(encoding="utf-8")
    assert process.returncode == 0, said
    record = json.loads(out)
    assert record["decision"] == "promoted"
    left = [path.name for path in picture.behind(places)]
    proxy.fault = ""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", proxy.uri)
    with Ledger.open(places.ledger_url, expected=True) as ledger:
        mend.mend(places, ledger, picture.open_tracker(places, ledger))
    assert picture.behind(places) == []
    client = MlflowClient(proxy.uri, proxy.uri)
    runs = client.search_runs(["1"])
    assert {run.info.status for run in runs} == {"FINISHED"}
    assert sorted(run.data.tags.get("roundhouse.stage", "") for run in runs) == sorted(
        ["", "validate", "raters", "sft", "reward", "align", "evaluate"]
    )
    align = next(run for run in runs if run.data.tags.get("roundhouse.stage") == "align")
    assert len(client.get_metric_history(align.info.run_id, "ppo/kl")) == 2
    (version,) = client.search_model_versions("name = 'roundhouse'")
    assert client.get_model_version_by_alias("roundhouse", "champion").version == version.version
    stages = {name: record["seconds"][name] for name in ("sft", "reward", "align")}
    whole = sum(record["seconds"].values())
    tally(fault=fault or "none", **stages, whole=round(whole, 1), left=left)
