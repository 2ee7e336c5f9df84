"""A step of PPO, and a loss of DPO, against those of TRL's trainers, where TRL is installed."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(
    ("program", "quantities", "inexact"),
    [("agreement", 14, "log-probabilities"), ("agreement_dpo", 7, "gradient")],
)
def test_a_step_is_that_of_trl_number_by_number(
    program: str, quantities: int, inexact: str, tmp_path: Path
) -> None:
    if not (PROJECT / ".venv-peers").is_dir():
        pytest.skip("TRL is not installed here: `make peers` makes .venv-peers for it")
    found = tmp_path / "found.json"
    done = subprocess.run(
        [sys.executable, "-m", f"benchmarks.{program}", "--json", found],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    differences = json.loads(found.read_text())["differences"]
    assert set(differences) == {"llama", "gpt2", "qwen2", "gpt_neox"}
    for by_quantity in differences.values():
        assert len(by_quantity) == quantities
        assert max(by_quantity.values()) < 1e-5
        # Two programs that sum in another order are not equal to the bit: something was compared.
        assert by_quantity[inexact] > 0
