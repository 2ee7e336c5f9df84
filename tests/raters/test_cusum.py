"""Sums over votes as they come: the recursion by a loop, alarms in simulated pools."""

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from roundhouse.errors import DataError
from roundhouse.raters import cusum, peers
from roundhouse.simulate.votes import Fault, Pool, Votes, draw

FULL = Pool(overlap=1.0)


def halves(votes: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    return votes[votes["round"] >= 2], votes[votes["round"] == 1]


def onset(drawn: Votes, one: cusum.Path) -> int:
    now = (drawn.votes["round"] >= 2).to_numpy()
    return int(drawn.faulty[now][one.row].argmax())


@settings(deadline=None)
@given(st.lists(st.integers(-8, 8), max_size=40), st.integers(1, 20))
def test_the_path_is_that_of_the_recursion(eighths: list[int], above: int) -> None:
    gain, threshold = [part / 8 for part in eighths], above / 8
    total, begin, path, alarm, change = 0.0, 0, [], None, None
    for place, part in enumerate(gain):
        total = max(0.0, total + part)
        path.append(total)
        if alarm is None and total > threshold:
            alarm, change = place, begin
        if total == 0:
            begin = place + 1
    one = cusum.follow(np.arange(len(gain)), np.array(gain, np.float64), threshold)
    assert one.path.tolist() == path
    assert (one.alarm, one.change) == (alarm, change)


def test_a_change_is_followed_over_the_end_of_a_round() -> None:
    """Twelve worlds, 20 % flips from the last quarter of round 2 on."""
    late, distance = 0, []
    for seed in range(12):
        drawn = draw(FULL, 4, 40 + seed, [Fault([3], "flip", 0.2, since=2, after=0.75)])
        now, before = halves(drawn.votes)
        one = cusum.paths(now, before)["r003"]
        if one.alarm is None or one.alarm < onset(drawn, one):
            continue
        late += int(now["round"].to_numpy()[one.row[one.alarm]] >= 3)
        assert one.change is not None
        distance.append(abs(one.change - onset(drawn, one)))
    assert len(distance) >= 9
    assert late >= 6
    assert np.median(distance) < 100


def test_harder_items_alarm_hardly_anyone() -> None:
    """Four worlds, 400 rater-rounds at 1 %."""
    alarms = 0
    for seed in range(4):
        votes = draw(FULL, 3, 80 + seed, harder={2: 0.5, 3: 0.5}).votes
        alarms += sum(one.alarm is not None for one in cusum.paths(*halves(votes)).values())
    assert alarms <= 11


def test_time_decides_not_the_order_of_rows() -> None:
    votes = draw(Pool(raters=8, votes=60, overlap=1.0), 3, 6).votes
    mixed = votes.sample(frac=1.0, random_state=2)
    for name, one in cusum.paths(*halves(votes)).items():
        other = cusum.paths(*halves(mixed))[name]
        assert other.path == pytest.approx(one.path)
        assert (np.diff(halves(mixed)[0]["at"].to_numpy()[other.row]) > 0).all()
        assert len(one.path) == (halves(votes)[0]["rater"] == name).sum()


def test_a_vote_that_nobody_can_check_is_level() -> None:
    votes = draw(Pool(raters=6, votes=40, overlap=0.0, gold=0, anchors=0), 2, 1).votes
    for one in cusum.paths(*halves(votes)).values():
        assert one.path.tolist() == [0.0] * len(one.row)
        assert one.alarm is None and one.change is None


def test_gains_are_likelihood_ratios_without_a_record() -> None:
    votes = draw(Pool(raters=20, votes=100, overlap=1.0, gold=0, anchors=0), 1, 3).votes
    found = peers.evidence(votes)
    gains = cusum.gains(found, np.ones(len(found.row), bool))
    for k in range(0, len(gains), 101):
        share = min(found.expected[k], cusum.MOST)
        turned = share * (1 - cusum.DESIGN) + (1 - share) * cusum.DESIGN
        ratio = turned / share if found.agree[k] else (1 - turned) / (1 - share)
        assert gains[k] == pytest.approx(math.log(ratio))


def test_rounds_without_a_past_and_without_votes() -> None:
    votes = draw(Pool(raters=8, votes=60, overlap=1.0), 2, 6).votes
    assert len(cusum.paths(votes, votes.iloc[:0])) == 8
    assert cusum.paths(votes.iloc[:0], votes) == {}
    with pytest.raises(DataError, match="later rounds as `now`"):
        cusum.paths(votes[votes["round"] == 1], votes[votes["round"] == 2])


def test_a_sum_goes_on_from_where_it_stood() -> None:
    gain = np.array([1.0, 1.0, -9.0, 1.0])
    row = np.arange(4)
    alone = cusum.follow(row, gain, 4.0)
    carried = cusum.follow(row, gain, 4.0, start=3.0)
    assert alone.alarm is None and alone.risen == 3
    assert carried.path.tolist() == [4.0, 5.0, 0.0, 1.0]
    assert (carried.alarm, carried.change) == (1, 0)
    assert cusum.follow(row[:2], gain[:2], 4.0, start=1.0).risen == 0
    assert cusum.follow(row[:3], gain[:3], 4.0).risen is None
