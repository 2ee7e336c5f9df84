"""The bootstrap over raters against a loop over votes, and what it makes of noise."""

import math
from itertools import combinations

import krippendorff
import numpy as np
import pandas as pd
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from roundhouse.raters import agreement, bootstrap, pairs

Floats = NDArray[np.float64]

VOTES = st.dictionaries(
    st.tuples(st.integers(0, 7), st.sampled_from("abcde")), st.integers(0, 2), min_size=2
)


def frame(votes: dict[tuple[int, str], int]) -> pd.DataFrame:
    rows = [(item, rater, label) for (item, rater), label in votes.items()]
    return pd.DataFrame(rows, columns=["item", "rater", "label"])


def brute(votes: pd.DataFrame, drawn: dict[str, float]) -> tuple[float, float, float]:
    """The three figures of one draw, by a loop over all vote pairs of each item."""
    equal = total = same = weight = chance_equal = chance_total = 0.0
    marginal, use = np.zeros(3), np.zeros(3)
    for _, on_item in votes.groupby("item"):
        many = len(on_item)
        for rater, label in zip(on_item["rater"], on_item["label"], strict=True):
            use[label] += drawn[rater] / many
        cast = list(zip(on_item["rater"], on_item["label"], strict=True))
        for (one, said), (other, answered) in combinations(cast, 2):
            times = drawn[one] * drawn[other]
            hit = float(said == answered)
            equal, total = equal + times * hit, total + times
            same, weight = same + 2 * times * hit / (many - 1), weight + 2 * times / (many - 1)
            chance_equal += 2 * times * hit / (many * (many - 1))
            chance_total += 2 * times / (many * (many - 1))
            marginal[said] += times / (many - 1)
            marginal[answered] += times / (many - 1)
    by_chance = weight**2 - (marginal**2).sum()
    if not total or by_chance < 1e-9:
        return (equal / total if total else math.nan), math.nan, math.nan
    alpha = math.nan
    if weight > 1:
        alpha = 1 - (1 - same / weight) / (by_chance / (weight * (weight - 1)))
    share = use / use.sum()
    luck = (share * (1 - share)).sum() / 2
    return equal / total, alpha, (chance_equal / chance_total - luck) / (1 - luck)


@settings(deadline=None)
@example({(0, "a"): 0, (0, "c"): 0, (0, "d"): 1}, [0, 0, 1, 1, 0])
@given(VOTES, st.lists(st.integers(0, 3), min_size=5, max_size=5))
def test_a_draw_equals_a_loop_over_vote_pairs(
    found: dict[tuple[int, str], int], times: list[int]
) -> None:
    votes = frame(found)
    reduced = pairs.rater_pairs(votes, 3, list("abcde"))
    drawn = bootstrap.figures(reduced, np.array([times], dtype=float))
    expected = brute(votes, dict(zip("abcde", map(float, times), strict=True)))
    assert drawn.agreement[0] == pytest.approx(expected[0], nan_ok=True)
    assert drawn.alpha[0] == pytest.approx(expected[1], abs=1e-9, nan_ok=True)
    if math.isfinite(expected[2]):
        assert drawn.ac1[0] == pytest.approx(expected[2], abs=1e-9)


@settings(deadline=None)
@given(VOTES)
def test_everybody_once_gives_the_figures_of_agreement(found: dict[tuple[int, str], int]) -> None:
    votes = frame(found)
    rows, reduced = agreement.from_table(votes, 3), pairs.rater_pairs(votes, 3)
    once = bootstrap.figures(reduced)
    assert once.agreement[0] == pytest.approx(agreement.agreement(rows), nan_ok=True)
    assert once.alpha[0] == pytest.approx(agreement.alpha(rows), nan_ok=True, abs=1e-9)
    if math.isfinite(agreement.ac1(rows)) and len(reduced.first):
        assert once.ac1[0] == pytest.approx(agreement.ac1(rows), abs=1e-9)


@settings(deadline=None)
@given(VOTES, st.lists(st.booleans(), min_size=5, max_size=5))
def test_raters_drawn_once_or_never_are_a_smaller_table(
    found: dict[tuple[int, str], int], kept: list[bool]
) -> None:
    """Percent agreement is exact: it equals that of a table without the raters left out."""
    votes = frame(found)
    reduced = pairs.rater_pairs(votes, 3, list("abcde"))
    drawn = bootstrap.figures(reduced, np.array([kept], dtype=float)).agreement[0]
    left = votes[
        votes["rater"].isin([name for name, one in zip("abcde", kept, strict=True) if one])
    ]
    rows = agreement.from_table(left, 3)
    assert drawn == pytest.approx(agreement.agreement(rows), nan_ok=True)


def test_alpha_equals_the_krippendorff_package_on_a_table_with_gaps() -> None:
    generator = np.random.default_rng(4)
    answers = generator.integers(0, 3, (6, 40)).astype(float)
    answers[generator.random((6, 40)) < 0.4] = np.nan
    rater, item = np.nonzero(~np.isnan(answers))
    votes = pd.DataFrame(
        {"item": item, "rater": rater.astype(str), "label": answers[rater, item].astype(int)}
    )
    expected = krippendorff.alpha(answers, level_of_measurement="nominal")
    assert bootstrap.figures(pairs.rater_pairs(votes, 3)).alpha[0] == pytest.approx(expected)


def test_draws_give_as_many_raters_as_there_are_and_repeat_with_the_seed() -> None:
    drawn = bootstrap.draw_raters(20, 400, 1)
    assert (drawn.sum(axis=1) == 20).all()
    assert drawn.mean(axis=0) == pytest.approx(np.ones(20), abs=0.2)
    assert (drawn == bootstrap.draw_raters(20, 400, 1)).all()
    assert (drawn != bootstrap.draw_raters(20, 400, 2)).any()
    assert bootstrap.draw_raters(0, 3, 1).shape == (3, 0)


def test_noise_is_the_variance_of_agreement_by_votes_alone() -> None:
    """Independent vote pairs, one an item: the variance of a share, within its rounding."""
    generator = np.random.default_rng(6)
    item = np.repeat(np.arange(4000), 2)
    rater = np.argsort(generator.random((4000, 40)), axis=1)[:, :2].ravel()
    label = generator.integers(0, 2, 8000)
    votes = pd.DataFrame({"item": item, "rater": [f"r{k:02d}" for k in rater], "label": label})
    found = bootstrap.noise(pairs.rater_pairs(votes))
    assert found.agreement[0] == pytest.approx(0.25 / 4000, rel=0.1)
    # Two labels used alike: alpha is near 2 A - 1, and so is AC1.
    assert found.alpha[0] == pytest.approx(4 * found.agreement[0], rel=0.05)
    assert found.ac1[0] == pytest.approx(4 * found.agreement[0], rel=0.05)


def test_narrowed_draws_keep_their_middle_and_never_fall_below_the_votes() -> None:
    drawn = 0.7 + np.array([-3.0, -1.0, 1.0, 3.0]) / 100
    spread = float(np.var(drawn))
    for votes, wanted in ((0.0, spread), (spread / 4, spread / 2), (spread / 2.5, spread / 2.5)):
        found = bootstrap.narrowed(0.7, drawn, votes)
        assert np.var(found) == pytest.approx(wanted)
        assert found.mean() == pytest.approx(0.7)
    assert bootstrap.narrowed(0.7, drawn, 9.0) == pytest.approx(drawn)
    assert np.isnan(bootstrap.narrowed(0.7, np.full(3, np.nan), 0.1)).all()


def test_nobody_met_nothing_known() -> None:
    alone = pairs.rater_pairs(frame({(0, "a"): 0, (1, "b"): 1}))
    assert len(alone.first) == 0
    assert np.isnan(bootstrap.figures(alone).agreement).all()
    nothing = pairs.rater_pairs(frame({}))
    assert np.isnan(bootstrap.figures(nothing).alpha).all()
