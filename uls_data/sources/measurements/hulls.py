"""Which measurements belong to one lesion: those whose hulls share a point, on slices close by."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from uls_data.measure.lines import Lines


def groups_of(
    lines: Sequence[Lines],
    slices_vox: Sequence[int],
    slices_apart: int,
    names: Sequence[str] = (),
    tracks: Sequence[str] = (),
) -> list[list[int]]:
    """Part measurements into lesions: their indices, ascending in each.

    Two measurements belong to one lesion where they lie on slices at most `slices_apart` from each
    other, and the hulls of their four end points share a point: so they do wherever two lines
    cross, and where one measurement lies inside the other. Measurements that share a lesion
    with a third one share it with each other.

    Parameters
    ----------
    lines : sequence of Lines
        In one frame of columns and rows.
    slices_vox : sequence of int
        Slice of each.
    slices_apart : int
    names : sequence of str, optional
        What the source calls the lesion of each: one name is one lesion, two names are two; empty:
        it does not say.
    tracks : sequence of str, optional
        Likewise, but two may be of one lesion.
    """
    if not lines:
        return []
    names = names or [""] * len(lines)
    tracks = tracks or [""] * len(lines)
    points = np.stack([one.points for one in lines])
    low, high, at = points.min(axis=1), points.max(axis=1), np.array(slices_vox)
    owner = list(range(len(lines)))

    def first(number: int) -> int:
        while owner[number] != number:
            owner[number] = owner[owner[number]]
            number = owner[number]
        return number

    def join(one: int, other: int) -> None:
        a, b = sorted((first(one), first(other)))
        owner[b] = a

    for words in (names, tracks):
        seen: dict[str, int] = {}
        for number, word in enumerate(words):
            if word:
                join(number, seen.setdefault(word, number))
    for number in range(len(lines)):
        near = np.abs(at[:number] - at[number]) <= slices_apart
        near &= ((low[:number] <= high[number]) & (low[number] <= high[:number])).all(axis=1)
        for other in np.flatnonzero(near).tolist():
            apart = names[number] and names[other] and names[number] != names[other]
            if not apart and hulls_meet(points[number], points[other]):
                join(number, other)
    groups: dict[int, list[int]] = {}
    for number in range(len(lines)):
        groups.setdefault(first(number), []).append(number)
    return list(groups.values())


def hulls_meet(one: NDArray[np.float64], other: NDArray[np.float64]) -> bool:
    """Whether the convex hulls of two sets of points, each of shape (n, 2), share a point.

    They do not if, and only if, a line along some side of one of them parts them (separating
    axis). All connections of two points are tried: the sides are among them.
    """
    sides = [b - a for points in (one, other) for a, b in combinations(points, 2)]
    along = np.array(sides).reshape(-1, 2)
    # Across every side; and along the axes, which part points, and segments of one line.
    normals = np.concatenate([along[:, ::-1] * [1.0, -1.0], np.eye(2)])
    a, b = normals @ one.T, normals @ other.T
    apart = (a.max(axis=1) < b.min(axis=1)) | (b.max(axis=1) < a.min(axis=1))
    return not bool(apart.any())
