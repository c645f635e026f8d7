"""Whether masks of one lesion, predicted from different clicks, agree where they lie in the scan.

The challenge (`evaluation/misc.py`, `align_images`) gets, for two VOIs a and b, the translation
from click a to click b in millimetres. Its signs fit patient coordinates of ITK (LPS) and arrays
in RAS order: voxel i of a is voxel i + d of b with

    d = (floor(mm_x / spacing_x), floor(mm_y / spacing_y), -floor(mm_z / spacing_z)).

It floors, so a translation of whole voxels that is a last bit too short moves b by one voxel too
few; where b ends it repeats b's outermost voxels; and two masks of which one or both are empty
agree by 0. Corrected: the nearest whole voxel, only the voxels that both VOIs see, and 1 where
both masks are empty there.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from uls_data.geometry import Triple
from uls_data.scoring.challenge import dice_of

Offset = tuple[float, float, float]
_SIGNS = (1, 1, -1)


def shift_of(offset_mm: Sequence[float], spacing_mm: Sequence[float]) -> Triple:
    """Voxel shift d of a translation as the challenge takes it: floored.

    Parameters
    ----------
    offset_mm : 3 float
        From click a to click b, LPS, as `multi_sample.json` has it.
    spacing_mm : 3 float
        Along x, y, z.
    """
    x, y, z = (
        sign * int(mm // spacing)
        for sign, mm, spacing in zip(_SIGNS, offset_mm, spacing_mm, strict=True)
    )
    return x, y, z


def nearest_shift_of(offset_mm: Sequence[float], spacing_mm: Sequence[float]) -> Triple:
    """Voxel shift d of a translation, to the nearest voxel."""
    x, y, z = (
        sign * round(mm / spacing)
        for sign, mm, spacing in zip(_SIGNS, offset_mm, spacing_mm, strict=True)
    )
    return x, y, z


def offset_of(shift: Sequence[int], spacing_mm: Sequence[float]) -> Offset:
    """Return the translation (LPS, mm) that the challenge floors to exactly this voxel shift."""
    found = []
    for sign, voxels, spacing in zip(_SIGNS, shift, spacing_mm, strict=True):
        mm = sign * voxels * spacing
        # The product may be a last bit short of its voxels, and the floor one voxel less.
        while mm // spacing < sign * voxels:
            mm = math.nextafter(mm, math.inf)
        found.append(float(mm))
    return found[0], found[1], found[2]


def aligned(mask: NDArray[Any], shift: Triple) -> NDArray[np.bool_]:
    """Mask b on the grid of a as the challenge moves it: voxel i is b's i + shift.

    Parameters
    ----------
    mask : ndarray, shape (x, y, z), RAS
        Beyond its ends the outermost voxels repeat.
    """
    at = [
        np.clip(np.arange(size) + by, 0, size - 1)
        for size, by in zip(mask.shape, shift, strict=True)
    ]
    result: NDArray[np.bool_] = mask[np.ix_(*at)] != 0
    return result


def agreement(one: NDArray[Any], other: NDArray[Any], shift: Triple) -> float:
    """Consistency of two masks, as the challenge has it; 0 if either is empty."""
    one = np.asarray(one).astype(bool, copy=False)
    if not one.any() or not np.any(other):
        return 0.0
    moved = aligned(other, shift)
    counts = (int(np.count_nonzero(mask)) for mask in (one & moved, one, moved))
    return dice_of(*counts, both_empty=0.0)


def agreement_corrected(one: NDArray[Any], other: NDArray[Any], shift: Triple) -> float:
    """Dice over the voxels that both VOIs see; 1 if both masks are empty there."""
    mine = tuple(
        slice(max(0, -by), max(0, min(size, size - by)))
        for size, by in zip(one.shape, shift, strict=True)
    )
    theirs = tuple(
        slice(part.start + by, part.stop + by) if part.stop > part.start else slice(0, 0)
        for part, by in zip(mine, shift, strict=True)
    )
    a, b = (np.asarray(m).astype(bool, copy=False) for m in (one[mine], other[theirs]))
    if a.size == 0:
        return 1.0 if not np.any(one) and not np.any(other) else 0.0
    counts = (int(np.count_nonzero(mask)) for mask in (a & b, a, b))
    return dice_of(*counts, both_empty=1.0)
