"""Whether the published bytes load and answer, asked in a fresh process.

`python -m roundhouse.smoke FOLDER PROMPT` prints one line of JSON; exit code 0 says
that the model passed.
"""

import hashlib
from pathlib import Path
from typing import NamedTuple


class SmokeResult(NamedTuple):
    """What a fresh process made of a model folder."""

    passed: bool
    text: str
    """One line for a person."""
    sha256: str
    """`fingerprint` of the folder as the process found it; empty where it could not be read."""


def fingerprint(folder: Path) -> str:
    """sha256 over the names and sha256 of all files in a model folder: the identity of a model."""
    lines = []
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            with path.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
            lines.append(f"{digest}  {path.relative_to(folder).as_posix()}\n")
    return hashlib.sha256("".join(lines).encode()).hexdigest()
