"""Both intervals of one figure: what each covers, and what is left unsaid."""

import numpy as np
import pandas as pd
import pytest

from roundhouse.raters import agreement, breakdown, table
from roundhouse.simulate.votes import Fault, Pool, draw
from tests.raters.conftest import Simulate


def test_raters_interval_covers_where_raters_differ_and_items_interval_does_not(
    simulate: Simulate,
) -> None:
    """The true figure is that of a pool of any raters: accuracy uniform on 0.55 to 0.99."""
    generator = np.random.default_rng(11)
    truth = 0.77**2 + 0.23**2
    over_items = over_raters = 0
    for seed in range(100):
        skill = generator.uniform(0.55, 0.99, 25)
        votes = simulate(1500, 3, skill, seed).votes
        found = breakdown.whole(votes, 200, 0.9, seed).agreement
        over_items += found.items.low <= truth <= found.items.high
        over_raters += found.raters.low <= truth <= found.raters.high
    assert 82 <= over_raters <= 97, "90 % interval"
    assert over_items <= 65


def test_raters_interval_is_as_wide_as_that_over_items_where_raters_are_alike(
    simulate: Simulate,
) -> None:
    hits, ratio = 0, []
    for seed in range(60):
        votes = simulate(400, 3, np.full(20, 0.8), seed).votes
        found = breakdown.whole(votes, 200, 0.9, seed).agreement
        hits += found.raters.low <= 0.68 <= found.raters.high
        width = found.items.high - found.items.low
        ratio.append((found.raters.high - found.raters.low) / width)
    assert 48 <= hits <= 59
    assert 0.85 < np.mean(ratio) < 1.25, "the noise of votes counts once"


def test_whole_gives_the_figures_of_agreement_with_intervals_around_them() -> None:
    votes = draw(Pool(raters=20), 1, 3).votes
    found = breakdown.whole(votes, 100, 0.9, 1)
    rows = agreement.from_table(table.latest(votes))
    for interval, value in (
        (found.agreement, agreement.agreement(rows)),
        (found.alpha, agreement.alpha(rows)),
        (found.ac1, agreement.ac1(rows)),
    ):
        assert interval.items.value == pytest.approx(value)
        assert interval.raters.value == pytest.approx(value)
        for one in interval:
            assert one.low < value < one.high
        assert interval.widest.low == min(one.low for one in interval)
        assert interval.widest.high == max(one.high for one in interval)
    assert found.raters == 20
    assert found.votes == len(table.latest(votes))


def test_by_round_finds_the_round_in_which_half_the_pool_guessed() -> None:
    votes = draw(Pool(), 2, 1, [Fault(range(25), "random", since=2)]).votes
    found = breakdown.by(votes, "round", 200, 0.95, 1)
    assert list(found) == ["1", "2"]
    assert found["2"].alpha.raters.high < found["1"].alpha.raters.low
    assert found["2"].agreement.widest.high < found["1"].agreement.widest.low


def test_by_counts_labels_over_the_whole_table() -> None:
    """AC1 by domain is comparable only where each domain has the same number of labels."""
    votes = pd.DataFrame(
        {
            "item": [0, 0, 1, 1, 2, 2, 3, 3], "rater": list("abababab"),
            "label": [0, 0, 0, 1, 0, 2, 0, 0], "domain": list("xxxxyyyy"),
        }
    )  # fmt: skip
    rows = agreement.count_rows(np.array([0, 0, 1, 1]), np.array([0, 0, 0, 1]), 3)
    found = breakdown.by(votes, "domain", 20, 0.9, 1)
    assert found["x"].ac1.items.value == pytest.approx(agreement.ac1(rows))


def test_too_few_raters_give_no_interval_over_raters(simulate: Simulate) -> None:
    four = breakdown.whole(simulate(200, 3, np.full(4, 0.8), 1).votes, 100, 0.9, 1)
    assert four.agreement.items.known and not four.agreement.raters.known
    assert not four.agreement.widest.known
    five = breakdown.whole(simulate(200, 3, np.full(5, 0.8), 1).votes, 100, 0.9, 1)
    assert five.agreement.raters.known


def test_a_second_vote_replaces_the_first_and_single_votes_tell_nothing() -> None:
    twice = pd.DataFrame({"item": [0, 0, 0], "rater": ["a", "b", "a"], "label": [0, 1, 1]})
    found = breakdown.whole(twice, 20, 0.9, 1)
    assert found.votes == 2 and found.items == 1
    alone = breakdown.whole(twice.assign(item=range(3)), 20, 0.9, 1)
    assert alone.items == 0
    assert not any(one.known for figure in alone[3:] for one in figure)
