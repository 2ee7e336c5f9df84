"""Which release a rollback goes back to."""

import pytest

from roundhouse.errors import UsageError
from roundhouse.ledger import Champion, Decision
from roundhouse.ledger.records import Action
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
    with pytest.raises(UsageError, match="no earlier one"):
        choose(again, _champion(1), None)


def test_a_round_named_is_taken_if_it_was_ever_released() -> None:
    assert choose([*MADE, _decision(1, "rollback")], _champion(1), 3).model_round == 3
    for number in (3, 4, 5):
        with pytest.raises(UsageError, match=f"round {number} was never the champion"):
            choose(MADE, _champion(3), number)
