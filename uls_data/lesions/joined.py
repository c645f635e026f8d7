"""Lesions of several readers, each of whom marked the same scan: a strict majority counts.

Nobody says which marks of two readers are the same lesion. Marks are of one lesion if they share
voxels, directly or by way of others (`by_overlap`); where a reader's marks are one mask of the
whole scan, those are that lie in one component of all readers' masks together (`by_component`).
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np

from uls_data.geometry import Triple
from uls_data.lesions.components import components_of
from uls_data.lesions.instances import Lesion
from uls_data.lesions.votes import Agreement, Voxels, cluster, consensus, dice_scores
from uls_data.outcome import Reason

Group = list[tuple[int, Voxels]]
"""Marks of one lesion: place in the list of all marks, and voxels."""


def by_overlap(marks: Sequence[Voxels]) -> list[Group]:
    """Group marks by the voxels that they share; groups stand by their first mark.

    Parameters
    ----------
    marks : sequence of ndarray, shape (n, 3), int32
        RAS indices; each with at least one voxel, each voxel once in a mark.
    """
    return [[(at, marks[at]) for at in group] for group in cluster(marks)]


def by_component(marks: Sequence[Voxels], shape: Triple) -> list[Group]:
    """Split marks by the 6-connected components of their union, in C order of the RAS array."""
    flats = [np.ravel_multi_index(tuple(mark.T), shape).astype(np.int64) for mark in marks]
    if not sum(map(len, flats)):
        return []
    union = np.unique(np.concatenate(flats))
    component = components_of(union, shape)
    groups: list[Group] = [[] for _ in range(int(component.max()))]
    for at, (mark, flat) in enumerate(zip(marks, flats, strict=True)):
        numbers = component[np.searchsorted(union, flat)]
        for number in np.unique(numbers).tolist():
            groups[number - 1].append((at, mark[numbers == number]))
    return groups


def joined(
    index: int, marks: Sequence[tuple[int, Voxels]], readers: Collection[int], name: str | None
) -> Lesion:
    """Lesion of the voxels that more than half of the readers marked.

    Parameters
    ----------
    marks : sequence of (reader, ndarray of shape (n, 3), int32)
        RAS indices in C order.
    readers : collection of int
        All who read the scan: who marked nothing here votes against.
    name : str or None
        What the source calls it.
    """
    layers = []
    for reader in sorted(readers):
        own = [voxels for who, voxels in marks if who == reader]
        nothing = np.empty((0, 3), np.int32)
        layers.append((f"reader-{reader}", consensus(own, Agreement.ANY) if own else nothing))
    voxels = consensus([own for _, own in layers], Agreement.MAJORITY)
    several = len(layers) > 1
    marked = tuple((layer, own) for layer, own in layers if len(own))
    detail = (
        f"marked by {len(marked)} of its {len(layers)} readers, no voxel of it by more than half"
    )
    return Lesion(
        index,
        voxels,
        name,
        skipped=None if len(voxels) else (Reason.BELOW_AGREEMENT, detail),
        readers=marked if several else (),
        agreement=len(marked) if several else None,
        scores=dice_scores(layers) if several else (),
    )
