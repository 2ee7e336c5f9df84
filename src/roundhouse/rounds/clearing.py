"""Taking the marks of erased rows out of one place after another.

What bears a mark is found by reading it, not by its name. Published objects are named by their
hash, so one that changes becomes another object: the request's report says what stands for what,
before the old one goes.
"""

import hashlib
import io
import json
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath

from roundhouse.errors import DataError, RemoteError, TrackingError
from roundhouse.ledger import Erasures, Ledger
from roundhouse.locations import Locations
from roundhouse.rounds import erased
from roundhouse.rounds.dvc import stores
from roundhouse.rounds.git import git
from roundhouse.rounds.marks import Marks
from roundhouse.rounds.stores import Folder, Store, take
from roundhouse.rounds.workspace import COMMITTED
from roundhouse.tracking import Artifacts

_PARTITION = re.compile(r"\d{4,}\.jsonl")
_SQLITE = b"SQLite format 3\0"


def clear_stores(places: Locations, erasures: Erasures, request: int, marks: Marks) -> list[str]:
    """Replaces all objects of cache and remote that bear a mark; returns what stood in the way."""
    problems: list[str] = []
    holders: dict[str, list[Store]] = {}
    for store in stores(places):
        if isinstance(store, Folder):
            store.sweep()
        try:
            for name in store.names():
                holders.setdefault(name, []).append(store)
        except RemoteError as error:
            problems.append(str(error))
    try:
        models, partitions = _listed(holders)
    except (DataError, RemoteError) as error:
        # What is a model's or a partition is not known, so no object is touched.
        return [*problems, str(error)]
    # What is left of a partition is one too, though no list has it.
    partitions |= {
        one.to
        for name, one in erased.replaced(erasures.ledger).items()
        if one.to and name in partitions
    }
    for name in sorted(holders):
        if name.endswith(".dir") or name in models:
            continue
        try:
            _clear_object(name, holders[name], name in partitions, erasures, request, marks)
        except (DataError, RemoteError) as error:
            problems.append(str(error))
    return list(dict.fromkeys(problems))


def clear_rounds(places: Locations, marks: Marks) -> None:
    """Rewrites or deletes every untracked file of the rounds' folders that bears a mark."""
    for folder in sorted(places.rounds.glob("*")):
        if not (folder / ".git").exists() or folder.name.startswith(".making-"):
            shutil.rmtree(folder, ignore_errors=True)
            continue
        tracked = {*git("ls-files", "-z", cwd=folder).split("\0"), *COMMITTED}
        for path in _files(folder):
            if path.relative_to(folder).as_posix() not in tracked:
                _clear_file(path, marks)


def clear_state(places: Locations, marks: Marks) -> list[str]:
    """Clears the other files under state/; returns those that are not ours to rewrite.

    DVC's own notes are deleted, it makes them again. A database of Prefect or MLflow holds no
    feedback; where one bears a mark, a person must look.
    """
    look_at = []
    known = [store.folder for store in stores(places) if isinstance(store, Folder)]
    ledger = {places.state / f"ledger.db{suffix}" for suffix in ("", "-wal", "-shm", "-journal")}
    for path in _files(places.state):
        inside = any(path.is_relative_to(folder) for folder in known)
        if inside or path in ledger or not path.is_file():
            continue
        data = path.read_bytes()
        if marks.without(data) == data:
            continue
        if path.is_relative_to(places.state / "dvc"):
            path.unlink()
        elif data.startswith(_SQLITE) or path.name.endswith(("-wal", "-shm")):
            look_at.append(path.relative_to(places.state).as_posix())
        else:
            _clear_file(path, marks)
    return look_at


def clear_tracked(places: Locations, ledger: Ledger, marks: Marks) -> list[str]:
    """Clears the files of the rounds' runs in MLflow; returns what stood in the way.

    Those of a store below state/ are cleared with it; going through MLflow again finds no more.
    """
    artifacts = Artifacts(places.tracking_uri, ledger.identity())
    if artifacts.absent:
        return []
    try:
        artifacts.rewrite(marks.without)
    except TrackingError as error:
        return [str(error)]
    return []


def _clear_object(
    name: str,
    holders: Sequence[Store],
    partition: bool,
    erasures: Erasures,
    request: int,
    marks: Marks,
) -> None:
    data = _bytes(name, holders)
    kept = marks.without_rows(data) if partition else marks.without(data)
    if kept == data:
        return
    to = None if kept is None else hashlib.md5(kept, usedforsecurity=False).hexdigest()
    left = None if kept is None else hashlib.sha256(kept).hexdigest()
    record = erased.entry(hashlib.sha256(data).hexdigest(), to, left, (kept or b"").count(b"\n"))
    erasures.report(request, replaced={name: record})
    for store in holders:
        if kept is not None and to is not None:
            store.put(to, io.BytesIO(kept))
    for store in holders:
        store.delete(name)


def _bytes(name: str, holders: Sequence[Store]) -> bytes:
    """An object's bytes, from a holder where they are whole.

    Raises:
        DataError: they are whole in none.
    """
    sink = io.BytesIO()
    if take(holders, name, sink, mend=False):
        return sink.getvalue()
    raise DataError(
        f"{name} is damaged in {' and '.join(store.where for store in holders)}: put a whole copy"
        " back (`roundhouse audit verify` says what it is; what that does not name may be deleted)"
    )


def _listed(holders: Mapping[str, Sequence[Store]]) -> tuple[set[str], set[str]]:
    """Objects that are files of a model's folder, and those that are partitions of feedback.

    A model's tokenizer has many words in it, none of them anybody's.

    Raises:
        DataError: a list is whole in no store.
    """
    models: set[str] = set()
    partitions: set[str] = set()
    for name in holders:
        if not name.endswith(".dir"):
            continue
        entries = json.loads(_bytes(name, holders[name]))
        weights = {_folder(entry) for entry in entries if entry["relpath"].endswith(".safetensors")}
        models |= {entry["md5"] for entry in entries if _folder(entry) in weights}
        if all(_PARTITION.fullmatch(entry["relpath"]) for entry in entries):
            partitions |= {entry["md5"] for entry in entries}
    return models, partitions - models


def _folder(entry: Mapping[str, str]) -> PurePosixPath:
    return PurePosixPath(entry["relpath"]).parent


def _clear_file(path: Path, marks: Marks) -> None:
    data = path.read_bytes()
    partition = path.parent.name == "feedback" and _PARTITION.fullmatch(path.name)
    kept = marks.without_rows(data) if partition else marks.without(data)
    if kept == data:
        return
    if kept is None:
        path.unlink()
        return
    part = path.with_name(path.name + ".part")
    part.write_bytes(kept)
    part.replace(path)


def _files(folder: Path) -> Iterator[Path]:
    """Files below a folder, but for git's own and those of models."""
    if not folder.is_dir():
        return
    entries = sorted(folder.iterdir())
    model = any(path.suffix == ".safetensors" for path in entries)
    for path in entries:
        if path.is_symlink() or path.name == ".git":
            continue
        if path.is_dir():
            yield from _files(path)
        elif path.is_file() and not model:
            yield path
