"""What a vote says against its peers, against loops over small tables."""

import math

import numpy as np
import pandas as pd
import pytest

from roundhouse.errors import DataError
from roundhouse.raters import peers, table
from roundhouse.simulate.votes import Fault, Pool, draw
from tests.raters.conftest import Simulate

SMALL = Pool(raters=8, votes=30, overlap=0.6, gold=8, anchors=5, bank=12)


def by_hand(votes: pd.DataFrame, passes: int) -> dict[tuple[int, str], float]:
    """Log-odds of the first answer without a rater's own votes, by loops."""
    rows = list(zip(votes["item"], votes["rater"], 1 - 2 * votes["label"], strict=True))
    names = sorted({rater for _, rater, _ in rows})
    weight = dict.fromkeys(names, math.log(peers.START / (1 - peers.START)))
    seen = [any(i == item and r != rater for i, r, _ in rows) for item, rater, _ in rows]
    for _ in range(passes):
        right = []
        for (item, _, sign), other in zip(rows, seen, strict=True):
            odds = sum(s * weight[r] for i, r, s in rows if i == item)
            right.append(1 / (1 + math.exp(-odds * sign)) if other else 0.0)
        pooled = sum(right) / sum(seen)
        for name in names:
            mine = [k for k, row in enumerate(rows) if row[1] == name and seen[k]]
            share = (sum(right[k] for k in mine) + peers.PRIOR * pooled) / (len(mine) + peers.PRIOR)
            share = min(max(share, 0.05), 0.98)
            weight[name] = math.log(share / (1 - share))
    return {
        (item, rater): sum(s * weight[r] for i, r, s in rows if i == item and r != rater)
        for item, rater, _ in rows
    }


def test_log_odds_without_own_votes_are_those_of_a_loop(simulate: Simulate) -> None:
    votes = table.tidy(simulate(25, 3, np.linspace(0.6, 0.95, 6), 3).votes)
    again = votes.iloc[[0, 4]].assign(round=1)
    votes = pd.concat([votes, again], ignore_index=True)
    found = peers.decided(votes)
    odds, seen = peers.leave_one_out(found, passes=3)
    expected = by_hand(votes, 3)
    assert seen.all()
    keys = zip(votes["item"], votes["rater"], strict=True)
    assert odds == pytest.approx([expected[key] for key in keys])


def test_expected_agreement_is_the_others_share_in_the_stratum() -> None:
    found = peers.evidence(draw(SMALL, 2, 5).votes)
    gold = found.only(found.gold)
    for k in range(0, len(gold.row), 7):
        others = (gold.rater != gold.rater[k]) & (gold.period == gold.period[k])
        share = (gold.agree[others].sum() + 1) / (others.sum() + 2)
        assert gold.expected[k] == pytest.approx(min(share, peers.MOST))


def test_the_median_rater_stands_where_peers_expect() -> None:
    """Also where a fifth of the pool flips, which moves the mean of the stratum."""
    pool = Pool(raters=30, votes=150, overlap=1.0)
    drawn = draw(pool, 1, 4, [Fault(range(6), "flip", 0.3)])
    found = peers.evidence(drawn.votes)
    flips = peers.excess_flips(found.only(~found.gold)).share
    assert abs(np.median(flips)) < 0.01 < flips.mean()
    assert flips[:6].mean() - flips[6:].mean() > 0.2


def test_what_cannot_be_compared_is_left_out() -> None:
    rows = [
        (0, "a", 0, -1), (0, "b", 0, -1),  # two people
        (1, "a", 0, -1),  # one person
        (2, "a", 2, -1), (2, "b", 0, -1),  # a tie leaves one
        (3, "a", 0, 2), (3, "b", 0, 2),  # the right answer is a tie
    ]  # fmt: skip
    votes = table.tidy(pd.DataFrame(rows, columns=["item", "rater", "label", "gold"]))
    assert peers.evidence(votes).row.tolist() == [0, 1]


def test_a_rater_is_no_peer_of_their_own_earlier_vote() -> None:
    rows = [(0, "a", 0, 1), (0, "a", 0, 2), (1, "a", 1, 1), (1, "b", 1, 2)]
    votes = table.tidy(pd.DataFrame(rows, columns=["item", "rater", "label", "round"]))
    assert peers.evidence(votes).row.tolist() == [2, 3]


def test_check_items_that_others_miss_are_not_easy() -> None:
    easy = [(0, name, 0, 0) for name in "abcdef"]
    hard = [(1, name, 0, 1 if name > "c" else 0) for name in "abcdef"]
    votes = table.tidy(
        pd.DataFrame(
            [(i, r, said, right) for i, r, right, said in easy + hard],
            columns=["item", "rater", "label", "gold"],
        )
    )
    assert set(votes["item"].to_numpy()[peers.evidence(votes).row]) == {0}


def test_excess_flips_are_the_share_that_was_turned() -> None:
    rng = np.random.default_rng(2)
    size = 40_000
    expected = rng.choice([0.55, 0.8, 0.95], size)
    rater = rng.integers(0, 2, size)
    turned = rng.random(size) < 0.25 * rater
    agree = (rng.random(size) < expected) ^ turned
    one = peers.Evidence(
        np.arange(size), ["a", "b"], rater, np.zeros(size, np.int64), np.zeros(size, bool), agree,
        expected, np.ones(size),
    )  # fmt: skip
    flips = peers.excess_flips(one)
    assert flips.share == pytest.approx([0.0, 0.25], abs=0.015)
    weight = peers.weights(expected, 0.2)
    mine = rater == 0
    told = (weight * (2 * expected - 1))[mine].sum()
    noise = (weight**2 * expected * (1 - expected))[mine].sum()
    assert flips.variance[0] == pytest.approx(noise / told**2)


def test_rounds_have_an_order() -> None:
    votes = draw(SMALL, 2, 1).votes
    first, second = votes[votes["round"] == 1], votes[votes["round"] == 2]
    assert len(peers.joined(second, first)) == len(votes)
    with pytest.raises(DataError, match="round 1 is compared with round 2"):
        peers.joined(first, second)


def test_nothing_says_nothing() -> None:
    none = peers.evidence(draw(SMALL, 1, 1).votes.iloc[:0])
    assert none.raters == [] and len(none.row) == 0


def test_raters_with_a_vote_each_do_not_outvote_those_who_work() -> None:
    share = np.array([0.0] * 10 + [0.1, 0.2, math.nan])
    assert peers.middling(share, np.array([1] * 10 + [200, 30, 0])) == pytest.approx(0.1)
    assert peers.middling(share[:4], np.ones(4, np.int64)) == 0.0
    even = np.array([0.1, 0.2, 0.3, 0.4])
    assert peers.middling(even, np.full(4, 50)) == pytest.approx(np.median(even))


def test_the_variance_is_that_of_a_rater_at_the_level() -> None:
    """Against the spread of votes drawn at that level."""
    rng, size, level = np.random.default_rng(1), 4000, 0.3
    expected = rng.uniform(0.6, 0.99, 50)
    rater = np.repeat(np.arange(size), len(expected))
    chance = expected - level * (2 * expected - 1)
    agree = (rng.random((size, len(expected))) < chance).ravel()
    each, none = np.tile(expected, size), np.zeros(len(rater), np.int64)
    names = [str(number) for number in range(size)]
    whole = np.ones(len(rater))
    one = peers.Evidence(none, names, rater, none, none.astype(bool), agree, each, whole)
    found = peers.excess_flips(one, level=np.full(size, level))
    assert found.share.mean() == pytest.approx(level, abs=0.01)
    assert found.variance[0] == pytest.approx(found.share.var(), rel=0.1)
    assert peers.excess_flips(one).variance[0] < 0.8 * found.share.var()
