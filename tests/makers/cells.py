"""Small masks as sets of voxels, for hypothesis, and as the arrays that the package takes."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
from hypothesis import strategies as st

from uls_data.lesions.votes import Voxels

Cell = tuple[int, int, int]

cells = st.tuples(st.integers(0, 3), st.integers(0, 2), st.integers(0, 5))


def voxels_of(mask: Collection[Cell]) -> Voxels:
    """Array of shape (n, 3) in C order."""
    return np.array(sorted(mask), dtype=np.int32).reshape(-1, 3)


def cells_of(voxels: Voxels) -> set[Cell]:
    """Set of what an array holds, which must be int32, in C order, and hold each voxel once."""
    assert voxels.dtype == np.int32
    found = [(int(x), int(y), int(z)) for x, y, z in voxels]
    assert found == sorted(set(found))
    return set(found)
