"""bfloat16 and layers that run again: near the same numbers, for less memory or time."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from transformers import OPTConfig, OPTForCausalLM, PreTrainedModel

from roundhouse.learn import models, packing, passes, ppo, reward_model, text
from roundhouse.learn.models import Policy
from roundhouse.settings import ComputeSettings, Settings
from tests.learn.test_ppo import PROMPTS, task

PLAIN = ComputeSettings(
    threads=1,
    micro_batch=0,
    precision="float32",
    gradient_checkpointing=False,
    processes=1,
    shard=False,
)
AGAIN = PLAIN.model_copy(update={"gradient_checkpointing": True})
BATCH = text.collate([[4, 5, 6], [7, 8]], [[9, 10, 2], [5, 6, 7, 2]], 0)


def gradients(model: torch.nn.Module, loss: Tensor) -> dict[str, Tensor]:
    model.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


def kept(run: Callable[[], Tensor]) -> tuple[Tensor, int]:
    """What a forward pass gives, and the bytes that it keeps for the backward pass."""
    held: dict[int, int] = {}

    def hold(value: Tensor) -> Tensor:
        held[value.untyped_storage().data_ptr()] = value.untyped_storage().nbytes()
        return value

    with torch.autograd.graph.saved_tensors_hooks(hold, lambda value: value):
        found = run()
    return found, sum(held.values())


@pytest.mark.parametrize("packed", [True, False])
def test_layers_that_run_again_give_the_same_gradients_and_keep_less(
    policy: Policy, packed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not packed:
        monkeypatch.setattr(packing, "fits", lambda model: False)
    wide = text.collate(PROMPTS * 8, [[9, 10, 5, 6, 7, 8, 4, 2]] * 8 * len(PROMPTS), 0)

    def loss() -> Tensor:
        return models.response_logprobs(policy.model, wide, 1.0).sum()

    before, much = kept(loss)
    expected = gradients(policy.model, before)
    with passes.of(AGAIN):
        after, less = kept(loss)
    assert torch.allclose(before, after, rtol=1e-5)
    found = gradients(policy.model, after)
    assert found.keys() == expected.keys()
    for name, gradient in expected.items():
        torch.testing.assert_close(found[name], gradient, rtol=1e-4, atol=1e-5)
    assert less < 0.8 * much


def test_dropout_stays_off_where_a_layer_has_its_own() -> None:
    torch.manual_seed(0)
    config = OPTConfig(
        vocab_size=20, hidden_size=16, word_embed_proj_dim=16, ffn_dim=24, num_hidden_layers=2,
        num_attention_heads=2, dropout=0.5,
    )  # fmt: skip
    model: PreTrainedModel = OPTForCausalLM(config)
    model.train(False)
    plain = models.response_logprobs(model, BATCH, 1.0)
    with passes.of(AGAIN):
        again = models.response_logprobs(model, BATCH, 1.0)
        found = gradients(model, again.sum())
    assert torch.allclose(plain, again, rtol=1e-5)
    for name, gradient in gradients(model, plain.sum()).items():
        torch.testing.assert_close(found[name], gradient, rtol=1e-4, atol=1e-5)


def test_bfloat16_is_near_and_weights_stay_in_float32(policy: Policy) -> None:
    scorer = reward_model.from_policy(policy, "mean")
    before = models.response_logprobs(policy.model, BATCH, 1.0), scorer(BATCH)
    with passes.of(PLAIN.model_copy(update={"precision": "bfloat16"})):
        after = models.response_logprobs(policy.model, BATCH, 1.0), scorer(BATCH)
    for exact, near in zip(before, after, strict=True):
        assert near.dtype == torch.float32
        assert not torch.equal(near, exact)
        torch.testing.assert_close(near, exact, rtol=0.05, atol=0.05)
    assert torch.equal(models.response_logprobs(policy.model, BATCH, 1.0), before[0])
    gradients(policy.model, after[0].sum())
    assert {p.dtype for p in policy.model.parameters()} == {torch.float32}
    assert {p.grad.dtype for p in policy.model.parameters() if p.grad is not None} == {
        torch.float32
    }


def test_ppo_in_bfloat16_starts_near_itself(policy: Policy, tiny: Callable[..., Settings]) -> None:
    given = task(policy, tiny(**{"ppo.minibatch": 8, "ppo.epochs": 1}))
    with passes.of(AGAIN.model_copy(update={"precision": "bfloat16"})):
        metrics, _ = ppo.train_step(ppo.begin(policy.model, given), given)
    # The sampler's passes see one token at a time, and round differently from training's.
    assert metrics["ppo/ratio"] == pytest.approx(1, abs=0.02)
    assert metrics["ppo/kl"] == pytest.approx(0, abs=0.05)
