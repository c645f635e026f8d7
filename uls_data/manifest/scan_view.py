"""A VOI as a view into a store, where one array holds all VOIs of a scan (`export store`)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from uls_data.errors import CaseError
from uls_data.geometry import Triple, fill_outside
from uls_data.manifest.by_axis import origin_of, padding_by_axis, scan_box
from uls_data.manifest.row import Row
from uls_data.outcome import Reason
from uls_data.voi import VOI_SHAPE
from uls_data.volumes.b2nd import SUFFIX, open_blocks

Box = tuple[slice, slice, slice]
__all__ = ["SUFFIX", "Box", "is_placed", "stored_image", "stored_mask", "stored_part"]


def is_placed(row: Row) -> bool:
    """Whether a row says where in its scan the VOI lies, and what of it is padding."""
    pads = padding_by_axis(row)
    return (
        None not in origin_of(row)
        and all(None not in pair for pair in pads)
        and all(
            0 <= (before or 0) < n - (after or 0) <= n
            for (before, after), n in zip(pads, VOI_SHAPE, strict=True)
        )
    )


def stored_image(path: Path, row: Row, box: Box) -> NDArray[np.integer]:
    """HU of a box of a VOI, indexed [x, y, z]; only the blocks that it touches are read.

    Parameters
    ----------
    path : Path
        A file of a store.
    row : dict
        With the VOI's place in the scan, its padding and `pad_value_hu`.
    box : tuple of 3 slice
        Part of the VOI, x, y, z, with start and stop.

    Raises
    ------
    CaseError
        The file is damaged, or does not belong to this VOI.
    """
    found, target = _held(path, row, box)
    return _filled(found, target, box, row.get("pad_value_hu"), path)


def stored_mask(path: Path, row: Row, box: Box) -> NDArray[np.integer]:
    """Mask of a box of a VOI, as `stored_image` gives the image; beyond what is stored it is 0."""
    found, target = stored_part(path, row, box)
    return _filled(found, target, box, 0, path)


def stored_part(path: Path, row: Row, box: Box) -> tuple[NDArray[np.integer], Box]:
    """Read what is stored of a mask in a box of a VOI; returns also which part of it that is."""
    return _held(path, row, box, whole=False)


def _held(path: Path, row: Row, box: Box, *, whole: bool = True) -> tuple[NDArray[np.integer], Box]:
    blocks = open_blocks(path)
    start: Triple | tuple[int | None, ...] = (0, 0, 0)
    inside: Box = tuple(slice(0, n) for n in VOI_SHAPE)  # type: ignore[assignment]
    if blocks.frame == "scan":
        if not is_placed(row):
            raise CaseError(
                Reason.VOI_SHAPE,
                f"{path.name} holds a scan, and the row of {row['voi_id']} does not say where "
                "the VOI lies in it (voi_origin_*, pad_*)",
            )
        start, inside = origin_of(row), scan_box(row, VOI_SHAPE)
    source: list[slice] = []
    target: list[slice] = []
    for axis, (part, real) in enumerate(zip(box, inside, strict=True)):
        offset = (start[axis] or 0) - blocks.origin[axis]
        low, high = max(part.start, real.start), min(part.stop, real.stop)
        held = max(low, -offset), min(high, blocks.shape[axis] - offset)
        if whole and low < high and held != (low, high):
            raise CaseError(Reason.VOI_SHAPE, f"{path.name}: does not hold the VOI {row['voi_id']}")
        low, high = held[0], max(held)
        source.append(slice(low + offset, high + offset))
        target.append(slice(low - part.start, high - part.start))
    found = blocks.read((source[0], source[1], source[2]))
    return found, (target[0], target[1], target[2])


def _filled(
    found: NDArray[np.integer], at: Box, box: Box, fill: Any, path: Path
) -> NDArray[np.integer]:
    shape = tuple(part.stop - part.start for part in box)
    if found.shape == shape:
        return found
    limits = np.iinfo(found.dtype)
    if fill is None or not limits.min <= fill <= limits.max:
        raise CaseError(
            Reason.VOI_SHAPE, f"{path.name}: the row has no pad_value_hu that {found.dtype} holds"
        )
    result = np.empty(shape, found.dtype, order="F")
    result[at] = found
    fill_outside(result, at, fill)
    return result
