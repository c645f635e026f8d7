"""Copies of masks with faults that a model could make, drawn from the mask's name alone."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from uls_data.geometry import bounding_box
from uls_data.ids import draw

Mask = NDArray[np.bool_]
KINDS = ("erode", "dilate", "shift", "cut", "specks", "two", "open", "one slice", "empty")
_CROSS = ndimage.generate_binary_structure(3, 1)


def crop(mask: NDArray[Any], margin: int = 8) -> Mask:
    """A mask with a margin around it, so that it can grow."""
    box, _ = bounding_box(np.asarray(mask) != 0)
    return np.pad(box, margin)


def perturbed(mask: Mask, *name: str | int) -> Mask:
    """One fault, or two, by name; nine kinds."""
    kind = KINDS[draw(len(KINDS), "kind", *name)]
    times = 1 + draw(3, "times", *name)
    if kind == "erode":
        result = ndimage.binary_erosion(mask, _CROSS, times)
    elif kind == "dilate":
        result = ndimage.binary_dilation(mask, _CROSS, times)
    elif kind == "shift":
        by = [draw(9, "by", axis, *name) - 4 for axis in range(3)]
        result = np.roll(mask, by, axis=(0, 1, 2))
    elif kind == "cut":
        result = mask.copy()
        axis = draw(3, "axis", *name)
        at = int(np.median(np.nonzero(mask)[axis]))
        result[tuple(slice(at, None) if a == axis else slice(None) for a in range(3))] = False
    elif kind == "specks":
        result = ndimage.binary_dilation(mask, _CROSS)
        result ^= np.random.default_rng(draw(1 << 32, "specks", *name)).random(mask.shape) < 0.05
    elif kind == "two":
        result = mask | np.roll(mask, 3 + times, axis=draw(2, "axis", *name))
        result &= ~np.roll(mask, 2, axis=0)
    elif kind == "open":
        result = ndimage.binary_opening(mask, np.ones((3, 3, 1)))
    elif kind == "one slice":
        result = np.zeros_like(mask)
        z = np.flatnonzero(mask.any(axis=(0, 1)))[0]
        result[:, :, z] = mask[:, :, z]
    else:
        result = np.zeros_like(mask)
    return np.asarray(result, bool)
