"""Ledgers on real databases: SQLite files, and a PostgreSQL server started for the tests."""

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text

from roundhouse.ledger import Ledger
from tests.postgres import served

_SCHEMAS = itertools.count()


@pytest.fixture(scope="session")
def server() -> Iterator[str]:
    """URL of a database on a PostgreSQL server of our own."""
    with served() as running:
        yield f"postgresql+psycopg2://{running.user}@127.0.0.1:{running.port}/postgres"


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """URL of a ledger that does not exist yet, on each database."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'state' / 'ledger.db'}"
    postgres: str = request.getfixturevalue("postgres")
    return postgres


@pytest.fixture
def postgres(server: str) -> str:
    """URL of a ledger that does not exist yet, on PostgreSQL."""
    # A schema of its own for every ledger: a database of its own would be 300 files.
    name = f"ledger_{next(_SCHEMAS)}"
    engine = create_engine(server)
    with engine.begin() as connection:
        connection.execute(text(f"CREATE SCHEMA {name}"))
    engine.dispose()
    return f"{server}?options=-csearch_path%3D{name}"


@pytest.fixture
def ledger(url: str) -> Iterator[Ledger]:
    """An empty ledger on each database."""
    with Ledger.open(url) as opened:
        yield opened
