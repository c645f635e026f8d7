"""Connected components of lists of voxels: memory goes by what is marked, not by the scan."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from uls_data.geometry import Triple

# Voxels by their index in the flattened RAS array (C order, x slowest), ascending.
Flat = NDArray[np.int64]


def components_of(where: Flat, shape: Triple) -> NDArray[np.int64]:
    """Return the number of each voxel's 6-connected component, 1-based, by first voxel in C order.

    Neighbours are looked up in the sorted list of voxels, and every voxel comes to
    point at the first of its component, so that nothing of the scan's size is made.
    """
    one, other = [], []
    steps = (shape[1] * shape[2], shape[2], 1)
    for place, step, size in zip(np.unravel_index(where, shape), steps, shape, strict=True):
        start = np.flatnonzero(place < size - 1)
        at = np.searchsorted(where, where[start] + step)
        hit = where[np.minimum(at, len(where) - 1)] == where[start] + step
        one.append(start[hit])
        other.append(at[hit])
    left, right = np.concatenate(one), np.concatenate(other)
    first = np.arange(len(where))
    while True:
        low, high = np.minimum(first[left], first[right]), np.maximum(first[left], first[right])
        if np.array_equal(low, high):
            break
        np.minimum.at(first, high, low)
        while not np.array_equal(first, first[first]):
            first = first[first]
    numbers: NDArray[np.int64] = np.unique(first, return_inverse=True)[1].reshape(-1) + 1
    return numbers
