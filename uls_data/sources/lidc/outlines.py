"""Outlines drawn on the pixels of a slice, and the voxels they enclose.

The rule, exactly. An outline is a closed path of straight lines between pixel centres (the
last point joins the first). A pixel is *drawn* if its centre lies on the path. It is *inside*
if it is not drawn and a ray from its centre crosses the path an odd number of times, so that
what a path goes round twice is outside again, and so is a bay whose mouth the path closes by
touching itself at a corner. An open path is closed by the line between its ends; points and
lines enclose nothing.

LIDC's readers drew the first pixels *outside* the nodule, and those round a hole first inside
it: no drawn pixel is lesion (`Ring.OUTSIDE`). Of ULS23's 2,236 published LIDC labels 2,229
have the shape of the masks made by this rule voxel for voxel; with the drawn pixels of holes as
lesion it would be 2,152, with those of nodules as well none (`benchmarks/lidc_crosswalk.py`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from uls_data.geometry import Triple

Points = NDArray[np.integer]

# Pixels of boxes, and of lines at most, that are dealt with together; one path may have more.
_CELLS_AT_ONCE = 1 << 20
_NEVER = 1 << 40  # more steps than any line has


class Ring(StrEnum):
    """Which side the drawn pixels of outlines, of holes too, belong to.

    OUTSIDE: no drawn pixel is lesion. INSIDE: all are.
    """

    OUTSIDE = "outside"
    INSIDE = "inside"


@dataclass(frozen=True)
class Outline:
    """An outline on a slice of a scan.

    Attributes
    ----------
    slice_index : int
        Zero-based stored index.
    points : ndarray, shape (n, 2), integer
        Column and row of the path's pixels, zero-based, in drawing order.
    inclusion : bool
        False where it outlines a hole.
    """

    slice_index: int
    points: Points
    inclusion: bool = True


@dataclass(frozen=True)
class Filled:
    """What outlines enclose.

    Attributes
    ----------
    voxels : ndarray, shape (n, 3), int32
        Column, row and slice, each voxel once, in C order (column slowest).
    out_of_field : int
        Outlines that leave the grid; what they enclose beyond it is cut off.
    """

    voxels: NDArray[np.int32]
    out_of_field: int


def fill_outlines(outlines: Sequence[Outline], ring: Ring, shape: Triple) -> Filled:
    """Voxels of one reader's nodule: inside its outlines, without its holes.

    On every slice, the union of all inclusion outlines less the union of all exclusion
    outlines, whatever their order. Memory goes by the largest outline's box and by the voxels.

    Parameters
    ----------
    shape : tuple of 3 int
        Columns, rows and slices of the scan. Outlines on slices that it lacks are left out.
    """
    on_slices = [it for it in outlines if 0 <= it.slice_index < shape[2]]
    outside = len(outlines) - len(on_slices)
    reach = np.array(shape[:2]) - 1
    outside += sum(bool(((it.points < 0) | (it.points > reach)).any()) for it in on_slices)

    def union(inclusion: bool, drawn: bool) -> NDArray[np.int64]:
        chosen = [it for it in on_slices if it.inclusion is inclusion]
        slices = np.array([it.slice_index for it in chosen], dtype=np.int64)
        found = np.zeros(0, dtype=np.int64)
        for which, pixels in _batches([it.points for it in chosen], shape[:2], drawn):
            voxels = (pixels[:, 0] * shape[1] + pixels[:, 1]) * shape[2] + slices[which]
            voxels = np.sort(np.concatenate([found, voxels]))
            found = voxels[np.diff(voxels, prepend=-1) > 0]  # each once
        return found

    # The drawn pixels of holes lie on the same side as those of nodules.
    kept = union(inclusion=True, drawn=ring is Ring.INSIDE)
    holes = union(inclusion=False, drawn=ring is Ring.OUTSIDE)
    if len(holes):
        kept = np.setdiff1d(kept, holes, assume_unique=True)
    voxels = np.stack(np.unravel_index(kept, shape), axis=1).astype(np.int32)
    return Filled(voxels, outside)


def fill_paths(
    paths: Sequence[Points], shape: tuple[int, int], *, drawn: bool
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Pixels of a grid that closed paths enclose; exact, in whole numbers alone.

    Parameters
    ----------
    paths : sequence of ndarray, shape (n, 2), integer
        Column and row of each corner; they may lie beyond the grid.
    shape : tuple of 2 int
        Columns and rows.
    drawn : bool
        Whether the pixels on a path count.

    Returns
    -------
    which : ndarray, shape (m,), int64
        Path of each pixel, ascending.
    pixels : ndarray, shape (m, 2), int64
        Column and row.
    """
    nothing = (np.zeros(0, dtype=np.int64), np.zeros((0, 2), dtype=np.int64))
    found = [nothing, *_batches(paths, shape, drawn)]
    return np.concatenate([it for it, _ in found]), np.concatenate([it for _, it in found])


def slices_at(
    z_mm: NDArray[np.floating], slices_mm: NDArray[np.floating], tolerance_mm: float
) -> NDArray[np.int64]:
    """Index of the slice nearest to each position, or -1 where none lies within the tolerance.

    Parameters
    ----------
    z_mm : ndarray, shape (n,)
        Positions along the patient's z.
    slices_mm : ndarray, shape (m,)
        Those of the slices, in any order.
    """
    order = np.argsort(slices_mm, kind="stable")
    ascending = np.asarray(slices_mm, dtype=np.float64)[order]
    after = np.clip(np.searchsorted(ascending, z_mm), 1, max(len(ascending) - 1, 1))
    candidates = np.stack([after - 1, np.minimum(after, len(ascending) - 1)])
    distances = np.abs(ascending[candidates] - z_mm)
    nearest = candidates[distances.argmin(axis=0), np.arange(len(after))]
    found: NDArray[np.int64] = np.where(distances.min(axis=0) <= tolerance_mm, order[nearest], -1)
    return found


@dataclass(frozen=True)
class _Lines:
    """Lines of closed paths: ends, shape (n, 2), and the path of each."""

    start: NDArray[np.int64]
    end: NDArray[np.int64]
    path: NDArray[np.int64]


def _batches(
    paths: Sequence[Points], shape: tuple[int, int], drawn: bool
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Fill paths as `fill_paths` does, a bounded number of pixels at once."""
    used = np.array([number for number, path in enumerate(paths) if len(path)], dtype=np.int64)
    if not len(used):
        return
    lengths = np.array([len(paths[number]) for number in used])
    points = np.concatenate([paths[number] for number in used]).astype(np.int64)
    first = np.cumsum(lengths) - lengths
    low = np.clip(np.minimum.reduceat(points, first), 0, shape)
    high = np.clip(np.maximum.reduceat(points, first) + 1, low, shape)
    size = high - low + 1
    batch = np.cumsum(size.prod(axis=1) + lengths * size.max(axis=1)) // _CELLS_AT_ONCE
    for number in np.unique(batch):
        part = batch == number
        own = points[np.repeat(part, lengths)]
        which, pixels = _fill(own, lengths[part], low[part], high[part], drawn)
        yield used[part][which], pixels


def _fill(
    start: NDArray[np.int64],
    lengths: NDArray[np.int64],
    low: NDArray[np.int64],
    high: NDArray[np.int64],
    drawn: bool,
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Fill a few paths at once, each in a box of its own, the boxes one after another."""
    following = np.arange(1, len(start) + 1)
    following[np.cumsum(lengths) - 1] = np.cumsum(lengths) - lengths
    lines = _Lines(start, start[following], np.repeat(np.arange(len(lengths)), lengths))
    # A row of a box has a spare cell at its end, for crossings right of all its pixels.
    width, height = high[:, 0] - low[:, 0] + 1, high[:, 1] - low[:, 1]
    box = np.cumsum(width * height) - width * height
    total = int((width * height).sum())

    def cells(which: NDArray[np.int64], columns: Any, rows: Any) -> NDArray[np.int64]:
        across = np.clip(columns, low[which, 0], high[which, 0]) - low[which, 0]
        cell: NDArray[np.int64] = box[which] + (rows - low[which, 1]) * width[which] + across
        return cell

    # Left of a crossing, pixels change sides. It is noted at the first pixel that is not left
    # of it, and all are summed from the right: a row holds an even number of them, so that
    # rows and boxes do not disturb each other.
    noted = np.bincount(cells(*_crossings(lines, low, high)), minlength=total)
    inside = (np.cumsum(noted[::-1])[::-1] - noted) % 2 == 1
    inside[cells(*_on_path(lines, low, high))] = drawn
    hit = np.flatnonzero(inside)
    which = np.searchsorted(box + width * height, hit, side="right")
    row, column = np.divmod(hit - box[which], width[which])
    return which, np.stack([column, row], axis=1) + low[which]


def _crossings(
    lines: _Lines, low: NDArray[np.int64], high: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Where lines cross the rows of their box: path, first column not left of it, and row.

    A line has its upper end's row but not its lower end's, so that where two lines meet
    the path crosses once, or twice, or not at all.
    """
    down = lines.end[:, 1:] > lines.start[:, 1:]
    upper = np.where(down, lines.start, lines.end)
    lower = np.where(down, lines.end, lines.start)
    begin = np.clip(upper[:, 1], low[lines.path, 1], high[lines.path, 1])
    stop = np.clip(lower[:, 1], low[lines.path, 1], high[lines.path, 1])
    line, step = _expanded(stop - begin)
    rows = begin[line] + step
    run, rise = (lower - upper)[line].T
    columns = upper[line, 0] - (-(rows - upper[line, 1]) * run) // rise
    return lines.path[line], columns, rows


def _on_path(
    lines: _Lines, low: NDArray[np.int64], high: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Pixels of the boxes whose centres lie on the lines: path, column and row."""
    way = lines.end - lines.start
    steps = np.gcd(*np.abs(way).T)
    move = way // np.maximum(steps, 1)[:, None]
    # A line that leaves the box is walked only where it may be inside.
    near, far = low[lines.path] - lines.start, high[lines.path] - 1 - lines.start
    near, far = np.where(move < 0, -far, near), np.where(move < 0, -near, far)
    size = np.abs(move)
    begin = np.where(size > 0, -(-near // np.maximum(size, 1)), np.where(near > 0, _NEVER, 0))
    stop = np.where(size > 0, far // np.maximum(size, 1), np.where(far < 0, -1, _NEVER))
    begin, stop = np.maximum(begin.max(axis=1), 0), np.minimum(stop.min(axis=1), steps)
    line, step = _expanded(np.maximum(stop - begin + 1, 0))
    pixels = lines.start[line] + (begin[line] + step)[:, None] * move[line]
    return lines.path[line], pixels[:, 0], pixels[:, 1]


def _expanded(count: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Each index as often as its count says, and 0, 1, 2, ... within each."""
    which = np.repeat(np.arange(len(count)), count)
    return which, np.arange(len(which)) - np.repeat(np.cumsum(count) - count, count)
