"""A critic on the policy's trunk: what it reads, and whom its loss reaches."""

import copy
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from roundhouse.learn import models, packing, ppo, rl, text
from roundhouse.learn.models import Policy
from roundhouse.learn.value_head import ValueHead
from roundhouse.settings import Settings
from tests.learn.test_ppo import PROMPTS, counts, task


@pytest.mark.parametrize("in_line", [True, False], ids=["line", "padded"])
def test_a_critic_on_the_policys_trunk_takes_one_pass_for_both_losses(
    in_line: bool, policy: Policy, tiny: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert packing.fits(policy.model)
    monkeypatch.setattr(packing, "fits", lambda model: in_line)
    given = task(policy, tiny(**{"ppo.critic": "shared"}), counts(policy))
    head = ppo.begin(policy.model, given).critic
    assert isinstance(head, ValueHead)
    assert [name for name, _ in head.named_parameters()] == ["head.weight", "head.bias"]
    said = [[5, 8, 8, 9, 2], [6], [7, 7, 2], [8, 2]]
    batch = text.collate(PROMPTS[:4], said, 0)
    assert not head.values(batch).any()
    torch.nn.init.normal_(head.head.weight)
    states = rl.value_mask(batch.lengths, batch.responses.shape[1])
    # One row at a time the same states are read.
    for row, prompt in enumerate(PROMPTS[:4]):
        alone = text.collate([prompt], [said[row]], 0)
        hidden = policy.model(
            input_ids=alone.tokens, attention_mask=alone.mask, output_hidden_states=True
        ).hidden_states[-1][:, len(prompt) - 1 :]
        expected = head.head(hidden)[0, :, 0]
        found = head.values(batch)[row][states[row]]
        torch.testing.assert_close(found, expected[: len(found)], atol=1e-4, rtol=1e-4)
    logprobs, values = head.both(batch, 0.7)
    torch.testing.assert_close(logprobs, models.response_logprobs(policy.model, batch, 0.7))
    torch.testing.assert_close(values, head.values(batch))


def test_the_value_loss_reaches_the_trunk_that_the_critic_shares(
    policy: Policy, tiny: Callable[..., Settings]
) -> None:
    def trunk(value_coef: float) -> Tensor:
        learner = copy.deepcopy(policy.model)
        changes = {"ppo.critic": "shared", "ppo.value_coef": value_coef, "ppo.max_grad_norm": 1e9}
        given = task(Policy(learner, policy.tokenizer), tiny(**changes), counts(policy))
        state = ppo.begin(learner, given)
        assert isinstance(state.critic, ValueHead)
        torch.nn.init.ones_(state.critic.head.weight)
        ppo.train_step(state, given)
        return torch.cat([weight.flatten() for weight in learner.parameters()]).detach()

    assert not torch.equal(trunk(1.0), trunk(0.001))
