"""Voxels that closed polygons enclose on the slices of a grid, by the even-odd rule."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from uls_data import geometry
from uls_data.dicom.objects import Region
from uls_data.errors import CaseError
from uls_data.geometry import Triple
from uls_data.outcome import Reason

# A voxel centre this near a contour lies on it: far more than the rounding errors of
# coordinates, far less than any distance that means something (1e-9 voxels).
ON_CONTOUR_VOX = 2.0**-30
_MAXIMUM_CROSSINGS = 1 << 26
_MAXIMUM_FILLED_VOXELS = 1 << 31
_CROSSINGS_AT_ONCE = 1 << 18


def _span(
    vertices: NDArray[np.float64], shape: Triple
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """First voxel centres (column, row) that a polygon may hold, and one past the last."""
    ends = np.ceil([vertices.min(axis=0), vertices.max(axis=0)]).astype(np.int64)
    low, high = np.clip(ends, 0, shape[:2])
    return low, high


def _edges(
    vertices: NDArray[np.float64], low: int, high: int
) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.int64]]:
    """Edges (x0, y0, x1, y1) with y0 < y1, the first row each crosses, and how many.

    An edge crosses the rows from y0 on up to, and without, y1; those from `low` up to
    `high` count. Its ends are put in order, so that the structure on its other side,
    which stores them the other way round, finds the same crossings to the last bit.
    """
    following = np.roll(vertices, -1, axis=0)
    upward = vertices[:, 1] <= following[:, 1]
    edges = np.where(
        upward[:, None], np.hstack([vertices, following]), np.hstack([following, vertices])
    )
    first, end = np.clip(np.ceil(edges[:, 1::2].T), low, high).astype(np.int64)
    crosses = end > first
    return edges[crosses], first[crosses], (end - first)[crosses]


def check_work(polygons: list[NDArray[np.float64]], shape: Triple) -> None:
    """Refuse what would fill a scan many times over."""
    voxels = crossings = 0
    for vertices in polygons:
        low, high = _span(vertices, shape)
        voxels += int((high - low).prod())
        crossings += int(_edges(vertices, 0, shape[1])[2].sum())
    if voxels > _MAXIMUM_FILLED_VOXELS or crossings > _MAXIMUM_CROSSINGS:
        raise CaseError(
            Reason.TOO_LARGE,
            f"{len(polygons):,} contours cover {voxels:,} voxels with {crossings:,} crossings; "
            f"at most {_MAXIMUM_FILLED_VOXELS:,} and {_MAXIMUM_CROSSINGS:,} are a structure's",
        )


def fill_slice(polygons: list[NDArray[np.float64]], shape: Triple) -> tuple[Region, int]:
    """Region one slice thick that the polygons of a slice enclose, and how many cross others."""
    spans = [_span(vertices, shape) for vertices in polygons]
    low = np.min([span[0] for span in spans], axis=0)
    inside = np.zeros(np.max([span[1] for span in spans], axis=0) - low, dtype=bool)
    seen = np.zeros_like(inside)
    crossing = 0
    # Outer contours come before what lies in them, whatever order they are stored in.
    areas = [int((high - first).prod()) for first, high in spans]
    for at in sorted(range(len(polygons)), key=lambda at: -areas[at]):
        first, high = spans[at]
        if not areas[at]:
            continue
        own = _fill(polygons[at], first, high)
        part = tuple(slice(a, b) for a, b in zip(first - low, high - low, strict=True))
        shared = np.count_nonzero(own & seen[part])
        crossing += shared not in (0, np.count_nonzero(own))
        inside[part] ^= own
        seen[part] |= own
    return Region(inside[:, :, None], (int(low[0]), int(low[1]), 0)), crossing


def _fill(
    vertices: NDArray[np.float64], low: NDArray[np.int64], high: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """Voxel centres inside one polygon, in the box from `low` up to `high`."""
    width, height = (high - low).tolist()
    # Row `width` takes the crossings beyond the box. Sums may wrap: only their parity counts.
    crossed = np.zeros((width + 1, height), dtype=np.uint8)
    edges, first, counts = _edges(vertices, int(low[1]), int(high[1]))
    step = max(1, _CROSSINGS_AT_ONCE // max(height, 1))
    for start in range(0, len(edges), step):
        part = slice(start, start + step)
        which = np.repeat(np.arange(len(counts[part])), counts[part])
        before = np.cumsum(counts[part]) - counts[part]
        rows = first[part][which] + np.arange(len(which)) - before[which]
        x0, y0, x1, y1 = edges[part][which].T
        meets = x0 + (rows - y0) * ((x1 - x0) / (y1 - y0))
        columns = np.ceil(meets - ON_CONTOUR_VOX).astype(np.int64)
        np.add.at(crossed, (np.clip(columns - low[0], 0, width), rows - low[1]), 1)
    inside: NDArray[np.bool_] = np.cumsum(crossed[:-1], axis=0, dtype=np.uint8) % 2 == 1
    return inside


def stack_slices(slices: Mapping[int, Region]) -> Region:
    """One region of the regions of slices."""
    if not slices:
        return Region(np.zeros((0, 0, 0), dtype=bool), (0, 0, 0))
    low = np.min([region.start[:2] for region in slices.values()], axis=0)
    ends = [np.add(region.start[:2], region.mask.shape[:2]) for region in slices.values()]
    bottom, top = min(slices), max(slices)
    mask = np.zeros((*(np.max(ends, axis=0) - low), top - bottom + 1), dtype=bool, order="F")
    for at, region in slices.items():
        x, y = np.subtract(region.start[:2], low)
        width, height = region.mask.shape[:2]
        mask[x : x + width, y : y + height, at - bottom] = region.mask[:, :, 0]
    box, start = geometry.bounding_box(mask)
    return Region(box, (int(low[0]) + start[0], int(low[1]) + start[1], bottom + start[2]))
