"""The scalar head: what it reads, and what its scores depend on."""

from pathlib import Path
from typing import Literal

import pytest
import torch

from roundhouse.errors import ModelError
from roundhouse.hashes import sha256_folder
from roundhouse.learn import models, reward_model, text
from roundhouse.learn.models import Policy
from roundhouse.learn.reward_model import Scorer
from roundhouse.learn.text import Messages

CHATS: list[Messages] = [
    [{"role": "user", "content": said}] for said in ("why?", "the cat sat on a mat?", "no.")
]
ANSWERS = ["yes.", "the dog ran on the mat.", "no, the cat sat."]


@pytest.fixture(params=["last", "mean"])
def scorer(policy: Policy, request: pytest.FixtureRequest) -> Scorer:
    """A reward model with a random head."""
    torch.manual_seed(5)
    return Scorer(reward_model.from_policy(policy, request.param), policy.tokenizer, 20, 12)


def test_scores_depend_neither_on_padding_nor_on_the_batch(scorer: Scorer) -> None:
    together = reward_model.score(scorer, CHATS, ANSWERS)
    in_pairs = reward_model.score(scorer, CHATS, ANSWERS, batch=2)
    alone = [
        reward_model.score(scorer, [chat], [answer])[0]
        for chat, answer in zip(CHATS, ANSWERS, strict=True)
    ]
    assert together == pytest.approx(alone, abs=1e-5)
    assert in_pairs == pytest.approx(alone, abs=1e-5)
    assert len({round(value, 4) for value in alone}) == 3


def test_equal_texts_score_equal_to_the_last_bit(scorer: Scorer) -> None:
    scores = reward_model.score(scorer, CHATS * 2, ANSWERS * 2, batch=2)
    assert scores[:3] == scores[3:]
    assert scores[:3] != scores[1:4]


@pytest.mark.parametrize("pooling", ["last", "mean"])
def test_the_head_reads_the_states_of_the_response(
    policy: Policy, pooling: Literal["last", "mean"]
) -> None:
    model = reward_model.from_policy(policy, pooling)
    batch = text.collate([[5, 6, 7]], [[8, 9, 2]], 0)
    with torch.no_grad():
        states = model.backbone(input_ids=batch.tokens).last_hidden_state[0]
        each = model.head(states)[:, 0]
        expected = each[5] if pooling == "last" else each[3:].mean()
        assert model.raw(batch).item() == pytest.approx(expected.item(), abs=1e-6)
        # A value belongs to the state before its token.
        torch.testing.assert_close(model.values(batch)[0], each[2:5])


def test_the_head_starts_small(policy: Policy) -> None:
    torch.manual_seed(0)
    heads = [reward_model.from_policy(policy, "last").head for _ in range(50)]
    spread = torch.cat([head.weight.flatten() for head in heads]).std().item()
    assert spread == pytest.approx((16 + 1) ** -0.5, rel=0.1)
    assert not heads[0].bias.any()


def test_standardised_scores_have_mean_0_and_spread_1(scorer: Scorer) -> None:
    reward_model.standardise(scorer, CHATS, ANSWERS)
    scores = torch.tensor(reward_model.score(scorer, CHATS, ANSWERS))
    assert scores.mean().item() == pytest.approx(0, abs=1e-4)
    assert scores.std(unbiased=False).item() == pytest.approx(1, abs=1e-4)


def test_the_critic_starts_from_the_standardised_scores(scorer: Scorer) -> None:
    reward_model.standardise(scorer, CHATS, ANSWERS)
    batch = text.collate([[5, 6, 7], [5]], [[8, 9, 2], [9, 2]], 0)
    critic = scorer.model.critic()
    with torch.no_grad():
        torch.testing.assert_close(critic(batch), scorer.model(batch), atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(
            critic.values(batch), scorer.model.values(batch), atol=1e-4, rtol=1e-4
        )
        critic.head.weight.zero_()
        assert scorer.model.head.weight.any()


def test_a_saved_reward_model_scores_the_same(scorer: Scorer, tmp_path: Path) -> None:
    reward_model.standardise(scorer, CHATS, ANSWERS)
    reward_model.save(scorer, tmp_path / "model")
    again = reward_model.load(tmp_path / "model")
    scores = reward_model.score(scorer, CHATS, ANSWERS)
    assert reward_model.score(again, CHATS, ANSWERS) == scores
    reward_model.save(again, tmp_path / "again")
    assert sha256_folder(tmp_path / "again") == sha256_folder(tmp_path / "model")


def test_a_policy_is_no_reward_model(policy: Policy, tmp_path: Path) -> None:
    models.save(policy, tmp_path)
    with pytest.raises(ModelError, match="not a reward model"):
        reward_model.load(tmp_path)
