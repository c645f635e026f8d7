"""Lesions of several readers, each of whom marked the same scan: a strict majority counts.

Where each lesion has files of its own, these tell which marks are of it (`join_votes`). Else
nobody says which marks of two readers are the same lesion. Marks belong to one lesion if they share
voxels, directly or by way of others (`by_overlap`); where a reader's marks are one mask of the
whole scan, if they lie in one component of all readers' masks together (`by_component`).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence

import numpy as np

from uls_data.geometry import Triple
from uls_data.lesions.components import components_of
from uls_data.lesions.instances import Lesion, marks_in
from uls_data.lesions.votes import Agreement, Voxels, cluster, consensus, dice_scores
from uls_data.outcome import Reason
from uls_data.volumes.volume import Volume

Group = list[tuple[int, Voxels]]
"""Marks of one lesion: place in the list of all marks, and voxels."""


def join_votes(
    votes: Iterable[tuple[int, Mapping[int, Volume]]],
    shape: Triple,
    name: str,
    float_allowed: bool = True,
) -> list[Lesion]:
    """Lesions of per-lesion files: a voxel counts if more than half of its annotators marked it.

    Where two lesions claim a voxel, the lower number keeps it; one without voxels says why.
    (Checked on KiTS23: the union of such votes is the published aggregate.) Where there are several
    annotators, what each marked is a mask of a reader.

    Parameters
    ----------
    votes : iterable of (number, volumes)
        By ascending number; a volume of each annotator, by the annotator's number. Any non-zero
        value is a vote.
    shape : tuple of 3 int
        RAS shape that every volume must have.
    """
    taken = np.zeros(shape, dtype=bool)
    lesions = []
    for number, volumes in votes:
        count = np.zeros(shape, dtype=np.uint16)
        layers = []
        for reader, volume in sorted(volumes.items()):
            turned = marks_in(volume, shape, f"{name}: instance {number}", float_allowed)
            count += turned
            if len(volumes) > 1:
                layers.append((f"reader-{reader}", np.argwhere(turned).astype(np.int32)))
        marked = 2 * count > len(volumes)
        marked &= ~taken
        taken |= marked
        voxels = np.argwhere(marked).astype(np.int32)
        detail = (
            f"more than half of its {len(volumes)} files mark no common voxel, or only voxels of "
            "earlier instances"
        )
        nothing = None if len(voxels) else (Reason.NO_LESION, detail)
        readers = tuple((layer, own) for layer, own in layers if len(own))
        lesions.append(
            Lesion(
                number,
                voxels,
                f"instance-{number}",
                skipped=nothing,
                readers=readers,
                agreement=len(readers) if len(volumes) > 1 else None,
                scores=dice_scores(layers),
            )
        )
    return lesions


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


def connected(masks: Sequence[Voxels], shape: Triple) -> list[tuple[Voxels, list[int]]]:
    """6-connected components of masks together, in C order, and the masks that each belongs to.

    Parameters
    ----------
    masks : sequence of ndarray, shape (n, 3), int32
        RAS indices.
    shape : tuple of 3 int
        Of the grid.

    Returns
    -------
    list of (ndarray of shape (n, 3), list of int)
        Voxels in C order, and ascending places in `masks`.
    """
    return [
        (consensus([own for _, own in group], Agreement.ANY), [at for at, _ in group])
        for group in by_component(masks, shape)
    ]


def together(index: int, voxels: Voxels, parts: Sequence[Lesion], name: str | None) -> Lesion:
    """Lesion of lesions that touch, with all that their readers marked.

    How many agreed on it is what is known of the largest part.
    """
    layers: dict[str, list[Voxels]] = {}
    for part in parts:
        for layer, own in part.readers:
            layers.setdefault(layer, []).append(own)
    readers = tuple(
        (layer, np.unique(np.concatenate(own), axis=0)) for layer, own in sorted(layers.items())
    )
    largest = max(parts, key=lambda part: len(part.voxels))
    return Lesion(
        index,
        voxels,
        name,
        readers=readers,
        agreement=largest.agreement,
        scores=dice_scores(readers),
    )


def joined(
    index: int,
    marks: Sequence[tuple[int, Voxels]],
    readers: Collection[int] | None,
    name: str | None,
) -> Lesion:
    """Lesion of the voxels that more than half of the readers marked.

    Parameters
    ----------
    marks : sequence of (reader, ndarray of shape (n, 3), int32)
        RAS indices in C order; a reader may have several.
    readers : collection of int, or None
        All who read the scan: who marked nothing here votes against. None: only those vote who
        marked the lesion, and one who did so alone is a reader too.
    name : str or None
        What the source calls it.
    """
    layers = []
    for reader in sorted({who for who, _ in marks} if readers is None else readers):
        own = [voxels for who, voxels in marks if who == reader]
        nothing = np.empty((0, 3), np.int32)
        layers.append((f"reader-{reader}", consensus(own, Agreement.ANY) if own else nothing))
    voxels = consensus([own for _, own in layers], Agreement.MAJORITY)
    several = readers is None or len(layers) > 1
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
