"""The only module that runs DVC: its command line, always inside a round's own clone."""

import configparser
import os
import shutil
import subprocess
import sys
from pathlib import Path

from roundhouse.environment import environment, import_path
from roundhouse.errors import RoundhouseError
from roundhouse.locations import Locations
from roundhouse.model_folder import ROOT_VARIABLE


def command(*args: str) -> list[str]:
    """The command line of a DVC call, by this interpreter."""
    return [sys.executable, "-m", "dvc", *args]


def process_environment(workspace: Path, root: Path) -> dict[str, str]:
    """The environment of DVC and of the stages: code from the clone, this interpreter first on PATH."""
    env = dict(os.environ) | environment(root)
    env["PYTHONPATH"] = import_path(workspace)
    env["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), env.get("PATH", os.defpath)])
    env["PYTHONUNBUFFERED"] = "1"
    env[ROOT_VARIABLE] = str(root)
    return env


def dvc(*args: str, workspace: Path, root: Path) -> str:
    """Runs one DVC command in the clone and returns its output.

    Raises:
        RoundhouseError: DVC ended with an error; the message is its own last line.
    """
    done = subprocess.run(
        command(*args),
        cwd=workspace,
        env=process_environment(workspace, root),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if line.strip()]
        reason = next((line for line in lines if line.startswith("ERROR")), "".join(lines[-1:]))
        raise RoundhouseError(f"dvc {' '.join(args)} failed in {workspace}: {reason}")
    return done.stdout


def configure(workspace: Path, places: Locations) -> None:
    """Points the clone at the checkout's cache and remotes (relative paths are the checkout's own).

    The checkout's private settings (config.local: credentials, other remotes) hold in the clone too.
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
    with (workspace / ".dvc" / "config.local").open("w", encoding="utf-8") as file:
        local.write(file)


def stores(places: Locations) -> list[Path]:
    """The folders that hold published bytes: the cache, then the default remote if it is a folder."""
    config = _read(places.root / ".dvc" / "config", places.root / ".dvc" / "config.local")
    found = _absolute(places)
    folders = [found.get("cache", {}).get("dir")]
    remote = config.get("core", "remote", fallback="")
    folders.append(found.get(f"'remote \"{remote}\"'", {}).get("url"))
    return [Path(folder) for folder in folders if folder]


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
