"""Which release a rollback goes back to, and talking to the champion."""

from contextlib import nullcontext
from pathlib import Path

import pytest
import torch

from roundhouse.errors import UsageError
from roundhouse.learn import models
from roundhouse.ledger import Champion, Decision, Ledger
from roundhouse.ledger.records import Action
from roundhouse.locations import Locations
from roundhouse.params import load
from roundhouse.rounds import release
from roundhouse.rounds.release import choose


def _decision(number: int, action: Action = "promote") -> Decision:
    return Decision(number, None, action, None, None, number, str(number), "0" * 64, "", "")


MADE = [_decision(1), _decision(2), _decision(3), _decision(4, "hold")]


def _champion(number: int) -> Champion:
    return Champion(number, str(number), "0" * 64, number)


def test_said_twice_it_goes_back_twice() -> None:
    assert choose(MADE, _champion(3), None).model_round == 2
    again = [*MADE, _decision(2, "rollback")]
    assert choose(again, _champion(2), None).model_round == 1
    with pytest.raises(UsageError, match="no earlier champion"):
        choose([*again, _decision(1, "rollback")], _champion(1), None)


def test_it_never_goes_to_what_was_rolled_back() -> None:
    withdrawn = [*MADE, _decision(2, "rollback"), _decision(5)]
    assert choose(withdrawn, _champion(5), None).model_round == 2
    named = [*withdrawn, _decision(3, "rollback")]
    assert choose(named, _champion(3), None).model_round == 5, "by its number it was put back"
    assert choose([*named, _decision(5, "rollback")], _champion(5), None).model_round == 2


def test_a_round_named_is_taken_if_it_was_ever_released() -> None:
    assert choose([*MADE, _decision(1, "rollback")], _champion(1), 3).model_round == 3
    for number, wrong in ((3, "is the champion"), (4, "was never"), (5, "was never")):
        with pytest.raises(UsageError, match=f"round {number} {wrong}"):
            choose(MADE, _champion(3), number)


def test_a_champion_is_talked_to_as_any_model_folder(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """With a temperature, the same words twice get two answers: `answering` counts the seed on."""
    project = Path(__file__).resolve().parents[2]
    settings = load(project / "params.yaml")
    monkeypatch.setattr(release, "published_model", lambda *_: nullcontext(tmp_path))
    monkeypatch.setattr(release, "read_settings", lambda *_: settings)
    torch.manual_seed(17)
    words = [f"word{number}" for number in range(50)]
    learned = models.scratch(settings.model.scratch, ["why", *words], 88)
    models.save(learned, tmp_path)
    with Ledger.open(f"sqlite:///{tmp_path / 'ledger.db'}") as ledger:
        ledger.take_round_number()
        ledger.settle(1, True, "1", "0" * 64, expected=None)
        reply = release.talk(Locations(tmp_path), ledger, temperature=20.0)
        assert len({reply("why") for _ in range(4)}) > 1
