"""Optimizers of the training stages, and the course of the learning rate."""

import math
import os
import random
from collections.abc import Mapping, Sequence
from typing import Any

import numpy
import torch
from torch import nn
from torch.optim import AdamW, Muon, Optimizer
from torch.optim.lr_scheduler import LambdaLR
from transformers import PreTrainedModel

from roundhouse.errors import DivergenceError
from roundhouse.learn import parallel


def start(seed: int, threads: int) -> None:
    """Fixes what decides a training process's bytes: all seeds, threads, deterministic kernels."""
    if threads:
        torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(True)
    # On a GPU the line above asks for this; cuBLAS reads it at the first product of matrices.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    # A debugging aid that comes with the line above and costs a twentieth of the time.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    random.seed(seed)
    numpy.random.seed(seed % 2**32)
    torch.manual_seed(seed)


class Optimizers:
    """Several optimizers, each with its schedule, stepped as one."""

    def __init__(self, parts: Sequence[Optimizer], steps: int, warmup: float) -> None:
        self.parts = list(parts)
        course = Course(steps, warmup)
        self.schedules = [LambdaLR(part, course) for part in self.parts]

    def step(self) -> None:
        """One update with the gradients at hand, which are cleared."""
        for part, schedule in zip(self.parts, self.schedules, strict=True):
            part.step()
            part.zero_grad(set_to_none=True)
            schedule.step()

    def state_dict(self) -> dict[str, Any]:
        """Moments and learning rates."""
        return {
            "parts": [_whole(part.state_dict()) for part in self.parts],
            "schedules": [schedule.state_dict() for schedule in self.schedules],
        }

    def load_state_dict(self, saved: Mapping[str, Any]) -> None:
        """Takes back what `state_dict` gave."""
        for part, state in zip(self.parts, saved["parts"], strict=True):
            part.load_state_dict(_like(state, part))
        for schedule, state in zip(self.schedules, saved["schedules"], strict=True):
            schedule.load_state_dict(state)


def _whole(state: dict[str, Any]) -> dict[str, Any]:
    """An optimizer's state with all of each sharded moment."""
    moments = {
        place: {name: parallel.whole(value) for name, value in found.items()}
        for place, found in state["state"].items()
    }
    return state | {"state": moments}


def _like(state: Mapping[str, Any], part: Optimizer) -> dict[str, Any]:
    """A whole state with moments sharded as this optimizer's parameters are."""
    trained = [parameter for group in part.param_groups for parameter in group["params"]]
    moments = {
        place: {name: parallel.like(value, trained[place]) for name, value in found.items()}
        for place, found in state["state"].items()
    }
    return {**state, "state": moments}


def matrices_and_rest(
    model: PreTrainedModel, lr: float, muon_lr: float, steps: int, warmup: float
) -> Optimizers:
    """Muon for the weight matrices inside the model, AdamW for embeddings, head, norms and biases.

    With `muon_lr` 0 AdamW trains everything. What does not train is in neither.
    """
    # Positions that are learned are a table too.
    tables = [module for module in model.modules() if isinstance(module, nn.Embedding)]
    head = model.get_output_embeddings()  # type: ignore[no-untyped-call]
    ends = (model.get_input_embeddings(), head, *tables)
    outside = {id(p) for end in ends if end is not None for p in end.parameters()}
    matrices: list[nn.Parameter] = []
    rest: list[nn.Parameter] = []
    for parameter in model.parameters():
        if not parameter.requires_grad:
            continue
        inside = muon_lr > 0 and parameter.ndim == 2 and id(parameter) not in outside
        (matrices if inside else rest).append(parameter)
    parts: list[Optimizer] = [AdamW(rest, lr=lr, weight_decay=0.0)]
    if matrices:
        parts.append(Muon(matrices, lr=muon_lr, weight_decay=0.0))
    return Optimizers(parts, steps, warmup)


class Course:
    """Factor of the learning rate: it rises over the first share of steps, then falls to 0.

    The fall is a cosine.
    """

    def __init__(self, steps: int, warmup: float) -> None:
        self._steps, self._rise = max(steps, 1), max(1, round(steps * warmup))

    def __call__(self, step: int) -> float:
        if step < self._rise:
            return (step + 1) / (self._rise + 1)
        done = (step - self._rise) / max(1, self._steps - self._rise)
        return 0.5 * (1 + math.cos(math.pi * min(done, 1.0)))


def clip(model: nn.Module, norm: float) -> float:
    """Scales gradients down to `norm`; returns the norm they had."""
    return parallel.whole(nn.utils.clip_grad_norm_(model.parameters(), norm)).item()


def check_finite(stage: str, step: int, **quantities: float) -> None:
    """Raises DivergenceError, naming step and quantity, at the first that is not finite."""
    for name, value in quantities.items():
        if not math.isfinite(value):
            raise DivergenceError(
                f"{stage}: {name} became {value} at step {step}; lower {stage}.lr or see the data"
            )
