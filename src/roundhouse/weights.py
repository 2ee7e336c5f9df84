"""What a safetensors file says of itself, held against the file: nothing is loaded, torch least.

The format: eight bytes with the header's length, the header (JSON: tensor to type, shape and the
first and last byte of its data), then the data. A header must account for every byte of the data
exactly once, and for no byte that is not there.
"""

import json
from collections.abc import Iterator, Mapping
from itertools import pairwise
from math import prod
from pathlib import Path
from typing import Any, NamedTuple

#: Bytes that a header may have. The format allows 100 MB; real ones have some hundred kilobytes.
MAX_HEADER = 16_000_000
#: Bytes of an element.
SIZES: Mapping[str, int] = {
    **dict.fromkeys(("BOOL", "U8", "I8", "F8_E4M3", "F8_E5M2", "F8_E8M0"), 1),
    **dict.fromkeys(("U16", "I16", "F16", "BF16"), 2),
    **dict.fromkeys(("U32", "I32", "F32"), 4),
    **dict.fromkeys(("U64", "I64", "F64"), 8),
}
#: Unsigned integer of an element's size, and the bits that are all set in NaN and infinity alone.
_SPECIAL: Mapping[str, tuple[str, int]] = {
    "F8_E4M3": ("<u1", 0x7F),
    "F8_E5M2": ("<u1", 0x7C),
    "F8_E8M0": ("<u1", 0xFF),
    "F16": ("<u2", 0x7C00),
    "BF16": ("<u2", 0x7F80),
    "F32": ("<u4", 0x7F800000),
    "F64": ("<u8", 0x7FF0000000000000),
}
#: Bits of the least double that becomes infinity in float32, in which models are loaded.
_TOO_LARGE = 0x47EFFFFFF0000000
#: Bytes that are looked at in one go.
_CHUNK = 1 << 24


class Tensor(NamedTuple):
    """What a header says of one tensor; `first` and `last` count from the start of the data."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    first: int
    last: int


class Damage(Exception):
    """A file that is not what its header says; the message is half a sentence."""


def tensors(path: Path) -> list[Tensor]:
    """The tensors of a safetensors file in the order of their data, the header believed.

    Raises:
        Damage: the file is none, is cut off, or its header lies.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if size < 8 or length > size - 8:
            raise Damage("not a safetensors file, or cut off in its header")
        if length > MAX_HEADER:
            raise Damage(f"its header of {length} bytes is no model's")
        found = sorted(_entries(file.read(length)), key=lambda one: (one.first, one.last))
    _require_whole(found, size - 8 - length)
    return found


def not_finite(path: Path) -> str | None:
    """The first tensor with a weight that float32 holds as NaN or infinity, or None.

    Reads all of the file once.
    """
    import numpy  # noqa: PLC0415 - only here; the rest needs nothing but the standard library

    with path.open("rb") as file:
        start = 8 + int.from_bytes(file.read(8), "little")
        for one in tensors(path):
            if one.dtype not in _SPECIAL:
                continue
            kind, bits = _SPECIAL[one.dtype]
            for place in range(one.first, one.last, _CHUNK):
                file.seek(start + place)
                data = numpy.frombuffer(file.read(min(_CHUNK, one.last - place)), kind)
                found = (data & bits) == bits
                if one.dtype == "F64":
                    found |= (data & (2**63 - 1)) >= _TOO_LARGE
                if found.any():
                    return one.name
    return None


def _entries(text: bytes) -> Iterator[Tensor]:
    try:
        header = json.loads(text, object_pairs_hook=_distinct)
        for name, entry in header.items():
            if name != "__metadata__":
                first, last = entry["data_offsets"]
                yield _checked(Tensor(name, entry["dtype"], tuple(entry["shape"]), first, last))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise Damage("not a safetensors file") from None


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object; readers differ in which of two equal keys they believe."""
    found = dict(pairs)
    if len(found) < len(pairs):
        raise Damage("its header names a tensor twice")
    return found


def _checked(one: Tensor) -> Tensor:
    numbers = (*one.shape, one.first, one.last)
    if any(type(number) is not int or number < 0 for number in numbers):
        raise Damage(f"its header gives {one.name!a} no sizes and offsets that can be")
    if one.dtype not in SIZES:
        raise Damage(f"{one.name!a} is of the unknown type {one.dtype!a}")
    if one.last - one.first != prod(one.shape) * SIZES[one.dtype]:
        raise Damage(f"{one.name!a} has not as many bytes as its type and shape need")
    return one


def _require_whole(found: list[Tensor], size: int) -> None:
    """Data without gap or overlap, from the first byte to the last."""
    ends = [0, *(one.last for one in found)]
    if size < ends[-1]:
        raise Damage(f"cut off: {size} of {ends[-1]} bytes of data")
    if size > ends[-1]:
        raise Damage(f"{size - ends[-1]} bytes too long")
    if found and found[0].first:
        raise Damage(f"{found[0].first} bytes belong to no tensor")
    for one, other in pairwise(found):
        if other.first < one.last:
            raise Damage(f"{one.name!a} and {other.name!a} share bytes")
        if other.first > one.last:
            raise Damage(f"{other.first - one.last} bytes belong to no tensor")
