"""Several processes that train one model: each takes a share of every batch, gradients are summed.

`accelerate launch` starts the processes (`roundhouse.launch`). Each holds all weights, or a shard
of those that train (FSDP). With one process every function here means nothing, at no cost.

What is decided from a batch (advantages, whitening, the order of minibatches, figures) is decided
from all of it, the same in every process; only sampling, judging, forward and backward passes are
shared. So the losses are those of one process with the same batch, within rounding.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TypeVar

import torch
from torch import Tensor, distributed, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor
from transformers.modeling_layers import GradientCheckpointingLayer

from roundhouse import launch
from roundhouse.errors import SettingsError

Part = TypeVar("Part")


def processes() -> int:
    """How many processes train together."""
    return distributed.get_world_size() if distributed.is_initialized() else 1


def place() -> int:
    """Which of them this one is, from 0."""
    return distributed.get_rank() if distributed.is_initialized() else 0


def first() -> bool:
    """Whether this process writes what comes out: journal, checkpoints, results."""
    return place() == 0


@contextmanager
def joined() -> Iterator[None]:
    """Processes that were launched find each other, and part at the end of the block.

    Raises:
        SettingsError: there are GPUs, but not one for each process.
    """
    if not launch.launched():
        yield
        return
    wanted, there = int(os.environ["WORLD_SIZE"]), torch.cuda.device_count()
    if 0 < there < wanted:
        raise SettingsError(
            f"compute.processes: {wanted} processes need a GPU each, and this machine has {there}: "
            "lower it, or hide the GPUs (CUDA_VISIBLE_DEVICES=)"
        )
    from accelerate import PartialState  # noqa: PLC0415 - a second, and few rounds need it

    # Numbers that decide and random states lie in main memory, also where models do not.
    how = {"backend": "cuda:nccl,cpu:gloo"} if torch.cuda.is_available() else {}
    state = PartialState(**how)
    try:
        yield
    finally:
        state.destroy_process_group()


def turns(parts: Sequence[Part]) -> Iterator[tuple[Part, bool]]:
    """This process's share of some parts: equally many for each, since they work in step.

    The second value is False for a part that is another's: its results count nothing here.
    """
    for start in range(0, len(parts), processes()):
        mine = start + place()
        own = mine < len(parts)
        yield parts[mine if own else start], own


def parts(batch: Sequence[int], micro_batch: int) -> Iterator[tuple[list[int], bool]]:
    """`turns` over a batch's rows, so many at a time (0: all at once)."""
    share = -(-len(batch) // processes())
    size = min(micro_batch or share, share)
    return turns([list(batch[start : start + size]) for start in range(0, len(batch), size)])


def add(value: Tensor) -> Tensor:
    """The sum of a tensor over all processes, in place."""
    if processes() > 1:
        distributed.all_reduce(value)
    return value


def totals(values: Mapping[str, float]) -> dict[str, float]:
    """Sums over all processes, each of which has these names."""
    if processes() == 1:
        return dict(values)
    found = add(torch.tensor(list(values.values()), dtype=torch.float64))
    return dict(zip(values, found.tolist(), strict=True))


def highest(value: float) -> float:
    """The largest of all processes' numbers."""
    return float(rows(torch.tensor([value], dtype=torch.float64)).max())


def rows(value: Tensor) -> Tensor:
    """All processes' tensors [n, ...] of one shape, one after the other: [processes * n, ...]."""
    if processes() == 1:
        return value
    found = [torch.empty_like(value) for _ in range(processes())]
    distributed.all_gather(found, value.contiguous())
    return torch.cat(found)


def agreed(value: Tensor) -> Tensor:
    """The first process's tensor, in place."""
    if processes() > 1:
        distributed.broadcast(value, src=0)
    return value


def sum_gradients(model: nn.Module) -> None:
    """Adds up the gradients of all processes; those of shards are summed in the backward pass."""
    trained = [p for p in model.parameters() if p.grad is not None and not _sharded(p)]
    if processes() == 1 or not trained:
        return
    sums = add(torch.cat([p.grad.flatten() for p in trained if p.grad is not None]))
    found = torch.split(sums, [p.numel() for p in trained])
    for parameter, gradient in zip(trained, found, strict=True):
        parameter.grad = gradient.view_as(parameter)


def shard(*models: nn.Module) -> None:
    """Leaves each process a shard of these models' weights (FSDP 2).

    A model's layers gather their weights when they run. Optimizers are made afterwards.
    accelerate's own way to do this asks for a GPU.
    """
    for model in models:
        device = next(model.parameters()).device.type
        mesh = init_device_mesh(device, (processes(),))
        layers = [part for part in model.modules() if isinstance(part, GradientCheckpointingLayer)]
        for module in [*layers, model]:
            fully_shard(module, mesh=mesh, reshard_after_forward=module is not model)
            # Sums and not means over processes: losses are shares of the batch's.
            module.set_gradient_divide_factor(1.0)  # type: ignore[operator]
            module.set_force_sum_reduction_for_comms(True)  # type: ignore[operator]


@contextmanager
def gathered(*models: nn.Module) -> Iterator[None]:
    """Within the block each process holds all weights of these models, to sample or to save."""
    shards = [part for model in models for part in model.modules() if isinstance(part, FSDPModule)]
    for part in shards:
        part.set_reshard_after_forward(False, recurse=False)
        part.unshard()
    try:
        yield
    finally:
        for part in shards:
            part.reshard()
            part.set_reshard_after_forward(part not in models, recurse=False)


def is_sharded(model: nn.Module) -> bool:
    """Whether this process holds a part of the model's weights alone."""
    return isinstance(model, FSDPModule)


def whole(value: Tensor) -> Tensor:
    """A tensor that may be sharded, as all of it."""
    return value.full_tensor() if isinstance(value, DTensor) else value


def like(value: Tensor, other: Tensor) -> Tensor:
    """A whole tensor, sharded as the other is; one of another shape (a count of steps) stays."""
    if not isinstance(other, DTensor) or value.shape != other.shape:
        return value
    return distribute_tensor(value, other.device_mesh, other.placements)


def _sharded(value: Tensor) -> bool:
    return isinstance(value, DTensor)
