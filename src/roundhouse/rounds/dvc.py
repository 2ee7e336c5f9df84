"""The only module that runs DVC: its command line, inside a round's own clone, and its remotes."""

import configparser
import os
import shutil
import subprocess
import sys
from pathlib import Path

from roundhouse import processes, storage
from roundhouse.environment import environment, import_path
from roundhouse.errors import RemoteError, RoundhouseError
from roundhouse.locations import Locations
from roundhouse.params import ROOT_VARIABLE
from roundhouse.rounds.stores import Folder, Remote, Store


def command(*args: str) -> list[str]:
    """The command line of a DVC call, by this interpreter."""
    return [sys.executable, "-m", "dvc", *args]


def process_environment(workspace: Path, root: Path) -> dict[str, str]:
    """The environment of DVC and of stages: code from the clone, this interpreter first on PATH."""
    env = dict(os.environ) | environment(root)
    env["PYTHONPATH"] = import_path(workspace)
    env["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), env.get("PATH", os.defpath)])
    env["PYTHONUNBUFFERED"] = "1"
    env[ROOT_VARIABLE] = str(root)
    return env


def dvc(*args: str, workspace: Path, root: Path) -> str:
    """Runs one DVC command in the clone and returns its output; it never outlives this call.

    Raises:
        RoundhouseError: DVC ended with an error; the message is its own last line.
    """
    with (
        subprocess.Popen(
            command(*args),
            cwd=workspace,
            env=process_environment(workspace, root),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        ) as process,
        processes.killed_on_error(process),
    ):
        out, err = _end_of(process, storage.Guard(workspace))
    if process.returncode:
        lines = [line for line in err.splitlines() if line.strip()]
        reason = next((line for line in lines if line.startswith("ERROR")), "".join(lines[-1:]))
        line = f"dvc {' '.join(args)} failed in {workspace}: {reason}"
        raise storage.worded(RoundhouseError(line), workspace) or RoundhouseError(line)
    return out


def _end_of(process: "subprocess.Popen[str]", guard: storage.Guard) -> tuple[str, str]:
    """What it printed; raises StorageError where the disk stays full."""
    while True:
        try:
            return process.communicate(timeout=2.0)
        except subprocess.TimeoutExpired:
            guard.look()


def configure(workspace: Path, places: Locations) -> None:
    """Points the clone at the checkout's cache and remotes (relative paths are its own).

    Its private settings (config.local: credentials, other remotes) hold in the clone too.
    """
    local = _read(places.root / ".dvc" / "config.local")
    for section, values in _absolute(places).items():
        if not local.has_section(section):
            local.add_section(section)
        for key, value in values.items():
            local[section][key] = value
    if not local.has_section("core"):
        local.add_section("core")
    local["core"]["site_cache_dir"] = str(places.state / "dvc" / "site")
    path = workspace / ".dvc" / "config.local"
    path.touch(mode=0o600)
    # It may hold credentials: nobody else on this machine reads them.
    path.chmod(0o600)
    with path.open("w", encoding="utf-8") as file:
        local.write(file)


def stores(places: Locations) -> list[Store]:
    """Where published bytes lie: the cache, then the default remote (the last one must have all).

    Raises:
        RemoteError: the remote cannot be opened by its settings.
    """
    config = _read(places.root / ".dvc" / "config", places.root / ".dvc" / "config.local")
    found = _absolute(places)
    opened: list[Store] = []
    if "dir" in found.get("cache", {}):
        opened.append(Folder(Path(found["cache"]["dir"])))
    name = config.get("core", "remote", fallback="")
    section = f"'remote \"{name}\"'"
    if "url" in found.get(section, {}):
        opened.append(Folder(Path(found[section]["url"])))
    elif config.has_section(section):
        opened.append(_remote(places.root / ".dvc", name))
    return opened


def _remote(settings: Path, name: str) -> Store:
    """A remote that is no folder, through the filesystem and the credentials that DVC uses."""
    from dvc.config import Config  # noqa: PLC0415 - half a second, only where the remote is no folder
    from dvc.fs import get_cloud_fs  # noqa: PLC0415 - as above

    try:
        kind, options, path = get_cloud_fs(Config(str(settings)), name=name)
        where = f"{kind.protocol}://{path.split('@')[-1]}"
        return Remote(where, kind(**options).fs, path)
    # A wrong option, missing credentials or a missing driver: each has errors of its own.
    except Exception as error:
        reason = " ".join(str(error).split())
        # A traceback would show the error itself, with passwords that ours leaves out.
        raise RemoteError(
            f"the DVC remote {name} in {settings} cannot be opened: {reason}"
        ) from None


def _read(*files: Path) -> configparser.ConfigParser:
    config = configparser.ConfigParser(interpolation=None)
    config.read(files, encoding="utf-8")
    return config


def _absolute(places: Locations) -> dict[str, dict[str, str]]:
    """The folders that the checkout's DVC settings name, section to key to absolute path."""
    base = places.root / ".dvc"
    config = _read(base / "config", base / "config.local")
    found: dict[str, dict[str, str]] = {}
    for section in config.sections():
        for key in ("url", "dir"):
            value = config[section].get(key)
            if value and "://" not in value:
                found.setdefault(section, {})[key] = str((base / value).resolve())
    return found


def forget_dead_locks(workspace: Path) -> None:
    """Removes what a killed DVC left in the clone; only the owner of the round may call it."""
    shutil.rmtree(workspace / ".dvc" / "tmp", ignore_errors=True)
