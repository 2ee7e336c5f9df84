r"""Personal data taken out of a line that is kept as it came, in whatever format.

JSON writes a line break as two signs, and the `n` of `\n` would join the digits behind it to a
word. So a line is searched as it reads without its escapes, and what is found is replaced where it
stands. All else stays to the byte, and JSON stays JSON.
"""

import json
import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from roundhouse import personal

_ESCAPE = re.compile(
    r"\\u[Dd][89ABab][0-9A-Fa-f]{2}\\u[Dd][C-Fc-f][0-9A-Fa-f]{2}"
    r'|\\u[0-9A-Fa-f]{4}|\\["\\/bfnrt]'
)
#: An escaped quote reads as another one, so that every quote left is the end of a text.
_SIGNS = {r"\"": "'", r"\\": "\\", r"\/": "/"}
_SIGNS |= {r"\b": "\b", r"\f": "\f", r"\n": "\n", r"\r": "\r", r"\t": "\t"}
_NUMBER = re.compile(r"-?\d[\d.Ee+-]*")


class _Blot(NamedTuple):
    """What stands in place of a part of the line without its escapes."""

    start: int
    end: int
    mark: str


def redacted(raw: bytes) -> bytes:
    r"""The line with every find replaced by its kind in brackets.

    >>> redacted(rb'{"prompt": "I am\nann\u0040example.org"}')
    b'{"prompt": "I am\\n[e-mail]"}'
    """
    text = raw.decode("utf-8", "surrogateescape")
    plain = _ESCAPE.sub(_sign, text)
    found = personal.find(plain)
    if not found:
        return raw
    whole = [_Blot(one.start, one.end, f"[{one.kind}]") for one in found]
    blots = list(_within_values(plain, whole)) if _is_json(text) else whole
    places = _places(text, (place for blot in blots for place in blot[:2]))
    parts, last = [], 0
    for (_, _, mark), start, end in zip(blots, places, places, strict=False):
        parts += [text[last:start], mark]
        last = end
    return "".join([*parts, text[last:]]).encode("utf-8", "surrogateescape")


def _sign(escape: re.Match[str]) -> str:
    """The one sign that an escape stands for."""
    sign = _SIGNS.get(escape[0]) or str(json.loads(f'"{escape[0]}"'))
    return "'" if sign == '"' else sign


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def _within_values(plain: str, whole: Iterable[_Blot]) -> Iterator[_Blot]:
    """Blots of texts and numbers alone, which leave the signs between them: `token": "...`."""
    quotes, last = 0, 0
    for start, end, mark in whole:
        quotes += plain.count('"', last, start)
        last = start
        for place, piece in enumerate(plain[start:end].split('"'), start=quotes):
            if place % 2:
                yield _Blot(start, start + len(piece), mark)
            else:
                for number in _NUMBER.finditer(piece):
                    yield _Blot(start + number.start(), start + number.end(), f'"{mark}"')
            start += len(piece) + 1


def _places(text: str, wanted: Iterable[int]) -> Iterator[int]:
    """Where rising positions of the line without its escapes are in the line itself."""
    escapes = _ESCAPE.finditer(text)
    escape, longer = next(escapes, None), 0
    for place in wanted:
        while escape and escape.start() - longer < place:
            longer += len(escape[0]) - 1
            escape = next(escapes, None)
        yield place + longer
