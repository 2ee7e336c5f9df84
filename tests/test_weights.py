"""Safetensors files that lie about themselves, or hold what is no number, are refused."""

import pickle
from pathlib import Path
from typing import Any

import pytest

from roundhouse import model_folder, weights
from roundhouse.errors import ModelError
from tests.model_files import entry, refused, sound, write


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return sound(tmp_path)


@pytest.mark.parametrize("keep", [4, 60, -1])
def test_cut_off_weights_are_refused(folder: Path, keep: int) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:keep])
    refused(folder, "cut off")


@pytest.mark.parametrize(
    "data",
    [
        b"",
        pickle.dumps({"w": [1.0]}, protocol=4),
        bytes(64),
        (2).to_bytes(8, "little") + b"[]",
        (40_000).to_bytes(8, "little") + b"[" * 40_000,
    ],
    ids=["empty", "pickle", "zeros", "list", "deep"],
)
def test_other_bytes_are_refused(folder: Path, data: bytes) -> None:
    (folder / "model.safetensors").write_bytes(data)
    refused(folder, "not a safetensors file")


BIG = weights.MAX_HEADER + 1


@pytest.mark.parametrize(
    ("header", "size", "reason"),
    [
        ({"w": entry(0, 8)}, 14, "6 bytes too long"),
        ({"w": entry(0, 80, [20])}, 8, "cut off: 8 of 80 bytes"),
        ({"w": entry(0, 8), "x": entry(4, 12)}, 12, "'w' and 'x' share bytes"),
        ({"w": entry(0, 8), "x": entry(0, 8)}, 8, "'w' and 'x' share bytes"),
        ({"w": entry(0, 8), "x": entry(12, 20)}, 20, "4 bytes belong to no tensor"),
        ({"w": entry(4, 12)}, 12, "4 bytes belong to no tensor"),
        ({"w": entry(0, 8, [3])}, 8, "not as many bytes"),
        ({"w": entry(0, 8, [2], "F64")}, 8, "not as many bytes"),
        ({"w": entry(0, 8, [1 << 62, 4])}, 8, "not as many bytes"),
        ({"w": entry(8, 0)}, 8, "not as many bytes"),
        ({"w": entry(0, 8, [-2])}, 8, "no sizes and offsets"),
        ({"w": entry(-8, 0)}, 8, "no sizes and offsets"),
        ({"w": entry(0, 8, [2.0])}, 8, "no sizes and offsets"),
        ({"w": entry(0, 8, [True, 2])}, 8, "no sizes and offsets"),
        ({"w": entry(0, 8, [8], "OBJECT")}, 8, "unknown type 'OBJECT'"),
        (b'{"w": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}, "w": 1}', 8, "twice"),
        ({"w": {"dtype": "F32"}}, 8, "not a safetensors file"),
        ({"w": entry(0, 8) | {"data_offsets": [0, 4, 8]}}, 8, "not a safetensors file"),
        ({"w": 7}, 8, "not a safetensors file"),
    ],
)
def test_a_header_that_lies_is_refused(folder: Path, header: Any, size: int, reason: str) -> None:
    write(folder, header, bytes(size))
    refused(folder, reason)


@pytest.mark.parametrize("length", [1 << 20, 1 << 40, (1 << 64) - 1])
def test_a_header_of_impossible_length_is_not_read(folder: Path, length: int) -> None:
    write(folder, {"w": entry(0, 8)}, bytes(8), length)
    refused(folder, "cut off in its header")


def test_a_header_of_possible_but_absurd_length_is_not_read(folder: Path) -> None:
    path = folder / "model.safetensors"
    with path.open("wb") as file:
        file.write(BIG.to_bytes(8, "little"))
        file.truncate(BIG + 100)
    refused(folder, "no model's")


@pytest.mark.parametrize(
    ("dtype", "size", "bits"),
    [("F32", 4, 0x7FC00000), ("F32", 4, 0xFF800000), ("F64", 8, 0x7FF0000000000000),
     ("F16", 2, 0x7E00), ("F16", 2, 0xFC00), ("BF16", 2, 0x7F80), ("F64", 8, 0x47EFFFFFF0000000),
     ("F8_E4M3", 1, 0xFF), ("F8_E5M2", 1, 0xFC), ("F8_E5M2", 1, 0x7D), ("F8_E8M0", 1, 0xFF)],
)  # fmt: skip
def test_one_weight_that_is_not_finite_is_found(
    folder: Path, dtype: str, size: int, bits: int
) -> None:
    # The largest that there is; of doubles, that float32 has a number for.
    good = {"F32": 0x7F7FFFFF, "F64": 0xC7EFFFFFEFFFFFFF, "F16": 0x7BFF, "BF16": 0x7F7F,
            "F8_E4M3": 0xFE, "F8_E5M2": 0xFB, "F8_E8M0": 0xFE}[dtype]  # fmt: skip
    values = [good.to_bytes(size, "little")] * 2
    header = {"v": entry(0, 2 * size, [2], dtype), "w": entry(2 * size, 4 * size, [2], dtype)}
    write(folder, header, b"".join(values * 2))
    model_folder.check(folder)
    model_folder.check_finite(folder)
    write(folder, header, b"".join([*values, values[0], bits.to_bytes(size, "little")]))
    with pytest.raises(ModelError, match=r"'w' holds NaN or infinity"):
        model_folder.check_finite(folder)
