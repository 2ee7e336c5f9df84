"""Taking back disk space, by a rule that one can say: what can be made again goes, logs stay.

Of a round that ended, beside the last `storage.keep_rounds` and the champion's:

    its workspace        tags and remote hold all of it; its logs move to state/logs/rounds/NNNN
    its cache objects    where the remote has them unharmed, and no kept round uses them; and what
                         no published round and no workspace names: tries that came to nothing;
                         figures stay, so that `dvc metrics diff` compares all rounds
    its extracted model  state/models; published bytes, written there for `chat` and `rollback`;
                         and what one of these that died left; nothing while one of them is at it

A round that can still be resumed, and the remote, are never touched. One that was given up and then
overtaken by a later round cannot be, and counts as ended.
"""

import contextlib
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from roundhouse import failpoints
from roundhouse.errors import DataError, RoundhouseError
from roundhouse.ledger import Ledger
from roundhouse.locations import Locations, tag_name
from roundhouse.rounds import extracted, objects, picture, transfer
from roundhouse.rounds.begin import Round
from roundhouse.rounds.dvc import stores
from roundhouse.rounds.git import round_tags
from roundhouse.rounds.stores import Folder

_LOGS = Path("state") / "logs" / "rounds"


class Cleaned(NamedTuple):
    """What was removed.

    Attributes:
        workspaces: rounds whose workspace is gone.
        objects: objects taken out of the cache.
        models: extracted models.
        bytes: space that this gave back.
    """

    workspaces: list[int]
    objects: int
    models: int
    bytes: int


def clean(places: Locations, ledger: Ledger, keep: int) -> Cleaned:
    """Removes what the rule says; the caller owns the rounds. Said again, it goes on where it died.

    Args:
        places: the checkout's.
        ledger: says which rounds ended, and which is the champion's.
        keep: how many of the last rounds stay as they are.

    Raises:
        RemoteError: the remote is away, so that nothing may leave the cache.
        StorageError: the disk fails.
    """
    kept = _kept(places, ledger, keep)
    gone, size = [], 0
    for number in sorted(_ended(places, ledger) - kept):
        size += _remove_workspace(places, number)
        gone.append(number)
    failpoints.hit("clean.workspaces")
    with extracted.unused(places) as found:
        champion = ledger.champion()
        models = [one for one in found if champion is None or one.name != champion.sha256]
        for folder in models:
            size += _size(folder)
            shutil.rmtree(folder)
    count, taken = _empty_cache(places, kept)
    return Cleaned(gone, count, len(models), size + taken)


def after_round(this: Round) -> None:
    """Cleans once a round is over, if the settings say so; what stands in the way can wait."""
    keep = this.settings.storage.keep_rounds
    if keep:
        # The round is over and recorded: what stands in the way is tried again after the next.
        try:
            clean(this.places, this.ledger, keep)
        except (RoundhouseError, OSError) as error:
            # The terminal may be gone by now.
            with contextlib.suppress(OSError):
                sys.stderr.write(f"warning: not cleaned: {error}\n")


def _kept(places: Locations, ledger: Ledger, keep: int) -> set[int]:
    """Rounds that stay whole: the last ones, the champion's, and those that can be resumed."""
    rows, tags = ledger.rounds(), round_tags(places.root)
    numbers = [row.number for row in rows]
    last = max(tags, default=0)
    open_ = {
        row.number
        for row in rows
        if row.state == "open" or (row.state == "abandoned" and row.number > last)
    }
    champion = ledger.champion()
    return {*numbers[-keep:], *tags[-keep:], *open_} | ({champion.round} if champion else set())


def _ended(places: Locations, ledger: Ledger) -> set[int]:
    """Rounds that ended, still have a workspace, and have nothing in it that MLflow waits for."""
    behind = picture.behind(places)
    return {
        row.number
        for row in ledger.rounds()
        if row.state != "open"
        and places.workspace(row.number).exists()
        and places.workspace(row.number) not in behind
    }


def _remove_workspace(places: Locations, number: int) -> int:
    """Moves the logs away and removes the rest; returns the bytes that this gave back."""
    workspace = places.workspace(number)
    logs = places.root / _LOGS / workspace.name
    size = _size(workspace)
    if (workspace / "logs").exists():
        part = logs.with_name(f".{logs.name}.part")
        shutil.rmtree(part, ignore_errors=True)
        shutil.copytree(workspace / "logs", part)
        shutil.rmtree(logs, ignore_errors=True)
        part.replace(logs)
    # Renamed first: half a workspace must not look like one.
    doomed = workspace.with_name(f".removing-{workspace.name}")
    shutil.rmtree(doomed, ignore_errors=True)
    workspace.replace(doomed)
    failpoints.hit("clean.renamed")
    shutil.rmtree(doomed)
    return size - (_size(logs) if logs.exists() else 0)


def _empty_cache(places: Locations, kept: set[int]) -> tuple[int, int]:
    """Removes what only rounds that are not kept use; returns objects and bytes."""
    found = stores(places)
    cache = found[0]
    if len(found) < 2 or not isinstance(cache, Folder):
        return 0, 0
    for doomed in places.rounds.glob(".removing-*"):
        shutil.rmtree(doomed)
    tags = set(round_tags(places.root))
    needed, remote = {*_used(places, kept), *_figures(places, tags)}, found[-1]
    published = set(_used(places, tags))
    cache.sweep()
    for workspace in places.rounds.glob("[0-9]*"):
        # Its list was only in a cache that is gone: what it names is gone too.
        with contextlib.suppress(DataError):
            for _, md5 in transfer.made(places, workspace):
                needed.add(md5)
    there = set(remote.names())
    count = size = 0
    for name in sorted(cache.names()):
        # Hashing a remote that is no folder would fetch all of it: that it has the object must do.
        whole = not isinstance(remote, Folder) or remote.digest(name) == name.removesuffix(".dir")
        elsewhere = name in there and whole
        if name in needed or (name in published and not elsewhere):
            continue
        size += cache.path(name).stat().st_size
        cache.delete(name)
        count += 1
    # DVC's memory of runs names objects that are gone now, and would be asked for them.
    shutil.rmtree(cache.folder.parents[1] / "runs", ignore_errors=True)
    return count, size


def _used(places: Locations, kept: set[int]) -> Iterator[str]:
    """The names of all objects of the kept rounds; one that is not published is in no remote."""
    for number in sorted(kept & set(round_tags(places.root))):
        yield from objects.folders(places.root, tag_name(number)).values()
        yield from objects.published(places, tag_name(number)).values()


def _figures(places: Locations, numbers: set[int]) -> Iterator[str]:
    """What `dvc metrics diff` reads of rounds: some kilobytes each."""
    for number in sorted(numbers):
        for folder, md5 in objects.folders(places.root, tag_name(number)).items():
            if folder.startswith("out/"):
                yield md5
        for path, md5 in objects.published(places, tag_name(number)).items():
            if path.endswith("/figures.json"):
                yield md5


def _size(folder: Path) -> int:
    return sum(path.lstat().st_size for path in folder.rglob("*") if path.is_file())
