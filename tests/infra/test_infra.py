"""What containers need cannot be started by a test: it is held against the code's own settings."""

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from roundhouse import environment, locations

REPOSITORY = Path(__file__).parents[2]
INFRA = REPOSITORY / "infra"


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    text = (INFRA / "compose.yaml").read_text(encoding="utf-8")
    value: dict[str, Any] = yaml.safe_load(text)
    return value


@pytest.fixture(scope="module")
def deployments() -> dict[str, dict[str, Any]]:
    text = (REPOSITORY / "prefect.yaml").read_text(encoding="utf-8")
    return {each["name"]: each for each in yaml.safe_load(text)["deployments"]}


def test_compose_file_is_valid() -> None:
    pytest.importorskip("check_jsonschema", reason="check-jsonschema (dev extra) is not installed")
    schema = ["--builtin-schema", "vendor.compose-spec"]
    command = [sys.executable, "-m", "check_jsonschema", *schema, str(INFRA / "compose.yaml")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_containers_get_the_environment_that_local_rounds_get(compose: dict[str, Any]) -> None:
    code = environment.PRIVATE | environment.MLFLOW | environment.PREFECT | environment.QUIET
    assert compose["x-environment"] == code
    for name in ("prefect", "mlflow", "worker"):
        assert code.items() <= compose["services"][name]["environment"].items()


def test_the_leases_of_runs_outlive_the_prefect_server(compose: dict[str, Any]) -> None:
    service = compose["services"]["prefect"]
    home = Path(service["environment"]["PREFECT_HOME"])
    volumes = dict(each.split(":") for each in service["volumes"])
    kept = [Path(path) for name, path in volumes.items() if name in compose["volumes"]]
    # Prefect makes its own folder, but not the folders above it.
    assert home.parent in kept
    # A new volume gets the owner that the folder has in the image.
    text = (INFRA / "Containerfile").read_text(encoding="utf-8")
    made = re.findall(r"^RUN install -d -o roundhouse -g roundhouse (.+)$", text, re.MULTILINE)
    assert str(home.parent) in made[0].split()


def test_the_store_may_write_into_its_new_volume(compose: dict[str, Any]) -> None:
    store, owner = compose["services"]["store"], compose["services"]["store-owner"]
    (volume,) = store["volumes"]
    assert owner["volumes"] == [volume]
    assert owner["entrypoint"] == ["chown", store["user"], volume.partition(":")[2]]
    assert store["depends_on"] == {"store-owner": {"condition": "service_completed_successfully"}}


def test_no_secret_has_a_default() -> None:
    text = (INFRA / "compose.yaml").read_text(encoding="utf-8")
    used = re.findall(r"\$\{(\w+)(.*?)\}", text)
    assert {rest for _, rest in used} == {":?"}
    example = (INFRA / ".env.example").read_text(encoding="utf-8").splitlines()
    lines = [line for line in example if line and not line.startswith("#")]
    assert all(line.endswith("=") for line in lines)
    assert {line.rstrip("=") for line in lines} == {name for name, _ in used}
    assert "/infra/.env" in (REPOSITORY / ".gitignore").read_text(encoding="utf-8").splitlines()


def test_every_service_is_bounded_watched_and_hidden(compose: dict[str, Any]) -> None:
    for name, service in compose["services"].items():
        limits = service["deploy"]["resources"]["limits"]
        assert {"cpus", "memory"} <= limits.keys(), name
        once = service.get("restart") == "no"
        assert once or service["healthcheck"]["test"], name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", [])), name
        assert not service["image"].endswith(":latest"), name
        assert ":" in service["image"], name


def test_programs_find_the_variables_they_ask_for(compose: dict[str, Any]) -> None:
    worker = compose["services"]["worker"]["environment"]
    assert {locations.LEDGER_VARIABLE, locations.TRACKING_VARIABLE} <= worker.keys()
    for service, script in [
        ("mlflow", "start-mlflow.sh"),
        ("worker", "start-worker.sh"),
        ("postgres", "postgres/create-databases.sh"),
    ]:
        text = (INFRA / script).read_text(encoding="utf-8")
        asked = set(re.findall(r"\$\{(\w+):\?\}", text))
        assert asked, script
        assert asked <= compose["services"][service]["environment"].keys(), script
        subprocess.run(["sh", "-n", INFRA / script], check=True)


def test_the_image_runs_as_nobody_in_particular_on_tested_versions() -> None:
    text = (INFRA / "Containerfile").read_text(encoding="utf-8")
    users = re.findall(r"^USER (\S+)", text, re.MULTILINE)
    assert users[-1:] == ["10001:10001"]
    assert "--constraint constraints.txt --constraint server-constraints.txt" in text
    for line in re.findall(r"^COPY (.+) \S+$", text, re.MULTILINE):
        # The two that packaging itself asks for are missed by every other test.
        for source in set(line.split()) - {"README.md", "constraints.txt"}:
            assert (REPOSITORY / source).exists(), source


def test_what_the_server_extra_adds_is_pinned() -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))
    extra = project["project"]["optional-dependencies"]["server"]
    wanted = {re.split(r"[<>=]", name)[0] for name in extra}
    pins = (INFRA / "server-constraints.txt").read_text(encoding="utf-8")
    constraints = REPOSITORY / "constraints.txt"
    pins += constraints.read_text(encoding="utf-8")
    pinned = {line.partition("==")[0].lower() for line in pins.splitlines()}
    assert wanted <= pinned


def test_deployments_start_the_round_and_never_two(deployments: dict[str, Any]) -> None:
    assert set(deployments) == {"process", "kubernetes"}
    for deployment in deployments.values():
        path, name = deployment["entrypoint"].split(":")
        tree = ast.parse((REPOSITORY / path).read_text(encoding="utf-8"))
        flow = next(n for n in tree.body if isinstance(n, ast.FunctionDef) and n.name == name)
        known = {argument.arg for argument in flow.args.args}
        for schedule in deployment["schedules"]:
            assert schedule["parameters"].keys() <= known
        assert deployment["concurrency_limit"] == {"limit": 1, "collision_strategy": "CANCEL_NEW"}
    on = [s.get("active", True) for each in deployments.values() for s in each["schedules"]]
    assert on.count(True) == 1
