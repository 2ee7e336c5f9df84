"""Results other than a release: blocked, accepted, skipped, and rounds that cannot start."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from roundhouse.rounds import git
from tests.conftest import PROJECT
from tests.rounds.conftest import Command

pytestmark = pytest.mark.round


@pytest.fixture(scope="module")
def checkout(make_checkout: Callable[..., Path]) -> Path:
    """A checkout whose data would block a round."""
    return make_checkout(**{"validate.max_rater_share": 0.01})


def test_blocked_then_accepted(checkout: Path, roundhouse: Command) -> None:
    done = roundhouse(checkout, "round", "--json")
    assert done.returncode == 3, done.stderr
    record = json.loads(done.stdout)
    assert record["decision"] == "blocked"
    check = record["reasons"][0].split(":")[0]
    assert git.round_tags(checkout) == []
    rows = json.loads(roundhouse(checkout, "rounds", "--json").stdout)
    assert [(row["round"], row["decision"]) for row in rows] == [(1, "blocked")]
    accepted = roundhouse(checkout, "round", "--accept", check, "--why", "one team", "--json")
    assert accepted.returncode == 0, accepted.stderr
    assert json.loads(accepted.stdout)["round"] == 2
    found = json.loads(roundhouse(checkout, "audit", "round", "2", "--json").stdout)
    assert found["accepted"] == [f"{check}: one team"]
    assert list(found["partitions"]) == ["0002.jsonl"]


def test_too_little_feedback_is_skipped_and_takes_no_number(
    make_checkout: Callable[..., Path], roundhouse: Command
) -> None:
    root = make_checkout(**{"simulate.enabled": False})
    done = roundhouse(root, "round", "--min-feedback", "10", "--json")
    assert done.returncode == 0, done.stderr
    record = json.loads(done.stdout)
    assert record["decision"] == "skipped"
    assert record["reasons"] == ["0 new rows of feedback since the start, 10 wanted"]
    assert json.loads(roundhouse(root, "rounds", "--json").stdout) == []


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("--set", "ppo.stepz=1"), 2, "there is no setting ppo.stepz"),
        (("--params", "none.yaml"), 2, "no such settings file"),
        (("--set", "model.base=./none"), 2, "no such model folder"),
        (("--accept", "x"), 2, "--accept needs --why TEXT"),
        (("--accept", "saftey", "--why", "x"), 2, "no check that a person can accept"),
    ],
)
def test_a_round_that_cannot_start_says_why(
    make_checkout: Callable[..., Path],
    roundhouse: Command,
    arguments: tuple[str, ...],
    code: int,
    message: str,
) -> None:
    root = make_checkout()
    done = roundhouse(root, "round", *arguments)
    assert done.returncode == code
    assert message in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not list((root / "rounds").glob("*"))


def test_a_missing_ledger_is_missed(
    make_checkout: Callable[..., Path], roundhouse: Command
) -> None:
    root = make_checkout()
    git.git("tag", "round-0001", cwd=root)
    done = roundhouse(root, "round")
    assert done.returncode == 1
    assert "missing, though rounds were made from it" in done.stderr


def test_outside_a_checkout(tmp_path: Path, roundhouse: Command) -> None:
    done = roundhouse(tmp_path, "rounds", PYTHONPATH=str(PROJECT / "src"))
    assert done.returncode == 2
    assert "is not inside a git checkout" in done.stderr
