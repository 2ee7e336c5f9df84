"""An error's line tells what to do and keeps no password that another program's words held."""

import pytest

from roundhouse import errors
from roundhouse.errors import Blocked, RoundhouseError, masked


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("postgresql://me:pass@db:5432/x is away", "postgresql://db:5432/x is away"),
        ("fatal: 'https://token@git.example/a.git/'", "fatal: 'https://git.example/a.git/'"),
        ("s3://key:p@ss@host and http://u:v@w", "s3://host and http://w"),
        (
            "ledger postgresql+psycopg2://db/x?password=geheim&user=me: away",
            "ledger postgresql+psycopg2://db/x?password=***&user=me: away",
        ),
        (
            "MLflow at 'postgresql+psycopg2://me:pa/ss@wo/rd@db/mlflow' is away",
            "MLflow at 'postgresql+psycopg2://db/mlflow' is away",
        ),
        (
            "write to me@example.org, see file:///a/b@c",
            "write to me@example.org, see file:///a/b@c",
        ),
    ],
)
def test_addresses_lose_name_and_password_and_nothing_else(text: str, shown: str) -> None:
    assert masked(text) == shown
    assert str(RoundhouseError(text)) == shown
    assert str(Blocked("check", text)) == shown


def test_every_error_passes_that_door() -> None:
    kinds = [one for one in vars(errors).values() if isinstance(one, type)]
    for kind in kinds:
        if issubclass(kind, RoundhouseError) and kind is not Blocked:
            assert "secret" not in str(kind("x://me:secret@host")), kind
