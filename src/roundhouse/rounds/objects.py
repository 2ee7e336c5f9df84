"""Reading what a round published straight out of DVC's stores, checked against its manifest.

What is damaged in the cache is put right from the remote, if that has it unharmed; else it is
named.
"""

import io
from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import Path, PurePosixPath
from tempfile import TemporaryFile
from typing import BinaryIO

import yaml
from pydantic import TypeAdapter

from roundhouse import storage
from roundhouse.errors import DataError, RoundhouseError
from roundhouse.locations import Locations
from roundhouse.rounds import erased
from roundhouse.rounds.committed import committed
from roundhouse.rounds.dvc import stores
from roundhouse.rounds.stores import Store, listing, take
from roundhouse.rounds.workspace import DATA_POINTER

_TEXTS = TypeAdapter(dict[str, str])


def manifest(root: Path, tag: str) -> dict[str, str]:
    """Path to SHA-256 of every file that a round published.

    Raises:
        DataError: it cannot be read.
        RoundhouseError: there is no such tag, or it is not a round's.
    """
    digests = committed(root, tag, "manifest.json", _TEXTS.validate_json)
    if digests is None:
        raise RoundhouseError(f"{tag} is not published here: see `roundhouse rounds`")
    return digests


def folder_digest(digests: Mapping[str, str], folder: str) -> str:
    """What `hashes.sha256_folder` gives for a folder, from the hashes of its files."""
    names = sorted(PurePosixPath(name) for name in digests if name.startswith(f"{folder}/"))
    total = sha256()
    for name in names:
        total.update(f"{digests[str(name)]}  {name.relative_to(folder)}\n".encode())
    return total.hexdigest()


def folders(root: Path, tag: str) -> dict[str, str]:
    """Folder to DVC's md5 (of its list of files, in `.dir`), of all that is published.

    Raises:
        DataError: dvc.lock or the data's pointer cannot be read.
    """
    made = committed(root, tag, "dvc.lock", _made) or {}
    return made | (committed(root, tag, DATA_POINTER, _pointed) or {})


def _made(lock: str) -> dict[str, str]:
    stages = yaml.safe_load(lock)["stages"].values()
    outs = [out for stage in stages for out in stage["outs"]]
    return _TEXTS.validate_python({out["path"]: out["md5"] for out in outs})


def _pointed(pointer: str) -> dict[str, str]:
    (out,) = yaml.safe_load(pointer)["outs"]
    return _TEXTS.validate_python({"data/feedback": out["md5"]})


def published(
    places: Locations, tag: str, mend: bool = True, found: Sequence[Store] = ()
) -> dict[str, str]:
    """Path to DVC's md5 of every file that a round published.

    Args:
        places: the checkout's.
        tag: the round's.
        mend: put a damaged list right where another store has it unharmed.
        found: the stores to ask; all of the checkout's where there are none.

    Raises:
        DataError: the list of a folder is in no store, or what names it cannot be read.
    """
    asked = found or stores(places)
    return {
        f"{folder}/{entry['relpath']}": entry["md5"]
        for folder, md5 in folders(places.root, tag).items()
        for entry in listing(asked, md5, f"{folder} of {tag}", mend)
    }


class Reader:
    """The published files of one round; made once for many reads."""

    def __init__(
        self, places: Locations, tag: str, mend: bool = True, from_remote: bool = False
    ) -> None:
        """
        Args:
            places: the checkout's.
            tag: the round's.
            mend: put damaged copies right where another store has them unharmed.
            from_remote: believe the remote alone, as another machine would have to.

        Raises:
            DataError: the list of a folder is in no store.
            RoundhouseError: there is no such round.
        """
        self.tag = tag
        self._digests = manifest(places.root, tag)
        self._mend = mend
        self._stores = stores(places)[-1:] if from_remote else stores(places)
        self._md5 = published(places, tag, mend, self._stores)
        self._gone = erased.known(places)

    def read(self, path: str) -> bytes:
        """The bytes of one file, unharmed.

        Raises:
            DataError: no store has the bytes that were published.
        """
        data = io.BytesIO()
        self._take(path, data)
        return data.getvalue()

    def open(self, path: str) -> BinaryIO:
        """One file, unharmed, as a temporary copy: for what may be too large for memory.

        Raises:
            DataError: no store has the bytes that were published.
        """
        file = TemporaryFile()  # noqa: SIM115 - the caller closes it
        try:
            self._take(path, file)
        except BaseException:
            file.close()
            raise
        file.seek(0)
        return file

    def extract(self, folder: str, target: Path) -> None:
        """Writes the files of one folder below `target`.

        Raises:
            DataError: no store has the bytes that were published.
        """
        wanted = [path for path in self._digests if path.startswith(f"{folder}/")]
        if not wanted:
            raise DataError(f"{self.tag} published no {folder}")
        for path in wanted:
            file = target / path.removeprefix(f"{folder}/")
            with storage.writing(file):
                file.parent.mkdir(parents=True, exist_ok=True)
                with file.open("w+b") as sink:
                    self._take(path, sink)

    def _take(self, path: str, sink: BinaryIO) -> None:
        sha256, md5 = self._digests.get(path), self._md5.get(path)
        # What is left of a file whose rows were erased is read in its place, also where some
        # cache or a backup that was put back still has the original.
        gone = self._gone.get(str(md5))
        if gone is None:
            known = sha256 is not None and md5 is not None
            if known and take(self._stores, str(md5), sink, sha256=sha256, mend=self._mend):
                return
            raise DataError(
                f"{path} of {self.tag} is missing or altered: run `roundhouse audit verify`"
            )
        if gone.to is None or not take(self._stores, gone.to, sink, sha256=gone.left):
            raise DataError(f"{path} of {self.tag} was erased under request {gone.request}")


def read(places: Locations, tag: str, path: str) -> bytes:
    """The bytes of one published file, from the first store that has them unharmed.

    Raises:
        DataError: no store has the bytes that were published.
    """
    return Reader(places, tag).read(path)


def extract(places: Locations, tag: str, folder: str, target: Path) -> Path:
    """Writes one published folder to `target`, every file checked.

    Raises:
        DataError: a file is missing or altered.
    """
    Reader(places, tag).extract(folder, target)
    return target
