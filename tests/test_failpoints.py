"""Failpoints: what each action does, and that each one in the source is switched on by a test."""

import ast
import errno
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from roundhouse import failpoints

PROJECT = Path(__file__).resolve().parents[1]
SOURCES = [
    path
    for folder in ("src", "flows", "tasks")
    for path in sorted((PROJECT / folder).rglob("*.py"))
]
TESTS = sorted((PROJECT / "tests").rglob("*.py"))

WRITER = """
import sys
from roundhouse import failpoints
with open(sys.argv[1], "w") as file:
    failpoints.write("place", file, "0123456789")
"""


def _places() -> Iterator[tuple[Path, str | None]]:
    """Every call of a failpoint in the source, with its name; None where that is no plain text."""
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
                continue
            owner = node.func.value
            if isinstance(owner, ast.Name) and owner.id == "failpoints":
                first = node.args[0]
                plain = isinstance(first, ast.Constant) and isinstance(first.value, str)
                yield path, str(first.value) if plain else None  # type: ignore[attr-defined]


def test_every_failpoint_is_switched_on_by_a_test() -> None:
    places = list(_places())
    assert len(places) > 20
    assert [path for path, name in places if name is None] == []
    written = "".join(path.read_text(encoding="utf-8") for path in TESTS if path != Path(__file__))
    untested = {name for _, name in places if name and f'"{name}' not in written}
    assert untested == set()


def test_a_failpoint_stands_in_one_place() -> None:
    names = [str(name) for _, name in _places()]
    assert sorted(set(names)) == sorted(names)


def test_nothing_happens_unless_it_is_switched_on(monkeypatch: pytest.MonkeyPatch) -> None:
    failpoints.hit("place")
    monkeypatch.setenv(failpoints.VARIABLE, "other=full;place[b]=full")
    failpoints.hit("place", of="a")


@pytest.mark.parametrize(("action", "number"), [("full", errno.ENOSPC), ("io", errno.EIO)])
def test_errors_of_the_disk(action: str, number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(failpoints.VARIABLE, f"first=full; disk-{action}[x]={action}@2")
    failpoints.hit(f"disk-{action}", of="x")
    with pytest.raises(OSError) as caught:
        failpoints.hit(f"disk-{action}", of="x")
    assert caught.value.errno == number
    failpoints.hit(f"disk-{action}", of="x")


def test_a_delay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(failpoints.VARIABLE, "slow=delay:0.2")
    started = time.monotonic()
    failpoints.hit("slow")
    assert time.monotonic() - started >= 0.2


def test_an_unknown_action_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(failpoints.VARIABLE, "odd=explode")
    with pytest.raises(ValueError, match="explode is no action"):
        failpoints.hit("odd")


@pytest.mark.parametrize(("action", "left"), [("torn", "01234"), ("kill", "")])
def test_a_death_while_writing(action: str, left: str, tmp_path: Path) -> None:
    file = tmp_path / "file"
    env = os.environ | {failpoints.VARIABLE: f"place={action}"}
    env |= {failpoints.ONCE: str(tmp_path / "once"), "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", WRITER, str(file)]
    assert subprocess.run(command, env=env, check=False).returncode == -signal.SIGKILL
    assert file.read_text(encoding="utf-8") == left
    # The first failure is the only one.
    assert subprocess.run(command, env=env, check=False).returncode == 0
    assert file.read_text(encoding="utf-8") == "0123456789"
