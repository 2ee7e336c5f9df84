"""Norms: the same numbers and gradients as those of transformers, and only in their place."""

import copy

import pytest
import torch
from torch import Tensor, nn
from transformers import GemmaConfig, GemmaForCausalLM
from transformers.models.llama.modeling_llama import LlamaRMSNorm

from roundhouse.learn import norms
from roundhouse.learn.norms import RmsNorm


class Model(nn.Module):
    """One norm."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm: nn.Module = LlamaRMSNorm(width, eps=1e-3)
        nn.init.normal_(self.norm.weight)

    def forward(self, states: Tensor) -> Tensor:
        found: Tensor = self.norm(states)
        return found


@pytest.mark.parametrize("shape", [(1, 7, 16), (5, 33), (2, 3, 4, 128)])
def test_numbers_and_gradients_are_those_of_transformers(shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    model = Model(shape[-1])
    twin = copy.deepcopy(model)
    norms.install(model)
    assert isinstance(model.norm, RmsNorm)
    # Rows of very different scale; in the small ones epsilon counts.
    given = torch.randn(shape) * torch.logspace(-3, 2, shape[-2])[:, None]
    pull, results = torch.randn(shape), []
    for one in (model, twin):
        states = given.clone().requires_grad_()
        said = one(states)
        said.backward(pull)
        assert states.grad is not None
        results.append((said.detach(), states.grad, one.norm.weight.grad))
    for found, expected in zip(*results, strict=True):
        torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)


def test_the_gradient_is_the_slope() -> None:
    torch.manual_seed(1)
    weight = torch.randn(6, dtype=torch.float64, requires_grad=True)
    states = torch.randn(2, 6, dtype=torch.float64, requires_grad=True)

    def norm(states: Tensor, weight: Tensor) -> Tensor:
        found: Tensor = norms._Function.apply(states, weight, 1e-2)  # type: ignore[no-untyped-call]
        return found

    assert torch.autograd.gradcheck(norm, (states, weight))


def test_a_copy_has_weights_of_its_own() -> None:
    model = Model(8)
    norms.install(model)
    twin = copy.deepcopy(model)
    with torch.no_grad():
        twin.norm.weight.fill_(0.0)  # type: ignore[operator]
    assert model(torch.ones(1, 8)).any()
    assert not twin(torch.ones(1, 8)).any()


def test_a_norm_that_computes_something_else_stays() -> None:
    config = GemmaConfig(
        vocab_size=20, hidden_size=16, intermediate_size=24, num_hidden_layers=1,
        num_attention_heads=2, num_key_value_heads=2, head_dim=8,
    )  # fmt: skip
    model = GemmaForCausalLM(config)
    norms.install(model)
    assert not any(isinstance(module, RmsNorm) for module in model.modules())
