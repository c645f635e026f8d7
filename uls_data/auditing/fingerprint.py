"""Fingerprints that name a scan or a mask however it was cropped, turned or padded."""

from __future__ import annotations

from itertools import permutations, product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from uls_data.geometry import bounding_box
from uls_data.io import sha256_bytes

SKETCH_SIZE = 128
# Smaller masks are alike by chance.
TELLING_VOXELS = 100
# Places are thinned by their own content first: the whole neighbourhood of all would take long.
_ONE_IN = 64
# Neighbours that all have one value are clipped air or metal, which all scans share.
_MOST_EQUAL = 6
_OFFSETS = np.array([o for o in product((-1, 0, 1), repeat=3) if any(o)])
_STEPS = np.abs(_OFFSETS).sum(axis=1)


def scan_sketch(voxels: NDArray[np.integer[Any]], pad: int | None) -> NDArray[np.uint64]:
    """Sketch of the scan that a VOI was cut from.

    Every place of a scan has a number, made from the differences between its voxel and its 26
    neighbours, in which faces, edges and corners count as sets: the same however the scan is
    turned or mirrored, and whatever constant is added to it. The sketch is the `SKETCH_SIZE`
    smallest numbers. Of two VOIs that share a part of one scan, the sketches share about that
    part of their numbers; those of two scans share none. Resampled, rescaled or smoothed voxels
    are another scan.

    Parameters
    ----------
    voxels : ndarray, shape (x, y, z), integer
    pad : int or None
        Value of padding, next to which nothing is compared; None: the smallest value.

    Returns
    -------
    ndarray, shape (at most SKETCH_SIZE,), uint64
        Ascending; empty where the voxels have no texture.
    """
    if min(voxels.shape) < 3 or voxels.size == 0:
        return np.empty(0, np.uint64)
    whole = voxels.astype(np.int32, copy=False)
    inner = whole[1:-1, 1:-1, 1:-1]
    faces = -6 * inner
    for axis in range(3):
        for at in (slice(None, -2), slice(2, None)):
            part = [slice(1, -1)] * 3
            part[axis] = at
            faces += whole[tuple(part)]
    spread = faces.astype(np.uint32) * np.uint32(2654435761)
    places = np.argwhere((spread < (1 << 32) // _ONE_IN) & (faces != 0)) + 1
    near = places[:, None, :] + _OFFSETS[None, :, :]
    around = whole[near[..., 0], near[..., 1], near[..., 2]]
    centre = whole[places[:, 0], places[:, 1], places[:, 2]]
    padding = int(whole.min()) if pad is None else pad
    most = np.sort(around, axis=1)
    flat = (most[:, _MOST_EQUAL:] == most[:, :-_MOST_EQUAL]).any(axis=1)
    usable = ~flat & (around != padding).all(axis=1) & (centre != padding)
    differences = (around - centre[:, None])[usable].astype(np.int64)
    number = np.zeros(len(differences), np.uint64)
    for steps in (1, 2, 3):
        some = differences[:, steps == _STEPS]
        for power in (1, 2, 3):
            number = _mixed(number ^ (some**power).sum(axis=1).view(np.uint64))
    return np.unique(number)[:SKETCH_SIZE]


def _mixed(number: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Spread 64-bit numbers over their range (the finaliser of splitmix64)."""
    number = number + np.uint64(0x9E3779B97F4A7C15)
    number = (number ^ (number >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    number = (number ^ (number >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return number ^ (number >> np.uint64(31))


def mask_fingerprint(mask: NDArray[Any]) -> str | None:
    """SHA-256 (hex) of a mask's shape, the same wherever it lies and however it is turned.

    Parameters
    ----------
    mask : ndarray, shape (x, y, z); non-zero is lesion

    Returns
    -------
    str or None
        None for fewer than `TELLING_VOXELS`, and for flat masks: up to 638 pixels of one slice
        were found to be the very same in two patients, where an ellipse was drawn.
    """
    box, _ = bounding_box(mask != 0)
    if min(box.shape) < 2 or np.count_nonzero(box) < TELLING_VOXELS:
        return None
    turned = (
        box.transpose(order)[tuple(slice(None, None, step) for step in flips)]
        for order in permutations(range(3))
        if sorted(box.shape) == [box.shape[axis] for axis in order]
        for flips in product((1, -1), repeat=3)
    )
    packed = min(np.packbits(one).tobytes() for one in turned)
    return sha256_bytes(repr(sorted(box.shape)).encode() + packed)
