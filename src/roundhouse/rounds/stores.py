"""Places that hold published bytes by DVC's hash: a folder, or whatever DVC can reach, such as S3.

The layout is DVC 3's: `files/md5/ab/cdef...`, where a folder is a JSON list under a name in `.dir`.
A store only moves bytes, whatever they are: `take` and `listing` give out what has the right hash.
DVC hands out a damaged cache file with exit code 0, so nothing that lies here is believed unhashed.
"""

import io
import os
import re
import shutil
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from hashlib import new
from pathlib import Path
from typing import Any, BinaryIO

from pydantic import TypeAdapter

from roundhouse import storage
from roundhouse.errors import DataError, RemoteError, StorageError
from roundhouse.rounds.committed import parsed

#: Bytes that are copied at a time.
_PIECE = 1 << 20
_LIST, _TEXTS = TypeAdapter(list[dict[str, Any]]), TypeAdapter(dict[str, str])
_OBJECT = re.compile(r"[0-9a-f]{2}/[0-9a-f]{30}(\.dir)?")


def digest(file: BinaryIO, algorithm: str) -> str:
    """The hash of the rest of an open file."""
    total = new(algorithm)
    while piece := file.read(_PIECE):
        total.update(piece)
    return total.hexdigest()


def _is_object(parent: str, name: str) -> bool:
    return bool(_OBJECT.fullmatch(f"{parent}/{name}"))


class Store(ABC):
    """One place that holds objects, each under the md5 (or md5 with `.dir`) that DVC gave it.

    Every method raises RemoteError where the store is away or refuses; the message names it. A disk
    that is full or fails raises its own error.
    """

    def __init__(self, where: str) -> None:
        self.where = where
        """Its address, without credentials."""

    def digest(self, md5: str, algorithm: str = "md5") -> str | None:
        """The hash of the bytes that lie under that name, or None where there are none."""
        with self._worded():
            try:
                with self._open(md5) as file:
                    return digest(file, algorithm)
            except FileNotFoundError:
                return None

    def copy(self, md5: str, sink: BinaryIO) -> bool:
        """Replaces what `sink` holds with an object's bytes; False where there is none."""
        sink.seek(0)
        sink.truncate()
        with self._worded():
            try:
                with self._open(md5) as file:
                    shutil.copyfileobj(file, sink, _PIECE)
            except FileNotFoundError:
                return False
        return True

    def put(self, md5: str, source: BinaryIO) -> None:
        """Stores all of `source` under that name, in place of whatever lies there."""
        source.seek(0)
        with self._worded():
            self._put(md5, source)

    def delete(self, md5: str) -> None:
        """Removes an object, if it is there."""
        with self._worded():
            try:
                self._delete(md5)
            except FileNotFoundError:
                return

    def names(self) -> Iterator[str]:
        """The names of all objects, in no order."""
        with self._worded():
            for parent, name in self._files():
                if _is_object(parent, name):
                    yield parent + name

    @contextmanager
    def _worded(self) -> Iterator[None]:
        try:
            yield
        except (RemoteError, StorageError):
            raise
        # Each kind of store has errors of its own; not all of them are OSErrors.
        except Exception as error:
            if storage.worded(error, Path(self.where)):
                raise
            reason = " ".join(str(error).split()) or type(error).__name__
            raise RemoteError(
                f"{self.where} does not answer as it should ({reason}): check its address and "
                "credentials (.dvc/config.local, AWS_*), then say it again"
            ) from None

    @abstractmethod
    def _open(self, md5: str) -> BinaryIO: ...

    @abstractmethod
    def _put(self, md5: str, source: BinaryIO) -> None: ...

    @abstractmethod
    def _delete(self, md5: str) -> None: ...

    @abstractmethod
    def _files(self) -> Iterator[tuple[str, str]]:
        """Folder name and file name of every file below `files/md5`."""


class Folder(Store):
    """A store on this machine: the cache, or a remote that is a folder."""

    def __init__(self, folder: Path) -> None:
        super().__init__(str(folder))
        self.folder = folder / "files" / "md5"

    def sweep(self) -> None:
        """Removes what writers that died left beside the objects; nobody else may write now."""
        with self._worded():
            for parent, name in list(self._files()):
                if not _is_object(parent, name):
                    (self.folder / parent / name).unlink(missing_ok=True)

    def path(self, md5: str) -> Path:
        """Where it keeps the object with that name."""
        return self.folder / md5[:2] / md5[2:]

    def _open(self, md5: str) -> BinaryIO:
        return self.path(md5).open("rb")

    def _put(self, md5: str, source: BinaryIO) -> None:
        path = self.path(md5)
        part = path.with_name(f".{path.name}.{os.getpid()}")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with storage.writing(path), part.open("wb") as file:
                shutil.copyfileobj(source, file, _PIECE)
                file.flush()
                os.fsync(file.fileno())
            # DVC believes, unseen, what nobody may write to; it makes its own objects so.
            part.chmod(0o444)
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)

    def _delete(self, md5: str) -> None:
        self.path(md5).unlink()

    def _files(self) -> Iterator[tuple[str, str]]:
        for path in self.folder.glob("*/*"):
            yield path.parent.name, path.name


class Remote(Store):
    """A store that DVC reaches through a filesystem of its own."""

    def __init__(self, where: str, filesystem: Any, path: str) -> None:
        """
        Args:
            where: its address, without credentials.
            filesystem: an fsspec filesystem.
            path: of the remote in it.
        """
        super().__init__(where)
        # It is shared in this process, and remembers what others may have changed meanwhile.
        filesystem.invalidate_cache()
        self._filesystem = filesystem
        self._top = f"{path.rstrip('/')}/files/md5"

    def _path(self, md5: str) -> str:
        return f"{self._top}/{md5[:2]}/{md5[2:]}"

    def _open(self, md5: str) -> BinaryIO:
        file: BinaryIO = self._filesystem.open(self._path(md5), "rb")
        return file

    def _put(self, md5: str, source: BinaryIO) -> None:
        with self._filesystem.open(self._path(md5), "wb") as file:
            shutil.copyfileobj(source, file, _PIECE)

    def _delete(self, md5: str) -> None:
        self._filesystem.rm_file(self._path(md5))

    def _files(self) -> Iterator[tuple[str, str]]:
        for path in self._filesystem.find(self._top):
            yield tuple(path.rsplit("/", 2)[-2:])


def take(
    found: Sequence[Store],
    md5: str,
    sink: BinaryIO,
    *,
    sha256: str | None = None,
    mend: bool = True,
) -> bool:
    """Fills `sink` from the first store whose copy has the right hash; False where none has.

    Args:
        found: the stores.
        md5: the object's name.
        sink: gets its bytes.
        sha256: a better hash than its name, where one is known.
        mend: put damaged copies that were met on the way right.
    """
    wanted, algorithm = (sha256, "sha256") if sha256 else (md5.removesuffix(".dir"), "md5")
    damaged: list[Store] = []
    for store in found:
        if not store.copy(md5, sink):
            continue
        sink.seek(0)
        if digest(sink, algorithm) == wanted:
            for other in damaged if mend else ():
                other.put(md5, sink)
            return True
        damaged.append(store)
    return False


def listing(
    found: Sequence[Store], md5: str, what: str, mend: bool = True
) -> Iterator[dict[str, Any]]:
    """DVC's list of the files in a folder: `relpath` and `md5` of each.

    Raises:
        DataError: no store has it unharmed, or it is no list; the message calls the folder `what`.
    """
    data = io.BytesIO()
    if not take(found, md5, data, mend=mend):
        raise DataError(f"the list of {what} is in no store: run `roundhouse audit verify`")
    yield from parsed(data.getvalue().decode(errors="replace"), f"the list of {what}", _entries)


def _entries(text: str) -> list[dict[str, Any]]:
    entries = _LIST.validate_json(text)
    _TEXTS.validate_python({entry["relpath"]: entry["md5"] for entry in entries})
    return entries
