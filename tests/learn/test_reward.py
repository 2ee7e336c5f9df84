"""The reward stage."""

import json
import math
from collections.abc import Callable
from pathlib import Path

import numpy
import pytest
import torch

from roundhouse import jsonl
from roundhouse.errors import DataError, DivergenceError
from roundhouse.hashes import sha256_folder
from roundhouse.journal import silent
from roundhouse.learn import models, reward, reward_model
from roundhouse.learn.models import Policy
from roundhouse.learn.reward import Pair
from roundhouse.learn.reward_model import RewardModel, Scorer
from roundhouse.learn.text import Batch
from roundhouse.settings import Settings
from tests.learn.conftest import llama

PROMPT = [{"role": "user", "content": "why the cat?"}]


def pair(a: str, b: str, p: float, votes: int = 1, domain: str = "x") -> Pair:
    return Pair(PROMPT, a, b, p, 1.0, votes, domain, 1)


def test_the_loss_is_the_weighted_cross_entropy_of_soft_labels() -> None:
    margins, labels = torch.tensor([2.0, -1.0]), torch.tensor([0.8, 0.5])
    found = reward.pair_loss(margins, labels, torch.tensor([3.0, 1.0])).item()

    def loss(margin: float, p: float) -> float:
        s = 1 / (1 + math.exp(-margin))
        return -p * math.log(s) - (1 - p) * math.log(1 - s)

    assert found == pytest.approx((3 * loss(2.0, 0.8) + loss(-1.0, 0.5)) / 4, abs=1e-6)
    swapped = reward.pair_loss(-margins, 1 - labels, torch.tensor([3.0, 1.0])).item()
    assert swapped == pytest.approx(found, abs=1e-6)


@pytest.mark.parametrize("pooling", ["last", "mean"])
def test_the_better_answer_scores_higher(
    policy: Policy, tiny: Callable[..., Settings], pooling: str
) -> None:
    settings = tiny(**{"reward.pooling": pooling, "reward.lr": 0.01, "reward.epochs": 3})
    torch.manual_seed(2)
    scorer = Scorer(
        reward_model.from_policy(policy, settings.reward.pooling), policy.tokenizer, 9, 9
    )
    # `yes` wins against `no` on whichever side it stands.
    pairs = [pair("yes, the cat sat.", "no, the dog ran.", 0.9)] * 20
    pairs += [pair("no, a mat.", "yes, a mat.", 0.1)] * 20
    reward.train(scorer, pairs, settings, 1, silent)
    yes, no = reward_model.score(scorer, [PROMPT] * 2, ["yes, a dog ran.", "no, a dog ran."])
    assert yes > no


def test_a_margin_is_the_score_of_a_less_that_of_b() -> None:
    class Longer(RewardModel):
        def raw(self, batch: Batch) -> torch.Tensor:
            return batch.lengths.float()

    policy = llama()
    trunk = reward_model.from_policy(policy, "mean").backbone
    scorer = Scorer(Longer(trunk, "mean"), policy.tokenizer, 9, 9)
    found = reward._margins(scorer, [pair("yes, the cat.", "no.", 0.9), pair("no", "a cat", 1)])
    assert found.tolist() == [3.0, -1.0]


def test_the_newest_pairs_train_and_part_of_a_partition_is_drawn() -> None:
    old = [pair(f"a{n}", "b", 0.9) for n in range(100)]
    new = [pair(f"c{n}", "d", 0.9)._replace(partition=2) for n in range(10)]
    every = old + new
    assert reward.newest(every, 0, 3) == every == reward.newest(every, 110, 3)
    kept = reward.newest(every, 60, 3)
    assert len(kept) == 60
    assert {one.a for one in new} <= {one.a for one in kept}
    numbers = [int(one.a[1:]) for one in kept if one.partition == 1]
    assert len(set(numbers)) == 50 and 30 < sum(numbers) / 50 < 70
    assert kept == reward.newest(every, 60, 3) != reward.newest(every, 60, 4)


def test_figures_count_ties_and_majorities_as_they_say(tiny: Callable[..., Settings]) -> None:
    pairs = [
        pair("yes yes", "no", 0.9, votes=3),
        pair("yes", "no no", 0.2, votes=5, domain="y"),
        pair("a cat", "a dog", 0.5, votes=4, domain="y"),
        pair("a cat", "the dog ran", 0.6, votes=3),
    ]
    figures = reward.measure(pairs, numpy.array([1.0, 1.0, 1.0, -1.0]), tiny(), seed=0)
    assert figures["reward/accuracy"] == pytest.approx(1 / 3)
    assert figures["reward/accuracy_majority"] == 0.5
    assert figures["reward/length_baseline"] == pytest.approx(2 / 3)
    assert figures["reward/accuracy/domain/x"] == 0.5
    assert figures["reward/accuracy/domain/y"] == 0.0
    assert figures["reward/accuracy_low"] <= 1 / 3 <= figures["reward/accuracy_high"]


def test_the_stage_writes_both_models_and_the_same_bytes_twice(
    tmp_path: Path, tiny: Callable[..., Settings]
) -> None:
    models.save(llama(), tmp_path / "sft" / "model")
    _write(tmp_path, "train", "judge", "eval")
    for name in ("one", "two"):
        reward.run(tmp_path, tmp_path / "sft", tmp_path / name, tiny(), 3, silent)
    assert sha256_folder(tmp_path / "one") == sha256_folder(tmp_path / "two")
    first, judge = (sha256_folder(tmp_path / "one" / name) for name in ("model", "judge"))
    assert first != judge
    figures = jsonl.read_json(tmp_path / "one" / "figures.json")
    assert {"reward/accuracy", "reward/judge_accuracy_low", "reward/ece"} <= figures.keys()
    assert figures["reward/judge_overlap"] == 0
    bins = jsonl.read_json(tmp_path / "one" / "calibration.json")["bins"]
    assert sum(part["count"] for part in bins) == 4
    scorer = reward.load(tmp_path / "one" / "model")
    assert math.isfinite(reward.score(scorer, [PROMPT], ["yes."])[0])


def test_what_stops_the_judge_stops_the_stage(
    tmp_path: Path, tiny: Callable[..., Settings]
) -> None:
    models.save(llama(), tmp_path / "sft" / "model")
    _write(tmp_path, "train", "judge")
    rows = [row | {"weight": row["weight"] if row["side"] == "train" else math.inf}
            for row in jsonl.read(tmp_path / "pairs.jsonl")]  # fmt: skip
    text = "".join(json.dumps(row) + "\n" for row in rows)
    (tmp_path / "pairs.jsonl").write_text(text, encoding="utf-8")
    with pytest.raises(DivergenceError, match="reward"):
        reward.run(tmp_path, tmp_path / "sft", tmp_path / "out", tiny(), 3, silent)


@pytest.mark.parametrize("missing", ["train", "judge"])
def test_a_side_without_pairs_is_named(
    tmp_path: Path, tiny: Callable[..., Settings], missing: str
) -> None:
    _write(tmp_path, *({"train", "judge", "eval"} - {missing}))
    with pytest.raises(DataError, match=f"no pairs on the side {missing}"):
        reward.run(tmp_path, tmp_path / "sft", tmp_path / "out", tiny(), 3, silent)


def _write(folder: Path, *sides: str) -> None:
    rows = [
        {
            "prompt": [{"role": "user", "content": f"why the {what} on {side}?"}],
            "a": "yes, the cat sat.",
            "b": f"no, the {what} ran.",
            "p": p,
            "weight": 1.0,
            "votes": 1,
            "side": side,
            "domain": "x",
            "partition": 1,
            "rows": ["r"],
        }
        for side in sides
        for what in ("cat", "dog")
        for p in (0.9, 0.7)
    ]
    jsonl.write(folder / "pairs.jsonl", rows)
