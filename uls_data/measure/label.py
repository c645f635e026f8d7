"""What can be measured on a label alone; the same for a built and for an indexed VOI."""

from __future__ import annotations

from typing import Any, TypedDict

import cc3d
import numpy as np
from numpy.typing import NDArray

from uls_data.geometry import Triple, bounding_box
from uls_data.measure import axes
from uls_data.outcome import Flag
from uls_data.voi import CENTRE, VOI_SHAPE

_LOW = (Flag.TOUCHES_X_LOW, Flag.TOUCHES_Y_LOW, Flag.TOUCHES_Z_LOW)
_HIGH = (Flag.TOUCHES_X_HIGH, Flag.TOUCHES_Y_HIGH, Flag.TOUCHES_Z_HIGH)


class LabelColumns(TypedDict):
    """Columns of a manifest that a label gives."""

    mask_voxels: int
    volume_mm3: float | None
    long_axis_vox: float
    short_axis_vox: float
    long_axis_mm: float | None
    short_axis_mm: float | None
    long_axis_points_vox: list[float] | None
    short_axis_points_vox: list[float] | None
    long_axis_slice_voi: int | None


def describe_label(
    label: NDArray[Any],
    spacing_mm: tuple[float, ...] | None,
    within: tuple[Triple, Triple] = ((0, 0, 0), VOI_SHAPE),
) -> tuple[LabelColumns, set[Flag]]:
    """Columns of the group `lesion` that a label gives, and its flags.

    Parameters
    ----------
    label : ndarray, shape (256, 256, 128), RAS; non-zero is lesion, at least one voxel
    spacing_mm : tuple of 3 float, or None
        None leaves the mm columns null.
    within : tuple of 2 tuples of 3 int
        First index, and one past the last, where it is known that all else is 0.
    """
    low, high = within
    part = label[tuple(slice(a, b) for a, b in zip(low, high, strict=True))]
    box, found_at = bounding_box(part != 0)
    start = tuple(a + b for a, b in zip(low, found_at, strict=True))
    stop = tuple(a + n for a, n in zip(start, box.shape, strict=True))
    flags = {flag for flag, at in zip(_LOW, start, strict=True) if at == 0}
    flags |= {flag for flag, at, size in zip(_HIGH, stop, label.shape, strict=True) if at == size}
    voxels = int(np.count_nonzero(box))
    if box.shape[2] == 1:
        flags.add(Flag.SINGLE_SLICE)
    if voxels == 1:
        flags.add(Flag.SINGLE_VOXEL)
    if not label[CENTRE]:
        flags.add(Flag.CENTRE_OUTSIDE_MASK)
    solid = np.ascontiguousarray(box)
    if _components(solid, 6) > 1:
        flags.add(Flag.SEVERAL_COMPONENTS_6)
        if _components(solid, 26) > 1:
            flags.add(Flag.SEVERAL_COMPONENTS_26)
    found = axes.measure(solid)
    columns: LabelColumns = {
        "mask_voxels": voxels,
        "volume_mm3": voxels * float(np.prod(spacing_mm)) if spacing_mm is not None else None,
        "long_axis_vox": found.long_vox,
        "short_axis_vox": found.short_vox,
        "long_axis_mm": found.long_mm(spacing_mm) if spacing_mm is not None else None,
        "short_axis_mm": found.short_mm(spacing_mm) if spacing_mm is not None else None,
        "long_axis_points_vox": _shifted(found.long_points, start),
        "short_axis_points_vox": _shifted(found.short_points, start),
        "long_axis_slice_voi": None if found.slice_index is None else found.slice_index + start[2],
    }
    return columns, flags


def _components(mask: NDArray[np.bool_], connectivity: int) -> int:
    _, count = cc3d.connected_components(mask, connectivity=connectivity, return_N=True)
    return int(count)


def _shifted(points: axes.Points | None, start: tuple[int, ...]) -> list[float] | None:
    if points is None:
        return None
    x1, y1, x2, y2 = points
    return [x1 + start[0], y1 + start[1], x2 + start[0], y2 + start[1]]
