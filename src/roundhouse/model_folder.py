"""Whether a Hugging Face model folder may be loaded at all, found out without loading it or torch.

Only safetensors weights, no code of the model's own, and headers that do not lie about their file.
"""

import json
import os
from pathlib import Path
from typing import Any

from roundhouse.errors import DataError, ModelError
from roundhouse.hashes import sha256_folder

#: Set for the processes of a round: relative paths in settings start at the user's checkout.
ROOT_VARIABLE = "ROUNDHOUSE_ROOT"

#: The format's own limit on a header, in bytes.
_MAX_HEADER = 100_000_000


def resolve(base: str) -> Path:
    """The folder that `model.base` names; a relative one starts at the user's checkout."""
    return Path(os.environ.get(ROOT_VARIABLE, ".")) / Path(base).expanduser()


def check(folder: Path) -> None:
    """Says in one line what is wrong with a model folder.

    Raises:
        ModelError: it is missing, incomplete, damaged, or asks for code of its own.
    """
    if not folder.is_dir():
        raise ModelError(f"{folder}: no such model folder; check model.base in params.yaml")
    for name in ("config.json", "tokenizer_config.json"):
        if "auto_map" in _json(folder, name, required=name == "config.json"):
            raise ModelError(f"{folder}: {name} asks for code of its own (auto_map): not loaded")
    weights = sorted(folder.glob("*.safetensors"))
    if not weights:
        raise ModelError(f"{folder}: no *.safetensors weights; pickled weights (.bin) are not read")
    for path in weights:
        problem = _damage(path)
        if problem:
            raise ModelError(f"{path}: {problem}: copy the model again")


def require(base: str, recorded: str) -> None:
    """Compares the base model with the round's record; what is made from scratch has no folder.

    Raises:
        DataError: the folder's bytes changed since the round froze its inputs.
    """
    folder = resolve(base)
    if folder.is_dir() and base != "scratch" and sha256_folder(folder) != recorded:
        raise DataError(
            f"{folder}: changed since the round began: put it back, or start a new round"
        )


def _json(folder: Path, name: str, required: bool) -> dict[str, Any]:
    path = folder / name
    if not path.is_file():
        if required:
            raise ModelError(f"{folder}: no {name}; this is not a Hugging Face model folder")
        return {}
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelError(f"{path}: not readable as JSON: {error}") from None
    return value if isinstance(value, dict) else {}


def _damage(path: Path) -> str | None:
    """What is wrong with a safetensors file: its header must account for every byte."""
    size = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if size < 8 or length > min(_MAX_HEADER, size - 8):
            return "not a safetensors file, or cut off in its header"
        try:
            header = json.loads(file.read(length))
            ends = [v["data_offsets"][1] for k, v in header.items() if k != "__metadata__"]
        except (ValueError, KeyError, TypeError, IndexError, AttributeError, RecursionError):
            return "not a safetensors file"
    expected = 8 + length + max(ends, default=0)
    if size < expected:
        return f"cut off: {size} of {expected} bytes"
    return f"{size - expected} bytes too long" if size > expected else None
