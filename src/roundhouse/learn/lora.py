"""LoRA: small matrices learn, and the weights that they are added to stand still (Hu et al. 2022).

A model with adapters shares the weights of its base, which stays a model of its own: the base is
the policy with its adapters off, and is the reference, without a second copy in memory. What a
stage writes is a plain model again, the adapters merged into it, and they beside it in peft's
format. No adapter is ever read. peft is imported where adapters are: that takes half a second.
"""

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import nn
from transformers import AutoModelForCausalLM, PretrainedConfig, PreTrainedModel
from transformers.pytorch_utils import Conv1D

from roundhouse.errors import SettingsError
from roundhouse.learn import checkpoint
from roundhouse.settings import LoraSettings
from roundhouse.storage import writing

#: The name that peft gives an adapter where nobody names it; parameters carry it.
_NAME = "default"


def on(base: PreTrainedModel, block: LoraSettings, seed: int) -> PreTrainedModel:
    """A model on the base's own weights, frozen, that starts as the base and learns adapters alone.

    Draws from `seed` and leaves the global generators as they are.

    Raises:
        SettingsError: `lora.targets` names what is not there, or cannot be adapted.
    """
    # Parameters of its own on the same memory: the base's stay what they are. Tied ones stay tied.
    shared: dict[int, Any] = {
        id(weight): nn.Parameter(weight.detach(), requires_grad=False)
        for weight in base.parameters()
    }
    model = copy.deepcopy(base, shared)
    with torch.random.fork_rng(devices=[]):
        torch.random.manual_seed(seed)
        _inject(model, block)
    model.train(False)
    return model


def size(config: PretrainedConfig, block: LoraSettings) -> int:
    """Parameters of all adapters of a model of that shape; nothing is loaded.

    Raises: as `on`.
    """
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)  # type: ignore[no-untyped-call]
        _inject(model, block)
    return sum(weight.numel() for weight in checkpoint.weights(model).values())


def scale(model: nn.Module) -> float | None:
    """What the adapters' products are multiplied by, which no weight tells; None without any."""
    config = getattr(model, "peft_config", {}).get(_NAME)
    return config.lora_alpha / config.r if config else None


def settle(model: PreTrainedModel, folder: Path) -> None:
    """Writes a model's adapters in peft's format and merges them, in place; without any, nothing.

    `peft.PeftModel.from_pretrained` loads them on the model that they were learned on.
    """
    if scale(model) is None:
        return
    _save(model, folder)
    for name, layer in list(_layers(model)):
        # Into memory of the layer's own: what shares the base's weights stays as it is.
        layer.merge(safe_merge=True)
        model.set_submodule(name, layer.get_base_layer())
    del model.peft_config
    model.requires_grad_(True)


def _save(model: PreTrainedModel, folder: Path) -> None:
    tensors = {
        f"base_model.model.{name.replace(f'.{_NAME}.', '.')}": weight.contiguous()
        for name, weight in checkpoint.weights(model).items()
    }
    # peft would write sets in any order, and the same adapter would have several hashes. It would
    # also name the base by its place on this machine.
    held: Any = model.peft_config
    config = _plain(held[_NAME].to_dict()) | {"inference_mode": True}
    with writing(folder, sum(tensor.nbytes for tensor in tensors.values())):
        folder.mkdir(parents=True, exist_ok=True)
        save_file(tensors, folder / "adapter_model.safetensors", metadata={"format": "pt"})
        text = json.dumps(config | {"base_model_name_or_path": None}, indent=2, sort_keys=True)
        (folder / "adapter_config.json").write_text(text + "\n", encoding="utf-8")


def _inject(model: PreTrainedModel, block: LoraSettings) -> None:
    """Puts adapters of no effect yet into a model, in place; nothing but they will train."""
    from peft import LoraConfig, inject_adapter_in_model  # noqa: PLC0415 - half a second

    everywhere = block.targets == "all-linear"
    for target in [] if everywhere else block.targets:
        _require(target, model)
    config = LoraConfig(
        r=block.rank,
        lora_alpha=block.alpha,
        lora_dropout=0.0,
        bias="none",
        target_modules="all-linear" if everywhere else list(block.targets),
        # GPT-2's layers hold their weights the other way round.
        fan_in_fan_out=any(isinstance(module, Conv1D) for module in model.modules()),
        task_type="CAUSAL_LM",
    )
    try:
        inject_adapter_in_model(config, model, _NAME)
    except ValueError as error:
        raise SettingsError(f"lora.targets: {' '.join(str(error).split())[:200]}") from None


def _require(target: str, model: PreTrainedModel) -> None:
    """Refuses a target that names no layer, or an end of the model: ends may be tied."""
    head = model.get_output_embeddings()  # type: ignore[no-untyped-call]
    ends = (model.get_input_embeddings(), head)
    found = {n: part for n, part in model.named_modules() if f".{n}".endswith(f".{target}")}
    if not found:
        raise SettingsError(f"lora.targets: the model has no layer {target}")
    for name, part in found.items():
        if any(part is end for end in ends):
            raise SettingsError(f"lora.targets: {name} is an end of the model: name inner layers")


def _layers(model: nn.Module) -> Iterator[tuple[str, Any]]:
    """The layers with adapters, by name."""
    from peft.tuners.lora import LoraLayer  # noqa: PLC0415 - half a second

    for name, module in model.named_modules():
        if isinstance(module, LoraLayer):
            yield name, module


def _plain(value: Any) -> Any:
    """A configuration as JSON holds it, the same each time."""
    if isinstance(value, dict):
        return {key: _plain(part) for key, part in value.items()}
    return sorted(value) if isinstance(value, set) else value
