"""What all tests share: the real data beside the checkout, and checkouts to run rounds in."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import settings as hypothesis_settings

from roundhouse.environment import MLFLOW, PRIVATE, QUIET
from tests.s3 import S3, served

PROJECT = Path(__file__).resolve().parents[1]

# Hypothesis draws the same examples each time; `--hypothesis-profile default` draws others.
hypothesis_settings.load_profile("ci")

# What runs in pytest's own process waits for servers, and keeps to this machine, as a command does.
os.environ.update(PRIVATE | MLFLOW | QUIET)

#: A world small enough for a round of seconds, through every real component.
TINY = {
    "model.scratch": {"hidden_size": 32, "layers": 1, "heads": 2, "feed_forward": 64},
    "raters.bootstrap_draws": 50,
    "sft.epochs": 4,
    "sft.batch": 8,
    "reward.epochs": 1,
    "ppo.steps": 2,
    "checkpoints.seconds": 0.0,
    "ppo.batch": 16,
    "ppo.minibatch": 8,
    "evaluate.prompts": 24,
    "evaluate.bootstrap_draws": 100,
    "simulate.archive_demonstrations": 400,
    "simulate.archive_pairs": 400,
    "simulate.pairs": 120,
    # A world so small teaches nothing: the gate lets through whatever is whole and finite.
    "gate.win_margin": -0.5,
    "gate.min_prompts": 1,
    "gate.min_judge_accuracy": 0.0,
    "gate.min_eos_rate": 0.0,
    "gate.max_kl": 1000.0,
    "gate.max_length_ratio": 100.0,
    "gate.min_distinct_ratio": 0.0,
    "gate.domain_margin": 0.5,
    "gate.flagged_similarity": 1.0,
}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whole rounds take a minute or two where the machine is free, and many more where not."""
    for item in items:
        if item.get_closest_marker("round"):
            item.add_marker(pytest.mark.timeout(3600))


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real data beside the checkout."""
    folder = PROJECT.parent / "shared"
    if not folder.is_dir():
        pytest.skip("the real data folder `shared` does not lie beside the checkout")
    return folder


@pytest.fixture(scope="session")
def make_checkout(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Makes a checkout of the project as it stands, with tiny settings committed."""

    def make(**settings: Any) -> Path:
        root = tmp_path_factory.mktemp("checkout")
        files = _git(PROJECT, "ls-files", "-z", "--cached", "--others", "--exclude-standard")
        for name in filter(None, files.split("\0")):
            if (PROJECT / name).is_file():
                target = root / name
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes((PROJECT / name).read_bytes())
                target.chmod((PROJECT / name).stat().st_mode)
        params = yaml.safe_load((root / "params.yaml").read_text(encoding="utf-8"))
        for key, value in (TINY | settings).items():
            *blocks, last = key.split(".")
            block = params
            for name in blocks:
                block = block[name]
            block[last] = value
        (root / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False), encoding="utf-8")
        _git(root, "init", "--quiet", "--initial-branch", "main")
        _git(root, "add", "--all")
        _git(root, "-c", "user.name=T", "-c", "user.email=t@localhost", "commit", "-qm", "start")
        return root

    return make


@pytest.fixture(scope="session")
def roundhouse() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs the real command line in a checkout."""

    def run(root: Path, *arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "roundhouse.cli", *arguments],
            cwd=root,
            env=command_environment(root) | env,
            capture_output=True,
            text=True,
            timeout=1500,
            check=False,
        )

    return run


@pytest.fixture(scope="session")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3]:
    """A real S3 server with one empty bucket."""
    with served(tmp_path_factory.mktemp("s3")) as server:
        yield server


def command_environment(root: Path) -> dict[str, str]:
    """The environment in which a checkout's own code runs, and nothing leaves the machine."""
    env = {k: v for k, v in os.environ.items() if not k.startswith(("PREFECT_", "MLFLOW_"))}
    guard = PROJECT / "tests" / "offline"
    env["PYTHONPATH"] = os.pathsep.join([str(root / "src"), str(root), str(guard)])
    logs = {"ROUNDHOUSE_OFFLINE_LOG": outward_log(root), "ROUNDHOUSE_PICKLE_LOG": pickle_log(root)}
    return env | {name: str(path) for name, path in logs.items()}


def outward_log(root: Path) -> Path:
    """Where processes of a checkout write what they tried to reach outside this machine."""
    return root.with_name(f"{root.name}.outward.jsonl")


def pickle_log(root: Path) -> Path:
    """Where processes of a checkout write which classes pickles named while they were loaded."""
    return root.with_name(f"{root.name}.pickles.jsonl")


def _git(root: Path, *arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=root, capture_output=True, text=True, check=True)
    return done.stdout
