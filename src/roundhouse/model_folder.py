"""Whether a Hugging Face model folder may be loaded at all, found out without loading it or torch.

Only safetensors weights, no code of the model's own, nothing pickled, no file from elsewhere, and
headers that do not lie about their file. `docs/security.md` lists what is refused.
"""

import json
import os
import re
from collections.abc import Iterator, Mapping
from fnmatch import fnmatch
from hashlib import sha256
from pathlib import Path
from typing import Any

from roundhouse import chat_template, weights
from roundhouse.errors import DataError, ModelError, SettingsError
from roundhouse.hashes import sha256_file
from roundhouse.params import ROOT_VARIABLE
from roundhouse.settings import ModelSettings

SCRATCH = "scratch"

#: All that is ever fetched from the hub, and looked at in its cache.
FETCHED = ("*.json", "*.safetensors", "*.jinja", "tokenizer.model", "merges.txt", "vocab.txt")
_HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*(/[\w.-]+)?")
#: Names of what is pickled, or may be; and of what is code.
_PICKLED = re.compile(r".*\.(bin|pt|pth|ckpt|pkl|pickle|npy|npz|joblib|msgpack|h5|mar)", re.I)
_CODE = re.compile(r".*\.(py|pyc|pyd|so|dll|dylib|sh|js|wasm)", re.I)
#: First bytes of a pickle (protocols 2 to 5), of a ZIP file (in which torch keeps pickles), of ELF.
_MAGIC = {b"\x80\x02": "pickle", b"\x80\x03": "pickle", b"\x80\x04": "pickle",
          b"\x80\x05": "pickle", b"PK": "ZIP file", b"\x7fE": "program"}  # fmt: skip
#: Settings by which a configuration asks for code from elsewhere, at any depth.
_ASKS = ("auto_map", "trust_remote_code", "custom_pipelines", "custom_generate")
#: Settings by which a file has transformers read others in place of those that are looked at here.
_LEADS = ("transformers_weights", "configuration_files", "fast_tokenizer_files", "init_inputs",
          "vocab", "merges", "gguf_file", "tokenizer_object")  # fmt: skip
#: A shard of torch.distributed's own kind: it is read in the model's place, whatever it holds.
_TORCH_SHARD = re.compile(r"shard-\d+-model-\d+-of-\d+\.safetensors")
#: Sizes that no weight may fall short of: a model of that size would be made before it is compared.
_WIDTHS = ("vocab_size", "hidden_size", "intermediate_size", "n_embd", "n_inner", "d_model", "d_ff")
_DEPTHS = ("num_hidden_layers", "n_layer", "num_layers", "n_layers")
#: Sizes for which tables are made that no weight shows, and the most that is believed of them.
_LENGTHS = ("n_positions", "n_ctx", "max_position_embeddings", "max_seq_len", "seq_length")
_MAX_LENGTH = 1 << 24
#: What a configuration calls the positions of a model, and the scale of rotary ones.
_POSITIONS = ("max_position_embeddings", "n_positions")
_ROTARY = ("rope_parameters", "rope_scaling")
#: Bytes of a configuration file, and of the list of shards.
_MAX_CONFIG, _MAX_LIST = 4_000_000, 64_000_000


def of_stage(model: ModelSettings) -> Path:
    """The base model's folder as a stage sees it, whose folder is not the user's checkout.

    Raises: as `of_checkout`.
    """
    return of_checkout(Path(os.environ.get(ROOT_VARIABLE, ".")), model)


def is_hub_name(base: str, folder: Path) -> bool:
    """Whether `model.base` names a model of the hub, and not a folder (or none: `scratch`)."""
    return base != SCRATCH and not folder.exists() and _HUB_NAME.fullmatch(base) is not None


def of_checkout(root: Path, model: ModelSettings) -> Path:
    """The base model's folder, which need not exist; relative ones start at the checkout's root.

    A hub name is fetched into the hub's own cache first, at the commit that the settings name.

    Raises:
        SettingsError: a hub name without a revision, or a folder with one.
        ModelError: the hub does not give it.
    """
    base, revision = model.base, model.revision
    folder = root / Path(base).expanduser()
    if not is_hub_name(base, folder):
        if revision is not None:
            raise SettingsError(f"model.revision pins a hub name; {base} is none: set it to null")
        return folder
    if revision is None:
        raise SettingsError(
            f"model.base {base}: no such folder, and as a hub name it needs model.revision, the "
            "commit (40 hexadecimal digits) that it stays at"
        )
    from huggingface_hub import snapshot_download  # noqa: PLC0415 - half a second, hubs alone

    try:
        return Path(snapshot_download(base, revision=revision, allow_patterns=list(FETCHED)))
    except Exception as error:  # the hub's client raises many kinds, its HTTP client more
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise ModelError(
            f"model.base {base}: no such folder, and the hub does not give it: {reason}"
        ) from None


def check(folder: Path) -> None:
    """Says in one line what is wrong with a model folder.

    Raises:
        ModelError: it is missing, incomplete, damaged, or asks for code of its own.
    """
    if not folder.is_dir():
        raise ModelError(f"{folder}: no such model folder; check model.base in params.yaml")
    # What asks for code is said before the code that it asks for.
    for path in sorted(files(folder), key=lambda path: (path.suffix != ".json", path)):
        _check_file(folder, path)
    config = _json(folder / "config.json", _MAX_CONFIG)
    named = folder / "adapter_config.json"
    if named.exists():
        raise ModelError(f"{named}: an adapter, which names another model: merge it first")
    _check_tokenizer(folder)
    _check_templates(folder)
    found = _check_weights(folder)
    _check_sizes(folder, config, found)


def check_finite(folder: Path) -> None:
    """Reads every weight of a folder that passed `check`.

    Raises:
        ModelError: a weight is NaN or infinite.
    """
    for path in sorted(folder.glob("*.safetensors")):
        name = weights.not_finite(path)
        if name is not None:
            raise ModelError(f"{path}: {name!a} holds NaN or infinity: the model is damaged")


def check_room(folder: Path, model: ModelSettings) -> None:
    """Holds the longest prompt with the longest answer against the positions of a model.

    Learned positions end there, and a row beyond ends a stage in its middle. Rotary ones go on, but
    a model was not trained there: they count the same, unless the configuration scales them, which
    is how a model says that it reads more than it names.

    Raises:
        SettingsError: there are fewer positions than tokens.
        ModelError: no readable configuration.
    """
    config = _json(folder / "config.json", _MAX_CONFIG)
    scaled = any(
        key in ("rope_type", "type") and setting != "default"
        for name in _ROTARY
        for key, setting in _settings(config.get(name))
    )
    named = [config[name] for name in _POSITIONS if isinstance(config.get(name), int)]
    if scaled or not named:
        return
    if model.prompt_tokens + model.response_tokens > min(named):
        raise SettingsError(
            f"model.prompt_tokens {model.prompt_tokens} and model.response_tokens "
            f"{model.response_tokens}: {folder} has {min(named)} positions: lower one of them"
        )


def digest(folder: Path) -> str:
    """`hashes.sha256_folder`, of a hub's cache over those files alone that are ever fetched."""
    lines = sorted((path.relative_to(folder).as_posix(), path) for path in files(folder))
    text = "".join(f"{sha256_file(path)}  {name}\n" for name, path in lines)
    return sha256(text.encode()).hexdigest()


def require(model: ModelSettings, recorded: str) -> None:
    """Compares the base model with the round's record; what is made from scratch has no folder.

    Raises:
        DataError: the folder's bytes changed since the round froze its inputs.
    """
    if model.base == SCRATCH:
        return
    folder = of_stage(model)
    if digest(folder) != recorded:
        raise DataError(
            f"{folder}: changed since the round began: put it back, or start a new round"
        )


def files(folder: Path) -> Iterator[Path]:
    """Every file below a model folder; of a snapshot in a hub's cache, those that are fetched."""
    cached = _is_cached(folder)
    for path in folder.rglob("*"):
        if path.is_dir() and not path.is_symlink():
            continue
        if not cached or any(fnmatch(path.name, pattern) for pattern in FETCHED):
            yield path


def _is_cached(folder: Path) -> bool:
    """Whether it is a snapshot in the hub's own cache, where others' files may lie beside."""
    if folder.parent.name != "snapshots":
        return False
    from huggingface_hub.constants import HF_HUB_CACHE  # noqa: PLC0415 - snapshots alone

    return Path(HF_HUB_CACHE).resolve() in folder.resolve().parents


def _check_file(folder: Path, path: Path) -> None:
    """One file's name, place and first bytes; a configuration's settings too."""
    name = path.relative_to(folder).as_posix()
    homes = [folder.resolve()]
    if _is_cached(folder):
        # The hub's cache keeps the bytes apart from the names.
        homes.append(folder.resolve().parents[1] / "blobs")
    target = path.resolve()
    if not any(home in target.parents for home in homes):
        raise ModelError(f"{path}: a link that leads out of the model's folder: not followed")
    if not target.is_file():
        raise ModelError(f"{path}: not a plain file")
    if name == "config.json" or name.endswith("_config.json"):
        _check_configuration(path, name)
    if _PICKLED.fullmatch(name):
        raise ModelError(f"{path}: pickled or old weights are not read: keep safetensors alone")
    if _CODE.fullmatch(name):
        raise ModelError(f"{path}: code of the model's own is not loaded: remove it")
    with path.open("rb") as file:
        kind = _MAGIC.get(file.read(2))
    # A safetensors file may begin with any length; its own check follows.
    if kind and not name.endswith(".safetensors"):
        raise ModelError(f"{path}: a {kind}, whatever its name says: not read")


def _check_configuration(path: Path, name: str) -> None:
    for key, setting in _settings(_json(path, _MAX_CONFIG)):
        if key in _ASKS and setting not in (None, False):
            raise ModelError(f"{path.parent}: {name} asks for code of its own ({key}): not loaded")
        if key.endswith("_implementation") and "/" in str(setting):
            raise ModelError(
                f"{path.parent}: {name} asks for code from the hub ({key}): not loaded"
            )
        if key in _LEADS and setting not in (None, False, []):
            raise ModelError(
                f"{path.parent}: {name} names other files ({key}): remove that setting"
            )


def _check_tokenizer(folder: Path) -> None:
    """What transformers hands to the tokenizer's class by name: tokens, and never a file to open.

    A vocabulary that was read from elsewhere would be saved and published with the model.
    """
    given = folder / "tokenizer_config.json"
    for key, setting in _settings(_json(given, _MAX_CONFIG) if given.exists() else {}):
        # Of this one older versions kept the path; it is never opened.
        if key.endswith("_file") and key != "special_tokens_map_file" and isinstance(setting, str):
            raise ModelError(f"{given}: names another file ({key}): set it to null")
    tokens = folder / "special_tokens_map.json"
    for key in _json(tokens, _MAX_CONFIG) if tokens.exists() else {}:
        if not key.endswith(("_token", "_tokens")):
            raise ModelError(f"{tokens}: {key!a} is no special token: remove it")


def _settings(value: Any) -> Iterator[tuple[str, Any]]:
    """Every key with its value, at any depth."""
    waiting = [value]
    while waiting:
        one = waiting.pop()
        if isinstance(one, Mapping):
            yield from one.items()
            waiting.extend(one.values())
        elif isinstance(one, list):
            waiting.extend(one)


def _check_templates(folder: Path) -> None:
    path = folder / "tokenizer_config.json"
    given = _json(path, _MAX_CONFIG) if path.exists() else {}
    for where, text in chat_template.templates(folder, given):
        problem = chat_template.problem(text)
        if problem:
            raise ModelError(f"{folder}: the chat template in {where} {problem}: not rendered")


def _check_weights(folder: Path) -> list[weights.Tensor]:
    """Every weight's header, and where there is a list of shards, that it names what is there."""
    paths = sorted(folder.glob("*.safetensors"))
    if not paths:
        raise ModelError(f"{folder}: no *.safetensors weights; pickled weights (.bin) are not read")
    index = folder / "model.safetensors.index.json"
    if not index.exists() and folder / "model.safetensors" not in paths:
        raise ModelError(f"{folder}: neither model.safetensors nor {index.name}: copy it again")
    headers: dict[str, list[weights.Tensor]] = {}
    for path in paths:
        if _TORCH_SHARD.fullmatch(path.name):
            raise ModelError(f"{path}: a shard of torch.distributed: save the model as a whole")
        try:
            headers[path.name] = weights.tensors(path)
        except weights.Damage as damage:
            raise ModelError(f"{path}: {damage}: copy the model again") from None
    if index.exists():
        _check_shards(index, headers)
    return [one for found in headers.values() for one in found]


def _check_shards(index: Path, headers: Mapping[str, list[weights.Tensor]]) -> None:
    listed = _json(index, _MAX_LIST).get("weight_map")
    held = {one.name: name for name, found in headers.items() for one in found}
    if not isinstance(listed, dict):
        raise ModelError(f"{index}: no weight_map")
    for tensor, shard in listed.items():
        if held.get(tensor) != shard:
            raise ModelError(f"{index}: {tensor!a} is not in {shard!a}: copy the model again")


def _check_sizes(folder: Path, config: Mapping[str, Any], found: list[weights.Tensor]) -> None:
    widest = max((size for one in found for size in one.shape), default=0)
    for key, size in _settings(config):
        if not isinstance(size, int) or isinstance(size, bool):
            continue
        if key in _WIDTHS and size > widest:
            raise ModelError(f"{folder}: config.json says {key} {size}, no weight is so wide")
        if key in _DEPTHS and size > len(found):
            raise ModelError(f"{folder}: config.json says {key} {size}, there are fewer weights")
        if key in _LENGTHS and size > _MAX_LENGTH:
            raise ModelError(f"{folder}: config.json says {key} {size}: more than {_MAX_LENGTH}")


def _json(path: Path, most: int) -> dict[str, Any]:
    if not path.is_file():
        raise ModelError(f"{path.parent}: no {path.name}; this is not a Hugging Face model folder")
    if path.stat().st_size > most:
        raise ModelError(f"{path}: larger than {most} bytes: not read")
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ModelError(f"{path}: not readable as JSON: {error}") from None
    return value if isinstance(value, dict) else {}
