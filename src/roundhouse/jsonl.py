"""JSON Lines and JSON in and out, always UTF-8, keys sorted, so that equal data are equal bytes."""

import json
import math
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from roundhouse import failpoints
from roundhouse.storage import writing


def dumps(value: Any) -> str:
    """One line of canonical JSON: sorted keys, no spaces, NaN and infinity refused."""
    return json.dumps(
        value, ensure_ascii=False, sort_keys=True, separators=(",", ":"), allow_nan=False
    )


def number(value: float) -> float | None:
    """A number for a file: as many digits as do not hang on the order of sums, which the number of
    threads decides; null where it is not known.

    >>> number(0.02411626894377), number(math.nan)
    (0.0241163, None)
    """
    return float(f"{value:.6g}") if math.isfinite(value) else None


def read(path: Path) -> Iterator[dict[str, Any]]:
    """The rows of a file this project wrote."""
    with path.open(encoding="utf-8", newline="\n") as file:
        for line in file:
            yield json.loads(line)


def write(path: Path, rows: Iterable[Mapping[str, Any]]) -> int:
    """Writes rows whole or not at all (a temporary file is renamed); returns how many."""
    part = path.with_name(path.name + ".part")
    count = 0
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with part.open("w", encoding="utf-8", newline="\n") as file:
            for row in rows:
                file.write(dumps(row) + "\n")
                count += 1
            failpoints.hit("rows.write", of=path.name)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    return count


def read_json(path: Path) -> Any:
    """A whole JSON file that this project wrote."""
    return json.loads(path.read_text(encoding="utf-8"))


def write_json(path: Path, value: Any, private: bool = False) -> None:
    """Writes indented JSON with sorted keys, whole or not at all.

    Args:
        path: of the file.
        value: what it is to hold.
        private: nobody else on this machine may read it, at any time.
    """
    part = path.with_name(path.name + ".part")
    text = json.dumps(value, ensure_ascii=False, sort_keys=True, indent=2, allow_nan=False)
    with writing(path, need=len(text)):
        path.parent.mkdir(parents=True, exist_ok=True)
        if private:
            # Another one may have died and left its own, which others can read.
            part.unlink(missing_ok=True)
            part.touch(mode=0o600, exist_ok=False)
        with part.open("w", encoding="utf-8", newline="\n") as file:
            failpoints.write("json.write", file, text + "\n", of=path.name)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
