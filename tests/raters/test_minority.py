"""A view is shared at home and not abroad."""

import numpy as np
import pytest

from roundhouse.raters import minority


@pytest.mark.parametrize(
    ("inside", "outside", "view"),
    [
        ((80, 100), (30, 100), True),
        ((70, 100), (66, 100), False),  # agrees with everybody
        ((55, 100), (20, 100), False),  # agrees with nobody much
        ((16, 19), (30, 100), False),  # too few to tell
        ((80, 100), (2, 19), False),
    ],
)
def test_a_view_is_shared_at_home_and_not_abroad(
    inside: tuple[int, int], outside: tuple[int, int], view: bool
) -> None:
    home, abroad = ((np.arange(size) < right).astype(float) for right, size in (inside, outside))
    assert minority.is_minority(home, abroad, usual=0.74) == view
