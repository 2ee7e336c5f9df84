"""Kubernetes manifests, which no test can apply: against its schemas, compose.yaml and the code."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from roundhouse import environment

REPOSITORY = Path(__file__).parents[2]
INFRA = REPOSITORY / "infra"
#: Containers of ours that compose.yaml has too, and the name of each one's service there.
SERVICES = {"prefect": "prefect", "mlflow": "mlflow", "worker": "worker"}

Manifest = dict[str, Any]


def _kustomization() -> Manifest:
    value: Manifest = yaml.safe_load((INFRA / "kustomization.yaml").read_text(encoding="utf-8"))
    return value


def _manifests() -> list[Manifest]:
    texts = ((INFRA / name).read_text(encoding="utf-8") for name in _kustomization()["resources"])
    return [each for text in texts for each in yaml.safe_load_all(text)]


def _job() -> Manifest:
    """The job of a round, its blanks filled in by the defaults, as Prefect does."""
    template = json.loads((INFRA / "kubernetes" / "job-template.json").read_text(encoding="utf-8"))
    variables = template["variables"]["properties"]
    given = {"image": "registry.example/roundhouse:1", "name": "round", "command": ["prefect"]}

    def filled(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: filled(each) for key, each in value.items()}
        if isinstance(value, list):
            return [filled(each) for each in value]
        blank = re.fullmatch(r"\{\{ (\w+) \}\}", str(value))
        if not blank:
            return value.replace("{{ name }}", "round") if isinstance(value, str) else value
        name = blank[1]
        default = variables[name].get("default")
        return given.get(name, {}) if default is None else default

    job: Manifest = filled(template["job_configuration"]["job_manifest"])
    return job


def _pods() -> Iterator[tuple[str, Manifest]]:
    """Name and template of every pod."""
    for manifest in [*_manifests(), _job()]:
        if "template" in manifest.get("spec", {}):
            name = manifest["metadata"].get("name", "job")
            yield name, manifest["spec"]["template"]


def _variables(container: Manifest) -> dict[str, str]:
    """A container's variables, a secret as `${KEY:?}`, as compose.yaml writes it."""
    found: dict[str, str] = {}
    for each in container["env"]:
        if "value" in each:
            value = str(each["value"])
            for name in re.findall(r"\$\((\w+)\)", value):
                assert name in found, f"{each['name']} names {name}, which must come before it"
                value = value.replace(f"$({name})", found[name])
            found[each["name"]] = value
        else:
            reference = each["valueFrom"]["secretKeyRef"]
            assert reference["name"] == "roundhouse"
            found[each["name"]] = f"${{{reference['key']}:?}}"
    return found


@pytest.mark.parametrize("manifest", [*_manifests(), _job()], ids=lambda m: m["kind"])
def test_every_manifest_keeps_to_its_schema(manifest: Manifest) -> None:
    validate = pytest.importorskip("kubernetes_validate", reason="not installed (dev extra)")
    validate.validate(manifest, "1.31", strict=True)


def test_kustomize_builds_all_of_it() -> None:
    named = {Path(name).name for name in _kustomization()["resources"]}
    assert named == {path.name for path in (INFRA / "kubernetes").glob("*.yaml")}
    for generator in _kustomization()["configMapGenerator"]:
        for file in [*generator.get("files", []), *generator.get("envs", [])]:
            assert (INFRA / file).is_file()
    program = shutil.which("kubectl")
    if program is None:
        pytest.skip("kubectl is not installed: its kustomize was not tried")
    done = subprocess.run(
        [program, "kustomize", INFRA], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    built = list(yaml.safe_load_all(done.stdout))
    assert len(built) == len(_manifests()) + len(_kustomization()["configMapGenerator"])
    assert {each["metadata"].get("namespace", "") for each in built} == {"", "roundhouse"}


def test_every_container_is_bounded_watched_and_locked_in() -> None:
    names = [name for name, _ in _pods()]
    assert sorted(names) == [
        "gpu-worker",
        "job",
        "mlflow",
        "postgres",
        "prefect",
        "store",
        "worker",
    ]
    for name, template in _pods():
        pod = template["spec"]
        assert pod["securityContext"]["runAsNonRoot"], name
        assert pod["securityContext"]["runAsUser"] > 0, name
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}, name
        # Kubernetes would set MLFLOW_PORT, PREFECT_PORT and the like, which those programs read.
        assert pod["enableServiceLinks"] is False, name
        assert name == "gpu-worker" or pod["automountServiceAccountToken"] is False, name
        (container,) = pod["containers"]
        if name != "job":
            assert {"readinessProbe", "livenessProbe"} <= container.keys(), name
        for each in [container, *pod.get("initContainers", [])]:
            assert each["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }, name
            for kind in ("requests", "limits"):
                assert {"cpu", "memory"} <= each["resources"][kind].keys(), name
            assert "/tmp" in {mount["mountPath"] for mount in each["volumeMounts"]}, name


def test_secrets_come_from_the_one_that_the_user_makes() -> None:
    example = (INFRA / ".env.example").read_text(encoding="utf-8").splitlines()
    asked = {line.rstrip("=") for line in example if line and not line.startswith("#")}
    used: set[str] = set()
    for name, template in _pods():
        for variable, value in _variables(template["spec"]["containers"][0]).items():
            used |= set(re.findall(r"\$\{(\w+):\?\}", value))
            if re.search(r"PASSWORD|SECRET|AUTH_STRING|AUTH_KEY|ACCESS_KEY|_URI$|_URL$", variable):
                secret = "${" in value or re.fullmatch(r"(http://[\w.]+:\d+|s3:/)[\w/]*", value)
                assert secret, f"{name}: {variable} has a value of its own"
    assert used == asked
    assert all(manifest["kind"] != "Secret" for manifest in _manifests())


def test_containers_get_what_compose_gives_them() -> None:
    compose = yaml.safe_load((INFRA / "compose.yaml").read_text(encoding="utf-8"))["services"]
    code = environment.PRIVATE | environment.MLFLOW | environment.PREFECT | environment.QUIET
    lines = (INFRA / "kubernetes" / "environment.env").read_text(encoding="utf-8").splitlines()
    shared = dict(line.split("=", 1) for line in lines if not line.startswith("#"))
    assert shared == code
    pods = dict(_pods())
    for name, service in SERVICES.items():
        (container,) = pods[name]["spec"]["containers"]
        assert container["envFrom"] == [{"configMapRef": {"name": "environment"}}]
        own = compose[service]["environment"].items() - code.items()
        found = _variables(container)
        assert own <= found.items(), name
        # What is more: secrets that others are put together from, and a home that can be written.
        more = found.keys() - dict(own).keys()
        assert more <= {"HOME"} | {key for key in found if key.endswith("_DATABASE_PASSWORD")}, name
        assert container["command"] == [str(part) for part in compose[service]["command"]], name
    (job,) = pods["job"]["spec"]["containers"]
    (worker,) = pods["worker"]["spec"]["containers"]
    checkout = _variables(worker)["ROUNDHOUSE_CHECKOUT"]
    path = {"PYTHONPATH": f"{checkout}/src:{checkout}"}
    assert _variables(job) == _variables(worker) | path
    assert job["envFrom"] == worker["envFrom"]
    for name in ("store", "postgres"):
        (container,) = pods[name]["spec"]["containers"]
        assert compose[name]["environment"].items() <= _variables(container).items()
        assert container["image"] == compose[name]["image"]


def test_a_jobs_checkout_is_there_before_its_python_starts() -> None:
    # Python takes a folder of PYTHONPATH that is absent when it starts for absent ever after.
    pod = dict(_pods())["job"]["spec"]
    (first,), (round_,) = pod["initContainers"], pod["containers"]
    assert first["command"] == ["sh", "/opt/roundhouse/make-checkout.sh"]
    asked = re.findall(r"\$\{(\w+):\?\}", (INFRA / "make-checkout.sh").read_text(encoding="utf-8"))
    assert set(asked) <= _variables(first).keys()
    assert _variables(first).items() <= _variables(round_).items()
    assert first["envFrom"] == round_["envFrom"]
    assert first["volumeMounts"] == round_["volumeMounts"]
    assert first["image"] == round_["image"]


def test_the_leases_of_runs_outlive_the_prefect_server() -> None:
    pod = dict(_pods())["prefect"]["spec"]
    (container,) = pod["containers"]
    home = Path(_variables(container)["PREFECT_HOME"])
    (mount,) = (m for m in container["volumeMounts"] if Path(m["mountPath"]) == home.parent)
    (volume,) = (each for each in pod["volumes"] if each["name"] == mount["name"])
    claims = [m["metadata"]["name"] for m in _manifests() if m["kind"] == "PersistentVolumeClaim"]
    assert volume["persistentVolumeClaim"]["claimName"] in claims
    assert pod["securityContext"]["fsGroup"] == pod["securityContext"]["runAsUser"]


def test_pods_may_reach_what_their_settings_name_and_nothing_else() -> None:
    policies = [each for each in _manifests() if each["kind"] == "NetworkPolicy"]
    (closed,) = (each["spec"] for each in policies if each["metadata"]["name"] == "nothing")
    assert closed == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    ports = {"postgres": 5432, "store": 9000, "prefect": 4200, "mlflow": 5000}
    labels = {name: template["metadata"]["labels"] for name, template in _pods()}
    for name, template in _pods():
        text = " ".join(_variables(template["spec"]["containers"][0]).values())
        wanted = {host for host in ports if re.search(rf"(@|://){host}[:/]", text)} - {name}
        for host, port in ports.items():
            if host == name:
                continue
            out = _allows(policies, "egress", labels[name], labels[host], port)
            into = _allows(policies, "ingress", labels[host], labels[name], port)
            assert out == into == (host in wanted), f"{name} to {host}"


def _allows(policies: list[Manifest], way: str, pod: Manifest, other: Manifest, port: int) -> bool:
    """Whether a policy of `pod` names `other` by its labels, for that port and direction."""
    for policy in policies:
        spec = policy["spec"]
        if not _matches(spec["podSelector"], pod) or spec["podSelector"] == {}:
            continue
        for rule in spec.get(way, []):
            peers = rule.get("to" if way == "egress" else "from", [])
            named = [peer["podSelector"] for peer in peers if "podSelector" in peer]
            if {"port": port} in rule["ports"] and any(_matches(each, other) for each in named):
                return True
    return False


def _matches(selector: Manifest, labels: Manifest) -> bool:
    wanted: Manifest = selector.get("matchLabels", {})
    return wanted.items() <= labels.items()


def test_the_pools_of_the_deployments_are_the_ones_that_workers_serve() -> None:
    deployments = yaml.safe_load((REPOSITORY / "prefect.yaml").read_text(encoding="utf-8"))
    pools = {each["name"]: each["work_pool"]["name"] for each in deployments["deployments"]}
    for name, script in {"process": "start-worker.sh", "kubernetes": "start-gpu-worker.sh"}.items():
        text = (INFRA / script).read_text(encoding="utf-8")
        # A variable that is set then would be the same for every worker.
        assert f"\nenv -u ROUNDHOUSE_CHECKOUT prefect --no-prompt deploy --name {name}\n" in text
        assert f"--pool {pools[name]} --type {name}" in text
        assert f'make-pool.py" {pools[name]} {name}' in text
    template = json.loads((INFRA / "kubernetes" / "job-template.json").read_text(encoding="utf-8"))
    known = template["variables"]["properties"].keys()
    (kubernetes,) = (d for d in deployments["deployments"] if d["name"] == "kubernetes")
    assert kubernetes["work_pool"]["job_variables"].keys() <= known
    blanks = set(re.findall(r"\{\{ (\w+) \}\}", json.dumps(template["job_configuration"])))
    assert blanks == set(known)
    (container,) = _job()["spec"]["template"]["spec"]["containers"]
    assert container["resources"]["limits"]["nvidia.com/gpu"] == 1
