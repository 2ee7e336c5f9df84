"""What a training will need of memory, said before it starts; one that cannot fit is refused.

An estimate from the models' shapes, for its largest moment. Weights, gradients and an optimizer's
moments are counted exactly. Activations are those of a transformer block that keeps what its
backward pass reads (Korthikanti et al. 2022, "Reducing activation recomputation in large
transformer models", section 4.1), with an attention that does not keep its scores.
"""

import sys
from pathlib import Path
from typing import NamedTuple

import psutil
import torch
from transformers import AutoModelForCausalLM, PretrainedConfig

from roundhouse.errors import MemoryPlanError
from roundhouse.learn import parallel
from roundhouse.settings import Settings

_FLOAT = 4
#: Floats of the width that a block keeps for each token: inputs of two norms, of attention and of
#: the feed-forward layer, queries, keys, values, attention's result, two sums.
_WIDTHS = 12
#: Floats of the feed-forward width: before and after the activation, its gate, their product.
_FEED_FORWARDS = 4
#: Copies of the logits while their gradient is made.
_LOGITS = 3


class Plan(NamedTuple):
    """Bytes at the largest moment of a training.

    Attributes:
        weights: of all models, trained and frozen.
        gradients: of the trained ones.
        moments: of their optimizers.
        activations: of one minibatch, forward and backward.
        cache: keys and values while answers are sampled; it is gone when minibatches begin.
    """

    weights: int
    gradients: int
    moments: int
    activations: int
    cache: int = 0

    @property
    def total(self) -> int:
        """Cache and gradients with activations are never there together: the larger one counts."""
        return self.weights + self.moments + max(self.gradients + self.activations, self.cache)

    def __str__(self) -> str:
        parts = " + ".join(f"{_size(value)} {name}" for name, value in self._asdict().items())
        return f"{_size(self.total)} ({parts})"


class Load(NamedTuple):
    """What goes through the models at a time, in padded tokens.

    Attributes:
        rows: answers of a minibatch.
        prompt, response: longest, in tokens.
        sampled: answers that are sampled at a time; 0 where none are.
        recompute: whether layers keep their inputs alone, and run again in the backward pass.
        processes: that train together.
        shard: whether they divide gradients and moments, each of them.
    """

    rows: int
    prompt: int
    response: int
    sampled: int = 0
    recompute: bool = False
    processes: int = 1
    shard: bool = False


def load(settings: Settings, rows: int, each: int = 1, sampled: int = 0) -> Load:
    """The load of minibatches of `rows`, where answers are as long as the settings allow.

    Args:
        settings: of the round.
        rows: of a minibatch, which `compute.micro_batch` may split.
        each: answers of a row; a pair has two.
        sampled: answers that are sampled at a time; 0 where none are.
    """
    model, compute = settings.model, settings.compute
    return Load(
        each * rows_at_once(rows, compute.micro_batch),
        model.prompt_tokens,
        model.response_tokens,
        sampled,
        compute.gradient_checkpointing,
        compute.processes,
        compute.shard,
    )


def rows_at_once(rows: int, micro_batch: int) -> int:
    """How many of so many rows go through a model at a time, in training and where it measures."""
    return min(rows, micro_batch or rows)


def plan(
    config: PretrainedConfig,
    load: Load,
    trained: int,
    frozen: int = 0,
    moments: int = 2,
    at_once: int = 1,
    adapters: int = 0,
) -> Plan:
    """The plan of one process that trains models that all have the shape of `config`, in float32.

    Args:
        config: the models'; nothing of them needs to be loaded yet.
        load: what goes through them.
        trained: models that learn.
        frozen: the others.
        moments: floats that an optimizer keeps for each parameter (Adam: 2).
        at_once: models that hold the activations of a minibatch at the same time.
        adapters: parameters that learn beside those models, on one of the others.
    """
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)  # type: ignore[no-untyped-call]
    size = sum(parameter.numel() for parameter in model.parameters()) * _FLOAT
    tokens = load.rows * (load.prompt + load.response)
    kept = at_once * tokens * _per_token(config, load.recompute)
    logits = _LOGITS * load.rows * load.response * int(config.vocab_size) * _FLOAT
    cache = load.sampled * (load.prompt + load.response) * _cached(config)
    learns = trained * size + adapters * _FLOAT
    weights, held = frozen * size + learns, learns // (load.processes if load.shard else 1)
    # Processes that do not divide gradients send all of them at once, in a line of their own.
    sent = learns if load.processes > 1 and not load.shard else 0
    return Plan(weights, held + sent, moments * held, kept + logits, cache)


def require(stage: str, needed: Plan, device: torch.device, there: int | None = None) -> None:
    """Says the plan on standard error, before any model is loaded.

    Args:
        stage: its name.
        needed: its plan.
        device: where it trains.
        there: bytes that are free for it; asked of the device where it is None.

    Raises:
        MemoryPlanError: it cannot fit; the message has the numbers.
    """
    free = available(device) if there is None else there
    if device.type == "cpu":
        free //= parallel.processes()
    sys.stderr.write(f"{stage}: about {needed} of memory; {device} has {_size(free)} free\n")
    if needed.total > free:
        raise MemoryPlanError(
            f"{stage}: needs about {needed} of memory, and {device} has {_size(free)} free: lower "
            "compute.micro_batch or model.response_tokens, set compute.gradient_checkpointing, or "
            "take a smaller model"
        )


def available(device: torch.device) -> int:
    """Bytes that a process may still take there: of the machine, within its group's limit."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    free = int(psutil.virtual_memory().available)
    group = Path("/sys/fs/cgroup")
    try:
        limit, used = ((group / name).read_text() for name in ("memory.max", "memory.current"))
        free = min(free, int(limit) - int(used))
    except (OSError, ValueError):
        # No such group, or no limit (`max`).
        pass
    return max(free, 0)


def _per_token(config: PretrainedConfig, recompute: bool) -> int:
    """Bytes that all blocks keep for one token; with `recompute` their inputs, and all of one."""
    width = int(config.hidden_size)
    forward = getattr(config, "intermediate_size", None) or getattr(config, "n_inner", None)
    block = _WIDTHS * width + _FEED_FORWARDS * int(forward or 4 * width)
    layers = int(config.num_hidden_layers)
    return (layers * width + block if recompute else layers * block) * _FLOAT


def _cached(config: PretrainedConfig) -> int:
    """Bytes of one token's keys and values in all blocks."""
    heads = int(config.num_attention_heads)
    kept = int(getattr(config, "num_key_value_heads", None) or heads)
    # Some have heads that together are wider than the model.
    wide = int(getattr(config, "head_dim", None) or int(config.hidden_size) // heads)
    return 2 * int(config.num_hidden_layers) * kept * wide * _FLOAT


def _size(count: int) -> str:
    return f"{count / 1e9:.2f} GB" if count >= 1e8 else f"{count / 1e6:.1f} MB"
