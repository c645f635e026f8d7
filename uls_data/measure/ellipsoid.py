"""The ellipsoid of two lines: what a reader's long and short axis say of a lesion in 3D.

In the key slice it is the ellipse with the lengths of both axes; along z nothing was drawn, so
its height is the geometric mean of the axes.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from uls_data.geometry import Triple
from uls_data.measure.lines import Lines

# End points are often pixel centres: those pixels are inside.
ROUNDING = 1e-9
_ROUNDING_32 = 1e-6


def ellipse_centre(lines: Lines) -> NDArray[np.float64]:
    """Midpoint (x, y) of the long axis, moved across it to where that of the short axis lies."""
    a, b, c, d = lines.points
    along_x, along_y = (b - a) / lines.long_vox
    middle = (a + b) / 2
    gap = (c + d) / 2 - middle
    across = gap[1] * along_x - gap[0] * along_y
    centre: NDArray[np.float64] = middle + across * np.array([-along_y, along_x])
    return centre


def ellipse_field(
    lines: Lines, shape: tuple[int, int], outward_vox: float = 0.0
) -> NDArray[np.float64]:
    """Squared normalised radius of the ellipse of two lines: 1 on its outline, 0 at its centre.

    The ellipse lies along the long axis, about `ellipse_centre`.

    Parameters
    ----------
    lines : Lines
        In indices of the slice; both axes longer than 0.
    shape : tuple of 2 int
        Size (x, y) of the slice.
    outward_vox : float
        How far beyond its end points an axis reaches.

    Returns
    -------
    ndarray, shape (x, y), float64
    """
    a, b, *_ = lines.points
    along_x, along_y = (b - a) / lines.long_vox
    centre = ellipse_centre(lines)
    x = np.arange(shape[0])[:, None] - centre[0]
    y = np.arange(shape[1])[None, :] - centre[1]
    u = (x * along_x + y * along_y) / (lines.long_vox / 2 + outward_vox)
    v = (y * along_x - x * along_y) / (lines.short_vox / 2 + outward_vox)
    field: NDArray[np.float64] = u**2 + v**2
    return field


def radius_field(
    lines: Lines,
    key_slice: float,
    spacing_mm: tuple[float, float, float],
    shape: Triple,
    outward_vox: float = 0.0,
) -> NDArray[np.float32]:
    """Normalised radius of the ellipsoid of two lines: 1 on its surface, 0 at its centre.

    Half its height is sqrt(long x short) / 2 in mm.

    Parameters
    ----------
    lines : Lines
        In indices (x, y) of the volume; both axes longer than 0.
    key_slice : float
        Index along z of the slice on which they were drawn; may lie outside the volume.
    spacing_mm : tuple of 3 float
        x, y, z.
    shape : tuple of 3 int
        Size (x, y, z) of the volume.
    outward_vox : float
        How far beyond its end points an axis reaches, in pixels of the slice.

    Returns
    -------
    ndarray, shape (x, y, z), float32
    """
    flat = ellipse_field(lines, shape[:2], outward_vox)
    height = (np.arange(shape[2]) - key_slice) * spacing_mm[2]
    height = height / half_height_mm(lines, spacing_mm, outward_vox)
    field: NDArray[np.float32] = np.sqrt(flat[:, :, None] + height**2).astype(np.float32)
    return field


def ellipsoid(*args: Any, **kwargs: Any) -> NDArray[np.bool_]:
    """Mask, shape (x, y, z), of the voxels whose centre lies in the ellipsoid.

    Parameters are those of `radius_field`.
    """
    inside: NDArray[np.bool_] = radius_field(*args, **kwargs) <= 1 + _ROUNDING_32
    return inside


def half_height_mm(lines: Lines, spacing_mm: tuple[float, ...], outward_vox: float = 0.0) -> float:
    """Half the height of the ellipsoid of two lines: sqrt(long x short) / 2."""
    long_mm, short_mm = lines.length_mm(spacing_mm)
    long_mm *= 1 + 2 * outward_vox / lines.long_vox
    short_mm *= 1 + 2 * outward_vox / lines.short_vox
    return float(np.sqrt(long_mm * short_mm)) / 2
