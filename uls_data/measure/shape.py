"""Numbers about one mask that no manifest column holds, for the rankings of outliers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cc3d
import numpy as np
from numpy.typing import NDArray

from uls_data.geometry import Triple
from uls_data.voi import CENTRE, VOI_SHAPE

Numbers = dict[str, float]
Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]

# A mask is looked at for lobes on a grid of at most so many voxels a side.
_COARSE = 28
_LEVELS = (0.1, 0.15, 0.2, 0.25, 0.3, 0.36, 0.43, 0.5, 0.58, 0.67, 0.78, 0.9)
# A lobe this large, as a share of the mask, counts in full.
_FULL_LOBE = 0.1
# A mask that fills its ellipsoid so well has none: it is not looked for.
_COMPACT = 0.9
# A flat face of few pixels is common.
_SIDE_PIXELS, _END_PIXELS = 15.0, 30.0
_FARTHEST = 6
_REACH = tuple(range(-_FARTHEST, _FARTHEST + 1, 2))
_RING = 3
_MOST_PIXELS = 400
_DIGITS = 4


def measure_mask(mask: Bools, start: Triple, spacing_mm: Sequence[float] | None) -> Numbers:
    """Shape of a mask, as far as it may betray a fault.

    Parameters
    ----------
    mask : ndarray, shape (x, y, z), bool
        The part of the label (RAS) that just holds the mask, at least one voxel.
    start : tuple of 3 int
        VOI index of its first voxel.
    spacing_mm : sequence of 3 float, or None
        None takes voxels as cubes of 1 mm.

    Returns
    -------
    dict of str to float
        `voxels`; `extent_z_mm`;
        `fill`: volume over that of the ellipsoid with the same second moments (1: an ellipsoid);
        `lobe`: how far a lobe of the largest component stands apart behind a neck, in radii of
        the main body, less for lobes below a tenth of the mask (0: no lobe);
        `slice_jump`: by how much the area of one slice exceeds both neighbours', as a share of
        the largest area, over all three axes;
        `flat_side`: area of the first or last slice along x or y over the largest area, less
        what an ellipsoid has there, less for a few pixels; on the border of the VOI it does not
        count;
        `flat_end`: square of that share for an end along z, less half of the other end's share,
        as readers often end a lesion abruptly on both ends; larger for a lesion that is flat
        along z, as half a lesion is;
        `border_face`: area on the border of the VOI over the largest area;
        `apart`: share of the voxels outside the largest 26-connected component;
        `click_distance`, `click_offset`: from the VOI's centre to the nearest voxel and to the
        centroid, in radii of the ball of the same volume.
    """
    spacing = _spacing(spacing_mm)
    where = np.argwhere(mask)
    at = where * spacing
    count = len(where)
    radius = float((count * spacing.prod() * 3 / 4 / np.pi) ** (1 / 3))
    if mask.shape[2] == 1:  # one slice: a disc says more than a ball
        radius = float(np.sqrt(count * spacing[0] * spacing[1] / np.pi))
    click = (np.array(CENTRE) - start) * spacing
    areas = [mask.sum(axis=tuple({0, 1, 2} - {axis})).astype(np.float64) for axis in range(3)]
    fill = _fill(at, spacing, flat=mask.shape[2] == 1)
    lobe, apart = _lobe(mask, spacing, sought=fill < _COMPACT)
    side, end, border = _faces(areas, start, spacing)
    found = {
        "voxels": float(count),
        "extent_z_mm": float(mask.shape[2] * spacing[2]),
        "fill": fill,
        "lobe": lobe,
        "apart": apart,
        "slice_jump": max(map(_jump, areas)),
        "flat_side": side,
        "flat_end": end,
        "border_face": border,
        "click_distance": float(np.sqrt(((at - click) ** 2).sum(axis=1).min())) / radius,
        "click_offset": float(np.linalg.norm(at.mean(axis=0) - click)) / radius,
    }
    return {name: round(value, _DIGITS) for name, value in found.items()}


def _spacing(spacing_mm: Sequence[float] | None) -> Floats:
    spacing = np.ones(3) if spacing_mm is None else np.asarray(spacing_mm, np.float64)
    usable = np.isfinite(spacing).all() and (spacing > 1e-6).all() and (spacing < 1e6).all()
    return spacing if usable else np.ones(3)


def _fill(at_mm: Floats, spacing: Floats, flat: bool) -> float:
    axes = 2 if flat else 3
    centred = at_mm[:, :axes] - at_mm[:, :axes].mean(axis=0)
    # A voxel is a small box, not a point.
    moments = centred.T @ centred / len(at_mm) + np.diag(spacing[:axes] ** 2 / 12)
    volume = len(at_mm) * float(spacing[:axes].prod())
    root = float(np.sqrt(np.linalg.det(moments)))
    solid = 4 * np.pi * root if flat else 4 / 3 * np.pi * 5**1.5 * root
    return volume / solid


def _jump(areas: Floats) -> float:
    if len(areas) == 1:
        return 0.0
    beside = np.pad(areas, 1)
    larger = np.maximum(beside[:-2], beside[2:])
    return max(0.0, float(((areas - larger) / areas.max()).max()))


def _faces(areas: Sequence[Floats], start: Triple, spacing: Floats) -> tuple[float, float, float]:
    """Flat sides (x, y), flat ends (z), and the largest face on the border of the VOI."""
    side, last, border = 0.0, 0.0, 0.0
    wide, deep, high = (len(areas[axis]) * spacing[axis] for axis in range(3))
    flatness = 1 / (0.2 + np.clip(high / np.sqrt(wide * deep), 0.2, 3))
    for axis, profile in enumerate(areas):
        count, largest = len(profile), profile.max()
        # The last of so many slices through an ellipsoid.
        expected = (2 * count - 1) / count**2
        for way in (1, -1):
            here, there = profile[::way][[0, -1]] / largest
            pixels = here * largest
            if start[axis] == 0 if way == 1 else start[axis] + count == VOI_SHAPE[axis]:
                border = max(border, here)
            elif count > 2 and axis < 2:
                side = max(side, (here - expected) * (1 - np.exp(-pixels / _SIDE_PIXELS)))
            elif count > 2:
                certain = 1 - np.exp(-pixels / _END_PIXELS)
                last = max(last, (here**2 - there / 2) * certain * flatness)
    return float(side), float(last), float(border)


def _lobe(mask: Bools, spacing: Floats, sought: bool) -> tuple[float, float]:
    """How far a lobe stands apart, if it is sought; and the share outside the largest component."""
    coarse = _coarse(mask, spacing)
    labels, count = cc3d.connected_components(coarse, connectivity=26, return_N=True)
    apart = 0.0
    if count > 1:
        sizes = np.bincount(labels[coarse])
        coarse = labels == sizes.argmax()
        apart = 1 - float(sizes.max() / sizes.sum())
    if not sought:
        return 0.0, apart
    from scipy import ndimage  # slow to load, and few masks come here

    inner = np.pad(coarse, ((1, 1), (1, 1), (0, 0) if coarse.shape[2] == 1 else (1, 1)))
    if inner.shape[2] == 1:
        depth = ndimage.distance_transform_edt(inner[:, :, 0])[:, :, None]
    else:
        depth = ndimage.distance_transform_edt(inner)
    deepest, total, best = float(depth.max()), int(coarse.sum()), 0.0
    for level in _LEVELS:
        parts, count = cc3d.connected_components(
            depth > level * deepest, connectivity=26, return_N=True
        )
        if count < 2:
            continue
        shares = np.bincount(parts.ravel(), minlength=count + 1)[1:] / total
        peaks = np.asarray(ndimage.maximum(depth, parts, np.arange(1, count + 1))) / deepest
        apart_by = (peaks - level) * np.minimum(1, shares / _FULL_LOBE)
        apart_by[peaks.argmax()] = 0
        best = max(best, float(apart_by.max()))
    return best, apart


def _coarse(mask: Bools, spacing: Floats) -> Bools:
    """Mask on cubes; a mask on one slice stays as it is, unless it is large."""
    extent = np.array(mask.shape) * spacing
    if mask.shape[2] == 1:
        step = max(1, -(-max(mask.shape) // (3 * _COARSE)))
        return np.ascontiguousarray(mask[::step, ::step])
    side = max(float(spacing.min()) / 2, float(extent.max()) / _COARSE)
    picked = []
    for axis in range(3):
        count = max(1, round(extent[axis] / side))
        middle = (np.arange(count) + 0.5) / count * mask.shape[axis]
        picked.append(middle.astype(np.int64))
    return np.ascontiguousarray(mask[np.ix_(*picked)])


def measure_hu(
    mask: Bools, start: Triple, image: NDArray[Any], pad_value_hu: int | None
) -> Numbers:
    """HU inside and around a mask, and whether its outline would fit better elsewhere.

    Parameters
    ----------
    mask, start
        As for `measure_mask`.
    image : ndarray, shape (256, 256, 128), RAS
        Looked at on three of the mask's axial slices.
    pad_value_hu : int, optional
        Voxels of this value do not count.

    Returns
    -------
    dict of str to float
        `hu_inside`, `hu_around`: median, around: up to 3 pixels off the mask in the slice;
        `contrast`: their difference over the spread around (1.4826 x the median absolute
        deviation, plus 1 HU);
        `edge_gain`: natural logarithm of the mean gradient on the outline moved by up to 6
        pixels along x and y, where it is largest, over that on the outline itself;
        `edge_shift`: that move's length in pixels. Empty where there is nothing around.
    """
    count = mask.shape[2]
    chosen = sorted({count // 6, count // 2, count - 1 - count // 6})
    low = [max(0, at - _RING - 1) for at in start[:2]]
    high = [
        min(size, at + extent + _RING + 1)
        for at, extent, size in zip(start[:2], mask.shape[:2], image.shape[:2], strict=True)
    ]
    inner, outer = [], []
    moves = [(x, y) for x in _REACH for y in _REACH]
    strength: Floats = np.zeros(len(moves))
    outline_pixels = 0
    for at in chosen:
        hu = image[low[0] : high[0], low[1] : high[1], start[2] + at].astype(np.float32)
        inside = np.zeros(hu.shape, bool)
        corner = (start[0] - low[0], start[1] - low[1])
        inside[corner[0] :, corner[1] :][: mask.shape[0], : mask.shape[1]] = mask[:, :, at]
        void = hu == pad_value_hu
        around = _grown(inside, _RING) & ~inside & ~void
        inner.append(hu[inside & ~void])
        outer.append(hu[around])
        x, y = _outline(inside)
        if not len(x) or min(hu.shape) < 2:
            continue
        gradient = np.hypot(*np.gradient(hu))
        if void.any():
            gradient[_grown(void, 1)] = 0
        # Room for every move; what lies beyond the part looked at has no edge.
        room = np.zeros([n + 2 * _FARTHEST for n in gradient.shape], gradient.dtype)
        room[_FARTHEST:-_FARTHEST, _FARTHEST:-_FARTHEST] = gradient
        first = (x + _FARTHEST) * room.shape[1] + y + _FARTHEST
        steps = np.array([dx * room.shape[1] + dy for dx, dy in moves])
        strength += room.ravel()[first[:, None] + steps].sum(axis=0)
        outline_pixels += len(x)
    within, beside = np.concatenate(inner), np.concatenate(outer)
    if not within.size or not beside.size or not outline_pixels:
        return {}
    median = float(np.median(beside))
    spread = 1.4826 * float(np.median(np.abs(beside - median))) + 1
    best = int(strength.argmax())
    here = strength[moves.index((0, 0))] / outline_pixels + 1
    found = {
        "hu_inside": float(np.median(within)),
        "hu_around": median,
        "contrast": (float(np.median(within)) - median) / spread,
        "edge_gain": float(np.log((strength[best] / outline_pixels + 1) / here)),
        "edge_shift": float(np.hypot(*moves[best])),
    }
    return {name: round(value, _DIGITS) for name, value in found.items()}


def _grown(inside: Bools, reach: int) -> Bools:
    """Pixels with one of a mask at most so many rows and columns away."""
    for _ in range(2):
        grown = inside.copy()
        for step in range(1, min(reach + 1, len(inside))):
            grown[step:] |= inside[:-step]
            grown[:-step] |= inside[step:]
        inside = np.ascontiguousarray(grown.T)
    return inside


def core_of(mask: Bools) -> Bools:
    """Pixels of a mask, shape (rows, columns), with all four neighbours in it."""
    core = np.zeros_like(mask)
    middle = mask[1:-1, 1:-1]
    core[1:-1, 1:-1] = middle & mask[:-2, 1:-1] & mask[2:, 1:-1] & mask[1:-1, :-2] & mask[1:-1, 2:]
    return core


def _outline(inside: Bools) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Pixels of a mask that have a neighbour outside it; of many, evenly chosen ones."""
    x, y = np.nonzero(inside & ~core_of(inside))
    step = max(1, len(x) // _MOST_PIXELS)
    return x[::step], y[::step]
