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
    """What holds in this process at the moment."""

    bfloat16 = False
    recompute = False


@contextmanager
def of(compute: ComputeSettings) -> Iterator[None]:
    """Within the block passes run as the settings say; outside in float32, keeping everything."""
    before = _Process.bfloat16, _Process.recompute
    _Process.bfloat16 = compute.precision == "bfloat16"
    _Process.recompute = compute.gradient_checkpointing
    try:
        yield
    finally:
        _Process.bfloat16, _Process.recompute = before


def named() -> str:
    """What decides over a result's bytes."""
    return f"{'bfloat16' if _Process.bfloat16 else 'float32'} {_Process.recompute}"


@contextmanager
def forward(model: PreTrainedModel) -> Iterator[None]:
    """The context of a model's forward pass; weights and what it returns to losses are float32.

    Where gradients are wanted and layers are to run again in the backward pass, only their inputs
    are kept (Chen et al. 2016, "Training deep nets with sublinear memory cost").
    """
    again = _layers(model) if _Process.recompute and torch.is_grad_enabled() else []
    for layer in again:
        # Not transformers' own way, which asks for training mode, and that for dropout.
        layer.forward = partial(checkpoint, layer.forward, use_reentrant=False)
        layer.gradient_checkpointing = True
    try:
        with torch.autocast(model.device.type, torch.bfloat16, enabled=_Process.bfloat16):
            yield
    finally:
        for layer in again:
            del layer.forward
            layer.gradient_checkpointing = False


def _layers(model: PreTrainedModel) -> list[GradientCheckpointingLayer]:
    return [part for part in model.modules() if isinstance(part, GradientCheckpointingLayer)]
