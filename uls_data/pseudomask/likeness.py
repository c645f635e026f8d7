"""What looks like a measured lesion: its HU on the slice that a reader measured, followed in 3D.

Two lines say where a lesion ends on one slice only. The image says more: how common each HU is
inside the 2D mask of that slice, and how common around it, tells the lesion from its surroundings
on the other slices too. Nothing is learned beforehand, so no organ is unknown to it; the constants
were chosen on the odd-numbered sarcomas of the IBSI set, two lungs and made-up lesions.
"""

from __future__ import annotations

import cc3d
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from uls_data.measure.ellipsoid import radius_field
from uls_data.measure.lines import Lines

# The surroundings on the measured slice, by the normalised radius of the lines' ellipse.
_RING = (1.1, 1.6)
_FEWEST_CORE, _FEWEST_RING = 4, 10
# Pixels of a mask whose outermost ones may be left out, being half something else.
_FEWEST_ERODED = 12
_BINS = 48
# Histograms are as smooth as a scan's noise is wide.
_NOISE_HU = 12.0
_FLOOR = 0.3 / _BINS
MOST = 3.0
# How far the image and the log odds are smoothed; between slices less, for they lie far apart.
_IMAGE_MM, _ODDS_MM = 0.7, 1.0
_MOST_SLICES, _MOST_VOX = 0.5, 3.0
# The ellipsoid's vote, in log odds per radius, and beyond what radius nothing is lesion.
_SLOPE, _FARTHEST = 5.0, 1.7

Triple = tuple[float, float, float]


def likeness(
    hu: NDArray[np.integer],
    valid: NDArray[np.bool_],
    plane: NDArray[np.bool_],
    radius: NDArray[np.floating],
    key_slice: int,
    spacing_mm: Triple,
) -> NDArray[np.float32]:
    """Log odds that a voxel's HU is the lesion's, not that of its surroundings: -3 to 3.

    Parameters
    ----------
    hu : ndarray, shape (x, y, z)
        Part of a scan, in HU.
    valid : ndarray of bool, same shape
        Voxels that are the scan's.
    plane : ndarray of bool, shape (x, y)
        The lesion on the measured slice, by a 2D method.
    radius : ndarray, shape (x, y)
        Normalised radius of the ellipse of the lines (`radius_field`).
    key_slice : int
        Index z of the measured slice; where it lies outside, or is flat, all is 0: not known.
    spacing_mm : tuple of 3 float
        x, y, z.

    Returns
    -------
    ndarray, shape (x, y, z), float32
    """
    nothing = np.zeros(hu.shape, np.float32)
    if not 0 <= key_slice < hu.shape[2]:
        return nothing
    here = valid[:, :, key_slice]
    core = plane & here
    eroded = ndimage.binary_erosion(core)
    if eroded.sum() >= _FEWEST_ERODED:
        core = eroded
    ring = (radius > _RING[0]) & (radius < _RING[1]) & ~ndimage.binary_dilation(plane) & here
    if core.sum() < _FEWEST_CORE or ring.sum() < _FEWEST_RING:
        return nothing
    values = np.where(valid, hu, np.median(hu[:, :, key_slice][ring])).astype(np.float32)
    x, y, z = spacing_mm
    widths = (_IMAGE_MM / x, _IMAGE_MM / y, min(_IMAGE_MM / z, _MOST_SLICES))
    values = ndimage.gaussian_filter(values, widths, mode="nearest")
    inside, around = (values[:, :, key_slice][part] for part in (core, ring))
    low, high = np.quantile(np.concatenate([inside, around]), [0.01, 0.99])
    if high <= low:
        return nothing
    width = (high - low) / _BINS

    def common(some: NDArray[np.float32]) -> NDArray[np.float64]:
        """How common each HU is."""
        counts = np.bincount(_bins(some, low, width), minlength=_BINS).astype(np.float64)
        counts = ndimage.gaussian_filter1d(counts, max(1.0, _NOISE_HU / width), mode="nearest")
        return np.asarray(counts / counts.sum() + _FLOOR)

    odds = np.clip(np.log(common(inside) / common(around)), -MOST, MOST).astype(np.float32)
    found = odds[_bins(values, low, width)]
    smooth = [min(_ODDS_MM / mm, _MOST_VOX) for mm in spacing_mm]
    return np.where(valid, ndimage.gaussian_filter(found, smooth, mode="nearest"), -MOST).astype(
        np.float32
    )


def _bins(values: NDArray[np.float32], low: float, width: float) -> NDArray[np.intp]:
    found: NDArray[np.intp] = np.clip((values - low) / width, 0, _BINS - 1).astype(np.intp)
    return found


def like_solid(
    hu: NDArray[np.integer],
    valid: NDArray[np.bool_],
    plane: NDArray[np.bool_],
    lines: Lines,
    key_slice: int,
    spacing_mm: Triple,
) -> NDArray[np.bool_]:
    """Mask of what looks like the lesion and lies where the lines' ellipsoid says.

    One 6-connected component that holds `plane` on the measured slice, and no more there.

    Parameters
    ----------
    lines : Lines
        In indices (x, y) of `hu`, as far as the lesion reaches.
    hu, valid, plane, key_slice, spacing_mm
        As for `likeness`; `plane` is one component, and the slice lies within.

    Returns
    -------
    ndarray of bool, shape (x, y, z)
    """
    x, y, z = hu.shape
    radius = radius_field(lines, key_slice, spacing_mm, (x, y, z))
    odds = likeness(hu, valid, plane, radius[:, :, key_slice], key_slice, spacing_mm)
    mask = (odds + _SLOPE * (1 - radius) > 0) & (radius <= _FARTHEST) & valid
    mask[:, :, key_slice] = plane
    labels = cc3d.connected_components(mask, connectivity=6)
    at = labels[:, :, key_slice][plane]
    found: NDArray[np.bool_] = (labels == at[0]) if at.size else np.zeros_like(mask)
    return found
