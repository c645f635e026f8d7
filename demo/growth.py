"""Lesions that two lines on one slice say little of: a chain of lobes, aslant, eaten into."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from demo.phantom import Mask, Spacing, Triple, ball

# Angle of the chain with the scan's axis.
_SLANT_DEGREES = (30.0, 55.0)


def aslant(
    rng: np.random.Generator,
    centre: NDArray[np.int_],
    radius_mm: float,
    shape: Triple,
    spacing_mm: Spacing,
) -> Mask:
    """Voxels of a lesion that grows aslant through slices, has lobes, and may hold a cavity.

    Ellipsoids are strung along a line that leans 30 to 55 degrees from the scan's axis, each
    as far from the next as they still overlap; lobes reach out of some. Of every second lesion
    a cavity is left out that opens to the outside, so that tissue around it fills it.

    Parameters
    ----------
    rng : Generator
    centre : ndarray of 3 int
        Voxel that the lesion holds.
    radius_mm : float
        About half the lesion's length across a slice.
    shape, spacing_mm : tuple of 3
        Of the scan.

    Returns
    -------
    ndarray of bool, shape (x, y, z)
        One 6-connected component.
    """
    slant = np.radians(rng.uniform(*_SLANT_DEGREES))
    turn = rng.uniform(0, 2 * np.pi)
    along = np.array([np.sin(slant) * np.cos(turn), np.sin(slant) * np.sin(turn), np.cos(slant)])
    result = np.zeros(shape, dtype=bool)
    for step in (-1, 0, 1):
        length = 0.0 if step == 0 else rng.uniform(0.4, 0.7)
        at_mm = step * length * radius_mm * along
        radii_mm = radius_mm * rng.uniform(0.5, 0.8, 3)
        result |= ball(shape, centre + at_mm / spacing_mm, radii_mm / spacing_mm)
        if rng.integers(2):
            aside = rng.standard_normal(3)
            aside *= rng.uniform(0.6, 0.8) * radii_mm / np.sqrt((aside**2).sum())
            lobe_mm = radius_mm * rng.uniform(0.35, 0.55, 3)
            result |= ball(shape, centre + (at_mm + aside) / spacing_mm, lobe_mm / spacing_mm)
    if rng.integers(2):
        turn = rng.uniform(0, 2 * np.pi)
        aside = np.array([np.cos(turn), np.sin(turn), rng.uniform(-0.5, 0.5)])
        cavity_mm = radius_mm * rng.uniform(0.35, 0.5, 3)
        at = centre + 0.75 * radius_mm * aside / spacing_mm
        result &= ~ball(shape, at, cavity_mm / spacing_mm)
    result[tuple(centre)] = True
    labels, _ = ndimage.label(result)
    one: Mask = labels == labels[tuple(centre)]
    return one
