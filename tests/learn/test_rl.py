"""The mathematics against oracles and properties."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from roundhouse.learn import rl


def test_logprobs_are_those_of_the_tempered_softmax() -> None:
    logits = torch.randn(3, 5, 7, generator=torch.Generator().manual_seed(0))
    tokens = torch.randint(7, (3, 5), generator=torch.Generator().manual_seed(1))
    expected = torch.softmax(logits / 0.7, dim=-1).log()
    for row in range(3):
        for t in range(5):
            found = rl.logprobs(logits, tokens, 0.7)[row, t]
            assert found.item() == pytest.approx(expected[row, t, tokens[row, t]].item(), abs=1e-5)


def test_an_answer_ends_at_its_first_eos() -> None:
    tokens = torch.tensor([[5, 2, 2, 5], [5, 5, 5, 5], [2, 5, 5, 5], [5, 5, 5, 2]])
    lengths, ended = rl.end_of_response(tokens, eos=2)
    assert lengths.tolist() == [2, 4, 1, 4]
    assert ended.tolist() == [True, False, True, True]


def test_masks_count_tokens_and_the_state_after_them() -> None:
    lengths = torch.tensor([1, 3])
    assert rl.action_mask(lengths, 3).tolist() == [[True, False, False], [True, True, True]]
    assert rl.value_mask(lengths, 3).tolist() == [[True, True, False], [True, True, True]]


def test_masked_mean_never_sees_padding() -> None:
    values = torch.tensor([[1.0, 3.0, math.nan], [5.0, math.inf, 7.0]])
    mask = torch.tensor([[True, True, False], [True, False, False]])
    assert rl.masked_mean(values, mask).item() == 3.0


def test_whitened_values_have_mean_0_and_variance_1() -> None:
    values = torch.randn(4, 6, generator=torch.Generator().manual_seed(2)) * 9 + 4
    mask = rl.action_mask(torch.tensor([6, 2, 3, 1]), 6)
    white = rl.whiten(values, mask)
    assert white[mask].mean().item() == pytest.approx(0, abs=1e-6)
    assert white[mask].var().item() == pytest.approx(1, abs=1e-5)
    assert not white[~mask].any()


def loop_gae(rewards: list[float], values: list[float], gamma: float, lam: float) -> list[float]:
    """The definition: each advantage is the sum of all later discounted surprises."""
    after = [*values[1:], 0.0]
    deltas = [r + gamma * w - v for r, v, w in zip(rewards, values, after, strict=True)]
    count = len(deltas)
    return [
        sum((gamma * lam) ** (later - t) * deltas[later] for later in range(t, count))
        for t in range(count)
    ]


numbers = st.floats(-5, 5, allow_nan=False, width=32)


@settings(max_examples=40, deadline=None)
@given(
    st.integers(1, 9).flatmap(
        lambda n: st.tuples(
            st.lists(numbers, min_size=n, max_size=n), st.lists(numbers, min_size=n, max_size=n)
        )
    ),
    st.floats(0, 1),
    st.floats(0, 1),
)
def test_gae_agrees_with_its_definition(
    episode: tuple[list[float], list[float]], gamma: float, lam: float
) -> None:
    rewards, values = episode
    # A second row, shorter, shows that rows do not mix and padding adds nothing.
    wide = torch.zeros(2, len(rewards) + 2, dtype=torch.float64)
    reward, value = wide.clone(), wide.clone()
    reward[0, : len(rewards)], value[0, : len(values)] = torch.tensor(rewards), torch.tensor(values)
    reward[1, 0] = 3.0
    found = rl.gae(reward, value, gamma, lam)
    expected = loop_gae(rewards, values, gamma, lam)
    assert found[0, : len(rewards)].tolist() == pytest.approx(expected, abs=1e-6)
    assert found[0, len(rewards) :].tolist() == [0.0, 0.0]
    assert found[1].tolist() == pytest.approx([3.0] + [0.0] * (len(rewards) + 1))


def test_the_score_stands_once_after_the_last_token() -> None:
    kl = torch.ones(3, 4)
    lengths = torch.tensor([2, 3, 4])
    rewards = rl.token_rewards(torch.tensor([10.0, 20.0, 30.0]), kl, lengths, 0.5, limit=4)
    assert rewards.tolist() == [
        [-0.5, -0.5, 10.0, 0.0],
        [-0.5, -0.5, -0.5, 20.0],
        [-0.5, -0.5, -0.5, 29.5],
    ]


def test_rewards_do_not_depend_on_the_width_of_the_batch() -> None:
    scores, lengths = torch.tensor([1.0, 2.0]), torch.tensor([2, 4])
    narrow = rl.token_rewards(scores, torch.ones(2, 5), lengths, 0.1, limit=9)
    wide = rl.token_rewards(scores, torch.ones(2, 9), lengths, 0.1, limit=9)
    assert torch.equal(narrow, wide[:, :5])
    assert not wide[:, 5:].any()


@pytest.mark.parametrize(("how", "expected"), [("replace", [2.0, -1.0]), ("subtract", [2.0, 4.0])])
def test_an_answer_without_end_is_penalised(how: str, expected: list[float]) -> None:
    scores, ended = torch.tensor([2.0, 3.0]), torch.tensor([True, False])
    found = rl.penalise_missing_eos(scores, ended, how, -1.0)  # type: ignore[arg-type]
    assert found.tolist() == expected


def test_kl_estimates_agree_with_the_divergence_itself() -> None:
    generator = torch.Generator().manual_seed(3)
    new = torch.log_softmax(torch.randn(6, generator=generator), dim=0)
    old = torch.log_softmax(torch.randn(6, generator=generator), dim=0)
    truth = (new.exp() * (new - old)).sum().item()
    for kind in ("k1", "k3"):
        expectation = (new.exp() * rl.kl_estimate(new, old, kind)).sum().item()
        assert expectation == pytest.approx(truth, abs=1e-5)
    assert (rl.kl_estimate(new, old, "k3") >= 0).all()
    assert (rl.kl_estimate(new, old, "k1") < 0).any()


def test_policy_loss_at_ratio_1_is_the_mean_advantage() -> None:
    logprobs = torch.randn(2, 3, requires_grad=True)
    advantages, mask = torch.tensor([[1.0, -2.0, 9.0], [0.5, 0.0, 9.0]]), _mask([2, 2], 3)
    found = rl.policy_loss(logprobs, logprobs.detach(), advantages, mask, 0.2)
    assert found.loss.item() == pytest.approx(0.125)
    assert found.ratio.item() == 1.0
    assert found.approx_kl.item() == found.clip_fraction.item() == 0.0
    found.loss.backward()  # type: ignore[no-untyped-call]
    assert logprobs.grad is not None
    assert logprobs.grad[0].tolist() == pytest.approx([-0.25, 0.5, 0.0])


@pytest.mark.parametrize(
    ("advantage", "log_ratio", "moves"), [(1, 0.5, 0), (1, -0.5, 1), (-1, 0.5, 1)]
)
def test_the_clip_stops_what_went_far_enough(
    advantage: float, log_ratio: float, moves: int
) -> None:
    new = torch.tensor([[log_ratio]], requires_grad=True)
    mask = torch.tensor([[True]])
    found = rl.policy_loss(new, torch.zeros(1, 1), torch.tensor([[float(advantage)]]), mask, 0.2)
    found.loss.backward()  # type: ignore[no-untyped-call]
    assert new.grad is not None
    assert bool(new.grad.any()) == bool(moves)


def test_value_loss_takes_the_worse_of_plain_and_clipped() -> None:
    mask = torch.tensor([[True, True, False]])
    old, returns = torch.tensor([[0.0, 0.0, 0.0]]), torch.tensor([[1.0, 0.0, 9.0]])
    found = rl.value_loss(torch.tensor([[1.0, 1.0, 0.0]]), old, returns, mask, 0.2)
    # Errors: clipped 0.64 against 0, plain 1 against 0.04.
    assert found.loss.item() == pytest.approx(0.5 * (0.64 + 1.0) / 2)
    assert found.clip_fraction.item() == 0.5


def test_explained_variance() -> None:
    returns, mask = torch.tensor([[1.0, 3.0, 99.0]]), torch.tensor([[True, True, False]])
    assert rl.explained_variance(returns, returns, mask).item() == 1.0
    assert rl.explained_variance(torch.zeros(1, 3), returns, mask).item() == 0.0


def test_the_controller_leads_the_price_to_its_target() -> None:
    fixed, led = rl.KlController(0.1, 0.0, 1000), rl.KlController(0.1, 4.0, 1000)
    for _ in range(5):
        fixed.update(9.0, 100)
        led.update(9.0, 100)
    assert fixed.coef == 0.1
    assert led.coef == pytest.approx(0.1 * 1.02**5)
    led.update(3.9, 100)
    assert led.coef < 0.1 * 1.02**5


def _mask(lengths: list[int], width: int) -> Tensor:
    return rl.action_mask(torch.tensor(lengths), width)


def test_leave_one_out_is_each_reward_less_the_mean_of_the_others() -> None:
    rewards = torch.tensor([1.0, 2.0, 6.0, -1.0, -1.0, 5.0])
    found = rl.leave_one_out(rewards, 3)
    for row in range(6):
        group = [other for other in range(row // 3 * 3, row // 3 * 3 + 3) if other != row]
        assert found[row] == pytest.approx(rewards[row] - rewards[group].mean())
    assert found.view(2, 3).sum(dim=1).tolist() == pytest.approx([0.0, 0.0])
