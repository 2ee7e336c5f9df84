"""Reading what a round published straight out of DVC's stores, checked against its manifest.

DVC hands out a damaged cache file with exit code 0, so nothing read here is believed unhashed. What
is damaged in the cache is put right from the remote, if that has it unharmed; else it is named.
"""

import io
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any, BinaryIO

import yaml

from roundhouse import storage
from roundhouse.errors import DataError, RemoteError, RoundhouseError
from roundhouse.locations import Locations
from roundhouse.rounds import erased
from roundhouse.rounds.dvc import dvc, stores
from roundhouse.rounds.git import show
from roundhouse.rounds.stores import Folder, Store, digest
from roundhouse.rounds.workspace import DATA_POINTER


def manifest(root: Path, tag: str) -> dict[str, str]:
    """Path to SHA-256 of every file that a round published.

    Raises:
        RoundhouseError: there is no such tag, or it is not a round's.
    """
    text = show(root, tag, "manifest.json")
    if text is None:
        raise RoundhouseError(f"{tag} is not published here: see `roundhouse rounds`")
    digests: dict[str, str] = json.loads(text)
    return digests


def folders(root: Path, tag: str) -> dict[str, str]:
    """Folder to DVC's md5 (of its list of files, in `.dir`), of all that is published."""
    lock = yaml.safe_load(show(root, tag, "dvc.lock") or "stages: {}")
    outs = [out for stage in lock["stages"].values() for out in stage["outs"]]
    pointer = yaml.safe_load(show(root, tag, DATA_POINTER) or "outs: []")
    outs += [out | {"path": "data/feedback"} for out in pointer["outs"]]
    return {out["path"]: out["md5"] for out in outs}


def published(places: Locations, tag: str, mend: bool = True) -> dict[str, str]:
    """Path to DVC's md5 of every file that a round published.

    Args:
        places: the checkout's.
        tag: the round's.
        mend: put a damaged list right where another store has it unharmed.

    Raises:
        DataError: the list of a folder is in no store.
    """
    found = stores(places)
    return {
        f"{folder}/{entry['relpath']}": entry["md5"]
        for folder, md5 in folders(places.root, tag).items()
        for entry in _listing(found, md5, f"{folder} of {tag}", mend)
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
        self._md5 = published(places, tag, mend)
        self._mend = mend
        self._stores = stores(places)[-1:] if from_remote else stores(places)
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
            if known and _take(self._stores, str(md5), sink, sha256=sha256, mend=self._mend):
                return
            raise DataError(
                f"{path} of {self.tag} is missing or altered: run `roundhouse audit verify`"
            )
        if gone.to is None or not _take(self._stores, gone.to, sink, sha256=gone.left):
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


def pull(places: Locations, workspace: Path, pointer: str) -> Path:
    """`dvc pull` of a folder's pointer file, made safe: returns the folder, every file checked.

    Raises:
        DataError: names a file that no store has unharmed.
        RoundhouseError: DVC could not fetch it.
    """
    (entry,) = yaml.safe_load((workspace / pointer).read_text(encoding="utf-8"))["outs"]
    folder = (Path(pointer).parent / str(entry["path"])).as_posix()
    found = stores(places)
    _mend(found, [entry["md5"]])
    _mend(found, [file["md5"] for file in _listing(found, entry["md5"], folder)])
    dvc("pull", "--force", pointer, workspace=workspace, root=places.root)
    restore(places, workspace, folder, entry["md5"])
    return workspace / folder


def restore(places: Locations, workspace: Path, folder: str, md5: str) -> None:
    """Checks a folder that DVC brought into the clone; what is damaged comes from another store.

    Raises:
        DataError: names the first file that no store has unharmed.
    """
    found = stores(places)
    for entry in _listing(found, md5, folder):
        file = workspace / folder / entry["relpath"]
        if not is_whole(file, entry["md5"]) and not _replace(found, entry["md5"], file):
            raise DataError(
                f"{file} is not what was recorded, and no store has it unharmed: "
                f"{', '.join(store.where for store in found)}; "
                f"put back a copy of object {entry['md5']}"
            )


def push(places: Locations, workspace: Path) -> None:
    """`dvc push` of all that a clone has made, and proof that the remote has it.

    DVC pushes a damaged cache file as it is, and passes over a missing one, both with exit code 0.

    Raises:
        DataError: the clone does not hold what its dvc.lock says.
        RoundhouseError: DVC could not push, or the remote lacks something afterwards.
    """
    _make_lists(places, workspace)
    _fill_cache(places, workspace)
    dvc("push", workspace=workspace, root=places.root)
    remote = stores(places)[-1]
    there = None if isinstance(remote, Folder) else set(remote.names())
    for name, md5 in made(places, workspace):
        # What is no folder is asked by name alone: hashing it would fetch it all.
        whole = remote.digest(md5) == md5.removesuffix(".dir") if there is None else md5 in there
        if not whole:
            raise RemoteError(f"{remote.where} lacks {name} (object {md5}) after the push")


def _make_lists(places: Locations, workspace: Path) -> None:
    """Where the cache was lost, DVC makes its lists again from the clone's own files.

    Raises:
        DataError: those files are not what the clone's dvc.lock says.
    """
    try:
        for _ in made(places, workspace):
            continue
    except DataError:
        texts = {path: path.read_bytes() for path in _pointers(workspace)}
        dvc("add", "data/feedback", workspace=workspace, root=places.root)
        dvc("commit", "--force", workspace=workspace, root=places.root)
        changed = [path for path, text in texts.items() if _outs([path]) != _outs_of(text)]
        for path in changed:
            path.write_bytes(texts[path])
        if changed:
            raise DataError(
                f"the files of {workspace} are not what {changed[0].name} says: resume the round"
            ) from None


def _fill_cache(places: Locations, workspace: Path) -> None:
    """Puts right in the cache, from the clone, what is missing or damaged there."""
    cache = stores(places)[0]
    for name, md5 in made(places, workspace):
        if not name.endswith("/") and cache.digest(md5) != md5:
            if not is_whole(workspace / name, md5):
                raise DataError(f"{workspace / name} is not what the round has made: resume it")
            with (workspace / name).open("rb") as source:
                cache.put(md5, source)


def made(places: Locations, workspace: Path) -> Iterator[tuple[str, str]]:
    """Path (ending in `/` for a folder's list) and DVC's md5 of all that a clone has made so far.

    Raises:
        DataError: the list of a folder is in no store.
    """
    found = stores(places)
    for folder, md5 in _outs(_pointers(workspace)).items():
        yield f"{folder}/", md5
        for entry in _listing(found, md5, folder):
            yield f"{folder}/{entry['relpath']}", entry["md5"]


def _pointers(workspace: Path) -> list[Path]:
    """The files in which DVC says what a clone has made."""
    return [path for path in (workspace / "dvc.lock", workspace / DATA_POINTER) if path.exists()]


def _outs(pointers: Sequence[Path]) -> dict[str, str]:
    """Folder to the md5 of its list, from files of DVC's."""
    outs: dict[str, str] = {}
    for path in pointers:
        outs |= _outs_of(path.read_bytes())
    return outs


def _outs_of(text: bytes) -> dict[str, str]:
    known = yaml.safe_load(text) or {}
    outs = {f"data/{out['path']}": out["md5"] for out in known.get("outs", [])}
    for stage in known.get("stages", {}).values():
        outs |= {out["path"]: out["md5"] for out in stage.get("outs", [])}
    return outs


def check_restored(places: Locations, workspace: Path, stage: str) -> None:
    """Hashes what DVC brought back for a stage that it skipped: it trusts its cache unseen.

    Raises:
        DataError: names the first file that is not what the stage had made.
    """
    lock = yaml.safe_load((workspace / "dvc.lock").read_text(encoding="utf-8"))
    for out in lock["stages"][stage]["outs"]:
        try:
            restore(places, workspace, out["path"], out["md5"])
        except DataError as error:
            again = workspace / out["path"]
            raise DataError(
                f"stage {stage}: {error}, or delete it and {again} and resume"
            ) from error


def is_whole(path: Path, md5: str) -> bool:
    """Whether a file is there and has the md5 that DVC recorded."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return digest(file, "md5") == md5.removesuffix(".dir")


def _listing(
    found: Sequence[Store], md5: str, what: str, mend: bool = True
) -> Iterator[dict[str, Any]]:
    data = io.BytesIO()
    if not _take(found, md5, data, mend=mend):
        raise DataError(f"the list of {what} is in no store: run `roundhouse audit verify`")
    yield from json.loads(data.getvalue())


def _take(
    found: Sequence[Store],
    md5: str,
    sink: BinaryIO,
    *,
    sha256: str | None = None,
    mend: bool = True,
) -> bool:
    """Fills `sink` from the first store whose copy has the right hash; False where none has.

    Damaged copies that were met on the way are replaced, if `mend` is set.
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


def _mend(found: Sequence[Store], objects: Sequence[str]) -> None:
    """Replaces what is damaged in the first store, the cache, where another has it unharmed."""
    for md5 in objects:
        if found[0].digest(md5) not in (None, md5.removesuffix(".dir")):
            with TemporaryFile() as sink:
                _take(found, md5, sink)


def _replace(found: Sequence[Store], md5: str, file: Path) -> bool:
    """Puts an unharmed copy in a file's place; the old one may be a link into the cache."""
    part = file.with_name(f".{file.name}.part")
    with storage.writing(file):
        part.parent.mkdir(parents=True, exist_ok=True)
        with part.open("w+b") as sink:
            whole = _take(found, md5, sink)
        if whole:
            part.replace(file)
        part.unlink(missing_ok=True)
    return whole
