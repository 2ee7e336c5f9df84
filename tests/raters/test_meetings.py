"""Who meets whom: counts against brute force, and items that very many decided."""

import itertools

import numpy as np
import pandas as pd
import pytest

from roundhouse.raters import meetings


def crowd(items: int, raters: int, seed: int = 1) -> pd.DataFrame:
    """Every rater decides every item, rightly in 7 of 10 votes; rows in no order."""
    rng = np.random.default_rng(seed)
    item, rater = np.divmod(rng.permutation(items * raters), raters)
    names = np.array([f"r{k:04d}" for k in range(raters)])
    label = (rng.random(len(item)) < 0.3).astype(np.int64)
    return pd.DataFrame({"item": item, "rater": names[rater], "label": label})


def test_pairs_are_counted_as_by_hand() -> None:
    rng = np.random.default_rng(1)
    rows = [
        (item, f"r{rater}", int(rng.choice(3, p=[0.75, 0.15, 0.1])))
        for item in range(30)
        for rater in rng.choice(6, int(rng.integers(1, 5)), replace=False)
    ]
    names, data = meetings.coded(pd.DataFrame(rows, columns=["item", "rater", "label"]))
    pairs = meetings.counted(data)
    size, equal = np.zeros((6, 6)), np.zeros((6, 6))
    for one, other in itertools.permutations(rows, 2):
        if one[0] == other[0] and 2 not in (one[2], other[2]):
            place = names.index(one[1]), names.index(other[1])
            size[place] += 1
            equal[place] += one[2] == other[2]
    assert names == [f"r{k}" for k in range(6)]
    where = pairs.cells.rater, pairs.cells.other
    assert (np.argwhere(size) == np.stack(where, axis=1)).all(), "a cell for each pair that met"
    assert (pairs.size == size[where]).all() and (pairs.equal == equal[where]).all()
    assert pairs.weight == pytest.approx(pairs.size), "one kind of items: all as easy as usual"


def test_items_of_a_crowd_are_cut_into_neighbours_by_name_and_no_others() -> None:
    few = crowd(200, meetings.LEAST_PART, 2)
    many = crowd(3, 3000).assign(item=lambda votes: votes["item"] + 200)
    names, data = meetings.coded(pd.concat([many, few], ignore_index=True))
    pairs = meetings.counted(data)
    everyone = 3 * 3000 * 2999 // 2
    assert len(data.one) <= meetings.MOST_PAIRS + 200 * 45 < everyone
    assert (pairs.cells.rater // 750 == pairs.cells.other // 750).all()
    assert len(pairs.cells.rater) == 4 * 750 * 749
    inside = pairs.of(*(np.arange(len(names)) < meetings.LEAST_PART,) * 2)
    assert (pairs.size[inside] == 203).all(), "items of a few are compared in full"
    assert (pairs.size[~inside] == 3).all(), "neighbours meet on every item"
