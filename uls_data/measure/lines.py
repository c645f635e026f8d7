"""RECIST lines: the long and short axis that a reader drew on one axial slice.

Frame of everything here: indices (x, y) of the RAS slice, zero-based, pixel centres
at whole numbers. A source with another frame (rows and columns, 1-based, corners of
pixels, flipped) is turned into this one by its reader, by what its recipe says.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from uls_data.measure import axes

# Two lines are one line where they differ in direction by less than this.
_SMALLEST_ANGLE_DEGREES = 10.0
_MOST_OVERSHOOT = 2.0


@dataclass(frozen=True)
class Lines:
    """A long and a short axis.

    Attributes
    ----------
    long, short : tuple of 4 float
        End points x1, y1, x2, y2.
    """

    long: axes.Points
    short: axes.Points

    @property
    def points(self) -> NDArray[np.float64]:
        """End points, shape (4, 2): two of the long axis, two of the short axis."""
        return np.array([*self.long, *self.short], dtype=np.float64).reshape(4, 2)

    @property
    def long_vox(self) -> float:
        """Length of the long axis in pixels."""
        return float(np.hypot(self.long[2] - self.long[0], self.long[3] - self.long[1]))

    @property
    def short_vox(self) -> float:
        """Length of the short axis in pixels."""
        return float(np.hypot(self.short[2] - self.short[0], self.short[3] - self.short[1]))

    def length_mm(self, spacing_mm: tuple[float, ...]) -> tuple[float, float]:
        """Lengths (long, short) by the in-plane spacing (x, y) of the slice."""
        x, y = spacing_mm[:2]
        long, short = (
            float(np.hypot((b[2] - b[0]) * x, (b[3] - b[1]) * y)) for b in (self.long, self.short)
        )
        return long, short

    def moved(self, dx: float, dy: float) -> Lines:
        """Return the same lines with (dx, dy) added to every point."""
        return Lines.of(self.points + np.array([dx, dy]))

    def lengthened(self, outward_vox: float) -> Lines:
        """Return lines whose axes reach further by `outward_vox` at both ends."""
        if not outward_vox:
            return self
        a, b, c, d = self.points
        long = (b - a) * (outward_vox / self.long_vox)
        short = (d - c) * (outward_vox / self.short_vox)
        return Lines.of([a - long, b + long, c - short, d + short])

    def clipped(self, shape: tuple[int, int]) -> Lines:
        """Return lines whose end points lie on a slice of this shape, moved there if need be."""
        return Lines.of(np.clip(self.points, 0, np.array(shape) - 1))

    @staticmethod
    def of(points: Any) -> Lines:
        """Lines from end points of shape (4, 2)."""
        x1, y1, x2, y2, x3, y3, x4, y4 = np.asarray(points, dtype=np.float64).ravel().tolist()
        return Lines((x1, y1, x2, y2), (x3, y3, x4, y4))

    @staticmethod
    def from_mask(mask: NDArray[Any], tolerance_degrees: int = 5) -> Lines | None:
        """Lines that a reader draws across a mask of shape (x, y); None if it has no extent.

        Readers take the longest short axis that looks perpendicular. The challenge's measure
        allows 1 degree, which on a small mask leaves few chords to choose from: on four CT
        cases a shape through such lines reaches a Dice of 0.929, and 0.944 with 5 degrees.
        """
        found = axes.measure(np.asarray(mask)[:, :, None], tolerance_degrees)
        if found.long_points is None or found.short_points is None:
            return None
        return Lines(found.long_points, found.short_points)

    def crossing(self) -> tuple[float, float, float, float] | None:
        """Where the lines (prolonged) cross, as x, y, and the shares of long and short before it.

        A share between 0 and 1 lies inside the segment. None for parallel lines.
        """
        a, b, c, d = self.points
        along, across = b - a, d - c
        cross = along[0] * across[1] - along[1] * across[0]
        if cross == 0:
            return None
        gap = c - a
        t = (gap[0] * across[1] - gap[1] * across[0]) / cross
        u = (gap[0] * along[1] - gap[1] * along[0]) / cross
        x, y = a + t * along
        return float(x), float(y), float(t), float(u)

    def problem(self, shape: tuple[int, int] | None = None) -> str | None:
        """Say why no mask can be made from these lines on a slice of this shape, or None.

        Without a shape they may lie outside the slice, as in a VOI that a lesion is too long for.
        """
        points = self.points
        if not np.isfinite(points).all():
            return f"an end point is not a finite number: {points.tolist()}"
        if self.long_vox < 1 or self.short_vox < 1:
            return f"axes of {self.long_vox:.3g} and {self.short_vox:.3g} px; both need 1 px"
        if shape is not None and ((points < -0.5).any() or (points > np.array(shape) - 0.5).any()):
            return f"an end point lies outside the slice of {shape[0]} x {shape[1]}: " + ", ".join(
                f"({x:.1f}, {y:.1f})" for x, y in points
            )
        cosine = abs(np.dot(points[1] - points[0], points[3] - points[2]))
        cosine /= self.long_vox * self.short_vox
        angle = float(np.degrees(np.arccos(min(1.0, cosine))))
        if angle < _SMALLEST_ANGLE_DEGREES:
            return f"the axes are {angle:.1f} degrees apart, nearly one line"
        return None

    def cross_inside(self) -> bool:
        """Whether the axes cross inside both segments."""
        found = self.crossing()
        return found is not None and 0 <= found[2] <= 1 and 0 <= found[3] <= 1

    def overshoot(self) -> tuple[float, float]:
        """How far beyond each axis, in its lengths, the lines cross; 0 where inside, at most 2."""
        found = self.crossing()
        if found is None:
            return _MOST_OVERSHOOT, _MOST_OVERSHOOT
        long, short = (min(max(0.0, -t, t - 1), _MOST_OVERSHOOT) for t in found[2:])
        return long, short


def lines_by_slice(mask: NDArray[np.bool_]) -> dict[int, Lines]:
    """Lines that a reader draws across each slice of a mask of shape (x, y, z), by its index.

    Slices that show no two axes have none.
    """
    return {
        at: lines
        for at in np.flatnonzero(mask.any(axis=(0, 1))).tolist()
        if (lines := Lines.from_mask(mask[:, :, at])) is not None and lines.problem() is None
    }


def jittered(lines: Lines, random: np.random.Generator, share: float = 0.05) -> Lines:
    """Return lines as another reader may draw them: Gaussian noise on every coordinate.

    Parameters
    ----------
    share : float
        Standard deviation as a share of the axis that the point belongs to.
    """
    scale = np.array([lines.long_vox, lines.long_vox, lines.short_vox, lines.short_vox]) * share
    return Lines.of(lines.points + random.normal(size=(4, 2)) * scale[:, None])
