"""Axes that nobody drew: of lengths alone, laid on the image; of one line, by the usual width.

A report states two lengths and somebody marks a point in the lesion: of all ellipses of that size
about the point, the one counts whose inside is most even. docs/measurements.md says what that is
worth. How wide a lesion is across a line, the image did not tell better than the usual share of the
line's length.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

# Short by long axis of the published measurements of CCC18: means of 38.16 and 51.81 pixels.
USUAL_SHARE = 0.74
_ANGLES = np.radians(np.arange(0, 180, 5))
# The core, as the square of its scale, whose median is what the inside is compared with.
_CORE = 0.5
# More pixels than this across add nothing.
_WIDEST_VOX = 96
_FEWEST = 5


def axes_at(
    hu: Floats, spacing_mm: tuple[float, float], point: Floats, long_mm: float, short_mm: float
) -> Floats | None:
    """Long and short axis of stated lengths about a point.

    Parameters
    ----------
    hu : ndarray, shape (columns, rows)
        The slice.
    spacing_mm : tuple of 2 float
        Along columns and rows.
    point : ndarray, shape (2,)
        Column and row.

    Returns
    -------
    ndarray, shape (4, 2), or None
        End points, of the long axis first; None where too little of the image is there.
    """
    centre = point * spacing_mm
    places, values = _patch(hu, spacing_mm, centre, long_mm)
    best, chosen = np.inf, None
    for angle in _ANGLES.tolist():
        along = places @ (np.cos(angle), np.sin(angle)) / (long_mm / 2)
        across = places @ (-np.sin(angle), np.cos(angle)) / (short_mm / 2)
        scale = along**2 + across**2
        core, inside = values[scale <= _CORE], values[scale <= 1]
        if len(core) < _FEWEST:
            continue
        unevenness = float(np.abs(inside - np.median(core)).mean())
        if unevenness < best:
            best, chosen = unevenness, angle
    if chosen is None:
        return None
    way = np.array([np.cos(chosen), np.sin(chosen)])
    return _ends(centre, way * long_mm / 2, np.array([-way[1], way[0]]) * short_mm / 2, spacing_mm)


def axes_of_line(spacing_mm: tuple[float, float], line: Floats) -> Floats:
    """Return a line of shape (2, 2) in columns and rows, and a short axis across its middle."""
    ends = line * spacing_mm
    half = (ends[1] - ends[0]) / 2
    across = np.array([-half[1], half[0]]) * USUAL_SHARE
    return np.concatenate([line, _ends(ends.mean(axis=0), half, across, spacing_mm)[2:]])


def _ends(
    centre: Floats, half_long: Floats, half_short: Floats, spacing_mm: tuple[float, float]
) -> Floats:
    """End points of two axes, by their halves in mm, in columns and rows."""
    halves = np.array([-half_long, half_long, -half_short, half_short])
    found: Floats = (centre + halves) / spacing_mm
    return found


def _patch(
    hu: Floats, spacing_mm: tuple[float, float], centre_mm: Floats, width_mm: float
) -> tuple[Floats, Floats]:
    """Places (mm from the centre) and values of pixels about it, thinned out if they are many."""
    ranges = []
    for at, count in enumerate(hu.shape):
        low, high = (centre_mm[at] + np.array([-0.5, 0.5]) * width_mm) / spacing_mm[at]
        step = max(1, int((high - low) // _WIDEST_VOX))
        ranges.append(np.arange(max(0, int(low)), min(count, int(high) + 2), step))
    columns, rows = np.meshgrid(*ranges, indexing="ij")
    values = hu[columns.ravel(), rows.ravel()].astype(np.float64)
    return np.column_stack([columns.ravel(), rows.ravel()]) * spacing_mm - centre_mm, values
