"""A VOI as a view into a store, where one array holds all VOIs of a scan (`export store`)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from uls_data.errors import CaseError
from uls_data.geometry import Triple
from uls_data.manifest.by_axis import origin_of, padding_by_axis, scan_box
from uls_data.manifest.row import Row
from uls_data.outcome import Reason
from uls_data.voi import VOI_SHAPE
from uls_data.volumes.b2nd import SUFFIX, open_blocks

Box = tuple[slice, slice, slice]
__all__ = ["SUFFIX", "is_placed", "stored_image", "stored_mask"]


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
    return _view(path, row, box, row.get("pad_value_hu"))


def stored_mask(path: Path, row: Row, box: Box) -> NDArray[np.integer]:
    """Mask of a box of a VOI, as `stored_image` gives the image; beyond what is stored it is 0."""
    return _view(path, row, box, 0, whole=False)


def _view(
    path: Path, row: Row, box: Box, fill: int | None, *, whole: bool = True
) -> NDArray[np.integer]:
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
    shape = tuple(part.stop - part.start for part in box)
    found = blocks.read((source[0], source[1], source[2]))
    if found.shape == shape:
        return found
    return _filled(found, tuple(target), shape, fill, path)


def _filled(
    found: NDArray[np.integer], at: tuple[slice, ...], shape: tuple[int, ...], fill: Any, path: Path
) -> NDArray[np.integer]:
    limits = np.iinfo(found.dtype)
    if fill is None or not limits.min <= fill <= limits.max:
        raise CaseError(
            Reason.VOI_SHAPE, f"{path.name}: the row has no pad_value_hu that {found.dtype} holds"
        )
    result = np.full(shape, fill, found.dtype, order="F")
    result[at] = found
    return result
