"""The minimum-size rule of a recipe."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from uls_data.measure import axes
from uls_data.measure.lines import Lines
from uls_data.recipe.model import MinimumSize, SizeMeasure

# Sizes on the limit itself (a line of four voxels is exactly 5) count as large
# enough, also when the last bit of a float says otherwise.
_SLACK = 1e-9


def below_minimum(
    voxels: NDArray[np.int32],
    rule: MinimumSize | None,
    spacing_mm: tuple[float, ...] | None,
    lines: Lines | None = None,
) -> str | None:
    """Why a lesion is too small, with its number, or None if it is large enough.

    Parameters
    ----------
    voxels : ndarray, shape (n, 3), int32
        RAS indices of the whole lesion in the scan.
    spacing_mm : tuple of 3 float, or None where it is not known
        A rule in mm cannot be applied then, and keeps the lesion.
    lines : Lines, optional
        The reader's, for rules about them.
    """
    if rule is None:
        return None
    if rule.measure in (SizeMeasure.RECIST_LONG_VOX, SizeMeasure.RECIST_LONG_MM):
        size = _line_size(lines, rule.measure, spacing_mm)
    else:
        size = lesion_size(voxels, rule.measure, spacing_mm)
    if size is None or size > rule.at_least * (1 + _SLACK):
        return None
    if not rule.exclusive and size >= rule.at_least * (1 - _SLACK):
        return None
    wanted = "more than" if rule.exclusive else "at least"
    return f"{rule.measure} is {size:.4g}, {wanted} {rule.at_least:g} wanted"


def _line_size(
    lines: Lines | None, measure: SizeMeasure, spacing_mm: tuple[float, ...] | None
) -> float | None:
    if lines is None:
        return None
    if measure is SizeMeasure.RECIST_LONG_VOX:
        return lines.long_vox
    return None if spacing_mm is None else lines.length_mm(spacing_mm)[0]


def lesion_size(
    voxels: NDArray[np.int32], measure: SizeMeasure, spacing_mm: tuple[float, ...] | None
) -> float | None:
    """Size of a lesion by one measure; None for mm where the spacing is not known."""
    match measure:
        case SizeMeasure.INERTIA_MAJOR_VOX:
            return inertia_axes_vox(voxels)[0]
        case SizeMeasure.INERTIA_MINOR_VOX:
            return inertia_axes_vox(voxels)[1]
        case SizeMeasure.MASK_VOXELS:
            return float(len(voxels))
        case SizeMeasure.VOLUME_MM3:
            return None if spacing_mm is None else len(voxels) * float(np.prod(spacing_mm))
    start = voxels.min(axis=0)
    mask = np.zeros(voxels.max(axis=0) - start + 1, dtype=bool)
    mask[tuple((voxels - start).T)] = True
    found = axes.measure(mask)
    if measure is SizeMeasure.LONG_AXIS_VOX:
        return found.long_vox
    if measure is SizeMeasure.SHORT_AXIS_VOX:
        return found.short_vox
    if spacing_mm is None:
        return None
    return (
        found.long_mm(spacing_mm)
        if measure is SizeMeasure.LONG_AXIS_MM
        else found.short_mm(spacing_mm)
    )


def inertia_axes_vox(voxels: NDArray[np.int32]) -> tuple[float, float]:
    """Largest and smallest 3-D inertia axis: sqrt(20 x eigenvalue of the index covariance).

    Measured on the published labels (`regionprops` of a volume gives the same);
    the published archive has no unedited label below 5.

    Parameters
    ----------
    voxels : ndarray, shape (n, 3), int
    """
    # Integer sums first: the covariance is exact up to one division.
    indices = (voxels - voxels.min(axis=0)).astype(np.int64)
    count = len(indices)
    total = indices.sum(axis=0)
    covariance = (count * (indices.T @ indices) - np.outer(total, total)) / count**2
    eigenvalues = np.linalg.eigvalsh(covariance)
    major, minor = np.sqrt(20 * np.maximum(eigenvalues[[2, 0]], 0))
    return float(major), float(minor)
