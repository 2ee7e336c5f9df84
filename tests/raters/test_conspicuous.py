"""Which habits are far enough from what is usual to matter."""

import pytest

from roundhouse.raters import conspicuous
from roundhouse.raters.habits import UNKNOWN, Habit, Habits

CLEAR = Habits("a", *[UNKNOWN] * 8)


@pytest.mark.parametrize(
    ("name", "habit", "words"),
    [
        ("longer", Habit(0.8, 0.5, 100, 1e-6), "the longer answer in 0.80 of 100, peers' 0.50"),
        ("pace", Habit(4.0, 30.0, 100, 1e-6), "4.0 s a vote (median of 100), usual 30.0 s"),
        ("hasty", Habit(0.3, 0.02, 100, 1e-6), "far below their own pace in 0.30 of 100"),
        ("runs", Habit(20, 50.0, 100, 1e-6), "20 runs of one side in 100 votes, usual 50"),
        ("contradiction", Habit(0.5, 0.1, 40, 1e-6), "another answer than before in 0.50 of 40"),
    ],
)
def test_a_loose_habit_that_matters_has_its_words(name: str, habit: Habit, words: str) -> None:
    found = conspicuous.loose(Habits(**{**CLEAR._asdict(), name: habit}))
    assert found.odd and found.p == 1e-6
    assert found.words[0].startswith(words) and found.words[0].endswith("(p 1e-06)")
    assert not conspicuous.fixed(Habits(**{**CLEAR._asdict(), name: habit})).odd


def test_a_trifle_matters_to_nobody() -> None:
    found = conspicuous.loose(
        CLEAR._replace(
            longer=Habit(0.55, 0.5, 9000, 1e-9), pace=Habit(20, 30, 9000, 1e-9),
            hasty=Habit(0.05, 0.02, 9000, 1e-9), runs=Habit(4000, 4500, 9000, 1e-9),
            contradiction=Habit(0.2, 0.1, 900, 1e-9),
        )
    )  # fmt: skip
    assert not found.odd and found.words == [] and found.p == pytest.approx(5e-9)
