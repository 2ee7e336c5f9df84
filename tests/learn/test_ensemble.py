"""Several members: how they are combined, trained, kept, and what they do not agree on."""

import itertools
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from roundhouse import jsonl
from roundhouse.hashes import sha256_folder
from roundhouse.journal import silent
from roundhouse.learn import align, doubt, ensemble, models, ppo, reward, reward_model, text
from roundhouse.learn.models import Policy
from roundhouse.learn.reward_model import Scorer, Voices
from roundhouse.settings import Settings
from tests.learn.conftest import asks, llama
from tests.learn.test_ppo import task
from tests.learn.test_reward import pair, write_pairs

CHATS = asks("why?", "the cat sat on a mat?", "no.")
ANSWERS = ["yes.", "the dog ran on the mat.", "no, the cat sat."]
NUMBERS = st.floats(-5, 5, width=32)
OTHERS: tuple[ensemble.Objective, ...] = ("worst", "mean_minus_variance")


def several(policy: Policy, pooling: reward_model.Pooling = "mean", members: int = 3) -> Scorer:
    torch.manual_seed(5)
    model = reward_model.from_policy(policy, pooling, members)
    return Scorer(model, policy.tokenizer, 20, 12)


@given(st.lists(st.lists(NUMBERS, min_size=3, max_size=3), min_size=1, max_size=5))
def test_no_objective_pays_more_than_the_mean_and_agreement_costs_nothing(
    rows: list[list[float]],
) -> None:
    opinions = torch.tensor(rows)
    mean = ensemble.combine(opinions, "mean", 0.0)
    for objective in OTHERS:
        found = ensemble.combine(opinions, objective, 0.7)
        assert (found <= mean + 1e-5).all()
        same = opinions[:, :1].expand(-1, 3)
        torch.testing.assert_close(ensemble.combine(same, objective, 0.7), opinions[:, 0])
        turned = ensemble.combine(opinions.flip(1), objective, 0.7)
        torch.testing.assert_close(turned, found)
    assert (ensemble.combine(opinions, "worst", 0.0) == opinions.amin(dim=1)).all()


def test_the_price_of_variance_by_hand() -> None:
    opinions = torch.tensor([[1.0, 3.0], [2.0, 2.0]])
    assert ensemble.combine(opinions, "mean_minus_variance", 0.5).tolist() == [1.5, 2.0]
    assert ensemble.disagreement(opinions).tolist() == [1.0, 0.0]


def test_members_weigh_pairs_differently_and_one_takes_them_as_they_are() -> None:
    drawn = torch.tensor(ensemble.bootstrap(4000, 3, seed=1))
    assert drawn.shape == (4000, 3)
    assert drawn.mean(dim=0).tolist() == pytest.approx([1] * 3, abs=0.08)
    assert (drawn > 0).all()
    correlation = torch.corrcoef(drawn.T)
    assert (correlation - torch.eye(3)).abs().max() < 0.06
    assert ensemble.bootstrap(9, 3, 1) != ensemble.bootstrap(9, 3, 2)
    assert ensemble.bootstrap(2, 1, 1) == [(), ()]


@pytest.mark.parametrize("pooling", ["mean", "last"])
def test_every_head_reads_what_a_single_one_would(
    policy: Policy, pooling: reward_model.Pooling
) -> None:
    scorer = several(policy, pooling)
    found = torch.tensor(reward_model.read(scorer, scorer.model.heads, CHATS, ANSWERS))
    for member in range(3):
        one = reward_model.RewardModel(scorer.model.backbone, pooling)
        with torch.no_grad():
            one.head.weight.copy_(scorer.model.head.weight[member : member + 1])
        alone = reward_model.score(scorer._replace(model=one), CHATS, ANSWERS)
        assert found[:, member].tolist() == pytest.approx(alone, abs=1e-5)


@pytest.mark.parametrize("objective", ["mean", "worst", "mean_minus_variance"])
def test_members_and_whole_are_standardised_and_kept(
    policy: Policy, tmp_path: Path, objective: ensemble.Objective
) -> None:
    scorer = several(policy)
    scorer.model.voices = Voices(objective, 0.5, [0.0] * 3, [1.0] * 3)
    reward_model.standardise(scorer, CHATS, ANSWERS)
    scores = reward_model.score(scorer, CHATS, ANSWERS)
    assert numpy.mean(scores) == pytest.approx(0, abs=1e-4)
    assert numpy.std(scores) == pytest.approx(1, abs=1e-4)
    each = numpy.array(reward_model.read(scorer, scorer.model.opinions, CHATS, ANSWERS))
    assert each.mean(axis=0).tolist() == pytest.approx([0] * 3, abs=1e-4)
    assert each.std(axis=0).tolist() == pytest.approx([1] * 3, abs=1e-4)
    reward_model.save(scorer, tmp_path / "model")
    again = reward_model.load(tmp_path / "model")
    assert again.model.voices == scorer.model.voices
    assert reward_model.score(again, CHATS, ANSWERS) == scores


def test_a_score_with_its_doubt_is_the_score(policy: Policy) -> None:
    scorer = several(policy)
    reward_model.standardise(scorer, CHATS, ANSWERS)
    batch = text.collate([[5, 6, 7], [5]], [[8, 9, 2], [9, 2]], 0)
    with torch.no_grad():
        scores, unsure = scorer.model.judged(batch)
        torch.testing.assert_close(scores, scorer.model(batch))
        torch.testing.assert_close(unsure, scorer.model.opinions(batch).std(1, unbiased=False))
        one = several(policy, members=1).model
        assert one.judged(batch)[1].tolist() == [0, 0]


def test_the_critic_starts_as_the_members_mean(policy: Policy) -> None:
    scorer = several(policy)
    reward_model.standardise(scorer, CHATS, ANSWERS)
    batch = text.collate([[5, 6, 7], [5]], [[8, 9, 2], [9, 2]], 0)
    critic = scorer.model.critic()
    assert critic.members == 1
    with torch.no_grad():
        torch.testing.assert_close(critic(batch), scorer.model(batch), atol=1e-4, rtol=1e-4)


def test_a_gap_asks_the_better_answer_to_lead_by_it() -> None:
    margins, p = torch.tensor([1.0, -0.5, 2.0]), torch.tensor([1.0, 0.0, 0.7])
    weights, gaps = torch.ones(3), torch.tensor([0.4, 0.4, 0.0])
    found = reward.pair_loss(margins, p, weights, gaps).item()
    sides = [-torch.log(torch.sigmoid(margins - gaps)), -torch.log(torch.sigmoid(-margins - gaps))]
    assert found == pytest.approx((p * sides[0] + (1 - p) * sides[1]).mean().item(), abs=1e-6)
    none = reward.pair_loss(margins, p, weights, torch.zeros(3)).item()
    assert none == pytest.approx(reward.pair_loss(margins, p, weights).item(), abs=1e-6)
    assert found > none


def test_gaps_come_from_strength_and_the_setting() -> None:
    rows = [pair("a", "b", 0.9)._replace(strength=3.0), pair("a", "c", 0.9)]
    assert [one.gap for one in reward.lessons(rows, 1, 0.2, 1)] == [pytest.approx(0.6), 0.0]
    assert reward.lessons(rows, 1, 0.0, 1) == rows


def test_members_learn_and_differ_where_no_pair_says_anything(
    policy: Policy, tiny: Callable[..., Settings]
) -> None:
    settings = tiny(**{"reward.lr": 0.01, "reward.epochs": 3})
    scorer = several(policy)
    pairs = [pair("yes, the cat sat.", "no, the dog ran.", 0.9)] * 20
    pairs += [pair("no, a mat.", "yes, a mat.", 0.1)] * 20
    reward.train(scorer, reward.lessons(pairs, 3, 0.0, 1), settings, 1, silent)
    heads = numpy.array(
        reward_model.read(scorer, scorer.model.heads, [pair("", "", 1).prompt] * 2, ["yes", "no"])
    )
    assert (heads[0] > heads[1]).all()
    assert len({round(float(gain), 4) for gain in heads[0] - heads[1]}) == 3


def test_a_stage_with_members_writes_doubtful_pairs_and_the_same_bytes_twice(
    tmp_path: Path, tiny: Callable[..., Settings]
) -> None:
    settings = tiny(**{"reward.members": 3, "reward.objective": "worst", "ppo.steps": 1})
    models.save(llama(), tmp_path / "sft" / "model")
    write_pairs(tmp_path, "train", "judge", "eval")
    jsonl.write(tmp_path / "demonstrations.jsonl", [])
    for name in ("one", "two"):
        reward.run(tmp_path, tmp_path / "sft", tmp_path / name, settings, 3, silent)
        folders = tmp_path, tmp_path / "sft", tmp_path / name, tmp_path / f"ppo-{name}"
        align.run(*folders, settings, 3, silent)
    assert sha256_folder(tmp_path / "one") == sha256_folder(tmp_path / "two")
    assert sha256_folder(tmp_path / "ppo-one") == sha256_folder(tmp_path / "ppo-two")
    assert reward.load(tmp_path / "one" / "model").model.members == 3
    assert reward.load(tmp_path / "one" / "judge").model.members == 1
    rows = list(jsonl.read(tmp_path / "ppo-one" / "uncertain.jsonl"))
    assert rows
    for row, after in itertools.pairwise(rows):
        assert row["uncertainty"] >= after["uncertainty"]
    assert all(row["responses"][0] != row["responses"][1] for row in rows)
    assert jsonl.read_json(tmp_path / "ppo-one" / "figures.json")["ppo/disagreement"] > 0


def test_uncertainty_is_that_of_the_difference(
    policy: Policy, tiny: Callable[..., Settings]
) -> None:
    scorer = several(policy)
    reward_model.standardise(scorer, CHATS, ANSWERS)
    rows = doubt.pairs(policy, scorer, CHATS * 2, tiny(), 3)
    assert rows
    for row in rows:
        each = numpy.array(
            reward_model.read(scorer, scorer.model.opinions, [row["prompt"]] * 2, row["responses"])
        )
        assert row["uncertainty"] == pytest.approx((each[0] - each[1]).std(), abs=1e-4)
        assert row["disagreement"] == pytest.approx(each.std(axis=1).tolist(), abs=1e-4)


def test_every_step_of_ppo_logs_what_members_disagree_on(
    policy: Policy, tiny: Callable[..., Settings]
) -> None:
    seen: list[float] = []

    def log(step: int, total: int, metrics: Mapping[str, float]) -> None:
        seen.append(metrics["ppo/disagreement"])

    given = task(policy, tiny(), several(policy).model)
    ppo.train(ppo.begin(policy.model, given), given, log)
    assert len(seen) == 2 and all(value > 0 for value in seen)
    alone = task(policy, tiny(), several(policy, members=1).model)
    assert "ppo/disagreement" not in ppo.train(ppo.begin(policy.model, alone), alone, silent)
