"""Faults as they happen to masks, planted into good ones."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from uls_data.geometry import Triple
from uls_data.voi import CENTRE, VOI_SHAPE

Voxels = NDArray[np.int64]


def cropped(voxels: Voxels) -> tuple[NDArray[np.bool_], Triple]:
    """The box that just holds some voxels of a VOI, and where it starts."""
    inside = voxels[((voxels >= 0) & (voxels < VOI_SHAPE)).all(axis=1)]
    start = inside.min(axis=0)
    mask = np.zeros(inside.max(axis=0) - start + 1, bool)
    mask[tuple((inside - start).T)] = True
    x, y, z = start.tolist()
    return mask, (x, y, z)


def _union(parts: list[Voxels]) -> Voxels:
    """Voxels inside the VOI, each once, sorted (one number a voxel: a tenth of the time)."""
    voxels = np.concatenate(parts)
    voxels = voxels[((voxels >= 0) & (voxels < VOI_SHAPE)).all(axis=1)]
    flat = np.unique(np.ravel_multi_index(tuple(voxels.T), VOI_SHAPE))
    return np.stack(np.unravel_index(flat, VOI_SHAPE), axis=1).astype(np.int64)


def _ball(
    centre: NDArray[np.float64], radius: float, spacing: NDArray[np.float64], *, flat: bool
) -> Voxels:
    reach = np.ceil(radius / spacing * (1, 1, not flat)).astype(int)
    grid = np.stack(np.meshgrid(*[np.arange(-n, n + 1) for n in reach], indexing="ij"), axis=-1)
    offsets = grid.reshape(-1, 3)
    offsets = offsets[((offsets * spacing) ** 2).sum(axis=1) <= radius**2]
    return np.asarray(offsets + np.rint(centre).astype(int))


def leak(voxels: Voxels, spacing: NDArray[np.float64], rng: np.random.Generator) -> Voxels | None:
    """Out through a gap in the edge: a winding neck, then a blob; None where it adds too little.

    The neck is 0.15 to 0.35 of the lesion's radius wide and 1 to 2.5 radii long, the blob 0.5 to
    0.9 radii; a mask on one slice leaks in it.
    """
    flat = bool(np.ptp(voxels[:, 2]) == 0)
    count = len(voxels)
    radius = float((count * spacing.prod() * 3 / 4 / np.pi) ** (1 / 3))
    if flat:
        radius = float(np.sqrt(count * spacing[0] * spacing[1] / np.pi))
    for _ in range(30):
        way = rng.normal(size=3) * (1, 1, not flat)
        way /= np.linalg.norm(way)
        at = voxels[(voxels * spacing @ way).argmax()] * spacing
        width = max(rng.uniform(0.15, 0.35) * radius, 0.8 * spacing[0])
        grown = [voxels]
        for _step in range(int(rng.uniform(1, 2.5) * radius / (0.7 * width)) + 1):
            way += rng.normal(scale=0.25, size=3) * (1, 1, not flat)
            way /= np.linalg.norm(way)
            at = at + way * width * 0.7
            grown.append(_ball(at / spacing, width, spacing, flat=flat))
        grown.append(_ball(at / spacing, rng.uniform(0.5, 0.9) * radius, spacing, flat=flat))
        found = _union(grown)
        if len(found) >= 1.15 * count:
            return found
    return None


def flood(voxels: Voxels, rng: np.random.Generator) -> Voxels:
    """One axial slice overflows to 2.5 to 5 times the largest area."""
    z = rng.choice(np.unique(voxels[:, 2]))
    largest = np.unique(voxels[:, 2], return_counts=True)[1].max()
    radius = float(np.sqrt(rng.uniform(2.5, 5) * largest / np.pi))
    centre = voxels[voxels[:, 2] == z].mean(axis=0)
    centre[:2] += rng.normal(scale=0.3 * radius, size=2)
    disc = _ball(centre, radius, np.ones(3), flat=True)
    return _union([voxels, disc])


def shifted(voxels: Voxels, spacing: NDArray[np.float64], rng: np.random.Generator) -> Voxels:
    """Moved against the image, and so against the click, by 0.75 to 1.5 of its largest extent."""
    way = rng.normal(size=3)
    extent = (np.ptp(voxels, axis=0) + 1) * spacing
    far = way / np.linalg.norm(way) * extent.max() * rng.uniform(0.75, 1.5)
    moved = voxels + np.rint(far / spacing).astype(int)
    kept = moved[((moved >= 0) & (moved < VOI_SHAPE)).all(axis=1)]
    return kept if len(kept) else shifted(voxels, spacing, rng)


def cut(voxels: Voxels, rng: np.random.Generator, least: int = 10) -> Voxels:
    """Cut by a plane: 30 to 70 % go, across an axis along which the lesion has `least` voxels."""
    extent = np.ptp(voxels, axis=0) + 1
    axis = rng.choice(np.flatnonzero(extent >= least))
    at = np.quantile(voxels[:, axis], rng.uniform(0.3, 0.7))
    low = voxels[:, axis] <= at
    return np.asarray(voxels[low if CENTRE[axis] <= at else ~low])
