"""One seed of the benchmark of fading; the table over many is in docs/raters.md."""

import numpy as np
import pytest

from benchmarks.raters import fading
from benchmarks.raters import team as simulated
from benchmarks.raters.team import Held

SEED = 3
PLAN = fading.SIZES[0]
#: Votes of all rounds and held-out answers.
Scene = tuple[fading.Parts, Held]


@pytest.fixture(scope="module")
def scene() -> Scene:
    work = simulated.pairs(PLAN.pairs * PLAN.rounds, SEED)
    return simulated.rated(work, PLAN, {}, SEED), simulated.held(100, SEED)


def test_a_round_of_another_taste_fades_and_the_model_is_better_off(scene: Scene) -> None:
    odd = fading.Case("", "longer", 1.0)
    found = fading.measured(scene[0], odd, scene[1], SEED)
    assert [use.round for use in found.uses if use.factor < 1] == [fading.ODD]
    accuracy, distance = found.accuracy, found.distance
    assert accuracy["off"] < accuracy["on"] < accuracy["out"]
    assert distance["off"] > distance["on"] > distance["out"]
    assert accuracy["out"] == pytest.approx(accuracy["oracle"], abs=0.005)
    table = fading.summary([found, found], odd=True)
    assert table["found"] == (1.0, 0.0) and table["wrongly"] == (0.0, 0.0)
    assert np.allclose(table["accuracy less off"]["on"], accuracy["on"] - accuracy["off"])


def test_where_nothing_changed_nothing_fades(scene: Scene) -> None:
    found = fading.measured(scene[0], fading.CASES[0], scene[1], SEED)
    assert all(use.factor == 1.0 for use in found.uses)
    assert len(set(found.accuracy.values())) == 1


def test_a_larger_share_turns_what_a_smaller_one_does(scene: Scene) -> None:
    parts = scene[0]
    few, many = (
        fading.turned(parts, fading.Case("", "longer", part), SEED)[fading.ODD]
        for part in (0.2, 0.5)
    )
    changed = [
        {k for k, (a, b) in enumerate(zip(parts[fading.ODD], rows, strict=True)) if a != b}
        for rows in (few, many)
    ]
    assert changed[0] and changed[0] < changed[1]
