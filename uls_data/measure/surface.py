"""How well one mask of a slice agrees with another."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage


def surface_dice(
    mask: NDArray[np.bool_],
    truth: NDArray[np.bool_],
    spacing_mm: tuple[float, float],
    tolerance_mm: float = 1.0,
) -> float:
    """Share of both outlines that lies within a tolerance of the other (NSD).

    An outline is the mask's pixels with a 4-neighbour outside it; distances are between
    pixel centres, and every pixel of an outline counts once. 1 if both masks are empty,
    0 if one is.

    Parameters
    ----------
    mask, truth : ndarray, shape (x, y), bool
    spacing_mm : tuple of 2 float
        Along x and y.
    """
    outlines = [_outline(np.asarray(one, bool)) for one in (mask, truth)]
    counts = [int(outline.sum()) for outline in outlines]
    if 0 in counts:
        return float(counts[0] == counts[1])
    near = 0
    for outline, other in (outlines, outlines[::-1]):
        distance = ndimage.distance_transform_edt(~other, sampling=spacing_mm)
        near += int((distance[outline] <= tolerance_mm * (1 + 1e-9)).sum())
    return near / sum(counts)


def _outline(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    result: NDArray[np.bool_] = mask & ~ndimage.binary_erosion(mask, border_value=0)
    return result
