"""Masks from the two lines alone: what a method falls back on, and what it must beat.

Every mask is made of the pixels whose centre lies in a closed shape, united with the
quadrilateral of the four end points. The axes first grow by the source's `outward_vox` at both
ends. On the 133 human DeepLesion3D masks with a measurement in the public validation table, and
on four CT cases with lines from their own masks, four quarter-ellipses come closest.
"""

from __future__ import annotations

from itertools import permutations
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from uls_data.measure.ellipsoid import ROUNDING, ellipse_field
from uls_data.measure.lines import Lines
from uls_data.pseudomask.key_slice import KeySlice, PseudoMask


def quarter_ellipses(key_slice: KeySlice) -> PseudoMask:
    """Four quarter-ellipses through the end points, joined where the axes cross.

    Each quarter is spanned by the two half-axes beside it, which need not be perpendicular nor
    equally long. Where the axes do not cross inside both, they are joined at the midpoint of
    their shortest link, and half-axes 180 degrees or more apart span nothing.
    """
    small, start = _neighbourhood(key_slice)
    lines = small.lines.lengthened(small.outward_vox)
    centre = joint(lines)
    arms = lines.points - centre
    arms = arms[np.argsort(np.arctan2(arms[:, 1], arms[:, 0]), kind="stable")]
    x, y = _pixels(small, centre)
    mask = np.zeros(small.hu.shape, dtype=bool)
    for (ax, ay), (bx, by) in zip(arms.tolist(), np.roll(arms, -1, axis=0).tolist(), strict=True):
        span = ax * by - ay * bx
        if span <= ROUNDING:
            continue
        u, v = (x * by - y * bx) / span, (y * ax - x * ay) / span
        mask |= (u >= -ROUNDING) & (v >= -ROUNDING) & (u**2 + v**2 <= 1 + ROUNDING)
    return _pasted(mask, small, start, key_slice)


def ellipse(key_slice: KeySlice) -> PseudoMask:
    """One ellipse along the long axis, with the lengths of both axes.

    Its centre is the midpoint of the long axis, moved across it to where the midpoint of the
    short axis lies.
    """
    small, start = _neighbourhood(key_slice)
    shape = (small.hu.shape[0], small.hu.shape[1])
    field = ellipse_field(small.lines, shape, small.outward_vox)
    return _pasted(field <= 1 + ROUNDING, small, start, key_slice)


def quadrilateral(key_slice: KeySlice) -> PseudoMask:
    """Convex hull of the four end points; `outward_vox` plays no part."""
    small, start = _neighbourhood(key_slice)
    return _pasted(hull(small), small, start, key_slice)


def hull(key_slice: KeySlice) -> NDArray[np.bool_]:
    """Pixels whose centre lies in the convex hull of the end points; there may be none."""
    points = key_slice.lines.points
    x, y = _pixels(key_slice, np.zeros(2))
    mask = np.ones(key_slice.hu.shape, dtype=bool)
    for i, j in permutations(range(4), 2):
        along_x, along_y = (points[j] - points[i]).tolist()
        level = along_x * points[:, 1] - along_y * points[:, 0]
        rounding = ROUNDING * (1 + abs(level[i]))
        # A side of the hull has all end points on its left.
        if (level >= level[i] - rounding).all():
            mask &= along_x * y - along_y * x >= level[i] - rounding
    return mask


def sound(mask: NDArray[np.bool_], key_slice: KeySlice) -> NDArray[np.bool_]:
    """Make a mask one 4-connected component without holes around the quadrilateral.

    The quadrilateral and the pixel where the axes are joined are added; components that hold
    neither are dropped; what remains in pieces (shapes thinner than a pixel) is linked by
    straight 4-connected paths to that pixel.

    Parameters
    ----------
    mask : ndarray, shape (x, y), bool
        On the grid of the key slice.
    """
    core = hull(key_slice)
    centre = np.rint(joint(key_slice.lines)).astype(int)
    centre = np.clip(centre, 0, np.array(mask.shape) - 1)
    core[tuple(centre)] = True
    whole = mask | core
    labels, count = ndimage.label(whole)
    if count > 1:
        kept = np.unique(labels[core])
        whole = np.isin(labels, kept)
        for label in kept[kept != labels[tuple(centre)]]:
            pixels = np.argwhere(labels == label)
            nearest = pixels[((pixels - centre) ** 2).sum(axis=1).argmin()]
            whole[tuple(path(nearest, centre).T)] = True
    # Background is what a rim around the slice is connected to.
    background, _ = ndimage.label(np.pad(~whole, 1, constant_values=True))
    filled: NDArray[np.bool_] = background[1:-1, 1:-1] != background[0, 0]
    return filled


def joint(lines: Lines) -> NDArray[np.float64]:
    """Point (x, y) where the axes cross; else the midpoint of their shortest link."""
    crossing = lines.crossing()
    if crossing is not None and lines.cross_inside():
        return np.array(crossing[:2])
    # Segments that do not cross are nearest to each other at an end point.
    a, b, c, d = lines.points
    links = [(p, _nearest(p, c, d)) for p in (a, b)] + [(p, _nearest(p, a, b)) for p in (c, d)]
    p, q = min(links, key=lambda link: float(np.hypot(*(link[0] - link[1]))))
    return np.asarray((p + q) / 2)


def _nearest(point: Any, start: Any, end: Any) -> Any:
    along = end - start
    share = np.dot(point - start, along) / np.dot(along, along)
    return start + np.clip(share, 0, 1) * along


def _neighbourhood(key_slice: KeySlice) -> tuple[KeySlice, tuple[int, int]]:
    """Part of the slice that any ellipse between the end points stays in, and its start."""
    lines = key_slice.lines
    return key_slice.crop(reach=0.5 * max(1.0, lines.short_vox / lines.long_vox))


def _pixels(
    key_slice: KeySlice, origin: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """x, shape (n, 1), and y, shape (1, m), of the pixel centres from an origin."""
    columns, rows = key_slice.hu.shape
    return np.arange(columns)[:, None] - origin[0], np.arange(rows)[None, :] - origin[1]


def _pasted(
    mask: NDArray[np.bool_], small: KeySlice, start: tuple[int, int], key_slice: KeySlice
) -> PseudoMask:
    result = np.zeros(key_slice.hu.shape, dtype=bool)
    columns, rows = mask.shape
    result[start[0] : start[0] + columns, start[1] : start[1] + rows] = sound(mask, small)
    return PseudoMask(result)


def path(start: Any, end: Any) -> NDArray[np.intp]:
    """Pixels, shape (n, 2), of a 4-connected path along a straight line between two points."""
    steps = int(np.abs(np.subtract(end, start)).max()) + 1
    # Halves go up wherever the slice begins; `rint` would look at the parity of the index.
    line = np.floor(np.linspace(start, end, steps + 1) + (0.5 + ROUNDING)).astype(np.intp)
    corners = np.stack([line[1:, 0], line[:-1, 1]], axis=1)
    return np.concatenate([line, corners])
