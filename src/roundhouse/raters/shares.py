"""What part of the weight each region has, and how much of it weighting may take away."""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def cap_regions(share: Floats, weighted: Floats, most: float) -> Floats:
    """[regions] factors on weights, so that no region loses more than `most` of its share.

    Args:
        share: each region's part of all votes; sums to 1.
        weighted: each region's part of the summed weights; sums to 1. A region at 0 stays there.
    """
    floor = np.where(weighted > 0, share * (1 - most), 0.0)
    held = np.zeros(len(share), dtype=bool)
    target = weighted.copy()
    # Raising one region lowers the others, which may push another below its floor: at most one
    # round a region.
    for _ in range(len(share) + 1):
        low = (target < floor - 1e-12) & ~held
        if not low.any():
            break
        held |= low
        free = weighted[~held].sum()
        rest = 1 - floor[held].sum()
        target = np.where(held, floor, weighted * (rest / free if free > 0 else 1.0))
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(weighted > 0, target / weighted, 1.0)
