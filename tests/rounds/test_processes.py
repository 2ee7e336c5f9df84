"""A whole round whose training stages run as several processes, which die in the midst of it."""

from collections.abc import Callable
from pathlib import Path

import pytest

from roundhouse import jsonl
from tests.rounds import killing
from tests.rounds.conftest import Command
from tests.rounds.killing import Kill

KILLS = (
    Kill("stage.step[sft]", target="flow", nth=2),
    Kill("stage.step[reward]", target="stage", nth=2),
    Kill("stage.step[align]", nth=2),
)


@pytest.mark.torture
@pytest.mark.timeout(1800)
def test_a_round_of_two_processes_is_killed_and_ends(
    make_checkout: Callable[..., Path], roundhouse: Command
) -> None:
    root = make_checkout(**{"compute.processes": 2})
    assert len(killing.play(root, KILLS)) == len(KILLS)
    killing.check_end(root)
    assert roundhouse(root, "audit", "verify").returncode == 0
    # One process wrote each line of a stage's journal.
    steps = [row["step"] for row in jsonl.read(root / "rounds" / "0001" / "logs" / "align.jsonl")]
    assert sorted(set(steps)) == [1, 2]
    assert len(steps) <= 3
