"""The servers of a team, for real: once for all tests that need them."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from roundhouse.rounds.git import git
from tests.infra.team import Team, assembled


@pytest.fixture(scope="session")
def team(
    make_checkout: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Team]:
    """PostgreSQL, S3, Prefect and MLflow with accounts, and a bare repository of tiny rounds."""
    pytest.importorskip("flask_wtf", reason="MLflow's accounts need flask-wtf (dev extra)")
    folder = tmp_path_factory.mktemp("team")
    hub = folder / "hub.git"
    source = make_checkout(**{"publish.git_remote": "origin"})
    git("clone", "--quiet", "--bare", str(source), str(hub), cwd=folder)
    with assembled(folder, hub) as running:
        yield running
