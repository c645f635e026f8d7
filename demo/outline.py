"""The outline that a reader draws: pixels around a region, in order."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from demo.phantom import Mask

_AROUND = ((1, 0), (1, 1), (0, 1), (-1, 1), (-1, 0), (-1, -1), (0, -1), (1, -1))


def traced(region: Mask) -> NDArray[np.int_]:
    """Trace the first pixels outside a region as a closed path, as LIDC's readers do.

    Parameters
    ----------
    region : ndarray of bool, shape (columns, rows)
        At least one pixel, none on the border of the grid.

    Returns
    -------
    ndarray, shape (n, 2)
        Column and row of each pixel; neighbours share an edge or a corner, the last
        is the first.
    """
    wide = region.copy()
    for axis in (0, 1):
        for shift in (-1, 1):
            wide |= np.roll(region, shift, axis)
    start = tuple(np.argwhere(wide)[0].tolist())
    path, here, came = [start], start, 6
    while True:
        # Moore's neighbour tracing: look round from where we came, and take the first hit.
        for turn in range(1, 9):
            way = (came + turn) % 8
            there = here[0] + _AROUND[way][0], here[1] + _AROUND[way][1]
            if wide[there]:
                break
        here, came = there, (way + 4) % 8
        path.append(here)
        if here == start:
            return np.array(path)
