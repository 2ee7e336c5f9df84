"""Model folders that may not be loaded are refused in one line, before torch is imported."""

import json
import shutil
from pathlib import Path

import pytest

from roundhouse import model_folder
from roundhouse.errors import ModelError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A small folder that passes."""
    made = tmp_path / "model"
    made.mkdir()
    (made / "config.json").write_text('{"model_type": "llama"}', encoding="utf-8")
    header = json.dumps({"w": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}).encode()
    data = len(header).to_bytes(8, "little") + header + bytes(8)
    (made / "model.safetensors").write_bytes(data)
    return made


def test_a_sound_folder_passes(folder: Path) -> None:
    model_folder.check(folder)


def test_the_real_model_passes(shared: Path) -> None:
    model_folder.check(shared / "models" / "stories260K")


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"no such model folder; check model\.base"):
        model_folder.check(tmp_path / "none")


@pytest.mark.parametrize("keep", [4, 60, -1])
def test_cut_off_weights_are_refused(folder: Path, keep: int) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(ModelError, match="cut off"):
        model_folder.check(folder)


@pytest.mark.parametrize(
    "data",
    [b"", b"\x80\x04pickle is not read", bytes(64), (2).to_bytes(8, "little") + b"[]"],
    ids=["empty", "pickle", "zeros", "list"],
)
def test_other_bytes_are_refused(folder: Path, data: bytes) -> None:
    (folder / "model.safetensors").write_bytes(data)
    with pytest.raises(ModelError, match="not a safetensors file"):
        model_folder.check(folder)


def test_a_header_that_lies_about_its_file_is_refused(folder: Path) -> None:
    with (folder / "model.safetensors").open("ab") as file:
        file.write(b"hidden")
    with pytest.raises(ModelError, match="6 bytes too long"):
        model_folder.check(folder)


def test_pickled_weights_are_not_weights(folder: Path) -> None:
    shutil.move(folder / "model.safetensors", folder / "pytorch_model.bin")
    with pytest.raises(ModelError, match=r"no \*\.safetensors"):
        model_folder.check(folder)


@pytest.mark.parametrize("name", ["config.json", "tokenizer_config.json"])
def test_code_of_the_models_own_is_refused(folder: Path, name: str) -> None:
    (folder / name).write_text('{"auto_map": {"AutoModel": "evil.Model"}}', encoding="utf-8")
    with pytest.raises(ModelError, match=f"{name} asks for code of its own"):
        model_folder.check(folder)
