"""Lesions of one scan that share voxels: the same one given twice, or two that overlap."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from uls_data.lesions.instances import Lesion
from uls_data.outcome import Flag


def flag_shared(lesions: Sequence[Lesion]) -> list[Lesion]:
    """Lesions, flagged `duplicate_mask` or `overlaps_lesion` where others have their voxels.

    Only lesions whose boxes meet are compared, voxel by voxel. Those without voxels, as where
    lesions are lines, stay as they are.
    """
    masks = [lesion.voxels for lesion in lesions]
    boxes = [(it.min(axis=0), it.max(axis=0)) if len(it) else None for it in masks]
    met = [
        (one, other)
        for one, box in enumerate(boxes)
        for other in range(one + 1, len(boxes))
        if box is not None
        and (beside := boxes[other]) is not None
        and bool((box[0] <= beside[1]).all() and (beside[0] <= box[1]).all())
    ]
    if not met:
        return list(lesions)
    involved = sorted({at for pair in met for at in pair})
    reach = np.max([masks[at].max(axis=0) for at in involved], axis=0).astype(np.int64) + 1
    flat = {
        at: np.sort(np.ravel_multi_index(tuple(masks[at].astype(np.int64).T), tuple(reach)))
        for at in involved
    }
    digests = {at: hashlib.sha256(flat[at].tobytes()).digest() for at in involved}
    copies = Counter(digests.values())
    flags: dict[int, set[Flag]] = {at: set() for at in involved}
    for at in involved:
        if copies[digests[at]] > 1:
            flags[at].add(Flag.DUPLICATE_MASK)
    for one, other in met:
        if digests[one] == digests[other] or not _share(flat[one], flat[other]):
            continue
        flags[one].add(Flag.OVERLAPS_LESION)
        flags[other].add(Flag.OVERLAPS_LESION)
    return [
        replace(lesion, flags=(*lesion.flags, *sorted(flags[at]))) if flags.get(at) else lesion
        for at, lesion in enumerate(lesions)
    ]


def _share(one: NDArray[np.int64], other: NDArray[np.int64]) -> bool:
    """Whether two sorted lists have a number in common."""
    few, many = sorted((one, other), key=len)
    at = np.minimum(np.searchsorted(many, few), len(many) - 1)
    return bool((many[at] == few).any())
