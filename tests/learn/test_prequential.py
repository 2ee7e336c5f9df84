"""An earlier reward model on labels that came after it."""

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest
import torch

from roundhouse import jsonl
from roundhouse.errors import DataError
from roundhouse.hashes import sha256_folder
from roundhouse.journal import silent
from roundhouse.learn import models, prequential, reward, reward_model
from roundhouse.learn.preferences import Pair
from roundhouse.learn.prequential import Earlier
from roundhouse.learn.reward_model import Scorer
from roundhouse.settings import Settings
from tests.learn.conftest import llama
from tests.learn.test_reward import write_pairs

ANSWERS = ["yes, the cat.", "no.", "a dog ran.", "the mat sat on a mat.", "why?", "a cat, yes."]


@pytest.fixture
def earlier(tmp_path: Path) -> Earlier:
    """The reward model of round 1."""
    torch.manual_seed(3)
    policy = llama()
    scorer = Scorer(reward_model.from_policy(policy, "mean"), policy.tokenizer, 12, 8)
    reward_model.save(scorer, tmp_path / "earlier" / "model")
    folder = tmp_path / "earlier" / "model"
    return Earlier(folder, sha256_folder(folder), 1)


def liked(earlier: Earlier, since: int, wrong: int = 0) -> list[Pair]:
    """Pairs labelled as the model itself sees them, but for the first `wrong`."""
    scorer = reward_model.load(earlier.folder)
    pairs = []
    for number, (a, b) in enumerate(pairwise(ANSWERS)):
        prompt = [{"role": "user", "content": f"why the {'cat ' * (number + 1)}?"}]
        first, second = reward_model.score(scorer, [prompt] * 2, [a, b])
        likes = (first > second) == (number >= wrong)
        pairs.append(Pair(prompt, a, b, 0.9 if likes else 0.1, 1.0, 1, "x", 2, since))
    return pairs


def test_only_pairs_that_nobody_had_judged_count(
    earlier: Earlier, tiny: Callable[..., Settings]
) -> None:
    # Anchors are voted on again in each round: the model learned from them.
    pairs = liked(earlier, since=2) + liked(earlier, since=1, wrong=5)
    figures = prequential.measure(earlier, pairs, tiny().evaluate, 3)
    assert figures["reward/prequential_accuracy"] == 1.0
    assert figures["reward/prequential_pairs"] == 5
    some = prequential.measure(earlier, liked(earlier, 2, wrong=2), tiny().evaluate, 3)
    assert some["reward/prequential_accuracy"] == pytest.approx(0.6)
    assert some["reward/prequential_accuracy_low"] < 0.6 < some["reward/prequential_accuracy_high"]
    assert prequential.measure(earlier, liked(earlier, since=1), tiny().evaluate, 3) == {}


@pytest.mark.parametrize("fault", ["altered", "missing"])
def test_another_model_than_the_published_one_is_refused(
    earlier: Earlier, tiny: Callable[..., Settings], fault: str
) -> None:
    other = earlier._replace(folder=earlier.folder.parent / "none")
    if fault == "altered":
        jsonl.write_json(earlier.folder / "reward.json", {"pooling": "last"})
        other = earlier
    with pytest.raises(DataError, match="not the reward model that round 1 published"):
        prequential.measure(other, liked_nothing(), tiny().evaluate, 3)


def liked_nothing() -> list[Pair]:
    return []


def test_the_check_changes_no_byte_of_what_the_stage_trains(
    tmp_path: Path, earlier: Earlier, tiny: Callable[..., Settings]
) -> None:
    models.save(llama(), tmp_path / "sft" / "model")
    write_pairs(tmp_path, "train", "judge", "eval", since=2)
    for name, given in (("with", earlier), ("without", None)):
        reward.run(tmp_path, tmp_path / "sft", tmp_path / name, tiny(), 3, silent, given)
    for name in ("model", "judge"):
        both = [sha256_folder(tmp_path / where / name) for where in ("with", "without")]
        assert both[0] == both[1]
    figures = [jsonl.read_json(tmp_path / n / "figures.json") for n in ("with", "without")]
    added = figures[0].keys() - figures[1].keys()
    assert {name.removeprefix("reward/prequential_") for name in added} == {
        "accuracy", "accuracy_low", "accuracy_high", "pairs",
    }  # fmt: skip
    assert {name: figures[0][name] for name in figures[1]} == figures[1]
