"""Nothing leaves the machine: a round's tools are used under a hook that sees every connection.

Prefect, both servers and a scheduled flow are watched so in test_services.py.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from roundhouse.environment import environment

REPOSITORY = Path(__file__).parents[1]

MLFLOW = """
from pathlib import Path
from roundhouse.tracking import Tracker
tracker = Tracker("sqlite:///" + str(Path("state/mlflow/mlflow.db").absolute()), "l")
run = tracker.round_run(1, {}, {"seed": 1})
Path("model").mkdir()
Path("model/config.json").write_text("{}")
tracker.register(run, Path("model"), "m", {})
"""

DVC = """
import subprocess, sys
from pathlib import Path
def run(*command):
    subprocess.run(command, check=True)
dvc = [sys.executable, "-m", "dvc"]
run("git", "init", "--quiet")
run(*dvc, "init", "--quiet")
Path("data").write_text("1")
Path("dvc.yaml").write_text("stages: {copy: {cmd: cp data out, deps: [data], outs: [out]}}")
run(*dvc, "remote", "add", "--default", "here", str(Path("remote").absolute()))
run(*dvc, "repro", "--quiet")
run(*dvc, "push", "--quiet")
run(*dvc, "status", "--cloud")
"""

GREAT_EXPECTATIONS = """
import great_expectations as gx, pandas as pd
context = gx.get_context(mode="ephemeral")
context.variables.progress_bars = {"globally": False}
asset = context.data_sources.add_pandas("p").add_dataframe_asset("a")
batch = asset.add_batch_definition_whole_dataframe("b")
frame = pd.DataFrame({"rater": ["r1", None]})
suite = gx.ExpectationSuite(name="s")
suite.add_expectation(gx.expectations.ExpectColumnValuesToNotBeNull(column="rater"))
definition = context.validation_definitions.add(
    gx.ValidationDefinition(name="v", data=batch, suite=context.suites.add(suite)))
assert not definition.run(batch_parameters={"dataframe": frame}).success
"""

TRANSFORMERS = """
import accelerate, datasets, torch
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM
config = LlamaConfig(hidden_size=8, num_hidden_layers=1, num_attention_heads=1, vocab_size=8,
                     intermediate_size=8)
LlamaForCausalLM(config).save_pretrained("model")
model = AutoModelForCausalLM.from_pretrained("model")
model.generate(torch.tensor([[1, 2]]), max_new_tokens=2, pad_token_id=0)
"""


def run(code: str, folder: Path) -> list[str]:
    """Runs a program under the hook; returns what it tried to reach."""
    log = folder / "outward.jsonl"
    paths = [str(REPOSITORY / "tests" / "offline"), str(REPOSITORY / "src")]
    variables = os.environ | environment(folder, given={})
    variables |= {"ROUNDHOUSE_OFFLINE_LOG": str(log), "PYTHONPATH": os.pathsep.join(paths)}
    subprocess.run([sys.executable, "-c", code], cwd=folder, env=variables, check=True)
    return log.read_text(encoding="utf-8").splitlines() if log.exists() else []


@pytest.mark.parametrize(
    "code",
    [MLFLOW, DVC, GREAT_EXPECTATIONS, TRANSFORMERS],
    ids=["mlflow", "dvc", "great_expectations", "transformers"],
)
def test_no_tool_reaches_out(code: str, tmp_path: Path) -> None:
    assert run(code, tmp_path) == []


@pytest.mark.parametrize(
    "attempt",
    [
        "socket.create_connection(('192.0.2.1', 9), timeout=1)",
        "socket.getaddrinfo('example.invalid', 443)",
        "socket.socket(type=socket.SOCK_DGRAM).sendto(b'x', ('192.0.2.1', 9))",
        "socket.socket(socket.AF_INET6).connect(('2001:db8::1', 9))",
        "socket.socket().bind(('', 0))",
        "socket.socket().bind(('0.0.0.0', 0))",
    ],
)
def test_the_hook_sees_and_refuses_an_outward_connection(attempt: str, tmp_path: Path) -> None:
    code = f"import socket\ntry:\n    {attempt}\nexcept ConnectionRefusedError:\n    pass"
    assert len(run(code, tmp_path)) == 1
