"""Seeds, schedules, and who trains which weights."""

import random
from collections.abc import Callable

import numpy
import pytest
import torch

from roundhouse.errors import DivergenceError
from roundhouse.learn import optimizers
from roundhouse.learn.models import Policy


def test_one_seed_decides_every_generator() -> None:
    def draws(seed: int) -> list[float]:
        optimizers.start(seed, threads=1)
        return [random.random(), float(numpy.random.rand()), torch.rand(()).item()]

    assert draws(4) == draws(4)
    assert not set(draws(4)) & set(draws(5))


def test_the_learning_rate_rises_then_falls_to_nothing() -> None:
    course = optimizers.Course(100, 0.1)
    factors = [course(step) for step in range(101)]
    assert factors[:11] == sorted(factors[:11])
    assert factors[10] == 1.0
    assert factors[10:] == sorted(factors[10:], reverse=True)
    assert factors[0] > 0
    assert factors[100] == pytest.approx(0, abs=1e-9)


def test_muon_takes_the_matrices_inside_and_adamw_the_rest(policy: Policy) -> None:
    both = optimizers.matrices_and_rest(policy.model, 0.1, 0.2, steps=10, warmup=0.0)
    taken = [[p for group in part.param_groups for p in group["params"]] for part in both.parts]
    embedding = policy.model.get_input_embeddings().weight
    assert all(p.ndim == 2 and p is not embedding for p in taken[1])
    assert any(p is embedding for p in taken[0])
    # GPT-2 has one more, of positions.
    tables = {id(m.weight) for m in policy.model.modules() if isinstance(m, torch.nn.Embedding)}
    assert tables <= {id(p) for p in taken[0]}
    assert sum(map(len, taken)) == len(list(policy.model.parameters()))
    alone = optimizers.matrices_and_rest(policy.model, 0.1, 0.0, steps=10, warmup=0.0)
    assert len(alone.parts) == 1


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_what_is_not_finite_is_named(value: float) -> None:
    with pytest.raises(DivergenceError, match=r"ppo: value_loss became .* at step 7"):
        optimizers.check_finite("ppo", 7, policy_loss=0.1, value_loss=value)
    optimizers.check_finite("ppo", 7, policy_loss=0.1)


def test_gradients_are_scaled_down_but_never_up(make_linear: Callable[[], torch.nn.Linear]) -> None:
    linear = make_linear()
    (linear.weight.sum() * 100).backward()  # type: ignore[no-untyped-call]
    before = optimizers.clip(linear, 1.0)
    assert before == pytest.approx(200.0)
    assert optimizers.clip(linear, 5.0) == pytest.approx(1.0, rel=1e-3)


@pytest.fixture
def make_linear() -> Callable[[], torch.nn.Linear]:
    """Four weights and no bias."""
    return lambda: torch.nn.Linear(4, 1, bias=False)
