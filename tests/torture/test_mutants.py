"""Every mutant of gate and data path turns its test red."""

from pathlib import Path

import pytest

from tests.mutants.catalogue import MUTANTS
from tests.mutants.judge import survivors

pytestmark = pytest.mark.torture


def test_every_mutant_is_seen(tmp_path: Path) -> None:
    assert survivors(MUTANTS, tmp_path) == []
