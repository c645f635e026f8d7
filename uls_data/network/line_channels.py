"""Channels that a reader's lines give a network, on the grid about the lesion."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from uls_data.measure.ellipsoid import radius_field
from uls_data.measure.lines import Lines
from uls_data.network.plan import LineChannel
from uls_data.pseudomask.key_slice import KeySlice
from uls_data.pseudomask.likeness import MOST, likeness
from uls_data.pseudomask.prior import quarter_ellipses

_FARTHEST = 2.0

Floats = NDArray[np.float32]
Point = NDArray[np.float64]


@dataclass(frozen=True)
class Told:
    """Lines on the middle slice of a grid, and the image there.

    Attributes
    ----------
    lines : Lines
        In indices (x, y) of the grid.
    spacing_mm : tuple of 3 float
        Of the grid, x, y, z.
    hu : ndarray, shape (z, y, x), int16
    valid : ndarray of bool, same shape
        Points that lie in the scan.
    """

    lines: Lines
    spacing_mm: tuple[float, float, float]
    hu: NDArray[np.int16]
    valid: NDArray[np.bool_]

    def channels(self, names: tuple[LineChannel, ...]) -> Floats:
        """Return the named channels, shape (channels, z, y, x).

        `radius` is 2 - the radius of the ellipsoid of the lines (1 on its surface), between -1 and
        2. `key` is the mask of the lines on the key slice: 1 inside, -1 outside, 0 on other slices.
        `lines` and `ends` are 1 on the lines and on their end points, 0 half a long axis away, and
        -1 from a whole one on. `likeness` is how much a voxel's HU looks like the lesion's on the
        key slice, -1 to 1.
        """
        return np.stack([_CHANNELS[name](self) for name in names])

    @cached_property
    def plane(self) -> NDArray[np.bool_]:
        """Mask of the lines on the key slice, shape (y, x)."""
        _, y, x = self.hu.shape
        flat = np.broadcast_to(np.int16(0), (x, y))
        return quarter_ellipses(KeySlice(flat, self.lines, self.spacing_mm[:2])).mask.T

    @property
    def _middle(self) -> int:
        return int(self.hu.shape[0] // 2)

    @cached_property
    def _radius(self) -> Floats:
        z, y, x = self.hu.shape
        return radius_field(self.lines, self._middle, self.spacing_mm, (x, y, z)).T

    def _radius_channel(self) -> Floats:
        return np.clip(2 - self._radius, -1, _FARTHEST)

    def _key(self) -> Floats:
        key = np.zeros(self.hu.shape, np.float32)
        key[self._middle] = np.where(self.plane, 1, -1)
        return key

    def _near_lines(self) -> Floats:
        a, b, c, d = self.lines.points
        return self._nearness(((a, b), (c, d)))

    def _near_ends(self) -> Floats:
        return self._nearness([(point, point) for point in self.lines.points])

    def _nearness(self, segments: Sequence[tuple[Point, Point]]) -> Floats:
        """1 on segments (pairs of points) of the middle slice, less a share of half a long axis."""
        z, y, x = self.hu.shape
        pixel = np.array(self.spacing_mm[:2])
        at = np.stack(np.meshgrid(np.arange(x), np.arange(y)), -1) * pixel  # (y, x, 2), mm
        found = np.full((y, x), np.inf)
        for a, b in segments:
            start, way = a * pixel, (b - a) * pixel
            length = float(way @ way)
            share = np.clip((at - start) @ way / length, 0, 1) if length else np.zeros((y, x))
            gap = at - start - share[..., None] * way
            found = np.minimum(found, (gap**2).sum(-1))
        depth = (np.arange(z) - self._middle) * self.spacing_mm[2]
        away = np.sqrt(found[None] + depth[:, None, None] ** 2)
        half = self.lines.length_mm(self.spacing_mm)[0] / 2
        near: Floats = np.maximum(1 - away / half, -1).astype(np.float32)
        return near

    def _like(self) -> Floats:
        odds = likeness(
            self.hu.T,
            self.valid.T,
            self.plane.T,
            self._radius[self._middle].T,
            self._middle,
            self.spacing_mm,
        )
        return odds.T / np.float32(MOST)


_CHANNELS: dict[LineChannel, Callable[[Told], Floats]] = {
    "radius": Told._radius_channel,
    "key": Told._key,
    "lines": Told._near_lines,
    "ends": Told._near_ends,
    "likeness": Told._like,
}
