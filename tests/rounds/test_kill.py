"""kill -9 again and again in one round: it ends as if undisturbed, and nothing is left."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.rounds import killing
from tests.rounds.conftest import Command, Played, tracked_state
from tests.rounds.killing import Kill

pytestmark = pytest.mark.round

#: The torture suite draws from all places; here are some of each kind.
SOME = (
    Kill("begin.numbered"),
    Kill("ledger.append", nth=2),
    Kill("rows.write[0001.jsonl]", action="full"),
    Kill("json.write[inputs.json]", action="torn"),
    Kill("stage.step[sft]", target="flow"),
    Kill("model.save[model]", action="full"),
    Kill("checkpoint.write[model]", nth=3),
    Kill("checkpoint.saved[align]", target="all", nth=2),
)

#: And these follow, after DVC's remote was away.
THEN = (
    Kill("publish.committed"),
    Kill("ledger.decide"),
    Kill("close.recorded"),
)


def test_a_round_killed_at_many_places(
    make_checkout: Callable[..., Path], played: Played, roundhouse: Command
) -> None:
    root = make_checkout()
    before = tracked_state(root)
    struck = killing.play(root, SOME, finish=False)
    killing.without_remote(root)
    struck += killing.play(root, THEN)
    assert len(struck) == len(SOME) + len(THEN)
    assert killing.published(root) == killing.published(played.root)
    assert tracked_state(root) == before
    killing.check_end(root)
    assert roundhouse(root, "audit", "verify").returncode == 0


def test_the_places_are_all_there() -> None:
    every = list(killing.places())
    assert len(every) > 60
    assert len(killing.drawn(1, 8)) == 8
    assert killing.drawn(1, 8) == killing.drawn(1, 8) != killing.drawn(2, 8)
