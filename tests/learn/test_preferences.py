"""Pairs: which are taken, how they are scored, and the figures that they give."""

from collections.abc import Callable

import numpy
import pytest
import torch

from roundhouse.learn import preferences, reward_model
from roundhouse.learn.preferences import Pair, Scores
from roundhouse.learn.reward_model import RewardModel, Scorer
from roundhouse.learn.text import Batch
from roundhouse.settings import Settings
from tests.learn.conftest import llama

PROMPT = [{"role": "user", "content": "why the cat?"}]
MARGINS = numpy.array([1.0, 1.0, 1.0, -1.0])


def pair(a: str, b: str, p: float, votes: int = 1, domain: str = "x") -> Pair:
    return Pair(PROMPT, a, b, p, 1.0, votes, domain, 1)


def test_a_margin_is_the_score_of_a_less_that_of_b() -> None:
    class Longer(RewardModel):
        def raw(self, batch: Batch) -> torch.Tensor:
            return batch.lengths.float()

    policy = llama()
    trunk = reward_model.from_policy(policy, "mean").backbone
    scorer = Scorer(Longer(trunk, "mean"), policy.tokenizer, 9, 9)
    found = preferences.scores(scorer, [pair("yes, the cat.", "no.", 0.9), pair("no", "a cat", 1)])
    assert found.margins.tolist() == [3.0, -1.0]


def test_the_newest_pairs_train_and_part_of_a_partition_is_drawn() -> None:
    old = [pair(f"a{n}", "b", 0.9) for n in range(100)]
    new = [pair(f"c{n}", "d", 0.9)._replace(partition=2) for n in range(10)]
    every = old + new
    assert preferences.newest(every, 0, 3) == every == preferences.newest(every, 110, 3)
    kept = preferences.newest(every, 60, 3)
    assert len(kept) == 60
    assert {one.a for one in new} <= {one.a for one in kept}
    numbers = [int(one.a[1:]) for one in kept if one.partition == 1]
    assert len(set(numbers)) == 50 and 30 < sum(numbers) / 50 < 70
    assert kept == preferences.newest(every, 60, 3) != preferences.newest(every, 60, 4)


def test_figures_count_ties_and_majorities_as_they_say(tiny: Callable[..., Settings]) -> None:
    pairs = [
        pair("yes yes", "no", 0.9, votes=3),
        pair("yes", "no no", 0.2, votes=5, domain="y"),
        pair("a cat", "a dog", 0.5, votes=4, domain="y"),
        pair("a cat", "the dog ran", 0.6, votes=3),
    ]
    figures = preferences.measure(pairs, MARGINS, tiny().evaluate, seed=0)
    assert figures["reward/accuracy"] == pytest.approx(1 / 3)
    assert figures["reward/accuracy_majority"] == 0.5
    assert figures["reward/length_baseline"] == pytest.approx(2 / 3)
    assert figures["reward/accuracy/domain/x"] == 0.5
    assert figures["reward/accuracy/domain/y"] == 0.0
    assert figures["reward/accuracy_low"] <= 1 / 3 <= figures["reward/accuracy_high"]


def test_a_score_that_is_a_length_correlates_with_it() -> None:
    pairs = [pair("a cat sat", "no", 0.9), pair("no", "a cat", 0.1), pair("why ?", "why", 0.4)]
    words = {one: float(len(one.split())) for two in pairs for one in (two.a, two.b)}
    a, b = (numpy.array([words[text] for text in side]) for side in
            ([one.a for one in pairs], [one.b for one in pairs]))  # fmt: skip
    assert preferences.length_correlation(pairs, Scores(a, b, a - b)) == pytest.approx(1)
    assert preferences.length_correlation(pairs, Scores(-a, -b, b - a)) == pytest.approx(-1)


def test_the_ceiling_scales_accuracy_and_its_ends() -> None:
    figures = {"reward/accuracy": 0.68, "reward/accuracy_low": 0.64, "reward/accuracy_high": 0.72}
    found = preferences.share_of_ceiling(figures, 0.8)
    assert found == {
        "reward/accuracy_of_ceiling": pytest.approx(0.85),
        "reward/accuracy_of_ceiling_low": pytest.approx(0.8),
        "reward/accuracy_of_ceiling_high": pytest.approx(0.9),
    }
    assert preferences.share_of_ceiling({}, 0.8) == {}
