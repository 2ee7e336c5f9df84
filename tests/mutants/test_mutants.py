"""A fault in gate or data path turns a named test red; here a handful, drawn by a seed.

All of them: `make torture`, or `python -m pytest tests/torture/test_mutants.py`.
"""

import random
from pathlib import Path

import pytest

from tests.mutants.catalogue import MUTANTS
from tests.mutants.judge import SOURCE, survivors

SEED = 20261125


def test_every_mutant_changes_what_is_there_and_names_a_test_that_is_there() -> None:
    names = [mutant.name for mutant in MUTANTS]
    assert len(set(names)) == len(names) > 50
    for mutant in MUTANTS:
        text = (SOURCE / "roundhouse" / mutant.file).read_text(encoding="utf-8")
        assert text.count(mutant.old) == 1, f"{mutant.name}: {mutant.old!r} is not there once"
        assert mutant.old != mutant.new
        path, _, test = mutant.test.partition("::")
        assert f"def {test}" in (SOURCE.parent / path).read_text(encoding="utf-8"), mutant.test


def test_a_handful_of_mutants_is_seen(tmp_path: Path) -> None:
    chosen = random.Random(SEED).sample(MUTANTS, 8)
    assert survivors(chosen, tmp_path) == []


def test_a_change_without_harm_survives(tmp_path: Path) -> None:
    """Otherwise tests that fail for any other reason would pass for sharp ones."""
    harmless = MUTANTS[0]._replace(name="none", new=MUTANTS[0].old + "  ")
    assert survivors([harmless], tmp_path) == ["none"]


def test_a_mutant_whose_text_is_gone_is_an_error(tmp_path: Path) -> None:
    gone = MUTANTS[0]._replace(old="no such text")
    with pytest.raises(AssertionError, match="stands 0 times"):
        survivors([gone], tmp_path)
