"""A predicted mask against the measurement it should agree with, on the measured slice."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from uls_data.manifest.row import Row
from uls_data.measure import axes
from uls_data.measure.overlap import dice


def key_slice_columns(mask: NDArray[np.bool_], row: Row, plane: NDArray[np.bool_] | None) -> Row:
    """Columns that the paper's filter (section 4.1) and its refinements use.

    Parameters
    ----------
    mask : ndarray, shape (256, 256, 128), bool, RAS
    row : dict
        With `key_slice_voi`, `recist_long_vox`, `recist_short_vox` and `recist_points_vox`,
        each maybe None.
    plane : ndarray, shape (256, 256), [x, y], bool, or None
        The 2D pseudo-mask on the key slice.

    Returns
    -------
    dict
        `key_slice_long_error_vox`, `key_slice_short_error_vox`, `endpoint_distance_vox`,
        `key_slice_dice`, as far as the row knows enough. A mask without a voxel on the key slice
        measures 0 there and has no end points.
    """
    at = row["key_slice_voi"]
    if at is None or not 0 <= at < mask.shape[2]:
        return {}
    found = axes.measure(mask[:, :, at : at + 1])
    columns: Row = {}
    if row["recist_long_vox"] is not None and row["recist_short_vox"] is not None:
        columns["key_slice_long_error_vox"] = found.long_vox - row["recist_long_vox"]
        columns["key_slice_short_error_vox"] = found.short_vox - row["recist_short_vox"]
    if row["recist_points_vox"] is not None and found.long_points and found.short_points:
        points = np.asarray(row["recist_points_vox"], float).reshape(4, 2)
        distances = [
            _between(np.asarray(line).reshape(2, 2), points[two])
            for line, two in [
                (found.long_points, slice(0, 2)),
                (found.short_points, slice(2, 4)),
            ]
        ]
        columns["endpoint_distance_vox"] = float(np.mean(distances))
    if plane is not None:
        columns["key_slice_dice"] = dice(mask[:, :, at], plane)
    return columns


def _between(line: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    """Mean distance of the ends of two lines, taken whichever way round fits better."""
    return min(float(np.hypot(*(line - ends).T).mean()) for ends in (other, other[::-1]))
