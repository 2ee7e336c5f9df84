"""Published models that `chat` and `rollback` took out of DVC: `state/models`, by SHA-256.

Whoever takes one out or reads it holds a lock that others may hold as well; whoever removes some
holds it alone. The kernel frees it when its owner dies: what else lies there then is nobody's.
"""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from roundhouse import failpoints, storage
from roundhouse.errors import DataError
from roundhouse.hashes import sha256_folder
from roundhouse.locations import Locations, tag_name
from roundhouse.rounds import objects


@contextmanager
def published_model(places: Locations, number: int, sha256: str) -> Iterator[Path]:
    """A folder with the published bytes of a round's model, checked against the release.

    It stays as it is while the block runs.

    Raises:
        DataError: they are missing or altered.
    """
    folder = places.state / "models" / sha256
    with _locked(places.state / "models.lock", fcntl.LOCK_SH):
        if not _whole(folder):
            _take_out(places, number, folder)
        yield folder


@contextmanager
def unused(places: Locations) -> Iterator[list[Path]]:
    """What lies there, to be removed while the block runs; nothing where a process is at it."""
    with _locked(places.state / "models.lock", fcntl.LOCK_EX | fcntl.LOCK_NB) as alone:
        yield sorted((places.state / "models").glob("*")) if alone else []


def _take_out(places: Locations, number: int, folder: Path) -> None:
    """Makes the folder beside its place and moves it there whole, unless another was quicker."""
    with storage.writing(folder):
        folder.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(prefix=f".{folder.name}.", dir=folder.parent) as own:
            made = objects.extract(places, tag_name(number), "out/align/model", Path(own) / "model")
            if sha256_folder(made) != folder.name:
                raise DataError(
                    f"the model of round {number} differs from its release: see `audit verify`"
                )
            failpoints.hit("release.extracted")
            # One at a time: what another has put there meanwhile must not be moved away.
            with _locked(places.state / "models-move.lock", fcntl.LOCK_EX):
                if _whole(folder):
                    return
                if folder.exists():
                    folder.rename(Path(own) / "damaged")
                made.rename(folder)


def _whole(folder: Path) -> bool:
    """Whether it has the bytes that its name says; another process may move a damaged one away."""
    try:
        return folder.exists() and sha256_folder(folder) == folder.name
    except FileNotFoundError:
        return False


@contextmanager
def _locked(path: Path, how: int) -> Iterator[bool]:
    """Holds a lock while the block runs; gives False where it is not to be had without waiting."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as file:
        try:
            fcntl.flock(file, how)
        except BlockingIOError:
            yield False
            return
        yield True
