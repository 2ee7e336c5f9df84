"""The reward stage."""

import json
import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from roundhouse import jsonl
from roundhouse.errors import DataError, DivergenceError
from roundhouse.hashes import sha256_folder
from roundhouse.journal import silent
from roundhouse.learn import models, reward, reward_model
from roundhouse.learn.models import Policy
from roundhouse.learn.reward import Pair
from roundhouse.learn.reward_model import Scorer
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


def test_the_stage_writes_both_models_and_the_same_bytes_twice(
    tmp_path: Path, tiny: Callable[..., Settings]
) -> None:
    models.save(llama(), tmp_path / "sft" / "model")
    write_pairs(tmp_path, "train", "judge", "eval")
    jsonl.write_json(tmp_path / "figures.json", {"raters/ceiling": 0.8})
    for name in ("one", "two"):
        reward.run(tmp_path, tmp_path / "sft", tmp_path / name, tiny(), 3, silent)
    assert sha256_folder(tmp_path / "one") == sha256_folder(tmp_path / "two")
    first, judge = (sha256_folder(tmp_path / "one" / name) for name in ("model", "judge"))
    assert first != judge
    figures = jsonl.read_json(tmp_path / "one" / "figures.json")
    assert {"reward/accuracy", "reward/judge_accuracy_low", "reward/ece"} <= figures.keys()
    assert figures["reward/judge_overlap"] == 0
    assert figures["reward/accuracy_of_ceiling"] == figures["reward/accuracy"] / 0.8
    assert -1 <= figures["reward/length_correlation"] <= 1
    assert any(name.startswith("reward/accuracy/confidence/") for name in figures)
    bins = jsonl.read_json(tmp_path / "one" / "calibration.json")["bins"]
    assert sum(part["count"] for part in bins) == 4
    scorer = reward.load(tmp_path / "one" / "model")
    assert math.isfinite(reward.score(scorer, [PROMPT], ["yes."])[0])


def test_what_stops_the_judge_stops_the_stage(
    tmp_path: Path, tiny: Callable[..., Settings]
) -> None:
    models.save(llama(), tmp_path / "sft" / "model")
    write_pairs(tmp_path, "train", "judge")
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
    write_pairs(tmp_path, *({"train", "judge", "eval"} - {missing}))
    with pytest.raises(DataError, match=f"no pairs on the side {missing}"):
        reward.run(tmp_path, tmp_path / "sft", tmp_path / "out", tiny(), 3, silent)


def write_pairs(folder: Path, *sides: str, since: int = 1) -> None:
    rows = [
        {
            "prompt": [{"role": "user", "content": f"why the {what} on {side}?"}],
            "a": "yes, the cat sat on.",
            "b": f"no, the {what} ran.",
            "p": p,
            "weight": 1.0,
            "votes": 1,
            "side": side,
            "domain": "x",
            "partition": since,
            "since": since,
            "rows": ["r"],
        }
        for side in sides
        for what in ("cat", "dog")
        for p in (0.9, 0.7)
    ]
    jsonl.write(folder / "pairs.jsonl", rows)
