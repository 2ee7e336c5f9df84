"""No rater above a share of a round's weight, and small teams left alone."""

import math

import numpy as np
import pandas as pd
import pytest

from roundhouse.raters.capping import AMPLE, capped


def votes(counts: dict[str, int], number: int = 1) -> pd.DataFrame:
    names = [name for name, count in counts.items() for _ in range(count)]
    return pd.DataFrame({"rater": names, "round": number})


def cap(frame: pd.DataFrame, share: float, side: str = "train") -> tuple[float, float, list[float]]:
    weight = np.ones(len(frame))
    found = capped(frame, weight, np.full(len(frame), side), share)
    each = pd.Series(found.factors).groupby(frame["rater"]).sum() / found.factors.sum()
    return found.before, found.after, each.tolist()


def test_a_large_team_meets_the_share() -> None:
    counts = {"heavy": 500, **{f"r{k}": 10 for k in range(80)}}
    before, after, shares = cap(votes(counts), 0.05)
    assert before == pytest.approx(500 / 1300)
    assert after == pytest.approx(0.05) and max(shares) == pytest.approx(0.05)


def test_nobody_in_a_small_even_team_is_touched() -> None:
    for size in (1, 2, 3, 8, 20):
        before, after, _ = cap(votes({f"r{k}": 10 + k for k in range(size)}), 0.05)
        assert after == before


def test_eight_raters_may_have_three_times_an_even_share() -> None:
    _, after, _ = cap(votes({"heavy": 900, **{f"r{k}": 10 for k in range(7)}}), 0.05)
    assert after == pytest.approx(AMPLE / 8)


def test_every_round_is_capped_for_itself() -> None:
    """A rater of a tenth of all votes, but of nearly all in round 2."""
    first = votes({f"r{k}": 50 for k in range(60)})
    second = votes({"heavy": 300, **{f"r{k}": 1 for k in range(60)}}, 2)
    frame = pd.concat([first, second], ignore_index=True)
    found = capped(frame, np.ones(len(frame)), np.full(len(frame), "train"), 0.05)
    assert (found.factors[: len(first)] == 1).all()
    part = found.factors[len(first) :]
    assert part[:300].sum() / part.sum() == pytest.approx(0.05)


def test_pairs_that_only_measure_are_left_alone_and_the_judges_are_not_counted() -> None:
    counts = {"heavy": 500, **{f"r{k}": 10 for k in range(80)}}
    before, after, shares = cap(votes(counts), 0.05, "eval")
    assert math.isnan(before) and math.isnan(after) and max(shares) > 0.3
    before, after, shares = cap(votes(counts), 0.05, "judge")
    assert math.isnan(before) and math.isnan(after) and max(shares) == pytest.approx(0.05)


def test_a_share_of_one_caps_nobody() -> None:
    before, after, _ = cap(votes({"heavy": 500, "other": 1}), 1.0)
    assert before == after == pytest.approx(500 / 501)
