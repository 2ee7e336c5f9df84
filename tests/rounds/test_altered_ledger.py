"""What somebody changed in a ledger is named, on two rounds without their stages."""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from roundhouse import jsonl
from roundhouse.feedback import parse
from roundhouse.ledger import Candidate, Ledger
from roundhouse.locations import Locations
from roundhouse.rounds import git
from roundhouse.rounds.begin import Round
from roundhouse.rounds.verify import Finding, verify
from tests.rounds.conftest import open_round, publish_held

EXCLUDED = [{"check": "repeated", "id": f"{name}-1", "partition": 1} for name in ("ann", "bob")]
FILES = {
    "out/raters/raters.json": b"[]\n",
    "out/validate/excluded.jsonl": "".join(jsonl.dumps(one) + "\n" for one in EXCLUDED).encode(),
    "out/validate/figures.json": b'{"validate/excluded/repeated": 2}\n',
    "out/validate/report.json": b'{"blocked": null, "expectations": [], "success": true}\n',
}
#: All that the end of a round writes, as it is before.
OPEN = (
    "state = 'open', finished_at = NULL, decision = NULL, reasons = '[]', metrics = '{}', "
    'data_version = NULL, "commit" = NULL'
)


@pytest.fixture(scope="module")
def over(make_checkout: Callable[..., Path]) -> Iterator[Round]:
    """The second of two rounds that are over; people overruled a check and a rater."""
    places = Locations(make_checkout())
    with Ledger.open(places.ledger_url) as ledger:
        ledger.add_override(None, "ann", "watch", "hurries", kind="rater")
        _receive(ledger, 1)
        first = open_round(places, ledger, None)
        ledger.add_override(1, "balance", "accepted", "sorted by length")
        publish_held(replace(first, accept=(("balance", "sorted by length"),)), "win-rate", FILES)
        _receive(ledger, 2)
        second = open_round(places, ledger, "round-0001")
        publish_held(second, "kl", FILES)
        yield second


def _receive(ledger: Ledger, number: int) -> None:
    for rater in ("ann", "bob", "carl"):
        row: dict[str, Any] = {"id": f"{rater}-{number}", "kind": "demonstration", "rater": rater}
        row |= {"prompt": f"Asked by {rater} on day {number}", "response": f"{rater} says {number}"}
        row |= {"created_at": "2026-01-01T00:00:00Z"}
        batch = ledger.start_batch("f", "jsonl")
        ledger.append(batch, [Candidate(1, parse(row, datetime.now(UTC)), b"")])


@contextmanager
def _database(over: Round) -> Iterator[sqlite3.Connection]:
    """The ledger's database, put back afterwards."""
    file = over.places.state / "ledger.db"
    with closing(sqlite3.connect(file)) as found, closing(sqlite3.connect(":memory:")) as kept:
        found.backup(kept)
        try:
            yield found
        finally:
            kept.backup(found)


@contextmanager
def _altered(over: Round, *statements: str) -> Iterator[None]:
    with _database(over) as database:
        with database:
            for statement in statements:
                assert database.execute(statement).rowcount
        yield


def _findings(over: Round) -> tuple[Finding, ...]:
    with Ledger.open(over.places.ledger_url) as ledger:
        return verify(over.places, ledger).findings


@pytest.mark.parametrize("change", ["reasons = reasons", "state = 'blocked', \"commit\" = NULL"])
def test_a_tag_that_is_gone_is_named(over: Round, change: str) -> None:
    root = over.places.root
    tag = git.git("rev-parse", "round-0001", cwd=root)
    git.git("tag", "--delete", "round-0001", cwd=root)
    try:
        with _altered(over, f"UPDATE round SET {change} WHERE number = 1"):
            assert _findings(over) == (Finding(1, "round-0001", "git", "missing"),)
    finally:
        git.git("update-ref", "refs/tags/round-0001", tag, cwd=root)


def test_a_round_that_is_not_over_is_not_held_against_the_ledger(over: Round) -> None:
    """It died before its decision, or between that and its end; others were never published."""
    assert _findings(over) == (), "both rounds are over, and nothing was altered"
    wiped = f"UPDATE round SET {OPEN} WHERE number = 2"
    with _altered(over, wiped):
        assert _findings(over) == ()
    with _altered(over, wiped, "DELETE FROM decision WHERE round = 2"):
        assert _findings(over) == ()
    for state in ("open", "blocked", "abandoned"):
        another = f"INSERT INTO round SELECT 3, '{state}', started_at, NULL, NULL, NULL, '[]', "
        with _altered(over, another + "'{}', '', '', '{}', NULL, 1 FROM round WHERE number = 1"):
            assert _findings(over) == ()
