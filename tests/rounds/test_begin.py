"""What a round refuses before it takes a number."""

from pathlib import Path

import pytest

from roundhouse.errors import SettingsError
from roundhouse.rounds import begin
from roundhouse.rounds.begin import Request, Round
from tests.rounds.conftest import snapshot_and_publish


def _ask(root: Path, *overrides: str) -> None:
    with begin.open_round(Request(root, overrides=overrides)):
        pass


def test_prompts_may_not_change_sides_between_rounds(second: Round) -> None:
    snapshot_and_publish(second)
    root = second.places.root
    with pytest.raises(SettingsError, match=r"^split: differs from round-0002's"):
        _ask(root, "split.eval_share=0.2")
    before = len(second.ledger.rounds())
    _ask(root, "ppo.steps=3")
    assert len(second.ledger.rounds()) == before + 1
