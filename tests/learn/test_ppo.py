"""PPO: its invariants, what it learns, and that it does so the same way twice."""

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from roundhouse import jsonl
from roundhouse.errors import DataError, SettingsError
from roundhouse.hashes import sha256_folder
from roundhouse.journal import silent
from roundhouse.learn import align, models, ppo, reward_model, rl, sampling, text
from roundhouse.learn.models import Policy
from roundhouse.learn.ppo_state import State, Task
from roundhouse.learn.reward_model import RewardModel, Scorer
from roundhouse.learn.text import Batch
from roundhouse.settings import Settings

LIMIT = 8
PROMPTS = [[5, 7], [5, 8, 9, 10, 7], [5, 11, 7], [9], [5, 12, 13, 7]]


class Counts(RewardModel):
    """A reward that a person can check: one for every token 8 in the answer."""

    def raw(self, batch: Batch) -> Tensor:
        return ((batch.responses == 8) & batch.action_mask).sum(dim=1).float()


def counts(policy: Policy) -> Counts:
    """The checkable reward; it shares the policy's first trunk, whose copy becomes the critic."""
    return Counts(reward_model.from_policy(policy, "mean").backbone, "mean")


def task(policy: Policy, settings: Settings, reward: RewardModel | None = None) -> Task:
    torch.manual_seed(9)
    return Task(
        prompts=PROMPTS,
        reference=copy.deepcopy(policy.model),
        reward=reward or reward_model.from_policy(policy, "mean"),
        eos=2,
        pad=0,
        limit=LIMIT,
        seed=7,
        settings=settings.ppo,
    )


def both(state: State) -> dict[str, Tensor]:
    """The weights of policy and critic."""
    assert state.critic is not None
    return state.policy.state_dict() | state.critic.state_dict()


@pytest.mark.parametrize("temperature", [1.0, 0.6])
def test_nothing_has_moved_before_the_first_update(
    policy: Policy, tiny: Callable[..., Settings], temperature: float
) -> None:
    # One minibatch, one epoch: what it sees is the policy that sampled, at any temperature.
    settings = tiny(
        **{"ppo.minibatch": 8, "ppo.epochs": 1, "ppo.lr": 0.05, "ppo.temperature": temperature}
    )
    given = task(policy, settings)
    state = ppo.begin(policy.model, given)
    metrics, _ = ppo.train_step(state, given)
    assert metrics["ppo/ratio"] == pytest.approx(1, abs=1e-4)
    assert metrics["ppo/ratio_max"] == pytest.approx(1, abs=1e-4)
    assert metrics["ppo/approx_kl"] == pytest.approx(0, abs=1e-8)
    assert metrics["ppo/clip_fraction"] == 0
    assert metrics["ppo/kl"] == pytest.approx(0, abs=1e-4)
    # And then it has moved.
    moved, _ = ppo.train_step(state, given)
    assert abs(moved["ppo/kl"]) > 1e-3


def test_rewards_and_advantages_do_not_depend_on_the_batch(
    policy: Policy, tiny: Callable[..., Settings]
) -> None:
    given = task(policy, tiny())
    state = ppo.begin(policy.model, given)
    answers = sampling.sample(
        policy.model,
        PROMPTS,
        limit=LIMIT,
        temperature=1.0,
        eos=2,
        pad=0,
        generator=torch.Generator().manual_seed(0),
    )
    together = ppo.roll_out(state, given, PROMPTS, answers)
    for row, prompt in enumerate(PROMPTS):
        one = sampling.Answers(*(part[row : row + 1] for part in answers))
        alone = ppo.roll_out(state, given, [prompt], one)
        width = alone.rewards.shape[1]
        for name in ("rewards", "values", "returns"):
            found, expected = getattr(together, name)[row], getattr(alone, name)[0]
            torch.testing.assert_close(found[:width], expected, atol=1e-4, rtol=1e-4)
            assert not found[width:].any()


def test_the_reward_of_an_answer_is_its_score_less_the_price_of_kl(
    policy: Policy, tiny: Callable[..., Settings]
) -> None:
    settings = tiny(**{"ppo.kl_coef": 0.3, "ppo.missing_eos": "subtract", "ppo.eos_penalty": 0.5})
    given = task(policy, settings, counts(policy))
    with torch.no_grad():
        for weight in policy.model.parameters():
            weight.add_(torch.randn(weight.shape, generator=torch.Generator().manual_seed(1)) / 20)
    state = ppo.begin(policy.model, given)
    answers = sampling.sample(
        policy.model,
        PROMPTS * 6,
        limit=LIMIT,
        temperature=1.0,
        eos=2,
        pad=0,
        generator=torch.Generator().manual_seed(0),
    )
    rollout = ppo.roll_out(state, given, PROMPTS * 6, answers)
    batch = text.collate(PROMPTS * 6, answers.as_lists(), 0)
    with torch.no_grad():
        reference = models.response_logprobs(given.reference, batch, 1.0)
        own = models.response_logprobs(policy.model, batch, 1.0)
    for row, tokens in enumerate(answers.as_lists()):
        kl = (own - reference)[row, : len(tokens)].sum().item()
        expected = tokens.count(8) - 0.3 * kl - (0 if tokens[-1] == 2 else 0.5)
        assert rollout.rewards[row].sum().item() == pytest.approx(expected, abs=1e-3)


def test_advantages_are_whitened_and_returns_are_not(
    policy: Policy, tiny: Callable[..., Settings]
) -> None:
    given = task(policy, tiny())
    state = ppo.begin(policy.model, given)
    prompts = PROMPTS * 4
    answers = sampling.sample(
        policy.model,
        prompts,
        limit=LIMIT,
        temperature=1.0,
        eos=2,
        pad=0,
        generator=torch.Generator().manual_seed(0),
    )
    found = ppo.roll_out(state, given, prompts, answers)
    actions = found.batch.action_mask
    assert found.advantages[actions].mean().item() == pytest.approx(0, abs=1e-5)
    assert found.advantages[actions].std().item() == pytest.approx(1, abs=1e-4)
    raw = rl.gae(found.rewards, found.values, 1.0, 0.95)
    torch.testing.assert_close(found.returns, raw + found.values)
    torch.testing.assert_close(found.advantages, rl.whiten(raw, actions))


@pytest.mark.parametrize(
    "changes",
    [{}, {"ppo.critic": "shared"}, {"ppo.algorithm": "rloo", "ppo.samples": 4}],
    ids=["apart", "shared", "rloo"],
)
def test_it_learns_to_write_what_is_rewarded(
    policy: Policy, tiny: Callable[..., Settings], changes: dict[str, Any]
) -> None:
    settings = tiny(
        **changes,
        **{
            "ppo.steps": 20,
            "ppo.epochs": 2,
            "ppo.batch": 32,
            "ppo.minibatch": 16,
            "ppo.lr": 0.01,
            "ppo.critic_lr": 0.01,
            "ppo.kl_coef": 0.01,
        },
    )
    given = task(policy, settings, counts(policy))
    scores: list[float] = []
    ppo.train(ppo.begin(policy.model, given), given, lambda _, __, m: scores.append(m["ppo/score"]))
    assert sum(scores[-3:]) / 3 > sum(scores[:3]) / 3 + 1


@pytest.mark.parametrize("critic", ["apart", "shared"])
def test_the_critic_learns_what_answers_are_worth_and_is_asked_as_it_is_now(
    policy: Policy, tiny: Callable[..., Settings], critic: str
) -> None:
    # The policy stands nearly still, so that what its answers are worth does not change.
    changes = {"ppo.steps": 30, "ppo.batch": 16, "ppo.lr": 0.0001, "ppo.critic_lr": 0.02}
    settings = tiny(**changes, **{"ppo.critic": critic})
    given, explained = task(policy, settings, counts(policy)), list[float]()
    ppo.train(
        ppo.begin(policy.model, given),
        given,
        lambda _, __, metrics: explained.append(metrics["ppo/explained_variance"]),
    )
    assert sum(explained[-5:]) / 5 > max(0.0, sum(explained[:5]) / 5)


def test_a_high_price_of_kl_keeps_the_policy_near_its_reference(
    policy: Policy, tiny: Callable[..., Settings]
) -> None:
    kls = []
    for price in (0.0, 3.0):
        changes = {"ppo.steps": 12, "ppo.batch": 32, "ppo.minibatch": 32, "ppo.lr": 0.01}
        learner = Policy(copy.deepcopy(policy.model), policy.tokenizer)
        given = task(learner, tiny(**changes, **{"ppo.kl_coef": price}), counts(policy))
        kls.append(ppo.train(ppo.begin(learner.model, given), given, silent)["ppo/kl"])
    assert kls[1] < 0.7 * kls[0]


def test_without_a_critic_an_answer_is_held_against_those_beside_it(
    policy: Policy, tiny: Callable[..., Settings]
) -> None:
    given = task(policy, tiny(**{"ppo.algorithm": "rloo", "ppo.samples": 4}), counts(policy))
    state = ppo.begin(policy.model, given)
    assert state.critic is None
    prompts = ppo.prompts_of_step(given, 0)
    assert len(prompts) == 8
    assert [prompts[0]] * 4 + [prompts[4]] * 4 == prompts
    metrics, _ = ppo.train_step(state, given)
    assert "ppo/explained_variance" not in metrics
    assert "ppo/value_loss" not in metrics
    with pytest.raises(SettingsError, match=r"ppo.samples must be 2 or more"):
        tiny(**{"ppo.algorithm": "rloo"})


def test_prompts_pass_by_whole_and_by_the_step_alone(
    policy: Policy, tiny: Callable[..., Settings]
) -> None:
    given = task(policy, tiny())
    drawn = [prompt for step in range(5) for prompt in ppo.prompts_of_step(given, step)]
    assert len(drawn) == 40
    for first in range(0, 40, 5):
        assert sorted(drawn[first : first + 5]) == sorted(PROMPTS)
    assert drawn[16:24] == ppo.prompts_of_step(given, 2)
    assert drawn[:5] != drawn[5:10]


def test_the_state_after_some_steps_is_all_that_the_rest_depends_on(
    policy: Policy, tiny: Callable[..., Settings]
) -> None:
    given = task(policy, tiny(**{"ppo.steps": 4}))
    state = ppo.begin(policy.model, given)
    ppo.train_step(state, given)
    twin: State = copy.deepcopy(state)
    ppo.train(state, given, silent)
    torch.rand(9)
    ppo.train(twin, given, silent)
    ends = [both(one) for one in (state, twin)]
    assert all(torch.equal(ends[0][name], ends[1][name]) for name in ends[0])


def test_the_stage_writes_its_files_and_the_same_bytes_twice(
    tmp_path: Path, policy: Policy, tiny: Callable[..., Settings]
) -> None:
    models.save(policy, tmp_path / "sft" / "model")
    torch.manual_seed(4)
    scorer = Scorer(reward_model.from_policy(policy, "mean"), policy.tokenizer, 12, 8)
    reward_model.save(scorer, tmp_path / "reward" / "model")
    _write(tmp_path)
    for name in ("one", "two"):
        folders = tmp_path, tmp_path / "sft", tmp_path / "reward", tmp_path / name
        align.run(*folders, tiny(), 3, silent)
    assert sha256_folder(tmp_path / "one") == sha256_folder(tmp_path / "two")
    figures = jsonl.read_json(tmp_path / "one" / "figures.json")
    assert figures["ppo/prompts"] == 3
    # The policy moved away from a reference that stood still.
    assert abs(figures["ppo/kl"]) > 1e-6
    assert not any("second" in name for name in figures)
    assert models.load(tmp_path / "one" / "model").tokenizer.chat_template


def test_without_training_prompts_the_stage_says_so(
    tmp_path: Path, policy: Policy, tiny: Callable[..., Settings]
) -> None:
    models.save(policy, tmp_path / "sft" / "model")
    scorer = Scorer(reward_model.from_policy(policy, "mean"), policy.tokenizer, 12, 8)
    reward_model.save(scorer, tmp_path / "reward" / "model")
    _write(tmp_path, side="eval")
    folders = tmp_path, tmp_path / "sft", tmp_path / "reward", tmp_path / "out"
    with pytest.raises(DataError, match="no prompts"):
        align.run(*folders, tiny(), 3, silent)


def _write(folder: Path, side: str = "train") -> None:
    def chat(said: str) -> list[dict[str, str]]:
        return [{"role": "user", "content": said}]

    pairs = [{"prompt": chat(said), "side": side} for said in ("why?", "the cat?", "why?")]
    jsonl.write(folder / "pairs.jsonl", pairs)
    rows = [
        {"prompt": chat(said), "side": place}
        for said, place in (("the cat?", side), ("a dog?", side), ("no?", "eval"), ("a?", "judge"))
    ]
    jsonl.write(folder / "demonstrations.jsonl", rows)
