"""Outlines of a mask as SVG paths, slice by slice."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from uls_data.geometry import Triple

# Axes of each plane, first that to the right, then that downwards (both turned round), then the
# one across: axial, coronal, sagittal.
PLANES = ((0, 1, 2), (0, 2, 1), (1, 2, 0))


def outlines(mask: NDArray[np.bool_], start: Triple, shape: Triple) -> list[dict[int, str]]:
    """Edges between the mask's voxels and what lies outside them.

    Parameters
    ----------
    mask : ndarray, bool
        The box that just holds the mask.
    start : tuple of 3 int
        VOI index of its first voxel.
    shape : tuple of 3 int
        Of the VOI.

    Returns
    -------
    list of dict of int to str
        For the planes axial, coronal and sagittal: path by slice index. Its unit is a voxel; its
        origin is the upper left corner of the slice as `slice_png` draws it.
    """
    return [_paths(mask, start, shape, axes) for axes in PLANES]


def _paths(
    mask: NDArray[np.bool_], start: Triple, shape: Triple, axes: tuple[int, int, int]
) -> dict[int, str]:
    right, down, across = axes
    part = np.pad(mask.transpose(across, down, right), ((0, 0), (1, 1), (1, 1)))
    pieces: dict[int, list[str]] = {}
    for turned, letter in ((False, "h"), (True, "v")):
        lines = part.transpose(0, 2, 1) if turned else part
        # An edge lies between a voxel and the next along `lines`' middle axis.
        slices, rows, begins, lengths = _runs(lines[:, 1:] != lines[:, :-1])
        along, beside = (down, right) if turned else (right, down)
        # Pixels run against the axes, so that a run's end comes first.
        first = shape[along] - (start[along] + begins - 1 + lengths)
        place = shape[beside] - (start[beside] + rows)
        for at, a, b, length in zip(
            *(values.tolist() for values in (slices, first, place, lengths)), strict=True
        ):
            x, y = (b, a) if turned else (a, b)
            pieces.setdefault(at + start[across], []).append(f"M{x} {y}{letter}{length}")
    return {at: "".join(found) for at, found in sorted(pieces.items())}


def _runs(edges: NDArray[np.bool_]) -> tuple[NDArray[Any], ...]:
    """Find runs of true values along the last axis: their two indices, begin and length."""
    steps = np.diff(np.pad(edges, ((0, 0), (0, 0), (1, 1))).astype(np.int8), axis=2)
    slices, rows, begins = np.nonzero(steps == 1)
    ends = np.nonzero(steps == -1)[2]
    return slices, rows, begins, ends - begins
