"""A chart around two crossing lines, in which every lesion is a disc of radius 1.

Between two neighbouring end points p and q, seen from the centre, the chart's point
(turn, radius) is centre + radius (p cos + q sin): radius 1 is a quarter-ellipse through
both, exact for lines that are not perpendicular too.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from uls_data.measure.lines import Lines

Floats = NDArray[np.float64]

# A lesion reaches at least this far from the centre, whatever its end points say.
_SMALLEST_VOX = 0.5


@dataclass(frozen=True)
class Chart:
    """Quarter-ellipse coordinates of a slice.

    Attributes
    ----------
    centre : ndarray, shape (2,)
        Where the lines cross, in pixels (x, y).
    arms : ndarray, shape (4, 2)
        From the centre to the end points, in the order of their angles; the first is an
        end of the long axis.
    """

    centre: Floats
    arms: Floats

    @staticmethod
    def of(lines: Lines, outward_vox: float = 0.0) -> Chart:
        """Chart of lines, every arm `outward_vox` longer than drawn.

        Where the lines do not cross inside both segments, the arms are those of a cross
        along the long axis at the middle of the four end points.
        """
        points = lines.points
        found = lines.crossing()
        if found is not None and 0 < found[2] < 1 and 0 < found[3] < 1:
            centre = np.array(found[:2])
            arms = points - centre
            if np.hypot(*arms.T).min() < _SMALLEST_VOX:
                centre, arms = _cross(points)
        else:
            centre, arms = _cross(points)
        angle = np.arctan2(arms[:, 1], arms[:, 0])
        arms = arms[np.argsort((angle - angle[0]) % (2 * np.pi), kind="stable")]
        length = np.hypot(*arms.T)[:, None]
        return Chart(centre, arms * (1 + outward_vox / length))

    def points(self, turn: Floats, radius: Floats) -> Floats:
        """Pixels (x, y), shape (..., 2), of turns (0 to 4, whole at end points) and radii."""
        quarter = np.floor(turn).astype(int) % 4
        angle = (turn - np.floor(turn)) * (np.pi / 2)
        arms = self.arms
        ray: Floats = (
            np.cos(angle)[..., None] * arms[quarter]
            + np.sin(angle)[..., None] * arms[(quarter + 1) % 4]
        )
        return self.centre + radius[..., None] * ray

    def coordinates(self, shape: tuple[int, int]) -> tuple[Floats, Floats]:
        """Turn (0 to 4) and radius of every pixel centre of a grid, both of its shape."""
        x = np.arange(shape[0])[:, None] - self.centre[0]
        y = np.arange(shape[1])[None, :] - self.centre[1]
        turn, radius = np.zeros(shape), np.zeros(shape)
        left = np.ones(shape, dtype=bool)
        for quarter in range(4):
            (px, py), (qx, qy) = self.arms[quarter], self.arms[(quarter + 1) % 4]
            area = px * qy - py * qx
            a, b = (x * qy - y * qx) / area, (px * y - py * x) / area
            here = left & (a >= 0) & (b >= 0) if quarter < 3 else left
            a, b = a[here], b[here]
            radius[here] = np.hypot(a, b)
            turn[here] = quarter + np.clip(np.arctan2(b, a) * (2 / np.pi), 0, 1)
            left &= ~here
        return turn % 4, radius


def _cross(points: Floats) -> tuple[Floats, Floats]:
    centre = points.mean(axis=0)
    along = (points[1] - points[0]) / np.hypot(*(points[1] - points[0]))
    across = np.array([-along[1], along[0]])
    offset = points - centre
    a, b = offset @ along, offset @ across
    arms = [a.max() * along, a.min() * along, b.max() * across, b.min() * across]
    lengths = np.hypot(*np.array(arms).T)
    grown = np.maximum(lengths, _SMALLEST_VOX)
    directions = np.array([along, -along, across, -across])
    return centre, directions * grown[:, None]
