"""Reading what a round published straight out of DVC's stores, checked against the round's manifest.

DVC hands out a damaged cache file with exit code 0, so nothing read here is believed unhashed.
The layout is DVC 3's: `files/md5/ab/cdef...`, where a folder is a JSON list under a name in `.dir`.
"""

import json
from collections.abc import Iterator
from hashlib import sha256
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
    lock = yaml.safe_load(show(places.root, tag, "dvc.lock") or "stages: {}")
    outs = [out for stage in lock["stages"].values() for out in stage["outs"]]
    pointer = yaml.safe_load(show(places.root, tag, DATA_POINTER) or "outs: []")
    outs += [out | {"path": "data/feedback"} for out in pointer["outs"]]
    files: dict[str, str] = {}
    for out in outs:
        for entry in _listing(places, tag, out["path"], out["md5"]):
            files[f"{out['path']}/{entry['relpath']}"] = entry["md5"]
    return files


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
        try:
            yield from json.loads(object_path(store, md5).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue
        return
    raise DataError(f"the list of {folder} of {tag} is in no store: run `roundhouse audit verify`")
