"""params.yaml read as settings; unknown keys, wrong types and contradictions are errors."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from roundhouse.errors import SettingsError
from roundhouse.settings import Settings

#: Set for the processes of a round: relative paths in settings start at the user's checkout.
ROOT_VARIABLE = "ROUNDHOUSE_ROOT"


def load(path: Path, overrides: Sequence[str] = ()) -> Settings:
    """Reads settings from a YAML file and applies `section.key=value` overrides.

    Raises:
        SettingsError: one line that names the file or override, the key, and what it should be.
    """
    return check(load_raw(path, overrides), where=path.name)


def load_raw(path: Path, overrides: Sequence[str] = ()) -> dict[str, Any]:
    """The same as plain data, unchecked: what is written into a round's own params.yaml."""
    try:
        raw = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise SettingsError(f"{path}: no such settings file; give one with --params") from None
    except (yaml.YAMLError, UnicodeDecodeError, OSError) as error:
        raise SettingsError(
            f"{path}: not readable as YAML: {' '.join(str(error).split())}"
        ) from None
    if not isinstance(raw, dict):
        raise SettingsError(f"{path}: expected a mapping of settings, found {type(raw).__name__}")
    for override in overrides:
        _override(raw, override)
    return raw


def check(raw: dict[str, Any], where: str) -> Settings:
    """Turns plain data into settings, or raises one line that names what is wrong."""
    try:
        return Settings.model_validate(raw)
    except ValidationError as error:
        raise SettingsError(_one_line(error, where)) from None


def of_older(raw: dict[str, Any], today: dict[str, Any], where: str) -> Settings:
    """Settings that an older or newer version wrote: what they lack is as it is today.

    Args:
        raw: as they were written.
        today: plain data of the checkout's params.yaml; keys that it does not have are left out.
        where: names them in an error.

    Raises:
        SettingsError: a value that both have is none that today's version takes.
    """
    return check(_filled(raw, today), where)


def _filled(raw: dict[str, Any], today: dict[str, Any]) -> dict[str, Any]:
    filled = {}
    for key, value in today.items():
        old = raw.get(key, value)
        both = isinstance(value, dict) and isinstance(old, dict)
        filled[key] = _filled(old, value) if both else old
    return filled


def _override(raw: dict[str, Any], override: str) -> None:
    name, equals, text = override.partition("=")
    keys = name.strip().split(".")
    if not equals or not all(keys):
        raise SettingsError(f"--set {override}: write it as KEY=VALUE, such as ppo.steps=10")
    block: Any = raw
    for key in keys[:-1]:
        block = block.get(key) if isinstance(block, dict) else None
    if not isinstance(block, dict) or keys[-1] not in block:
        raise SettingsError(f"--set {override}: there is no setting {name}; see params.yaml")
    try:
        block[keys[-1]] = yaml.safe_load(text)
    except yaml.YAMLError:
        raise SettingsError(f"--set {override}: {text!r} is not a YAML value") from None


def _one_line(error: ValidationError, where: str) -> str:
    # A name that is none explains why another is missing.
    first = min(error.errors(), key=lambda one: one["type"] != "extra_forbidden")
    key = ".".join(str(part) for part in first["loc"]) or "settings"
    more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
    if first["type"] == "extra_forbidden":
        problem = "unknown setting; remove it or correct its name"
    elif first["type"] == "missing":
        problem = "missing; every setting must be given"
    elif first["type"] == "value_error":
        problem = first["msg"].removeprefix("Value error, ")
    else:
        problem = f"{first['msg'].lower()}, found {first['input']!r}"
    return f"{where}: {key}: {problem}{more}"
