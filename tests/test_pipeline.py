"""dvc.yaml against the code: order, dependencies, settings, and commands without free text."""

import ast
import importlib.util
import re
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from roundhouse.rounds.inputs import Inputs
from roundhouse.rounds.stages import STAGES
from roundhouse.settings import Settings

PROJECT = Path(__file__).resolve().parents[1]
SOURCE = PROJECT / "src"
PIPELINE: dict[str, Any] = yaml.safe_load((PROJECT / "dvc.yaml").read_text(encoding="utf-8"))

#: Reads the module names that a stage's program imports when it works.
IMPORTED = """
import ast, importlib, pathlib, sys
tree = ast.parse(pathlib.Path(f"tasks/{sys.argv[1]}.py").read_text())
for node in ast.walk(tree):
    if isinstance(node, ast.ImportFrom) and node.module.startswith("roundhouse"):
        module = importlib.import_module(node.module)
        for alias in node.names:
            if not hasattr(module, alias.name):
                importlib.import_module(f"{node.module}.{alias.name}")
print(*sorted(name for name in sys.modules if name.split(".")[0] == "roundhouse"))
"""


@cache
def _modules(stage: str) -> tuple[Path, ...]:
    """Source files that a stage imports."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", IMPORTED, stage],
        cwd=PROJECT,
        env={"PYTHONPATH": f"{SOURCE}:{PROJECT}", "PATH": "/usr/bin:/bin", "HOME": "/nonexistent"},
        capture_output=True,
        text=True,
        check=True,
    )
    specs = [importlib.util.find_spec(name) for name in done.stdout.split()]
    return tuple(Path(spec.origin) for spec in specs if spec and spec.origin)


def test_the_flows_order_is_one_that_the_dependencies_allow() -> None:
    assert set(PIPELINE["stages"]) == set(STAGES)
    made: set[str] = set()
    for stage in STAGES:
        block = PIPELINE["stages"][stage]
        needs = {"/".join(d.split("/")[:2]) for d in block["deps"] if d.startswith("out/")}
        assert needs <= made, stage
        made |= set(block["outs"])


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_depends_on_all_code_it_imports(stage: str) -> None:
    deps = [PROJECT / dep for dep in PIPELINE["stages"][stage]["deps"]]
    package = SOURCE / "roundhouse" / "__init__.py"
    missing = [
        path.relative_to(PROJECT).as_posix()
        for path in _modules(stage)
        if path != package and not any(path == dep or dep in path.parents for dep in deps)
    ]
    assert missing == []
    assert f"tasks/{stage}.py" in PIPELINE["stages"][stage]["deps"]


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_declares_every_settings_block_it_reads(stage: str) -> None:
    """Blocks are read as `settings.BLOCK`, `stage.settings.BLOCK` or `params.BLOCK`."""
    files = [PROJECT / "tasks" / f"{stage}.py", *_stage_modules(stage)]
    read = {
        block
        for path in files
        for block in re.findall(r"\bsettings\.([a-z]+)\b", path.read_text(encoding="utf-8"))
        if block in Settings.model_fields
    }
    declared = {p.split(".")[0] for p in PIPELINE["stages"][stage]["params"] if isinstance(p, str)}
    declared = {"validation" if name == "validate" else name for name in declared}
    # Checkpoints change no result: a stage is not run again for them.
    assert read <= declared | {"seed", "checkpoints"}


def _stage_modules(stage: str) -> list[Path]:
    """The module that the stage's program calls: settings go in there as a whole."""
    tree = ast.parse((PROJECT / "tasks" / f"{stage}.py").read_text(encoding="utf-8"))
    modules = []
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module and node.module != "roundhouse.stage":
            for alias in node.names:
                path = SOURCE / f"{node.module}.{alias.name}".replace(".", "/")
                if path.with_suffix(".py").exists():
                    modules.append(path.with_suffix(".py"))
    return modules


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_declares_only_inputs_that_exist(stage: str) -> None:
    for entry in PIPELINE["stages"][stage]["params"]:
        if isinstance(entry, dict):
            assert set(entry) == {"inputs.json"}
            assert set(entry["inputs.json"]) <= set(Inputs.model_fields)


@pytest.mark.parametrize("stage", STAGES)
def test_commands_take_no_free_text(stage: str) -> None:
    assert PIPELINE["stages"][stage]["cmd"] == f"python -m tasks.{stage}"


def test_no_setting_finds_a_way_into_a_command() -> None:
    """`vars`, `foreach` and `${...}` would put settings into what DVC hands to a shell."""
    assert "${" not in (PROJECT / "dvc.yaml").read_text(encoding="utf-8")
    assert set(PIPELINE) == {"stages", "metrics"}
    for stage, block in PIPELINE["stages"].items():
        assert set(block) == {"cmd", "deps", "params", "outs"}, stage
