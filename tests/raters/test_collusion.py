"""Colluding groups: counts against brute force, planted groups, and pools without any."""

import itertools
import tracemalloc

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from roundhouse.raters import collusion, meetings
from roundhouse.simulate.votes import Fault, Pool, draw
from tests.raters.conftest import Simulate

SMALL = Pool(raters=24, votes=120, gold=0, anchors=0, overlap=0.5)


def square(pairs: meetings.Pairs, value: NDArray[np.float64]) -> NDArray[np.float64]:
    """[raters, raters] a value of the cells, 0 where nobody met."""
    raters = len(pairs.cells.start) - 1
    whole = np.zeros((raters, raters))
    whole[pairs.cells.rater, pairs.cells.other] = value
    return whole


@pytest.mark.parametrize("seed", range(6))
def test_groups_grow_as_where_every_pair_of_raters_has_a_cell(seed: int) -> None:
    rng = np.random.default_rng(seed)
    pool = Pool(raters=30, votes=25, gold=0, anchors=0, overlap=0.6)
    fault = Fault(rng.choice(30, 4, replace=False).tolist(), "collude")
    _, data = meetings.coded(draw(pool, 1, seed, [fault]).votes)
    pairs, allowed = meetings.counted(data), rng.random(30) < 0.8
    expected = collusion._expected(pairs, collusion._loadings(pairs))
    values = [square(pairs, value) for value in (pairs.size, pairs.equal, expected)]
    best, members = 0.0, set[int]()
    groups = [[int(k)] for k in np.flatnonzero(allowed)]
    scores = list[float]()
    for step in range(2, 16):
        tops = []
        for group in groups:
            both = [each[np.ix_(group, group)].sum() / 2 + each[group].sum(0) for each in values]
            ratio = collusion._ratio(*both)
            ratio[group], ratio[~allowed] = -np.inf, -np.inf
            group.append(int(ratio.argmax()))
            tops.append(ratio.max() - collusion._log_choices(int(allowed.sum()), step))
        scores.append(max(tops))
        if scores[-1] > best:
            best, members = scores[-1], set(groups[int(np.argmax(tops))])
        if len(scores) - 1 - int(np.argmax(scores)) >= collusion._PATIENCE:
            break
    found, member = collusion._grown(pairs, expected, allowed)
    assert found == pytest.approx(best) and set(np.flatnonzero(member)) == members


def test_raters_who_never_meet_cost_nothing() -> None:
    """Two thousand raters with nine votes: a square of them alone would be 32 MB."""
    rng = np.random.default_rng(1)
    item = np.repeat(np.arange(6000), 3)
    names = np.array([f"r{k:04d}" for k in range(2000)])[rng.integers(0, 2000, len(item))]
    votes = pd.DataFrame({"item": item, "rater": names, "label": rng.integers(0, 2, len(item))})
    tracemalloc.start()
    try:
        collusion.groups(votes, draws=1)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 32e6


def test_loadings_recover_what_raters_know(simulate: Simulate) -> None:
    skill = np.random.default_rng(2).uniform(0.55, 0.95, 20)
    _, data = meetings.coded(simulate(6000, 3, skill, 3).votes)
    found = collusion._loadings(meetings.counted(data))
    assert found + 0.5 == pytest.approx(skill, abs=0.06)


def test_who_means_the_opposite_has_a_loading_below_zero(simulate: Simulate) -> None:
    skill = np.append(np.full(15, 0.8), np.full(5, 0.15))
    _, data = meetings.coded(simulate(2000, 3, skill, 4).votes)
    found = collusion._loadings(meetings.counted(data))
    assert found[:15].mean() == pytest.approx(0.3, abs=0.02)
    assert found[15:].mean() == pytest.approx(-0.35, abs=0.04)


@pytest.mark.parametrize("seed", [1, 2])
def test_opposite_raters_make_no_group_of_the_others(seed: int) -> None:
    """With their agreement counted as it stands, the honest would seem to know next to nothing."""
    bad = [1, 4, 9, 14, 19, 22]
    votes = draw(SMALL, 1, seed, [Fault(bad, "flip")]).votes
    found = {name for group in collusion.groups(votes, draws=99) for name in group.members}
    assert found <= {f"r{k:03d}" for k in bad}


def test_ratio_is_the_binomial_likelihood_ratio() -> None:
    size, equal, mean = np.array([20.0, 20.0, 0.0]), np.array([18.0, 4.0, 0.0]), np.full(3, 10.0)
    expected = 18 * np.log(0.9 / 0.5) + 2 * np.log(0.1 / 0.5)
    assert collusion._ratio(size, equal, mean) == pytest.approx([expected, 0.0, 0.0])


def test_a_group_that_copies_is_found_and_described() -> None:
    bad = [2, 5, 11, 17, 20]
    votes = draw(SMALL, 1, 1, [Fault(bad, "collude")]).votes
    (group,) = collusion.groups(votes, draws=99)
    assert group.members == [f"r{k:03d}" for k in bad]
    mine = votes[votes["rater"].isin(group.members)]
    same = [
        a == b
        for _, labels in mine.groupby("item")["label"]
        for a, b in itertools.combinations(labels, 2)
    ]
    assert group.pairs == len(same)
    assert group.inside == pytest.approx(np.mean(same)) == 1.0
    assert group.expected < 0.65 and group.outside < 0.6 < group.usual
    assert group.p == 0.01 and group.closer_than_usual


def test_two_groups_are_two_findings() -> None:
    faults = [Fault([0, 1, 2, 3, 4], "collude"), Fault([10, 11, 12, 13, 14], "collude")]
    votes = draw(SMALL._replace(votes=200), 1, 4, faults[:1]).votes
    other = votes["rater"].isin([f"r{k:03d}" for k in faults[1].raters])
    key = np.random.default_rng(9).integers(0, 2, int(votes["item"].max()) + 1)
    votes = votes.assign(label=np.where(other, key[votes["item"]], votes["label"]))
    found = collusion.groups(votes, level=0.05, draws=39)
    members = sorted(tuple(group.members) for group in found)
    assert members == [tuple(f"r{k:03d}" for k in fault.raters) for fault in faults]


def test_pools_without_collusion_show_none() -> None:
    found = [collusion.groups(draw(SMALL, 1, seed).votes, 0.05, 19, seed) for seed in range(12)]
    assert sum(map(bool, found)) <= 3, "12 pools, 0.6 expected by chance"


def test_knowing_more_is_no_collusion(simulate: Simulate) -> None:
    """Five experts among guessers agree with each other far more than anyone else does."""
    skill = np.where(np.arange(20) < 5, 0.97, 0.62)
    found = [
        collusion.groups(simulate(1500, 3, skill, seed).votes, 0.05, 19, seed) for seed in range(8)
    ]
    assert sum(map(bool, found)) <= 2


def test_raters_of_easy_items_are_no_group(simulate: Simulate) -> None:
    """Domains differ in how easy they are: agreement beyond the pool's, not beyond the domain's."""
    easy, hard = simulate(400, 3, np.full(6, 0.97), 1).votes, simulate(900, 3, np.full(14, 0.7), 2)
    other = hard.votes.assign(item=hard.votes["item"] + 400, rater="x" + hard.votes["rater"])
    both = pd.concat([easy.assign(domain="easy"), other.assign(domain="hard")], ignore_index=True)
    assert collusion.groups(both, 0.05, 39) == []


def test_few_candidates_make_a_stronger_test() -> None:
    bad = [3, 8, 15]
    pool = SMALL._replace(votes=60)
    votes = draw(pool, 1, 3, [Fault(bad, "collude")]).votes
    among = [f"r{k:03d}" for k in bad]
    every, few = collusion.groups(votes, 1.0, 39), collusion.groups(votes, 1.0, 39, among=among)
    assert few[0].members == among
    assert few[0].score > max(group.score for group in every if set(among) & set(group.members))
    assert few[0].p <= 0.05


def test_the_same_seed_gives_the_same_groups_and_little_gives_none() -> None:
    votes = draw(SMALL, 1, 7, [Fault([1, 2, 3, 4], "collude")]).votes
    found = collusion.groups(votes, 0.05, 19, seed=5)
    assert found and found == collusion.groups(votes, 0.05, 19, seed=5)
    assert collusion.groups(votes[:0]) == []
    assert collusion.groups(votes[votes["rater"] == "r001"]) == []
    assert collusion.groups(votes.assign(label=2)) == []
