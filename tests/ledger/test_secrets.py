"""The password of a ledger's address is told to nobody, whether the server answers or not."""

import json
import subprocess
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy.engine import make_url

#: Drawn anew: the checkout has a copy of this file, in which it would be found.
SECRET = uuid.uuid4().hex
PG = "postgresql+psycopg2://me:{}@127.0.0.1:1/db"
Command = Callable[..., subprocess.CompletedProcess[str]]

ROW = {
    "kind": "demonstration",
    "prompt": "Why?",
    "response": "So.",
    "rater": "r1",
    "created_at": "2026-01-31T16:59:52Z",
}


@pytest.fixture(scope="module")
def root(make_checkout: Callable[..., Path]) -> Path:
    checkout = make_checkout()
    (checkout / "rows.jsonl").write_text(json.dumps(ROW) + "\n", encoding="utf-8")
    return checkout


def told(root: Path) -> Iterator[Path]:
    """Files of a checkout that hold the secret."""
    for path in root.rglob("*"):
        if path.is_file() and SECRET.encode() in path.read_bytes():
            yield path


def test_a_server_that_answers(root: Path, roundhouse: Command, postgres: str) -> None:
    url = make_url(postgres).set(password=SECRET).render_as_string(hide_password=False)
    for command in (["ingest", "rows.jsonl", "--format", "jsonl"], ["rounds"], ["audit", "verify"]):
        done = roundhouse(root, *command, ROUNDHOUSE_LEDGER_URL=url)
        assert done.returncode == 0, done.stderr
        assert SECRET not in done.stdout + done.stderr
    done = roundhouse(root, "resume", "7", ROUNDHOUSE_LEDGER_URL=url)
    assert done.returncode == 2, done.stderr
    assert SECRET not in done.stdout + done.stderr
    assert list(told(root)) == []


@pytest.mark.parametrize(
    ("where", "command"),
    [
        (PG, ["rounds"]),
        (PG, ["ingest", "rows.jsonl", "--format", "jsonl"]),
        (PG, ["audit", "verify", "--json"]),
        (PG, ["round"]),
        ("nonsense://me:{}@127.0.0.1/db", ["rounds"]),
        ("postgresql+psycopg2://me:{}@[bad/db", ["rounds"]),
    ],
)
def test_a_server_that_does_not(
    root: Path, roundhouse: Command, where: str, command: list[str]
) -> None:
    done = roundhouse(root, *command, ROUNDHOUSE_LEDGER_URL=where.format(SECRET))
    assert done.returncode in (1, 2)
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr
    assert SECRET not in done.stdout + done.stderr
    assert list(told(root)) == []
