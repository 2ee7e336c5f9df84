"""How forward and backward passes run: in which arithmetic, and what they keep for each other."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import torch
from torch.utils.checkpoint import checkpoint
from transformers import PreTrainedModel
from transformers.modeling_layers import GradientCheckpointingLayer

from roundhouse.settings import ComputeSettings


class _Process:
    """Settings of this process, as torch has its threads and kernels."""

    bfloat16 = False
    recompute = False


def use(compute: ComputeSettings) -> None:
    """Sets how everything runs from now on that this process trains or samples."""
    _Process.bfloat16 = compute.precision == "bfloat16"
    _Process.recompute = compute.gradient_checkpointing


def named() -> str:
    """The settings that decide over a result's bytes."""
    return "bfloat16" if _Process.bfloat16 else "float32"


@contextmanager
def forward(model: PreTrainedModel) -> Iterator[None]:
    """The context of a model's forward pass; weights and what it returns to losses are float32.

    Where gradients are wanted and layers are to run again in the backward pass, only their inputs
    are kept (Chen et al. 2016, "Training deep nets with sublinear memory cost").
    """
    again = _layers(model) if _Process.recompute and torch.is_grad_enabled() else []
    for layer in again:
        # Theirs alone: what is inside them stays as it is, without dropout.
        layer.gradient_checkpointing = layer.training = True
        layer._gradient_checkpointing_func = partial(checkpoint, use_reentrant=False)  # type: ignore[assignment]
    try:
        with torch.autocast(model.device.type, torch.bfloat16, enabled=_Process.bfloat16):
            yield
    finally:
        for layer in again:
            layer.gradient_checkpointing = layer.training = False


def _layers(model: PreTrainedModel) -> list[GradientCheckpointingLayer]:
    return [part for part in model.modules() if isinstance(part, GradientCheckpointingLayer)]
