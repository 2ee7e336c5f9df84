"""Lines of a file of any size and content, in bounded memory, hashed as they are read."""

import hashlib
from collections.abc import Iterator
from io import BufferedReader
from pathlib import Path
from typing import NamedTuple, Self

from roundhouse.errors import InputError

#: Longest line that is read as a row, in bytes; a longer one is quarantined as too_large.
MAX_LINE = 8 << 20
#: Size of the pieces in which a longer line is passed on, in bytes.
PIECE = 1 << 20

BOM = b"\xef\xbb\xbf"
#: First bytes of what is certainly no text, and what to do with it.
_MAGIC = {
    b"\xff\xfe": "UTF-16 text; save it as UTF-8",
    b"\xfe\xff": "UTF-16 text; save it as UTF-8",
    b"\x1f\x8b": "compressed with gzip; unpack it first",
    b"PK\x03\x04": "a zip archive or a spreadsheet; unpack it, or save it as CSV",
    b"PAR1": "Parquet; give --format parquet",
}


class Line(NamedTuple):
    """One physical line. `number` counts from 1, blank lines included."""

    number: int
    raw: bytes
    """Without its line end; of a line that is too large only the beginning."""
    end: bytes
    """Its line end: nothing for a last line that may be cut."""
    large: bool
    """Whether it is too large: `LineFile.rest` has what follows `raw`."""


class LineFile:
    """Iterates over a file's lines; a byte-order mark of UTF-8 is taken off the first.

    The rest of a line that is too large comes from `rest` and is skipped unless it is read before
    the next line.

    Raises:
        InputError: missing, a folder, not readable, empty, or certainly no UTF-8 text.
    """

    def __init__(self, path: Path) -> None:
        self._file = open_file(path)
        self._hash = hashlib.sha256()
        self._number = 0
        self._within = False
        start = self._file.peek(4)
        for magic, what in _MAGIC.items():
            if start.startswith(magic):
                self._file.close()
                raise InputError(f"{shown(path)}: this is {what}")
        if not start:
            self._file.close()
            raise InputError(f"{shown(path)}: empty file, nothing received")
        if start.startswith(BOM):
            self._read(len(BOM))

    def close(self) -> None:
        """Closes the file."""
        self._file.close()

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Line:
        for _ in self.rest():
            pass
        raw = self._read(MAX_LINE + 1)
        if not raw:
            raise StopIteration
        self._number += 1
        end = b"\r\n" if raw.endswith(b"\r\n") else b"\n" if raw.endswith(b"\n") else b""
        self._within = large = not end and len(raw) > MAX_LINE
        return Line(self._number, raw[: len(raw) - len(end)], end, large)

    def rest(self) -> Iterator[bytes]:
        """What follows the returned beginning of a line that is too large, in pieces."""
        while self._within:
            piece = self._read(PIECE)
            self._within = bool(piece) and not piece.endswith(b"\n")
            if piece:
                yield piece if self._within else piece.rstrip(b"\r\n")

    def digest(self) -> str:
        """SHA-256 (hex) of what was read, which at the end is the whole file."""
        return self._hash.hexdigest()

    def position(self) -> int:
        """Bytes read so far."""
        return self._file.tell()

    def _read(self, most: int) -> bytes:
        data = self._file.readline(most)
        self._hash.update(data)
        return data


def open_file(path: Path) -> BufferedReader:
    """Opens a regular file, or raises InputError with one line."""
    try:
        if path.is_dir():
            raise InputError(f"{shown(path)}: a folder; name a file")
        if path.exists() and not path.is_file():
            raise InputError(f"{shown(path)}: not a regular file; copy its content into one")
        return path.open("rb")
    except FileNotFoundError:
        raise InputError(f"{shown(path)}: no such file") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise InputError(f"{shown(path)}: cannot be read: {reason}") from None


def shown(path: Path) -> str:
    """A path as one line of text that a terminal and every database take, whatever it is named."""
    text = str(path)
    return text if text.isprintable() else ascii(text)[1:-1]
