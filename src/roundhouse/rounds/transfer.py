"""Files between a round's clone and DVC's stores, which DVC moves and we prove.

DVC hands out a damaged cache file, and pushes one, with exit code 0.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryFile

import yaml

from roundhouse import storage
from roundhouse.errors import DataError, RemoteError
from roundhouse.locations import Locations
from roundhouse.rounds.dvc import dvc, stores
from roundhouse.rounds.stores import Folder, Store, digest, listing, take
from roundhouse.rounds.workspace import DATA_POINTER


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
    _mend(found, [file["md5"] for file in listing(found, entry["md5"], folder)])
    dvc("pull", "--force", pointer, workspace=workspace, root=places.root)
    restore(places, workspace, folder, entry["md5"])
    return workspace / folder


def restore(places: Locations, workspace: Path, folder: str, md5: str) -> None:
    """Checks a folder that DVC brought into the clone; what is damaged comes from another store.

    Raises:
        DataError: names the first file that no store has unharmed.
    """
    found = stores(places)
    for entry in listing(found, md5, folder):
        file = workspace / folder / entry["relpath"]
        if not is_whole(file, entry["md5"]) and not _replace(found, entry["md5"], file):
            raise DataError(
                f"{file} is not what was recorded, and no store has it unharmed: "
                f"{', '.join(store.where for store in found)}; "
                f"put back a copy of object {entry['md5']}"
            )


def push(places: Locations, workspace: Path) -> None:
    """`dvc push` of all that a clone has made, and proof that the remote has it.

    DVC pushes a damaged cache file as it is, and passes over a missing one.

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
        for entry in listing(found, md5, folder):
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


def _mend(found: Sequence[Store], objects: Sequence[str]) -> None:
    """Replaces what is damaged in the first store, the cache, where another has it unharmed."""
    for md5 in objects:
        if found[0].digest(md5) not in (None, md5.removesuffix(".dir")):
            with TemporaryFile() as sink:
                take(found, md5, sink)


def _replace(found: Sequence[Store], md5: str, file: Path) -> bool:
    """Puts an unharmed copy in a file's place; the old one may be a link into the cache."""
    part = file.with_name(f".{file.name}.part")
    with storage.writing(file):
        part.parent.mkdir(parents=True, exist_ok=True)
        with part.open("w+b") as sink:
            whole = take(found, md5, sink)
        if whole:
            part.replace(file)
        part.unlink(missing_ok=True)
    return whole
