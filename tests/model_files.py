"""Small model folders for tests: a sound one, and safetensors files with any header at all."""

import json
from pathlib import Path
from typing import Any

import pytest

from roundhouse import model_folder
from roundhouse.errors import ModelError


def sound(home: Path) -> Path:
    """A small folder that passes."""
    made = home / "model"
    made.mkdir()
    (made / "config.json").write_text('{"model_type": "llama", "vocab_size": 2}', encoding="utf-8")
    write(made, {"w": entry(0, 8)}, bytes(8))
    return made


def entry(first: int, last: int, shape: Any = (2,), dtype: str = "F32") -> dict[str, Any]:
    return {"dtype": dtype, "shape": list(shape), "data_offsets": [first, last]}


def write(
    folder: Path, header: Any, data: bytes, length: int | None = None, name: str = "model"
) -> None:
    """A safetensors file with any header at all; `length` is what it claims the header has."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    size = len(text) if length is None else length
    (folder / f"{name}.safetensors").write_bytes(size.to_bytes(8, "little") + text + data)


def refused(folder: Path, reason: str) -> None:
    with pytest.raises(ModelError, match=reason) as caught:
        model_folder.check(folder)
    assert "\n" not in str(caught.value)
