"""What every mask must hold, whatever the image says: the lines bound it on both sides."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from uls_data.pseudomask.bone import bone, held
from uls_data.pseudomask.key_slice import KeySlice
from uls_data.pseudomask.prior import hull, joint, path, sound

# How far from an end point the boundary may pass.
END_POINT_VOX = 2.0
# Room around the box that touches the end points.
_ROOM_VOX, _ROOM_SHARE = 2.0, 0.15
_NOTCH_VOX, _NOTCH_SLOPE = 1.0, 0.8
_ROUNDING = 1e-5
_PLUS = ndimage.generate_binary_structure(2, 1)

Mask = NDArray[np.bool_]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Bounds:
    """Sure lesion and sure background of a key slice, both of its grid.

    Attributes
    ----------
    inner : ndarray of bool
        The quadrilateral of the end points and the pixels under the axes, less bone: its
        largest piece.
    outer : ndarray of bool
        No lesion lies outside: the box along the long axis that touches all end points, with
        15 % or 2 px of room, less what would bury an end point, and less bone.
    """

    inner: Mask
    outer: Mask

    @staticmethod
    def of(key_slice: KeySlice) -> Bounds:
        """Bounds of a key slice, best a crop."""
        lines = key_slice.lines.lengthened(key_slice.outward_vox)
        points = lines.points
        along = (points[1] - points[0]) / lines.long_vox
        shape = key_slice.hu.shape
        x = np.arange(shape[0])[:, None]
        y = np.arange(shape[1])[None, :]
        inner = hull(key_slice)
        centre = joint(key_slice.lines)
        for point in key_slice.lines.points:
            inner[tuple(np.clip(path(point, centre), 0, np.array(shape) - 1).T)] = True
        removed = bone(key_slice)
        inner = sound(inner, key_slice)
        if (removed & inner).any():
            core = held(key_slice, removed)
            labels, _ = ndimage.label((inner | core) & ~removed)
            inner = labels == labels[core][0]
        outer = np.ones(shape, dtype=bool)
        for a, b in (along, (-along[1], along[0])):
            low, high = np.min(points @ (a, b)), np.max(points @ (a, b))
            room = max(_ROOM_VOX, _ROOM_SHARE * (high - low) / 2)
            place = x * a + y * b
            outer &= (place >= low - room - _ROUNDING) & (place <= high + room + _ROUNDING)
        # A notch that opens outwards from every end point keeps the boundary near it.
        middle = points.mean(axis=0)
        for point in points:
            way = point - middle
            length = float(np.hypot(*way))
            if length > 0:
                u, v = way / length
                ahead = (x - point[0]) * u + (y - point[1]) * v
                aside = np.abs((y - point[1]) * u - (x - point[0]) * v)
                outer &= ahead <= _NOTCH_VOX + _NOTCH_SLOPE * aside + _ROUNDING
        # Nothing outside is shut in: filling a mask's holes cannot lead out.
        return Bounds(inner, ndimage.binary_fill_holes((outer & ~removed) | inner))

    def applied(self, mask: Mask) -> Mask:
        """Return the part of a mask between the bounds that hangs together, without holes."""
        labels, _ = ndimage.label((mask & self.outer) | self.inner, _PLUS)
        kept = labels == labels[self.inner][0]
        filled: Mask = ndimage.binary_fill_holes(kept)
        return filled


def end_point_vox(mask: Mask, points: Floats) -> Floats:
    """Distance, shape (4,), from end points to the nearest pixel edge between in and out."""
    padded = np.pad(mask, 1)
    edges = []
    for axis in (0, 1):
        ahead = np.roll(padded, -1, axis)
        at = np.argwhere(padded != ahead).astype(np.float64) - 1
        at[:, axis] += 0.5
        edges.append(at)
    # Middles of edges: at most half a pixel from any point of the edge.
    nearest = np.concatenate(edges)
    gaps = nearest[None, :, :] - points[:, None, :]
    found: Floats = np.hypot(gaps[..., 0], gaps[..., 1]).min(axis=1)
    return found
