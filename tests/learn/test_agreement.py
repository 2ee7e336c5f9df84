"""A step of PPO against the same step of TRL's trainer, where that is installed."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[2]


def test_a_step_is_that_of_trl_number_by_number(tmp_path: Path) -> None:
    if not (PROJECT / ".venv-peers").is_dir():
        pytest.skip("TRL is not installed here: `make peers` makes .venv-peers for it")
    found = tmp_path / "found.json"
    done = subprocess.run(
        [sys.executable, PROJECT / "benchmarks" / "agreement.py", "--json", found],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    differences = json.loads(found.read_text())["differences"]
    assert set(differences) == {"llama", "gpt2", "qwen2", "gpt_neox"}
    for by_quantity in differences.values():
        assert len(by_quantity) == 14
        assert max(by_quantity.values()) < 1e-5
        # Two programs that sum in another order are not equal to the bit: something was compared.
        assert by_quantity["log-probabilities"] > 0
