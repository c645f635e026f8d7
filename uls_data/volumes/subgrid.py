"""Masks that cover a part of their scan, on its own voxels: put in their place.

Slicer saves a segmentation cropped to its segments, and dcmqi writes one so. Nothing is resampled:
where the voxels do not coincide, the mask is on another grid.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from uls_data import geometry
from uls_data.volumes import Volume

# As for grids that ought to be one: no corner may be further off, in voxels.
_OFF_VOX = 0.1


def on_grid_of(mask: Volume, scan: Volume) -> Volume | None:
    """Mask on the whole grid of its scan; None where its voxels are not voxels of the scan.

    A mask that reaches beyond the scan is taken if it marks nothing there. One whose header is
    the scan's own, though it has fewer voxels, is not: nobody can tell which it lacks.
    """
    if np.allclose(mask.stored_affine, scan.stored_affine, atol=geometry.AFFINE_TOLERANCE_MM):
        return None
    exact = np.linalg.solve(scan.affine, mask.affine)
    start = np.rint(exact[:3, 3])
    corners = np.array(np.meshgrid(*[(0, n - 1) for n in mask.ras.shape])).reshape(3, -1)
    off = exact[:3, :3] @ corners + exact[:3, 3:] - (corners + start[:, None])
    if not np.abs(off).max() <= _OFF_VOX:
        return None
    low = start.astype(np.int64)
    first, last = np.maximum(low, 0), np.minimum(low + mask.ras.shape, scan.ras.shape)
    if (last <= first).any():
        return None
    inside = tuple(slice(a, b) for a, b in zip(first - low, last - low, strict=True))
    part = mask.ras[inside]
    nothing = -mask.intercept / mask.slope
    if part.size < mask.ras.size and (
        np.count_nonzero(part != nothing) < np.count_nonzero(mask.ras != nothing)
    ):
        return None
    whole = np.full(scan.ras.shape, nothing, dtype=mask.stored.dtype, order="F")
    whole[tuple(slice(a, b) for a, b in zip(first, last, strict=True))] = part
    # In RAS order from here on; the reader of axes still sees the file's own.
    return replace(mask, stored=whole, stored_affine=geometry.check_affine(scan.affine))
