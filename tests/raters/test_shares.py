"""No region loses more than its part."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from roundhouse.raters import shares

SHARES = st.lists(st.floats(0.01, 1), min_size=1, max_size=6)


@given(SHARES, st.data(), st.floats(0, 0.9))
def test_no_region_loses_more_than_its_part(
    raw: list[float], data: st.DataObject, most: float
) -> None:
    share: NDArray[np.float64] = np.array(raw) / sum(raw)
    loose = st.floats(0.001, 1)
    weight = np.array(data.draw(st.lists(loose, min_size=len(raw), max_size=len(raw))))
    weighted = share * weight / (share * weight).sum()
    capped = weighted * shares.cap_regions(share, weighted, most)
    assert capped.sum() == pytest.approx(1)
    assert (capped >= share * (1 - most) - 1e-9).all()
    if (weighted >= share * (1 - most)).all():
        assert capped == pytest.approx(weighted)


def test_a_region_without_weight_stays_without() -> None:
    share, weighted = np.array([0.5, 0.5]), np.array([1.0, 0.0])
    assert shares.cap_regions(share, weighted, 0.2).tolist() == [1.0, 1.0]
