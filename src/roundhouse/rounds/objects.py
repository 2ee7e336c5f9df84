"""Reading what a round published straight out of DVC's stores, checked against the round's manifest.

DVC hands out a damaged cache file with exit code 0, so nothing read here is believed unhashed.
The layout is DVC 3's: `files/md5/ab/cdef...`, where a folder is a JSON list under a name in `.dir`.
"""

import json
from collections.abc import Iterator
from hashlib import file_digest, sha256
from pathlib import Path

import yaml

from roundhouse.errors import DataError, RoundhouseError
from roundhouse.locations import Locations
from roundhouse.rounds.dvc import stores
from roundhouse.rounds.git import show
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


def object_path(store: Path, md5: str) -> Path:
    """Where a store keeps the object with that hash."""
    return store / "files" / "md5" / md5[:2] / md5[2:]


def published(places: Locations, tag: str) -> dict[str, str]:
    """Path to DVC's md5 of every file that a round published.

    Raises:
        DataError: the list of a folder is in no store.
    """
    files: dict[str, str] = {}
    for folder, md5 in folders(places.root, tag).items():
        for entry in _listing(places, tag, folder, md5):
            files[f"{folder}/{entry['relpath']}"] = entry["md5"]
    return files


def folders(root: Path, tag: str) -> dict[str, str]:
    """Folder to DVC's md5 (of the list of its files, ending in `.dir`), for all that a round published."""
    lock = yaml.safe_load(show(root, tag, "dvc.lock") or "stages: {}")
    outs = [out for stage in lock["stages"].values() for out in stage["outs"]]
    pointer = yaml.safe_load(show(root, tag, DATA_POINTER) or "outs: []")
    outs += [out | {"path": "data/feedback"} for out in pointer["outs"]]
    return {out["path"]: out["md5"] for out in outs}


def is_whole(path: Path, md5: str) -> bool:
    """Whether a file is there and has the md5 that DVC recorded."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file_digest(file, "md5").hexdigest() == md5.removesuffix(".dir")


def check_restored(places: Locations, workspace: Path, stage: str) -> None:
    """Hashes what DVC brought back for a stage that it skipped: it trusts read-only cache files unseen.

    Raises:
        DataError: names the first file that is not what the stage had made.
    """
    lock = yaml.safe_load((workspace / "dvc.lock").read_text(encoding="utf-8"))
    for out in lock["stages"][stage]["outs"]:
        for entry in _listing(places, f"stage {stage}", out["path"], out["md5"]):
            file = workspace / out["path"] / entry["relpath"]
            if not is_whole(file, entry["md5"]):
                damaged = object_path(stores(places)[0], entry["md5"])
                raise DataError(
                    f"{file} is not what stage {stage} had made: delete {damaged} and "
                    f"{workspace / out['path']}, then resume the round"
                )


def read(places: Locations, tag: str, path: str) -> bytes:
    """The bytes of one published file, from the first store that has them unharmed.

    Raises:
        DataError: no store has the bytes that were published.
    """
    digest = manifest(places.root, tag).get(path)
    md5 = published(places, tag).get(path)
    for store in stores(places):
        if md5 and object_path(store, md5).exists():
            data = object_path(store, md5).read_bytes()
            if sha256(data).hexdigest() == digest:
                return data
    raise DataError(f"{path} of {tag} is missing or altered: run `roundhouse audit verify`")


def extract(places: Locations, tag: str, folder: str, target: Path) -> Path:
    """Writes one published folder to `target`, every file checked.

    Raises:
        DataError: a file is missing or altered.
    """
    for path in manifest(places.root, tag):
        if path.startswith(f"{folder}/"):
            file = target / path.removeprefix(f"{folder}/")
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(read(places, tag, path))
    return target


def _listing(places: Locations, tag: str, folder: str, md5: str) -> Iterator[dict[str, str]]:
    for store in stores(places):
        path = object_path(store, md5)
        if is_whole(path, md5):
            yield from json.loads(path.read_text(encoding="utf-8"))
            return
    raise DataError(f"the list of {folder} of {tag} is in no store: run `roundhouse audit verify`")
