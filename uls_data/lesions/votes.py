"""Masks of several readers: what they agree on, and how far they differ.

For every source with several readers, this is the one place that counts their votes, voxel by
voxel, and that measures how far they differ: the Dice of each pair of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from enum import StrEnum
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

Voxels = NDArray[np.int32]
Score = tuple[str, str, float]

_DICE = "dice"


class Agreement(StrEnum):
    """How many of the readers who outlined a lesion must have marked a voxel of it.

    ANY: one. MAJORITY: more than half (of two, both). ALL: every one.
    """

    ANY = "any"
    MAJORITY = "majority"
    ALL = "all"


def cluster(masks: Sequence[Voxels]) -> list[list[int]]:
    """Group masks that share voxels, directly or by way of others.

    Parameters
    ----------
    masks : sequence of ndarray, shape (n, 3), int32
        Each voxel once in a mask; all of one grid.

    Returns
    -------
    list of list of int
        Ascending places in `masks`, groups by their first. A mask without voxels is a
        group of its own.
    """
    group = np.arange(len(masks))
    if any(len(mask) for mask in masks):
        which = np.repeat(group, [len(mask) for mask in masks])
        place = _places(np.concatenate(masks))
        order = np.argsort(place, kind="stable")
        which, place = which[order], place[order]
        same = place[1:] == place[:-1]
        pairs = np.unique(which[:-1][same] * len(masks) + which[1:][same])
        one, other = np.divmod(pairs, len(masks))
        while (group[one] != group[other]).any():
            low = np.minimum(group[one], group[other])
            np.minimum.at(group, one, low)
            np.minimum.at(group, other, low)
    return [np.flatnonzero(group == first).tolist() for first in np.unique(group)]


def consensus(layers: Sequence[Voxels], agreement: Agreement | int) -> Voxels:
    """Voxels that enough of the layers hold, in C order.

    Parameters
    ----------
    layers : sequence of ndarray, shape (n, 3), int32
        One of each reader, each voxel once in it.
    agreement : Agreement or int
        A number: how many readers must have marked a voxel.
    """
    if isinstance(agreement, Agreement):
        needed = {
            Agreement.ANY: 1,
            Agreement.MAJORITY: len(layers) // 2 + 1,
            Agreement.ALL: len(layers),
        }[agreement]
    else:
        needed = agreement
    everything = np.concatenate(layers)
    if not len(everything):
        return everything
    _, first, votes = np.unique(_places(everything), return_index=True, return_counts=True)
    agreed: Voxels = everything[first[votes >= needed]]
    return agreed


def dice_scores(layers: Sequence[tuple[str, Voxels]]) -> tuple[Score, ...]:
    """Dice of each pair of readers' masks of a lesion, as in `candidate_scores` of the manifest.

    It is 0 where one of them marked nothing; two who both marked nothing are not a pair.

    Parameters
    ----------
    layers : sequence of (str, ndarray of shape (n, 3), int32)
        `reader-1`, ..., each voxel once in a layer.
    """
    if not sum(len(voxels) for _, voxels in layers):
        return ()
    places = np.split(
        _places(np.concatenate([voxels for _, voxels in layers])),
        np.cumsum([len(voxels) for _, voxels in layers])[:-1],
    )
    scores = list[Score]()
    for (one, mine), (other, theirs) in combinations(
        zip((name for name, _ in layers), places, strict=True), 2
    ):
        if total := len(mine) + len(theirs):
            shared = len(np.intersect1d(mine, theirs, assume_unique=True))
            scores.append((f"{one}/{other}", _DICE, 2 * shared / total))
    return tuple(scores)


def disagreement_of(scores: Iterable[Score]) -> float | None:
    """1 - mean Dice of each pair of readers, 0 to 1; None where there are no two."""
    found = [value for _, measure, value in scores if measure == _DICE]
    return 1 - float(np.mean(found)) if found else None


def _places(voxels: NDArray[Any]) -> NDArray[np.int64]:
    """Place of each voxel in the flattened box (C order) that holds them all."""
    start, stop = voxels.min(axis=0), voxels.max(axis=0) + 1
    places: NDArray[np.int64] = np.ravel_multi_index(
        tuple((voxels - start).T), tuple(stop - start)
    ).astype(np.int64)
    return places
