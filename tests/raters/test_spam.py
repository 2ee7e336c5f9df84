"""One finding a rater: spammers of each kind among honest raters, and what is not spam."""

import math

import numpy as np
import pandas as pd
import pytest

from roundhouse.raters import conspicuous, habits, spam
from roundhouse.simulate.votes import Fault, Kind, Pool, draw
from tests.raters.conftest import Simulate

POOL = Pool(raters=30, votes=150)
BAD = [1, 7, 12, 20]


def flagged(votes: pd.DataFrame, draws: int = 39) -> dict[str, str]:
    return {one.rater: one.kind for one in spam.findings(votes, draws=draws) if one.flagged}


@pytest.mark.parametrize(
    ("kind", "name"), [("fixed", "fixed"), ("random", "random"), ("collude", "colluding")]
)
def test_spammers_are_found_and_named(kind: Kind, name: str) -> None:
    found = flagged(draw(POOL, 1, 2, [Fault(BAD, kind)]).votes, 99)
    expected = {f"r{k:03d}": name for k in BAD}
    assert expected.items() <= found.items()
    assert len(found) <= len(BAD) + 1


def test_honest_pools_are_left_alone() -> None:
    accused = [len(flagged(draw(POOL, 1, seed).votes, 19)) for seed in range(5)]
    assert sum(accused) <= 4, "150 raters"


def test_harder_items_accuse_nobody() -> None:
    votes = draw(POOL, 2, 3, harder={2: 0.4}).votes
    assert len(flagged(votes[votes["round"] == 2], 19)) <= 1


def test_skill_is_accuracy_without_drawing_towards_the_pool(simulate: Simulate) -> None:
    rng = np.random.default_rng(4)
    world = simulate(4000, 3, rng.uniform(0.55, 0.95, 25), 5)
    found = spam.skill(world.votes)
    assert found.accuracy == pytest.approx(world.accuracy, abs=0.09)
    z = (found.accuracy - world.accuracy) / found.error
    assert 0.5 < z.std() < 1.6, "errors are of the right size"


def test_a_vote_is_no_evidence_for_itself() -> None:
    """Turning a rater's only votes turns their figure about the pool's, not towards it."""
    rng = np.random.default_rng(6)
    truth = rng.integers(0, 2, 400)
    rows = [
        (item, f"p{k}", int(truth[item] if rng.random() < 0.85 else 1 - truth[item]))
        for item in range(400)
        for k in rng.choice(8, 4, replace=False)
    ]
    votes = pd.DataFrame(rows, columns=["item", "rater", "label"])
    wrong = pd.DataFrame({"item": range(40), "rater": "z", "label": 1 - truth[:40]})
    found = spam.skill(pd.concat([votes, wrong], ignore_index=True))
    assert found.raters[-1] == "z"
    assert found.accuracy[-1] < 0.2 and found.p[-1] < 1e-4


def test_a_mild_preference_with_many_votes_is_no_spam() -> None:
    """Significant, and too small to matter: 0.60 of 3,000 choices for the first place."""
    rng = np.random.default_rng(7)
    pool = Pool(raters=12, votes=3000, gold=0, anchors=0)
    votes = draw(pool, 1, 8).votes
    hit = (votes["rater"] == "r000") & (rng.random(len(votes)) < 0.2)
    votes = votes.assign(label=np.where(hit, votes["position"], votes["label"]))
    one = spam.findings(votes, draws=19)[0]
    assert one.fixed < 1e-4
    assert one.kind != "fixed"


def test_a_trifle_lends_no_significance_to_a_chance_effect() -> None:
    place, run = habits.Habit(0.7, 0.5, 10, 0.3), habits.Habit(15, 10, 9000, 1e-9)
    unknown = habits.UNKNOWN
    seen = habits.Habits("a", place, unknown, unknown, unknown, unknown, run, unknown, unknown)
    words = ["the answer shown first in 0.70 of 10, usual 0.50 (p 0.3)"]
    assert conspicuous.fixed(seen) == (0.6, True, words)


def test_evidence_says_what_was_seen() -> None:
    findings = {
        f.rater: f for f in spam.findings(draw(POOL, 1, 2, [Fault(BAD, "fixed")]).votes, draws=19)
    }
    one = findings["r001"]
    assert one.evidence[0].startswith("the answer shown first in 1.00 of 2")
    assert ", usual 0.50 (p " in one.evidence[0]
    assert one.fixed < 1e-10 and one.random < 1e-3 and math.isnan(one.colluding)
    assert findings["r000"].evidence == [] and findings["r000"].kind == "clear"


def test_nothing_to_compare_with_is_unknown() -> None:
    votes = draw(POOL, 1, 9).votes
    two = votes[votes["rater"].isin(["r000", "r001"])].drop(columns="position")
    assert [one.kind for one in spam.findings(two)] == ["unknown", "unknown"]
    assert spam.findings(votes[:0]) == []


def test_a_view_that_a_group_shares_is_no_spam() -> None:
    """Ten of forty judge by a worth of their own: no better than chance by the others' votes."""
    pool = Pool(raters=40, votes=250, overlap=0.5, gold=0)
    votes = draw(pool, 1, 5, [Fault(range(10), "taste")]).votes
    kinds = [one.kind for one in spam.findings(votes)]
    assert kinds[:10].count("view") >= 8
    assert sum(kind in ("random", "colluding", "fixed") for kind in kinds) <= 2
