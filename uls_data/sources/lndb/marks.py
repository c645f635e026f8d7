"""Marks in label maps, as lists of voxels: memory goes by what is marked, not by the scan."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np

from uls_data import geometry
from uls_data.errors import CaseError
from uls_data.geometry import Affine, Triple
from uls_data.lesions.components import Flat
from uls_data.lesions.instances import _whole_numbers
from uls_data.outcome import Reason
from uls_data.volumes.volume import Volume

# Of all findings in a mask: 2 million voxels are about a litre of a chest CT, and finding
# their components takes some 600 MB.
MAXIMUM_MARKED_VOXELS = 1 << 21
_LARGEST_VALUE = 255  # masks hold one byte a voxel


def common_grid(masks: Mapping[int, Volume]) -> tuple[Triple, Affine]:
    """Shape and affine (RAS) that all masks have, by reader.

    Raises
    ------
    CaseError
        `mask_missing`: there is none; `grid_mismatch`: they are not of one grid.
    """
    if not masks:
        raise CaseError(Reason.MASK_MISSING, "no reader's mask is given")
    reader, first = min(masks.items())
    shape: Triple = first.ras.shape
    for other, mask in masks.items():
        same = mask.ras.shape == shape and (
            geometry.affine_difference_mm(mask.affine, first.affine, shape)
            <= 0.1 * min(geometry.spacing_mm(first.affine))
        )
        if not same:
            raise CaseError(
                Reason.GRID_MISMATCH,
                f"masks of readers {reader} and {other}: shapes {shape} and {mask.ras.shape}, "
                f"affines {geometry.describe(first.affine)} and {geometry.describe(mask.affine)}; "
                "they must be one grid, masks are never resampled",
            )
    return shape, first.affine


def marks_of(mask: Volume, name: str) -> dict[int, Flat]:
    """Voxels of every non-zero value of a label map.

    Raises
    ------
    CaseError
        `mask_not_integer`; `too_large`: more is marked than findings can fill.
    """
    numbers = _whole_numbers(mask, name, False)
    count = int(np.count_nonzero(numbers))
    if count > MAXIMUM_MARKED_VOXELS:
        raise CaseError(
            Reason.TOO_LARGE,
            f"{name}: {count:,} voxels are marked, nodules fill {MAXIMUM_MARKED_VOXELS:,} at most",
        )
    order: Literal["F", "C"] = "F" if numbers.flags.f_contiguous else "C"
    flat = numbers.ravel(order=order)
    where = np.flatnonzero(flat)
    values = flat[where].astype(np.int64)
    if count and (values.min() < 0 or values.max() > _LARGEST_VALUE):
        raise CaseError(
            Reason.MASK_NOT_INTEGER,
            f"{name}: values from {values.min()} to {values.max()} cannot number findings",
        )
    stored: Any = np.unravel_index(where, numbers.shape, order=order)
    ras = [
        numbers.shape[axis] - 1 - stored[axis] if flip else stored[axis]
        for axis, flip in zip(mask.orientation.axes, mask.orientation.flips, strict=True)
    ]
    places: Flat = np.ravel_multi_index(ras, mask.ras.shape).astype(np.int64)
    sorting = np.lexsort((places, values))
    places, values = places[sorting], values[sorting]
    cuts = np.flatnonzero(np.diff(values)) + 1
    firsts = values[[0, *cuts]].tolist() if count else []
    return dict(zip(firsts, np.split(places, cuts) if count else [], strict=True))
