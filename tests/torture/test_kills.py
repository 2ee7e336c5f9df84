"""kill -9 at 200 and more places drawn from a seed: every round ends like the undisturbed one."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.rounds import killing
from tests.rounds.conftest import Command, tracked_state

pytestmark = pytest.mark.torture

#: Rounds, the deaths that are laid out for each, and how many of them must strike at the least:
#: a place that was passed before an earlier death strikes nobody.
ROUNDS, DEATHS, LEAST = 8, 28, 25


@pytest.fixture(scope="session")
def undisturbed(
    make_checkout: Callable[..., Path], roundhouse: Command, prefect_server: dict[str, str]
) -> dict[str, str]:
    """What a round publishes that nothing disturbs."""
    root = make_checkout()
    done = roundhouse(root, "round", **prefect_server)
    assert done.returncode == 0, done.stderr
    return killing.published(root)


@pytest.mark.parametrize("number", range(ROUNDS))
def test_a_round_that_dies_again_and_again(
    number: int,
    seed: int,
    undisturbed: dict[str, str],
    make_checkout: Callable[..., Path],
    roundhouse: Command,
    prefect_server: dict[str, str],
    tally: Callable[..., None],
) -> None:
    root = make_checkout()
    before = tracked_state(root)
    struck = killing.play(root, killing.drawn(1000 * seed + number, DEATHS), prefect_server)
    assert len(struck) >= LEAST, struck
    assert killing.published(root) == undisturbed
    assert tracked_state(root) == before
    killing.check_end(root)
    assert roundhouse(root, "audit", "verify").returncode == 0
    tally(kills=len(struck), places=struck)
