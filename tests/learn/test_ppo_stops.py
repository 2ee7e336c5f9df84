"""PPO stops where a number is not finite, and where an alarm is told to stop it."""

import copy
import math
from collections.abc import Callable, Mapping

import pytest
import torch
from torch import Tensor

from roundhouse.errors import AlarmError, DivergenceError
from roundhouse.journal import silent
from roundhouse.learn import ppo
from roundhouse.learn.models import Policy
from roundhouse.learn.text import Batch
from roundhouse.settings import Settings
from tests.learn.test_ppo import Counts, both, counts, task


class Broken(Counts):
    """A reward of one bad number."""

    def __init__(self, policy: Policy, bad: float) -> None:
        super().__init__(counts(policy).backbone, "mean")
        self.bad = bad

    def raw(self, batch: Batch) -> Tensor:
        return super().raw(batch) + self.bad


def poison(module: torch.nn.Module) -> None:
    with torch.no_grad():
        next(module.parameters()).fill_(math.nan)


def break_gradient(module: torch.nn.Module) -> None:
    weight = next(module.parameters())
    weight.register_hook(lambda gradient: gradient * math.nan)  # type: ignore[no-untyped-call]


@pytest.mark.parametrize(
    ("quantity", "fault"),
    [
        ("scores became nan", lambda state, task: setattr(task.reward, "bad", math.nan)),
        # A clamp would make a fine reward of it.
        ("scores became inf", lambda state, task: setattr(task.reward, "bad", math.inf)),
        ("logprobs became nan", lambda state, task: poison(state.policy)),
        ("kl became nan", lambda state, task: poison(task.reference)),
        ("values became nan", lambda state, task: poison(state.critic)),
        ("policy_gradient became nan", lambda state, task: break_gradient(state.policy)),
        ("critic_gradient became nan", lambda state, task: break_gradient(state.critic)),
    ],
)
def test_what_is_not_finite_stops_the_step_before_any_update(
    policy: Policy, tiny: Callable[..., Settings], quantity: str, fault: Callable[..., None]
) -> None:
    given = task(policy, tiny(**{"ppo.steps": 3}), Broken(policy, 0.0))
    state = ppo.begin(policy.model, given)
    ppo.train_step(state, given)
    fault(state, given)
    before = copy.deepcopy(both(state))
    with pytest.raises(DivergenceError, match=f"ppo: {quantity} at step 2"):
        ppo.train(state, given, silent)
    after = both(state)
    assert all(before[name].equal(after[name]) or before[name].isnan().any() for name in after)


def test_weights_that_one_update_threw_too_far_never_end_a_step(
    policy: Policy, tiny: Callable[..., Settings]
) -> None:
    seen: list[int] = []
    given = task(policy, tiny(**{"ppo.lr": "1.0e+37", "ppo.minibatch": 8}), counts(policy))
    with pytest.raises(DivergenceError, match=r"policy_weights became (inf|nan) at step 1"):
        ppo.train(ppo.begin(policy.model, given), given, lambda step, _, __: seen.append(step))
    assert seen == []


def test_an_alarm_is_logged_at_its_step_and_stops_there_where_it_is_set_to(
    policy: Policy, tiny: Callable[..., Settings]
) -> None:
    limits = {"ppo.steps": 4, "ppo.alarms.max_kl": "1.0e-9", "ppo.lr": 0.05}
    logged: list[float] = []

    def log(step: int, total: int, metrics: Mapping[str, float]) -> None:
        logged.append(metrics["ppo/alarms/kl"])

    given = task(policy, tiny(**limits), counts(policy))
    figures = ppo.train(ppo.begin(copy.deepcopy(policy.model), given), given, log)
    assert figures["ppo/alarms/kl"] == sum(logged) > 0
    first = logged.index(1.0)
    logged.clear()
    given = task(policy, tiny(**limits, **{"ppo.alarms.stop": "[kl]"}), counts(policy))
    with pytest.raises(AlarmError, match=f"ppo: alarm kl at step {first + 1}: KL"):
        ppo.train(ppo.begin(policy.model, given), given, log)
    assert logged == [0.0] * first + [1.0]
