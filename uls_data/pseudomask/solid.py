"""The ellipsoid of two lines as a mask: the least that any other 3D mask of a lesion must beat."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from uls_data.errors import CaseError
from uls_data.geometry import Triple
from uls_data.measure.ellipsoid import ellipsoid, half_height_mm
from uls_data.measure.lines import Lines
from uls_data.outcome import Reason
from uls_data.pseudomask.key_slice import KeySlice
from uls_data.pseudomask.prior import sound
from uls_data.voi import VOI_SHAPE


def solid_in_voi(
    lines: Lines,
    key_slice: int,
    scan: tuple[slice, slice, slice],
    spacing_mm: tuple[float, float, float],
    outward_vox: float = 0.0,
) -> NDArray[np.bool_]:
    """Mask of the ellipsoid of two lines in a VOI, shape (256, 256, 128); none of it in padding.

    Parameters
    ----------
    lines, key_slice
        In indices of the VOI.
    scan : tuple of 3 slice
        Box (x, y, z) of the VOI that is not padding.
    outward_vox : float
        How far the lesion reaches beyond each end point, in pixels.

    Raises
    ------
    CaseError
        As `solid`.
    """
    start = np.array([part.start for part in scan])
    x, y, z = (part.stop - part.start for part in scan)
    moved = lines.moved(-float(start[0]), -float(start[1]))
    voxels = solid(moved, key_slice - int(start[2]), (x, y, z), spacing_mm, outward_vox)
    mask = np.zeros(VOI_SHAPE, bool, order="F")
    mask[tuple((voxels + start).T)] = True
    return mask


def solid(
    lines: Lines,
    slice_vox: int,
    shape: Triple,
    spacing_mm: tuple[float, float, float],
    outward_vox: float = 0.0,
) -> NDArray[np.int32]:
    """Voxels of the ellipsoid of two lines (`uls_data.measure.ellipsoid`) on a grid.

    On the measured slice it holds what every mask of a measured lesion holds, the quadrilateral
    of the end points; it is one 6-connected component.

    Parameters
    ----------
    lines : Lines
        In indices (x, y) of the grid.
    slice_vox : int
        Of the measured slice on the grid.
    shape : tuple of 3 int
        Of the grid, (x, y, z); what of the ellipsoid lies beyond is left out.
    spacing_mm : tuple of 3 float
        x, y, z.
    outward_vox : float
        How far the lesion reaches beyond each end point, in pixels.

    Returns
    -------
    ndarray, shape (n, 3), int32
        Indices (x, y, z) in C order.

    Raises
    ------
    CaseError
        `degenerate_lines`, `key_slice_missing`.
    """
    problem = lines.problem()
    if problem is not None:
        raise CaseError(Reason.DEGENERATE_LINES, problem)
    if not 0 <= slice_vox < shape[2]:
        raise CaseError(
            Reason.KEY_SLICE_MISSING, f"the measured slice {slice_vox} is none of {shape[2]}"
        )
    whole = np.broadcast_to(np.int16(0), shape[:2])
    x, y, z = spacing_mm
    whole_lines = lines.lengthened(outward_vox)
    small, (left, back) = KeySlice(whole, whole_lines, (x, y)).crop(reach=1.0)
    reach = min(shape[2], int(half_height_mm(whole_lines, spacing_mm) / z) + 1)
    low, high = max(0, slice_vox - reach), min(shape[2], slice_vox + reach + 1)
    box = (small.hu.shape[0], small.hu.shape[1], high - low)
    mask = ellipsoid(small.lines, slice_vox - low, spacing_mm, box)
    plane = sound(mask[:, :, slice_vox - low], small)
    mask &= plane[:, :, None]
    mask[:, :, slice_vox - low] = plane
    voxels: NDArray[np.int32] = np.argwhere(mask).astype(np.int32)
    return voxels + np.array([left, back, low], np.int32)
