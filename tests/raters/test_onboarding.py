"""The curve of newcomers whose learning is known."""

import numpy as np
import pandas as pd
import pytest

from roundhouse.raters import onboarding, table
from roundhouse.raters.agreement import Estimate
from roundhouse.raters.notes import _newcomers
from roundhouse.raters.onboarding import Onboarding, Step
from roundhouse.simulate.votes import Pool, draw


def newcomers(
    seed: int, lost: float, pace: float = 40.0, harder: float = 1.0, fresh: int = 12
) -> pd.DataFrame:
    """Three rounds of 40 raters, the first `fresh` of whom come in the second; of their n-th votes
    a share lost * exp(-n / pace) is turned."""
    votes = draw(Pool(raters=40, overlap=0.6), 3, seed, harder={2: harder, 3: harder}).votes
    new = votes["rater"] < f"r{fresh:03d}"
    votes = votes[~new | (votes["round"] > 1)]
    number = votes.groupby("rater").cumcount()
    share = np.where(votes["rater"] < f"r{fresh:03d}", lost * np.exp(-number / pace), 0.0)
    turned = np.random.default_rng([seed, 8]).random(len(votes)) < share
    return votes.assign(label=np.where(turned, 1 - votes["label"], votes["label"]))


def test_those_who_learn_start_below_and_reach_the_pool() -> None:
    found = onboarding.onboarding(newcomers(1, 0.5), 300, 0.9, 1)
    first, last = found.steps[0], found.steps[-1]
    assert (first.first, first.raters) == (0, 12)
    assert first.gap.high < -0.1 and first.agreement.high < last.agreement.low
    assert found.below >= 0
    assert found.below < found.reached <= 200


def test_those_who_never_learn_never_reach_it() -> None:
    found = onboarding.onboarding(newcomers(2, 0.3, pace=1e9), 300, 0.9, 1)
    assert found.reached == -1 and found.below == 200


def test_gap_covers_nothing_lost_also_where_rounds_get_harder() -> None:
    """The newcomers' rounds are harder than the first: without matching rounds they seem worse."""
    hits, worst = np.zeros(5), []
    for seed in range(25):
        found = onboarding.onboarding(newcomers(seed, 0.0, harder=0.5), 100, 0.9, seed)
        hits += [step.gap.low <= 0 <= step.gap.high for step in found.steps]
        worst.append(found.steps[-1].gap.value)
    assert (hits >= 18).all()
    assert abs(np.mean(worst)) < 0.02


def test_majority_is_that_of_others_who_are_established() -> None:
    rows = [("old", rater, 0, 1) for rater in "abc"]
    rows += [("x", "a", 1, 2), ("x", "b", 1, 2), ("x", "new", 1, 2), ("x", "other", 0, 2)]
    rows += [("y", "a", 0, 2), ("y", "b", 1, 2), ("y", "new", 1, 2)]
    rows += [("z", "a", 0, 2), ("z", "new", 1, 2), ("z", "other", 1, 2)]
    rows += [("t", "a", 0, 2), ("t", "b", 0, 2), ("t", "new", 2, 2)]
    frame = pd.DataFrame(rows, columns=["item", "rater", "label", "round"])
    votes = table.tidy(frame.assign(at=np.arange(float(len(frame)))))
    found = onboarding.onboarding(votes, 20, 0.9, 1, bins=(0,), established=100)
    assert [(step.raters, step.votes) for step in found.steps] == []
    fuller = pd.concat([votes, votes.iloc[3:5].assign(rater=["c", "d"], at=[90.0, 91.0])])
    [step] = onboarding.onboarding(fuller, 20, 0.9, 1, bins=(0,), established=100).steps
    # On x three or four of the established say 1: `new` agrees, `other` and `d` do and do not.
    assert (step.raters, step.votes) == (3, 3)
    assert not step.agreement.known and not step.gap.known, "three newcomers are too few"


@pytest.mark.parametrize("established", [10, 10_000])
def test_newcomers_become_peers_after_enough_votes(established: int) -> None:
    """Where all but two are new, only those who count as established make majorities."""
    votes = newcomers(4, 0.0, fresh=38)
    found = onboarding.onboarding(votes, 20, 0.9, 1, established=established)
    seen = sum(step.votes for step in found.steps)
    assert seen > 5000 if established == 10 else seen < 200


def test_without_newcomers_there_is_no_curve() -> None:
    votes = draw(Pool(raters=10), 2, 1).votes
    assert onboarding.onboarding(votes, 20, 0.9, 1) == onboarding.Onboarding([], -1, -1)
    assert onboarding.onboarding(votes.iloc[:0], 20, 0.9, 1).steps == []


@pytest.mark.parametrize(
    ("below", "reached", "said"),
    [
        (-1, 0, "New raters agree as much as the others do, from the first vote on."),
        (-1, 50, "After 50 votes new raters agree as much as the others do."),
        (0, -1, "agree less than the others in their first votes: -0.10 (-0.20 to -0.05)."),
        (25, -1, "still agree less than the others after 25 votes: -0.10 (-0.20 to -0.05)."),
    ],
)
def test_how_soon_is_said_in_words(below: int, reached: int, said: str) -> None:
    gap = Estimate(-0.1, -0.2, -0.05)
    steps = [Step(first, 10, 90, gap, gap) for first in (0, 25)]
    [sentence] = _newcomers(Onboarding(steps, below, reached))
    assert sentence.endswith(said)
