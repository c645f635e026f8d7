"""How far several masks of one lesion disagree: 1 - mean pairwise Dice."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from uls_data.geometry import bounding_box
from uls_data.measure.overlap import dice

Mask = NDArray[np.bool_]


def disagreement(masks: Sequence[Mask], flat: Sequence[Mask] | None = None) -> float | None:
    """1 - mean pairwise Dice of masks of one lesion, 0 to 1; None where there is no pair.

    A mask of one slice says nothing of the others. It is not extruded: masks in 3D are compared
    in 3D, and those of the key slice with what the others are on it, so that missing height does
    not count as disagreement.

    Parameters
    ----------
    masks : sequence of ndarray of bool, of equal shape
        In 3D; or, where `flat` is given, what they are on the key slice.
    flat : sequence of ndarray, optional
        Masks of the key slice alone: then only pairs with one of these count.
    """
    if flat is None:
        pairs = list(combinations(masks, 2))
    else:
        pairs = [*combinations(flat, 2), *((one, other) for one in flat for other in masks)]
    return 1 - float(np.mean([dice(*pair) for pair in pairs])) if pairs else None


def in_one_box(masks: Sequence[Mask]) -> list[Mask]:
    """Return views of masks in the smallest box that holds all of them, shape (x, y, z)."""
    boxes = [bounding_box(mask) for mask in masks]
    filled = [(box, start) for box, start in boxes if box.size]
    if not filled:
        return [mask[:0, :0, :0] for mask in masks]
    low = np.min([start for _, start in filled], axis=0)
    high = np.max([np.add(start, box.shape) for box, start in filled], axis=0)
    place = tuple(slice(int(a), int(b)) for a, b in zip(low, high, strict=True))
    return [mask[place] for mask in masks]
