"""JSON and YAML that a round wrote, parsed: what cannot be read is named, in one line."""

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import yaml
from pydantic import ValidationError

from roundhouse.errors import DataError
from roundhouse.rounds.git import show

T = TypeVar("T")

#: What parsers raise, and what looks into a value of another shape does.
UNREADABLE = (
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    RecursionError,
    yaml.YAMLError,
)
#: Characters of a reason that an error repeats.
_LONGEST = 200


def committed(root: Path, tag: str, file: str, parse: Callable[[str], T]) -> T | None:
    """What `parse` makes of a file of a tag; None where there is no such file.

    Raises:
        DataError: the file is not what `parse` takes.
    """
    text = show(root, tag, file)
    return None if text is None else parsed(text, f"{tag}: {file}", parse)


def parsed(text: str, where: str, parse: Callable[[str], T]) -> T:
    """What `parse` makes of a text; `where` names it in the error.

    Raises:
        DataError: the text is not what `parse` takes.
    """
    try:
        return parse(text)
    except UNREADABLE as error:
        reason, newer = _reason(error)
        remedy = "put back what the round wrote"
        if newer:
            remedy = "a newer version may have written it: bring this checkout to the newest commit"
        raise DataError(f"{where} cannot be read ({reason}): {remedy}") from None


def _reason(error: Exception) -> tuple[str, bool]:
    """What is wrong, in one line, and whether there is more than this version knows."""
    said, newer = f"{type(error).__name__}: {error}", False
    if isinstance(error, ValidationError):
        # A name that is not known explains why another is missing.
        first = min(error.errors(), key=lambda one: one["type"] != "extra_forbidden")
        newer = first["type"] == "extra_forbidden"
        said = ": ".join([*(str(part) for part in first["loc"]), first["msg"]])
    return " ".join(said.split())[:_LONGEST], newer
