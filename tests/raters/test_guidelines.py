"""A guideline that helped is found; harder items, other raters and chance are not taken for one."""

import numpy as np
import pandas as pd
import pytest

from roundhouse.raters import agreement, guidelines, table
from roundhouse.simulate.votes import Pool, draw


def two_versions(
    seed: int, clumsy: float, pool: Pool | None = None, harder: float = 1.0
) -> pd.DataFrame:
    """Two rounds, v2 and v3; under v2 so large a share of all votes was turned."""
    votes = draw(pool or Pool(raters=30), 2, seed, harder={2: harder}).votes
    turned = np.random.default_rng([seed, 9]).random(len(votes)) < clumsy
    label = np.where(turned & (votes["round"] == 1), 1 - votes["label"], votes["label"])
    version = votes["round"].map({1: "v2", 2: "v3"})
    return votes.assign(label=label, guideline=version)


def test_a_better_guideline_raises_agreement_on_all_items_and_on_the_same_ones() -> None:
    [found] = guidelines.changes(two_versions(1, 0.12, Pool(raters=40, anchors=60)), 300, 0.95, 1)
    assert (found.before, found.version, found.raters) == ("v2", "v3", 40)
    assert found.agreement.low > 0.03 and found.alpha.low > 0.06
    assert found.same.low > 0 and found.items > 150
    assert found.said.startswith("agreement rose: +0.1")
    assert f"on {found.items} items rated under both: agreement rose" in found.said


def test_harder_items_move_agreement_and_not_that_on_the_same_items() -> None:
    fell = same = 0
    for seed in range(10):
        [found] = guidelines.changes(two_versions(seed, 0.0, harder=0.4), 100, 0.9, seed)
        fell += found.agreement.high < 0
        same += found.same.high < 0 or found.same.low > 0
    assert fell == 10
    assert same <= 3


def test_interval_covers_no_change_though_raters_differ() -> None:
    hits = np.zeros(3)
    for seed in range(30):
        votes = two_versions(seed, 0.0, Pool(raters=40, votes=80, gold=5, anchors=20))
        [found] = guidelines.changes(votes, 100, 0.9, seed)
        hits += [one.low <= 0 <= one.high for one in (found.agreement, found.alpha, found.same)]
    assert (hits >= 23).all(), "90 % intervals over 30 worlds without change"


def test_difference_is_that_of_the_figures_of_agreement() -> None:
    votes = two_versions(3, 0.05)
    [found] = guidelines.changes(votes, 20, 0.9, 1)
    old, new = (
        agreement.from_table(table.latest(votes[votes["guideline"] == name]), 2)
        for name in ("v2", "v3")
    )
    expected = agreement.agreement(new) - agreement.agreement(old)
    assert found.agreement.value == pytest.approx(expected)
    assert found.alpha.value == pytest.approx(agreement.alpha(new) - agreement.alpha(old))


def test_same_items_weigh_the_same_on_both_sides() -> None:
    """Item x has one vote pair before and six after: by number, the after side would be all x."""
    rows = [("x", rater, 0, "v1", 1) for rater in "ab"]
    rows += [("x", rater, 0, "v2", 2) for rater in "abcd"]
    for version, number in (("v1", 1), ("v2", 2)):
        rows += [("y", rater, label, version, number) for rater, label in (("e", 0), ("f", 1))]
        rows += [(f"z{k}", rater, 0, version, number) for k in range(8) for rater in "gh"]
    frame = pd.DataFrame(rows, columns=["item", "rater", "label", "guideline", "round"])
    [found] = guidelines.changes(table.tidy(frame), 50, 0.9, 1)
    assert found.items == 10
    assert found.same.value == pytest.approx(0.0), "no item changed"
    assert found.agreement.value == pytest.approx(14 / 15 - 9 / 10)


def test_versions_come_in_the_order_of_first_use() -> None:
    votes = table.tidy(
        pd.DataFrame(
            {
                "item": range(4), "rater": list("abcd"), "label": 0, "round": [2, 1, 1, 3],
                "at": [9.0, 5.0, 2.0, 1.0], "guideline": ["a", "b", "c", ""],
            }
        )
    )  # fmt: skip
    assert guidelines.versions(votes) == ["c", "b", "a"]
    assert [one.version for one in guidelines.changes(votes, 5, 0.9, 1)] == ["b", "a"]


def test_what_cannot_be_compared_is_said() -> None:
    votes = two_versions(1, 0.0, Pool(raters=4, anchors=0, gold=0))
    [found] = guidelines.changes(votes, 20, 0.9, 1)
    assert not found.agreement.known and not found.same.known and found.items == 0
    assert found.said.startswith("agreement cannot be compared with guideline v3")
    assert "no items were rated under both" in found.said
    assert guidelines.changes(votes.assign(guideline="v2"), 20, 0.9, 1) == []
    assert guidelines.changes(votes.assign(guideline=""), 20, 0.9, 1) == []
