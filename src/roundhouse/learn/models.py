"""Causal language models: loaded safely from a folder or the hub, made from scratch, saved.

Only safetensors weights are read and no code of a model is ever run. What is wrong with a folder is
said in one line.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError
from torch import Tensor
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
    LlamaConfig,
    LlamaForCausalLM,
    PretrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.utils import logging

from roundhouse import chat_template, failpoints, model_folder
from roundhouse.errors import ModelError
from roundhouse.learn import norms, packing, parallel, passes, rl
from roundhouse.learn.text import Batch
from roundhouse.learn.tokenizer import prepare, word_level
from roundhouse.settings import ModelSettings, ScratchModel
from roundhouse.simulate.world import vocabulary
from roundhouse.storage import writing


class Policy(NamedTuple):
    """A causal language model and its tokenizer."""

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase


def device() -> torch.device:
    """Where training runs: the GPU if there is one."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def load_policy(settings: ModelSettings) -> Policy:
    """The model that a round starts from, in float32, dropout off; torch's seed makes `scratch`.

    Raises:
        ModelError: the folder is missing, damaged or unsafe.
        SettingsError: the longest prompt with its answer is longer than the model reads.
    """
    if settings.base == model_folder.SCRATCH:
        length = settings.prompt_tokens + settings.response_tokens
        return scratch(settings.scratch, vocabulary(), length)
    folder = model_folder.of_stage(settings)
    model_folder.check(folder)
    model_folder.check_finite(folder)
    model_folder.check_room(folder, settings)
    return load(folder)


def configuration(folder: Path) -> PretrainedConfig:
    """The shape of the model in a folder; no weights are read.

    Raises:
        ModelError: the folder is missing, damaged or unsafe.
    """
    model_folder.check(folder)
    try:
        config: PretrainedConfig = AutoConfig.from_pretrained(
            folder, local_files_only=True, trust_remote_code=False
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelError(f"{folder}: no usable configuration: {_one_line(error)}") from None
    return config


def scratch(shape: ScratchModel, words: Iterable[str], length: int) -> Policy:
    """A new tiny Llama for `length` tokens, and its word-level tokenizer."""
    tokenizer = word_level(words)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=shape.hidden_size,
        intermediate_size=shape.feed_forward,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.heads,
        max_position_embeddings=length,
        tie_word_embeddings=True,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    model = LlamaForCausalLM(config)
    # The default of 0.02 makes tied logits of so narrow a model too flat to learn copying from.
    torch.nn.init.normal_(model.model.embed_tokens.weight, std=0.1)
    return Policy(_ready(model), tokenizer)


def load(folder: Path) -> Policy:
    """A model folder as a policy, in float32, dropout off.

    Raises:
        ModelError: the folder is missing, damaged or unsafe.
    """
    tokenizer = load_tokenizer(folder)
    model = load_weights(AutoModelForCausalLM, folder)
    given = tokenizer.eos_token_id
    prepare(tokenizer, str(folder))
    if tokenizer.eos_token_id != given:
        _end_with(model, int(tokenizer.eos_token_id))
    rows = int(getattr(model.get_input_embeddings(), "num_embeddings"))  # noqa: B009 - typed so
    if max(tokenizer.get_vocab().values()) >= rows:
        raise ModelError(f"{folder}: the tokenizer has more words than the model's {rows}")
    return Policy(model, tokenizer)


def _end_with(model: PreTrainedModel, end: int) -> None:
    """Tells whoever samples from the saved model by its own settings where its answers end."""
    settings = model.generation_config
    if settings is not None:
        known = settings.eos_token_id
        ends = known if isinstance(known, list) else [] if known is None else [known]
        settings.eos_token_id = [end, *(one for one in ends if one != end)]


def load_tokenizer(folder: Path) -> PreTrainedTokenizerBase:
    """The tokenizer of a model folder, which is checked first."""
    model_folder.check(folder)
    try:
        tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(
            folder, local_files_only=True, trust_remote_code=False
        )
    except Exception as error:  # the tokenizers library raises plain ones
        raise ModelError(f"{folder}: no usable tokenizer: {_one_line(error)}") from None
    require_template(tokenizer, folder)
    for where_from in ("is_local", "local_files_only"):
        # They would be saved with it, and the same tokenizer would have two hashes.
        tokenizer.init_kwargs.pop(where_from, None)
    return tokenizer


def require_template(tokenizer: PreTrainedTokenizerBase, folder: Path) -> None:
    """Renders a model's own template once: what the sandbox stops is said before any training."""
    if tokenizer.chat_template is None:
        return
    # Wherever it came from: `model_folder.check` looks where it usually stands.
    for text in chat_template.texts(tokenizer.chat_template):
        if problem := chat_template.problem(text):
            raise ModelError(f"{folder}: the chat template {problem}: not rendered")
    try:
        chat = [{"role": "user", "content": "roundhouse"}]
        said = tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True)
    except Exception as error:  # a template is a program: it may end in any way
        reason = _one_line(error)
        raise ModelError(f"{folder}: the chat template cannot be rendered: {reason}") from None
    # What reaches inside an object in a way that only the sandbox sees comes out as nothing.
    if "roundhouse" not in str(said):
        raise ModelError(f"{folder}: the chat template leaves out what the user says")


def load_weights(kind: Any, folder: Path) -> PreTrainedModel:
    """The weights of a folder as `kind` (an Auto class); every one of them must be in the file."""
    model_folder.check(folder)
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        model, report = kind.from_pretrained(
            folder,
            local_files_only=True,
            trust_remote_code=False,
            use_safetensors=True,
            dtype=torch.float32,
            output_loading_info=True,
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError, ImportError, RuntimeError,
            SafetensorError) as error:  # fmt: skip
        # A configuration may hold anything; what transformers then stumbles over has no one kind.
        raise ModelError(f"{folder}: weights cannot be loaded: {_one_line(error)}") from None
    if report["missing_keys"]:
        first = sorted(report["missing_keys"])[0]
        raise ModelError(f"{folder}: weights are missing, {first} among them; copy the model again")
    if report["unexpected_keys"]:
        first = sorted(report["unexpected_keys"])[0]
        raise ModelError(f"{folder}: weights that the model has no place for, {first} among them")
    return _ready(model)


def save(policy: Policy, folder: Path) -> None:
    """Writes a Hugging Face folder: configuration, safetensors, tokenizer, chat template."""
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    need = sum(weight.numel() * weight.element_size() for weight in policy.model.parameters())
    with writing(folder, need):
        policy.model.save_pretrained(folder)
        failpoints.hit("model.save", of=folder.name)
        policy.tokenizer.save_pretrained(folder)


def response_logprobs(model: PreTrainedModel, batch: Batch, temperature: float) -> Tensor:
    """Log-probability [B, R] of each response token at the sampling temperature; 0 after the end.

    Logits are made for these tokens alone, each from the state before it.
    """
    counted = batch.action_mask
    with passes.forward(model):
        if packing.fits(model):
            packed = packing.line(batch)
            kept = packed.states[:, :-1][counted]
            logits = packing.run(model, packed, logits_to_keep=kept).logits[0]
        else:
            logits = padded_logits(model, batch)[counted]
    found = rl.logprobs(logits, batch.responses[counted], temperature)
    return torch.zeros(counted.shape, device=found.device).masked_scatter(counted, found)


def padded_logits(model: PreTrainedModel, batch: Batch) -> Tensor:
    """Logits [B, R, V] for each response column, from the padded batch: for any causal model."""
    first, width = batch.prompt_width - 1, batch.tokens.shape[1]
    output = model(
        input_ids=batch.tokens,
        attention_mask=batch.mask,
        position_ids=batch.positions,
        use_cache=False,
        logits_to_keep=torch.arange(first, width - 1, device=batch.tokens.device),
    )
    logits: Tensor = output.logits
    return logits


@contextmanager
def states_kept(model: PreTrainedModel) -> Iterator[list[Tensor]]:
    """Within the block the list gets the last states of the trunk, of each forward pass."""
    kept: list[Tensor] = []

    def keep(_: torch.nn.Module, __: Any, output: Any) -> None:
        kept.append(output.last_hidden_state)

    handle = model.base_model.register_forward_hook(keep)
    try:
        yield kept
    finally:
        handle.remove()


def response_states(model: PreTrainedModel, batch: Batch) -> Tensor:
    """The trunk's last state before each response token [B, R, H]; behind the end, anything."""
    # Of logits only one is made: the whole model runs, because a sharded one gathers its weights.
    with passes.forward(model), states_kept(model) as kept:
        if packing.fits(model):
            packing.run(model, packing.line(batch), logits_to_keep=1)
        else:
            model(
                input_ids=batch.tokens,
                attention_mask=batch.mask,
                position_ids=batch.positions,
                use_cache=False,
                logits_to_keep=1,
            )
    return placed(model, batch, kept[-1])


def placed(model: PreTrainedModel, batch: Batch, states: Tensor) -> Tensor:
    """What `states_kept` kept of a pass over the batch, as [B, R, H] before response tokens."""
    if packing.fits(model):
        return states[0][packing.line(batch).states[:, :-1]]
    return states[:, batch.prompt_width - 1 : -1]


def shard(model: PreTrainedModel) -> None:
    """`parallel.shard` of a model, which is tried for `packing` while it is whole."""
    packing.fits(model)
    parallel.shard(model)


def whole(model: PreTrainedModel) -> PreTrainedModel:
    """The model, or where it is sharded a copy with all weights, which every process gets."""
    if not parallel.is_sharded(model):
        return model
    # FSDP gave the model a class of two parents: its own, and the model's.
    kind = type(model).__mro__[2]
    plain = kind(model.config)
    plain.load_state_dict({name: parallel.whole(part) for name, part in model.state_dict().items()})
    if model.can_generate():
        plain.generation_config = model.generation_config
    return _ready(plain)


def parameters(models: Sequence[torch.nn.Module]) -> list[torch.nn.Parameter]:
    """Every trained parameter once, tied ones too."""
    found = {id(p): p for model in models for p in model.parameters() if p.requires_grad}
    return list(found.values())


def _ready(model: Any) -> PreTrainedModel:
    """On its device, dropout off: a policy with dropout is another one in each of its passes."""
    placed: PreTrainedModel = model.to(device()).eval()
    norms.install(placed)
    return placed


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
