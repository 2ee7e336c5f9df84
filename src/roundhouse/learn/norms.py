"""Root-mean-square norms with fewer passes over memory, for training on a processor.

In a small model a tenth of a training step is the norms of transformers: half a dozen operations
forward, twice that backward. Here the backward pass is PyTorch's own kernel for layer norm, told
that the mean is 0, less the one term that it has for the mean.
"""

from typing import Any

import torch
from torch import Tensor, nn


class RmsNorm(nn.Module):
    """x / sqrt(mean(x^2) + variance_epsilon) * weight, over the last dimension.

    Zhang and Sennrich 2019, equation 4. Takes the place of a norm of transformers, weight and all.
    """

    weight: nn.Parameter
    variance_epsilon: float

    def forward(self, states: Tensor) -> Tensor:
        """The states [..., H], each at its own scale."""
        if states.dtype != torch.float32:
            width = states.shape[-1:]
            return nn.functional.rms_norm(states, width, self.weight, self.variance_epsilon)
        found: Tensor = _Function.apply(states, self.weight, self.variance_epsilon)  # type: ignore[no-untyped-call]
        return found


def install(model: nn.Module) -> None:
    """Puts `RmsNorm` in the place of every norm of the model that computes the same.

    What computes something else on a trial (as Gemma's does) stays.
    """
    for module in model.modules():
        if _same(module):
            module.__class__ = RmsNorm


@torch.no_grad()
def _same(module: nn.Module) -> bool:
    weight, epsilon = getattr(module, "weight", None), getattr(module, "variance_epsilon", None)
    if (
        not type(module).__name__.endswith("RMSNorm")
        or epsilon is None
        or not isinstance(weight, nn.Parameter)
        or weight.device.type != "cpu"
        or weight.dtype != torch.float32
        or list(dict(module.named_parameters())) != ["weight"]
    ):
        return False
    trial = torch.linspace(-2, 3, 2 * weight.numel()).view(2, -1)
    return torch.allclose(module(trial), _Function.apply(trial, weight, epsilon))  # type: ignore[no-untyped-call]


class _Function(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, states: Tensor, weight: Tensor, epsilon: float) -> Tensor:
        norm = torch.linalg.vector_norm(states, dim=-1, keepdim=True)
        scale = norm.square_().div_(states.shape[-1]).add_(epsilon).rsqrt_()
        ctx.save_for_backward(states, weight, scale)
        found: Tensor = (states * scale).mul_(weight)
        return found

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, None]:
        states, weight, scale = ctx.saved_tensors
        width = states.shape[-1]
        found, of_weight, _ = torch.ops.aten.native_layer_norm_backward(
            gradient, states, [width], torch.zeros_like(scale), scale, weight, None,
            [True, True, False],
        )  # fmt: skip
        of_mean = (gradient @ weight)[..., None].mul_(scale).div_(width)
        return found.add_(of_mean), of_weight, None
