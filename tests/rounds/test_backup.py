"""The page on backups, followed word by word."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import PROJECT, command_environment
from tests.rounds.conftest import Command, Played

PAGE = PROJECT / "docs" / "backup.md"


def blocks(heading: str) -> list[str]:
    """The commands of a section of the page."""
    text = PAGE.read_text(encoding="utf-8")
    section = re.split(rf"^#+ {heading}\n", text, flags=re.MULTILINE)[1]
    section = re.split(r"^#+ ", section, flags=re.MULTILINE)[0]
    return re.findall(r"```sh\n(.*?)```", section, flags=re.DOTALL)


def follow(heading: str, cwd: Path, env: dict[str, str]) -> str:
    """Runs a section's commands in one shell; returns what they print."""
    found = blocks(heading)
    assert found, heading
    done = subprocess.run(
        ["bash", "-euc", "\n".join(found)],
        cwd=cwd,
        env=env,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.round
def test_what_was_backed_up_is_put_back(
    played: Played, roundhouse: Command, tmp_path: Path
) -> None:
    checkout, backup = tmp_path / "checkout", tmp_path / "backup"
    shutil.copytree(played.root, checkout, symlinks=True)
    programs = tmp_path / "bin"
    programs.mkdir()
    command = programs / "roundhouse"
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m roundhouse.cli "$@"\n', "utf-8")
    command.chmod(0o755)
    env = command_environment(checkout)
    env["PATH"] = f"{programs}{os.pathsep}{os.environ['PATH']}"
    env |= {"BACKUP": str(backup), "CHECKOUT": str(checkout)}
    before = json.loads(roundhouse(checkout, "audit", "round", "2", "--json").stdout)
    for _ in range(2):
        follow("One machine", checkout, env)
    shutil.rmtree(checkout)
    said = follow("Put back", tmp_path, env)
    assert "all as published: 2 rounds" in said
    assert json.loads(roundhouse(checkout, "audit", "round", "2", "--json").stdout) == before
    done = roundhouse(checkout, "chat", "--prompt", "may i sign this ?", "--json")
    assert done.returncode == 0, done.stderr
