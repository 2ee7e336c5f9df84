"""Agreement lost between groups against least squares by hand, and what must not look like it."""

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from roundhouse.raters import table, taste
from roundhouse.simulate.votes import Fault, Pool, draw

Floats = NDArray[np.float64]


def small(seed: int, each: int) -> pd.DataFrame:
    generator = np.random.default_rng(seed)
    who = np.argsort(generator.random((40, 8)), axis=1)[:, :each].ravel()
    label = generator.integers(0, 2, len(who))
    names = np.array([f"r{number}" for number in range(8)])[who]
    item = np.repeat(np.arange(40), each)
    domain = np.where(item % 2, "x", "y")
    return table.tidy(
        pd.DataFrame({"item": item, "rater": names, "label": label, "domain": domain})
    )


def by_hand(votes: pd.DataFrame, block: str, times: dict[str, float]) -> float:
    """Least squares with a column a block, over every vote pair; means as if everybody were drawn
    once, as `lost_between` keeps them."""
    met = votes.merge(votes, on=["item", "domain"], suffixes=("", "_peer"))
    met = met[met["rater"] < met["rater_peer"]]
    one, other = met["rater"] < "r3", met["rater_peer"] < "r3"
    frame = pd.DataFrame(
        {
            "y": (met["label"] == met["label_peer"]).astype(float),
            "level": one.astype(float) + other,
            "cross": (one != other).astype(float),
        }
    )
    centred = frame - frame.groupby(met[block]).transform("mean")
    weight = np.sqrt(met["rater"].map(times) * met["rater_peer"].map(times))
    x, y = centred[["level", "cross"]].mul(weight, axis=0), centred["y"] * weight
    return -float(np.linalg.lstsq(x.to_numpy(), y.to_numpy(), rcond=None)[0][1])


@pytest.mark.parametrize(("each", "block"), [(4, "item"), (3, "item"), (2, "domain")])
def test_lost_between_equals_least_squares_over_vote_pairs(each: int, block: str) -> None:
    votes = small(each, each)
    found = taste.meetings(votes)
    inside = np.array([name < "r3" for name in found.pairs.raters])
    drawn = taste.lost_between(found, inside, 3, 7)
    once = dict.fromkeys(found.pairs.raters, 1.0)
    assert drawn[0] == pytest.approx(by_hand(votes, block, once))
    generator = [np.random.default_rng(7 + group) for group in (0, 1)]
    size = [int(inside.sum()), int((~inside).sum())]
    times = [
        g.multinomial(n, np.full(n, 1 / n), size=3) for g, n in zip(generator, size, strict=True)
    ]
    for number in range(3):
        weights = np.zeros(8)
        weights[inside], weights[~inside] = times[0][number], times[1][number]
        drawn_raters = dict(zip(found.pairs.raters, weights.tolist(), strict=True))
        assert drawn[1 + number] == pytest.approx(by_hand(votes, block, drawn_raters))


def test_what_blocks_cannot_tell_is_unknown() -> None:
    """Each domain is rated by one group alone: no item tells inside from between."""
    votes = pd.DataFrame(
        {
            "item": [0, 0, 0, 1, 1, 1], "rater": list("abcdef"), "label": [0, 0, 1, 1, 0, 1],
            "domain": list("xxxyyy"),
        }
    )  # fmt: skip
    found = taste.meetings(table.tidy(votes))
    inside = np.array([name in "abc" for name in found.pairs.raters])
    assert np.isnan(taste.lost_between(found, inside, 4, 1)).all()


def test_ties_and_single_votes_are_left_out() -> None:
    votes = table.tidy(
        pd.DataFrame(
            {"item": [0, 0, 0, 1, 2, 2], "rater": list("abcaab"), "label": [0, 2, 0, 1, 2, 1]}
        )
    )
    found = taste.meetings(votes)
    assert found.pairs.raters == ["a", "c"]
    assert found.items["many"].tolist() == [2]


def inside_score(votes: pd.DataFrame, group: list[str]) -> float:
    """The studentised sum of scores inside a group."""
    found = taste.meetings(votes)
    inside = np.isin(found.pairs.raters, group)
    both = inside[found.pairs.first] & inside[found.pairs.second]
    total, variance = taste.scores(found)[both].sum(axis=0)
    return float(total / np.sqrt(variance))


def test_scores_rise_with_taste_and_not_with_skill() -> None:
    group = [f"r{number:03d}" for number in range(15)]
    pool = Pool(raters=45)
    plain, weak, apart = (
        [inside_score(draw(pool, 1, seed, faults).votes, group) for seed in range(6)]
        for faults in ([], [Fault(range(15), "random", 0.5)], [Fault(range(15), "taste", 0.5)])
    )
    assert np.mean(apart) > np.mean(plain) + 2
    assert abs(np.mean(weak) - np.mean(plain)) < 1.0
