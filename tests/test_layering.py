"""Who may import whom, read from the source."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[1]
CORE = sorted((PROJECT / "src" / "roundhouse").rglob("*.py"))
TASKS = sorted((PROJECT / "tasks").glob("*.py"))
FLOWS = sorted((PROJECT / "flows").glob("*.py"))


def _imports(path: Path) -> Iterator[tuple[str, bool]]:
    """Every imported module with whether it is imported at the top of the file."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    top = set(tree.body)
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, node in top
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module, node in top
            for alias in node.names:
                yield f"{node.module}.{alias.name}", node in top


def _importers(files: list[Path], *names: str) -> set[str]:
    """Files that import one of the packages, by path below the project."""
    return {
        path.relative_to(PROJECT).as_posix()
        for path in files
        for module, _ in _imports(path)
        if module.split(".")[0] in names or module in names
    }


def test_there_is_something_to_look_at() -> None:
    assert len(CORE) > 40
    assert len(TASKS) == 6
    assert FLOWS


def test_the_core_knows_no_flow_and_no_prefect() -> None:
    assert _importers(CORE, "prefect", "flows", "tasks") == set()


def test_tasks_import_only_the_core() -> None:
    allowed = {"roundhouse", "pathlib"}
    for path in TASKS:
        packages = {module.split(".")[0] for module, _ in _imports(path)}
        assert packages <= allowed, path.name


def test_tasks_start_without_heavy_imports() -> None:
    for path in TASKS:
        top = {module for module, at_top in _imports(path) if at_top}
        assert top <= {
            "pathlib",
            "pathlib.Path",
            "roundhouse.stage",
            "roundhouse.stage.Stage",
            "roundhouse.stage.run",
        }, path.name


def test_flows_hold_no_learning_and_no_frames() -> None:
    assert _importers(FLOWS, "torch", "pandas", "mlflow", "dvc", "roundhouse.learn") == set()


@pytest.mark.parametrize(
    ("package", "owner"),
    [("mlflow", "src/roundhouse/tracking/"), ("sqlalchemy", "src/roundhouse/ledger/")],
)
def test_one_owner_a_tool(package: str, owner: str) -> None:
    importers = _importers([*CORE, *TASKS, *FLOWS], package)
    assert importers
    assert {path for path in importers if not path.startswith(owner)} == set()


def test_one_module_runs_dvc() -> None:
    runs = {
        path.relative_to(PROJECT).as_posix()
        for path in [*CORE, *TASKS, *FLOWS]
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.List)
        and any(isinstance(item, ast.Constant) and item.value == "dvc" for item in node.elts)
    }
    runs |= _importers([*CORE, *TASKS, *FLOWS], "dvc")
    assert runs == {"src/roundhouse/rounds/dvc.py"}


def test_no_flow_file_shadows_a_module() -> None:
    """Prefect's loader puts flows/ first on sys.path."""
    installed = {"prefect", "evaluate", "datasets", "mlflow", "dvc", "torch", "types", "tasks"}
    assert {path.stem for path in FLOWS} & installed == set()


def test_nothing_loads_pickles_or_foreign_code() -> None:
    banned = ("pickle", "cloudpickle", "joblib", "dill", "marshal", "shelve")
    assert _importers([*CORE, *TASKS, *FLOWS], *banned) == set()
    for path in [*CORE, *TASKS, *FLOWS]:
        text = path.read_text(encoding="utf-8")
        assert "trust_remote_code=True" not in text, path
        assert "yaml.load(" not in text, path
        assert "shell=True" not in text, path
