"""The servers of infra/ as they start: who is let in, and who is not."""

import urllib.error
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.exc import OperationalError

from roundhouse.errors import LedgerError, TrackingError
from roundhouse.ledger import Ledger
from roundhouse.locations import LEDGER_VARIABLE
from roundhouse.tracking import Tracker
from tests.infra.team import Team, call

WRONG = "team:not-the-password"


def _refused(ask: Callable[[], Any]) -> int:
    with pytest.raises(urllib.error.HTTPError) as refusal:
        ask()
    refusal.value.close()
    return refusal.value.code


def test_prefect_and_mlflow_let_in_who_has_the_password(team: Team) -> None:
    assert team.ask("/work_pools/filter", {}) == []
    assert _refused(lambda: team.ask("/work_pools/filter", {}, login=WRONG)) == 401
    assert _refused(lambda: team.ask("/work_pools/filter", {}, login="")) == 401
    values = team.values
    search = f"http://127.0.0.1:{team.ports['mlflow']}/api/2.0/mlflow/experiments/search"
    good = f"{values['MLFLOW_ADMIN_USERNAME']}:{values['MLFLOW_ADMIN_PASSWORD']}"
    assert call(search, good, {"max_results": 5})["experiments"]
    for login in (WRONG, ""):
        assert _refused(partial(call, search, login, {"max_results": 5})) == 401


def test_every_database_has_its_own_user_who_sees_no_other(team: Team) -> None:
    url = team.environment("worker", team.folder / "none")[LEDGER_VARIABLE]
    with Ledger.open(url) as ledger:
        assert ledger.watermark() == 0
    wrong = url.replace(team.values["LEDGER_DATABASE_PASSWORD"], "not-the-password")
    with pytest.raises(LedgerError, match="password authentication failed") as refusal:
        Ledger.open(wrong)
    assert "not-the-password" not in str(refusal.value)
    for other in ("mlflow", "prefect"):
        engine = create_engine(f"{url.rpartition('/')[0]}/{other}")
        with pytest.raises(OperationalError, match="permission denied"), engine.connect() as open_:
            open_.execute(text("SELECT 1"))
        engine.dispose()


def test_tracking_says_that_the_password_is_wrong(
    team: Team, monkeypatch: pytest.MonkeyPatch
) -> None:
    env = team.environment("worker", team.folder / "none")
    for name in ("MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD"):
        monkeypatch.setenv(name, env[name])
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    assert Tracker(env["MLFLOW_TRACKING_URI"], "f" * 32).round_run(1, {"tag": "round-0001"}, {})
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "not-the-password")
    with pytest.raises(TrackingError) as refusal:
        Tracker(env["MLFLOW_TRACKING_URI"], "f" * 32).round_run(2, {"tag": "round-0002"}, {})
    assert "not-the-password" not in str(refusal.value)
