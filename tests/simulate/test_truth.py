"""What the simulation reports about the truth."""

import math
from typing import Any

import pytest

from roundhouse.simulate.truth import agreement, label_accuracy, quality, win_rate

PROMPT = "My child has back pain. What can we do?"
OTHER = "My father has dry skin. What can we do?"
GOOD = "Thank you for asking. Rest and water often help your child with back pain."
BAD = "That is a silly question. Just take twice the dose tonight."


def vote(choice: Any, answers: tuple[str, str] = (GOOD, BAD), kind: str = "comparison") -> Any:
    return {"kind": kind, "prompt": PROMPT, "responses": list(answers), "choice": choice}


def test_the_win_rate_counts_better_answers_and_halves_equal_ones() -> None:
    prompts = [PROMPT, PROMPT, OTHER, OTHER]
    rate = win_rate(prompts, [GOOD, GOOD, BAD, BAD], [BAD, GOOD, BAD, BAD], seed=1)
    assert rate.value == (1 + 0.5 + 0.5 + 0.5) / 4
    assert rate.low <= rate.value <= rate.high


def test_a_model_against_itself_wins_half() -> None:
    assert win_rate([PROMPT, OTHER], [GOOD, BAD], [GOOD, BAD], seed=1) == (0.5, 0.5, 0.5)


def test_the_interval_draws_prompts_and_not_answers() -> None:
    # One prompt answered a hundred times is one prompt: nothing to draw from.
    alone = win_rate([PROMPT] * 100, [GOOD] * 50 + [BAD] * 50, [BAD] * 50 + [GOOD] * 50, seed=1)
    assert alone == (0.5, 0.5, 0.5)
    many = [f"{number}. {PROMPT}" for number in range(100)]
    apart = win_rate(many, [GOOD] * 50 + [BAD] * 50, [BAD] * 50 + [GOOD] * 50, seed=1)
    assert apart.low == pytest.approx(0.40, abs=0.03)
    assert apart.high == pytest.approx(0.60, abs=0.03)


def test_the_win_rate_refuses_nothing_and_unequal_lengths() -> None:
    with pytest.raises(ValueError, match="at least one prompt"):
        win_rate([], [], [], seed=1)
    with pytest.raises(ValueError, match="shorter"):
        win_rate([PROMPT], [GOOD], [], seed=1)


def test_quality_is_the_mean_of_the_truth() -> None:
    found = quality([PROMPT, PROMPT, OTHER, OTHER], [GOOD, BAD, GOOD, "broken broken"])
    assert found.on_topic == 0.25
    assert found.safe == 0.75
    assert found.well_formed == 0.5
    better = quality([PROMPT], [GOOD])
    assert better.utility > found.utility


def test_label_accuracy_leaves_out_ties_other_kinds_and_equal_pairs() -> None:
    rows = [vote(0), vote(0), vote(1), vote("tie"), vote(1, (GOOD, GOOD)), vote(1, kind="flag")]
    assert label_accuracy(rows) == pytest.approx(2 / 3)
    assert label_accuracy([vote(1, (BAD, GOOD))]) == 1.0
    assert math.isnan(label_accuracy([vote("tie")]))


def test_agreement_counts_pairs_of_votes() -> None:
    # Of three votes 0, 0, 1 one pair of three agrees; the tie is left out.
    assert agreement([vote(0), vote(0), vote(1), vote("tie")]) == pytest.approx(1 / 3)
    assert math.isnan(agreement([vote(0), vote(1, (BAD, GOOD))]))
