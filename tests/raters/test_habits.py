"""Habits: exact tails against enumeration, and planted habits among honest raters."""

import itertools
import math

import numpy as np
import pandas as pd
import pytest

from roundhouse.raters import habits
from roundhouse.raters.habits import Habits, few_runs, longest_run_tail, usual_longest
from roundhouse.simulate.votes import Pool, draw

SMALL = Pool(raters=20, votes=120, gold=0, anchors=0)


def longest(sequence: tuple[int, ...]) -> int:
    return max(len(list(run)) for _, run in itertools.groupby(sequence))


@pytest.mark.parametrize("share", [0.5, 0.2])
@pytest.mark.parametrize("size", [1, 2, 5, 9])
def test_longest_run_tail_is_that_of_all_sequences(size: int, share: float) -> None:
    chance = dict.fromkeys(range(1, size + 2), 0.0)
    for sequence in itertools.product((0, 1), repeat=size):
        ones = sequence.count(0)
        for length in range(1, longest(sequence) + 1):
            chance[length] += share**ones * (1 - share) ** (size - ones)
    for length, expected in chance.items():
        assert longest_run_tail(length, size, share) == pytest.approx(expected, abs=1e-12)
    half = max(length for length, p in chance.items() if p >= 0.5)
    assert usual_longest(size, share) == half


@pytest.mark.parametrize(("one", "other"), [(1, 1), (2, 5), (4, 4)])
def test_few_runs_is_that_of_all_orders(one: int, other: int) -> None:
    orders = set(itertools.permutations([0] * one + [1] * other))
    runs = [len(list(itertools.groupby(order))) for order in orders]
    for count in range(1, one + other + 1):
        expected = np.mean([each <= count for each in runs])
        assert few_runs(count, one, other) == pytest.approx(expected)


def test_few_runs_of_many_outcomes_joins_the_exact_figure() -> None:
    exact, near = few_runs(950, 1000, 1000), few_runs(950, 1000, 1001)
    assert exact == pytest.approx(0.0119, rel=0.01)
    assert near == pytest.approx(exact, rel=0.08)
    assert few_runs(1, 7, 0) == 1.0


def planted(seed: int = 0) -> pd.DataFrame:
    """An honest pool whose items also have a longer answer, unrelated to worth."""
    votes = draw(SMALL, 1, seed).votes
    longer = np.random.default_rng(seed).integers(0, 2, int(votes["item"].max()) + 1)
    return votes.assign(longer=longer[votes["item"]])


def of(votes: pd.DataFrame, name: str = "r000") -> Habits:
    found = habits.habits(votes)
    assert list(found) == sorted(set(votes["rater"])), "every rater, sorted"
    return found[name]


def turned(votes: pd.DataFrame, towards: str, share: float) -> pd.DataFrame:
    """Rater 0 gives the label of a column in a share of the votes."""
    hit = (votes["rater"] == "r000") & (np.random.default_rng(5).random(len(votes)) < share)
    return votes.assign(label=np.where(hit, votes[towards], votes["label"]))


def test_honest_raters_show_habits_as_often_as_the_level_says() -> None:
    p: dict[str, list[float]] = {name: [] for name in Habits._fields[1:]}
    for seed in range(12):
        for one in habits.habits(planted(seed)).values():
            for name in p:
                p[name].append(getattr(one, name).p)
    for name, each in p.items():
        if name in ("ties", "contradiction"):
            assert np.isnan(each).all(), "no ties and no repeats here"
        else:
            assert np.mean(np.array(each) < 0.01) <= 0.03, f"{name}: 240 raters, error 0.006"


def test_position_is_the_share_of_first_places_and_finds_who_prefers_them() -> None:
    votes = planted()
    mine = votes[votes["rater"] == "r000"]
    found = of(votes).position
    assert found.figure == pytest.approx((mine["label"] == mine["position"]).mean())
    assert found.votes == len(mine)
    lazy = of(turned(votes, "position", 0.5)).position
    assert lazy.figure > 0.65 and lazy.pool == pytest.approx(0.5, abs=0.03) and lazy.p < 1e-4


def test_length_is_measured_against_peers_and_not_against_a_half() -> None:
    """Where the longer answer is better everyone chooses it; only who goes further stands out."""
    votes, truth, _ = draw(SMALL, 1, 3)
    coin = np.random.default_rng(3).random(len(truth)) < 0.75
    votes = votes.assign(longer=np.where(coin, truth, 1 - truth)[votes["item"]])
    honest = habits.habits(votes)
    assert np.mean([one.longer.figure for one in honest.values()]) > 0.58
    assert min(one.longer.p for one in honest.values()) > 0.001
    lover = of(turned(votes, "longer", 0.8)).longer
    assert lover.figure > lover.pool + 0.2 and lover.p < 1e-3


def test_length_expects_what_the_peers_on_the_item_chose() -> None:
    votes = pd.DataFrame(
        [("x", "a", 0), ("x", "b", 0), ("x", "c", 1), ("y", "a", 0), ("y", "b", 0), ("y", "c", 0)],
        columns=["item", "rater", "label"],
    ).assign(longer=0)
    # Shares 1, 1 and 1/2: the middle is 0.95 (kept from certainty), worth two votes.
    expected = [(1 + 1.9) / 4, (2 + 1.9) / 4]
    assert of(votes, "a").longer.pool == pytest.approx(np.mean(expected))
    assert not of(votes.assign(longer=-1), "a").longer.known


def test_pace_is_a_median_and_finds_who_is_fast() -> None:
    votes = planted()
    mine = votes["rater"] == "r000"
    honest = of(votes)
    assert honest.pace.figure == pytest.approx(votes.loc[mine, "seconds"].median(), rel=0.01)
    fast = of(votes.assign(seconds=np.where(mine, votes["seconds"] / 8, votes["seconds"])))
    assert fast.pace.p < 1e-4 and not fast.hasty.p < 0.01, "always fast is no haste"
    one = votes.assign(seconds=np.where(mine, votes["seconds"].max() * 1e6, votes["seconds"]))
    assert of(one).pace.p > 0.5, "slow is not fast"


def test_haste_is_found_in_a_rater_whose_pace_is_usual() -> None:
    votes = planted()
    hit = (votes["rater"] == "r000") & (np.arange(len(votes)) % 8 == 0)
    found = of(votes.assign(seconds=np.where(hit, 1.5, votes["seconds"])))
    assert found.pace.p > 0.01
    assert found.hasty.figure > 0.06 > found.hasty.pool and found.hasty.p < 1e-3


def test_straight_lining_in_stretches_is_found_though_both_sides_are_equally_often() -> None:
    votes = planted()
    mine = np.flatnonzero(votes["rater"] == "r000")
    side = (np.arange(len(mine)) // 12) % 2
    label = votes["label"].to_numpy().copy()
    label[mine] = np.where(
        side == 0, votes["position"].iloc[mine], 1 - votes["position"].iloc[mine]
    )
    found = of(votes.assign(label=label))
    assert found.position.p > 0.1
    assert found.longest.figure == 12 and found.longest.p < 0.05
    assert found.runs.figure == math.ceil(len(mine) / 12) and found.runs.p < 1e-6
    shuffled = votes.assign(label=label).sample(frac=1, random_state=1)
    assert of(shuffled) == found, "order is that of time, not of rows"


def test_one_label_always_is_found_without_positions() -> None:
    votes = planted().drop(columns="position")
    mine = votes["rater"] == "r000"
    found = of(votes.assign(label=np.where(mine, 1, votes["label"])))
    assert not found.position.known
    assert found.longest.figure == mine.sum() and found.longest.p < 1e-12
    assert not found.runs.known, "one kind of label has one order"


def test_contradiction_counts_votes_that_differ_from_the_one_before() -> None:
    rng = np.random.default_rng(6)
    rows = []
    for rater in range(8):
        flips = 0.5 if rater == 0 else 0.1
        for item in range(60):
            first = int(rng.integers(0, 2))
            rows.append((item, f"r{rater:03d}", first, item))
            again = first if rng.random() > flips else 1 - first
            rows.append((item, f"r{rater:03d}", again, 1000 + item))
    votes = pd.DataFrame(rows, columns=["item", "rater", "label", "at"])
    found = habits.habits(votes)
    mine = votes[votes["rater"] == "r000"].pivot(index="item", columns="at", values="label")
    differ = (mine.iloc[:, :60].max(axis=1) != mine.iloc[:, 60:].max(axis=1)).mean()
    assert found["r000"].contradiction.figure == pytest.approx(differ)
    assert found["r000"].contradiction.votes == 60
    assert found["r000"].contradiction.p < 1e-4
    assert min(found[f"r00{k}"].contradiction.p for k in range(1, 8)) > 0.01


def test_ties_of_one_who_always_says_so_are_found() -> None:
    votes = planted()
    mine = votes["rater"] == "r000"
    assert not of(votes).ties.known, "no rater gave a tie: perhaps none was offered"
    found = of(votes.assign(label=np.where(mine, 2, votes["label"])))
    assert found.ties.figure == 1.0 and found.ties.p < 1e-12
    assert not found.position.known


def test_without_columns_nothing_is_known_of_them() -> None:
    bare = planted()[["item", "rater", "label"]]
    found = of(bare)
    for name in ("position", "longer", "ties", "pace", "hasty", "contradiction"):
        assert getattr(found, name) is habits.UNKNOWN
    assert found.longest.known and found.runs.known
    two = bare[bare["rater"].isin(["r000", "r001"])]
    assert not of(two).longest.known, "two raters are no pool"
    assert habits.habits(bare[:0]) == {}
