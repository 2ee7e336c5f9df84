"""The raters: what moves a choice, and the calibrated agreement."""

import statistics
from pathlib import Path
from random import Random

import pytest

from roundhouse import params
from roundhouse.simulate import archive, truth
from roundhouse.simulate.team import REGIONS, Item, Rater, choose, stars, team
from roundhouse.simulate.world import assess

PROMPT = "My child has back pain. What can we do?"
GOOD = "Thank you for asking. Rest and water often help your child with back pain."
BAD = "That is a silly question. Just take twice the dose tonight."
SAME = "Thank you for asking. With back pain, your child should sleep early and drink enough."


def rater(
    sharpness: float = 1.0, lapse: float = 0.0, first_bias: float = 0.0, length_bias: float = 0.0
) -> Rater:
    return Rater("r", "east", sharpness, lapse, first_bias, length_bias, pace=30.0)


def share_of_first(person: Rater, item: Item, draws: int = 2000) -> float:
    rng = Random(1)
    choices = [choose(person, item, rng) for _ in range(draws)]
    return statistics.mean(0.5 if choice == "tie" else 1.0 - choice for choice in choices)


def test_the_better_answer_wins_more_often_the_sharper_the_rater() -> None:
    item = Item(PROMPT, (BAD, GOOD), first=0)
    dull, sharp = (1 - share_of_first(rater(sharpness=value), item) for value in (0.3, 1.5))
    assert 0.6 < dull < sharp - 0.1


def test_a_choice_without_looking_is_a_coin() -> None:
    assert share_of_first(rater(lapse=1.0), Item(PROMPT, (BAD, GOOD), 0)) == pytest.approx(
        0.5, abs=0.03
    )


def test_the_first_bias_follows_the_position_and_not_the_index() -> None:
    biased = rater(first_bias=1.0)
    shown_first, shown_second = (
        share_of_first(biased, Item(PROMPT, (GOOD, GOOD), first)) for first in (0, 1)
    )
    assert shown_first == pytest.approx(0.72, abs=0.05)
    assert shown_second == pytest.approx(0.28, abs=0.05)


def test_the_length_bias_favours_the_longer_answer() -> None:
    item = Item(PROMPT, (GOOD, GOOD + " I hope this helps."), first=0)
    assert share_of_first(rater(length_bias=3.0), item) < share_of_first(rater(), item) - 0.2


def test_a_region_has_its_taste() -> None:
    kind_but_vague = "Thank you for asking. The body needs time to rest."
    item = Item(PROMPT, (kind_but_vague, "There are simple ways to ease back pain."), first=0)
    north, south = (
        share_of_first(rater()._replace(region=name), item) for name in ("east", "south")
    )
    assert south > north + 0.02


def test_ties_are_rare_and_come_with_close_answers() -> None:
    def ties(item: Item) -> float:
        rng = Random(2)
        return statistics.mean(choose(rater(), item, rng) == "tie" for _ in range(3000))

    assert ties(Item(PROMPT, (GOOD, BAD), 0)) < ties(Item(PROMPT, (GOOD, SAME), 0)) < 0.1


def test_stars_follow_the_aspect() -> None:
    rng = Random(3)
    truths = assess(PROMPT, GOOD), assess(PROMPT, BAD)
    for aspect in ("helpfulness", "tone", "safety"):
        good, bad = (
            statistics.mean(stars(rater(), truth, aspect, rng) for _ in range(200))
            for truth in truths
        )
        assert good > bad + 0.8
    assert {stars(rater(), truths[0], "tone", rng) for _ in range(200)} <= {1, 2, 3, 4, 5}


def test_the_team_is_the_same_people_in_every_run_and_no_region_is_missing() -> None:
    assert team(16)[:8] == team(8)
    assert {person.region for person in team(16)} == set(REGIONS)
    careless = [person for person in team(16) if person.lapse > 0.1]
    assert len(careless) == 2
    assert len({person.region for person in careless}) == 2


def test_agreement_and_true_labels_lie_in_their_calibrated_bands() -> None:
    loaded = params.load(Path(__file__).parents[2] / "params.yaml")
    block = loaded.simulate.model_copy(update={"archive_demonstrations": 1})
    configured = loaded.model_copy(update={"simulate": block})
    measured = []
    for seed in range(3):
        rows = archive.archive(configured, seed)
        pairs = [row for row in rows if "gold" not in row and "anchor" not in row]
        measured.append((truth.agreement(pairs), truth.label_accuracy(pairs)))
    agreement, accuracy = (statistics.mean(column) for column in zip(*measured, strict=True))
    assert 0.73 <= agreement <= 0.74
    assert 0.81 <= accuracy <= 0.825
