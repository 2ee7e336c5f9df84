"""Two workers that share only git, S3, PostgreSQL and the servers: any of them does any round."""

import json
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, text

from roundhouse.ledger import Ledger
from roundhouse.locations import LEDGER_VARIABLE, Locations
from roundhouse.rounds.dvc import stores
from roundhouse.rounds.git import git, round_tags
from tests.infra.team import DEPLOYMENT, Team, assembled, wait_for
from tests.rounds.test_backup import follow

pytestmark = [pytest.mark.torture, pytest.mark.timeout(1500)]


@pytest.fixture(scope="module")
def team(
    make_checkout: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Team]:
    """The servers, and a repository of tiny rounds."""
    folder = tmp_path_factory.mktemp("team")
    source = make_checkout(**{"publish.git_remote": "origin"})
    git("clone", "--quiet", "--bare", str(source), str(folder / "hub.git"), cwd=folder)
    with assembled(folder, folder / "hub.git") as running:
        yield running


def _ledger(team: Team, checkout: Path) -> Ledger:
    return Ledger.open(team.environment("worker", checkout)[LEDGER_VARIABLE], expected=True)


def _stage_has_begun(workspace: Path, stage: str) -> bool:
    return (workspace / "logs" / f"{stage}.jsonl").exists()


def _asked(team: Team, checkout: Path, *arguments: str) -> Any:
    done = team.roundhouse(checkout, *arguments, "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout)


def test_a_round_runs_on_either_and_what_one_lost_the_other_finishes(
    team: Team, tally: Callable[..., None]
) -> None:
    began = time.monotonic()
    one = team.worker("one")
    (pull,) = team.ask(f"/deployments/name/{DEPLOYMENT}")["pull_steps"]
    (step,) = pull.values()
    assert step == {"directory": "{{ $ROUNDHOUSE_CHECKOUT }}"}, "each worker fills in its own"
    first = team.finished(team.run_round())
    assert first["name"] in ("Promoted", "Held"), first
    assert round_tags(team.repository) == [1]

    # The second round is begun by the same worker, whose machine is lost in the middle of it.
    team.run_round()
    workspace = one / "rounds" / "0002"
    wait_for(lambda: _stage_has_begun(workspace, "reward"), 300, team.log("one"))
    team.lose("one")
    frozen = json.loads((workspace / "inputs.json").read_text(encoding="utf-8"))
    # Nothing of that machine comes back.
    shutil.rmtree(one)

    two = team.worker("two")
    record = _asked(team, two, "resume", "2")
    assert record["decision"] in ("promoted", "held")
    again = json.loads((two / "rounds/0002/inputs.json").read_text(encoding="utf-8"))
    assert again == frozen, "the round that was begun is the round that was finished"
    third = team.finished(team.run_round())
    assert third["name"] in ("Promoted", "Held"), third
    assert round_tags(team.repository) == [1, 2, 3]

    with _ledger(team, two) as ledger:
        rows = {row.number: row for row in ledger.rounds()}
        states = {number: row.state for number, row in rows.items()}
        assert states == dict.fromkeys([1, 2, 3], "published")
        settled = Counter(made.round for made in ledger.decisions())
        assert settled == {1: 1, 2: 1, 3: 1}, "no round was decided twice"
        champion = ledger.champion()
    _audit(team, two, rounds=3)
    assert champion is not None, "tiny rounds pass the gate of the tests"
    _release(team, two, champion.round)
    assert team.outward == ""
    _lose_and_put_back(team, two, rounds=3)
    tally(rounds=3, lost=1, seconds=round(time.monotonic() - began))


def _audit(team: Team, checkout: Path, rounds: int) -> None:
    """Everything is checked in S3, from a clone that has none of the first round's bytes."""
    found = _asked(team, checkout, "audit", "verify")
    assert (found["rounds"], found["findings"]) == (rounds, [])
    shutil.rmtree(checkout / "state" / "dvc" / "cache", ignore_errors=True)
    found = _asked(team, checkout, "audit", "verify")
    assert found["findings"] == []
    assert _asked(team, checkout, "audit", "round", "1")["rows"]["used"] > 0


def _release(team: Team, checkout: Path, champion: int) -> None:
    """The champion answers, and goes back, from bytes that only S3 has."""
    answer = _asked(team, checkout, "chat", "--prompt", "may i sign this ?")
    assert isinstance(answer["response"], str)
    if champion > 1:
        assert _asked(team, checkout, "rollback", "1", "--why", "trying")["round"] == 1
    done = team.roundhouse(checkout, "audit", "verify", "--json", AWS_SECRET_ACCESS_KEY="wrong")
    assert done.returncode == 1
    (one,) = json.loads(done.stdout)["findings"]
    assert "check its address and credentials" in one["problem"]
    assert "wrong" not in one["problem"]


def _lose_and_put_back(team: Team, checkout: Path, rounds: int) -> None:
    """Ledger and store are lost; what the page on backups says brings them back."""
    database, url = team.database, team.environment("worker", checkout)[LEDGER_VARIABLE]
    address = f"postgresql://{database.user}:{database.password}@127.0.0.1:{database.port}"
    backup = team.folder / "backup"
    backup.mkdir()
    env = team.environment("worker", checkout) | {"BACKUP": str(backup), "DATABASES": address}
    env["PATH"] = f"{database.programs}:{env['PATH']}"
    follow("PostgreSQL and S3", checkout, env)
    team.stop()
    engine = create_engine(url)
    with engine.begin() as connection:
        connection.execute(text("DROP TABLE feedback CASCADE"))
    engine.dispose()
    with pytest.MonkeyPatch.context() as patch:
        team.s3.lend(patch)
        store = stores(Locations(checkout))[-1]
        for name in list(store.names()):
            store.delete(name)
    assert team.roundhouse(checkout, "audit", "verify").returncode == 1
    follow("Put the servers back", checkout, env)
    shutil.rmtree(checkout / "state" / "dvc" / "cache", ignore_errors=True)
    found = _asked(team, checkout, "audit", "verify")
    assert (found["rounds"], found["findings"]) == (rounds, [])
