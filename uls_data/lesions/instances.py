"""Lesion instances of a mask, numbered as the published archive numbers them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import cc3d
import numpy as np
from numpy.typing import NDArray

from uls_data.errors import CaseError
from uls_data.geometry import Triple
from uls_data.outcome import Reason
from uls_data.readers.volume import Volume
from uls_data.recipe.model import Components, Quirk, Recipe, Values

MAXIMUM_INSTANCES = 10_000
_LARGEST_NUMBER = 1 << 30


@dataclass(frozen=True)
class Lesion:
    """One lesion of a scan.

    Attributes
    ----------
    index : int
        1-based: the component's number in C order of the RAS array (x slowest)
        before any filtering, or the number that the source gives.
    voxels : ndarray, shape (n, 3), int32
        Zero-based RAS indices (x, y, z), in C order of the RAS array.
    source_lesion_id : str or None
        What the source calls it.
    kept : bool
        False where the recipe keeps the largest component only and this is another.
    """

    index: int
    voxels: NDArray[np.int32]
    source_lesion_id: str | None = None
    kept: bool = True


def find_lesions(mask: Volume, recipe: Recipe, name: str) -> list[Lesion]:
    """All lesions of a mask by the recipe's `components` or `values` rule, by number.

    Raises
    ------
    CaseError
        `mask_not_integer`, `not_finite` or `too_many_instances`.
    """
    rule = recipe.instances
    allowed = Quirk.FLOAT_MASK in recipe.quirks
    if isinstance(rule, Components):
        chosen = _voxels_of(mask, rule.values, name, allowed)
        box, start = ras_box(mask, chosen)
        if box.size == 0:
            return []
        labels = cc3d.connected_components(box, connectivity=rule.connectivity)
        lesions = _split(labels, start, name, numbered=False)
        if rule.keep == "largest":
            largest = max(lesions, key=lambda lesion: (len(lesion.voxels), -lesion.index))
            lesions = [
                Lesion(lesion.index, lesion.voxels, None, lesion is largest) for lesion in lesions
            ]
        return lesions
    if isinstance(rule, Values):
        numbers = _whole_numbers(mask, name, allowed)
        inside, start = ras_box(mask, numbers != 0)
        if inside.size == 0:
            return []
        stop = tuple(a + n for a, n in zip(start, inside.shape, strict=True))
        whole = mask.orientation.apply(numbers)
        box = whole[tuple(slice(a, b) for a, b in zip(start, stop, strict=True))]
        low, high = int(box.min()), int(box.max())
        if low < 0 or high > _LARGEST_NUMBER:
            raise CaseError(
                Reason.MASK_NOT_INTEGER,
                f"{name}: values from {low} to {high} cannot number lesions",
            )
        return _split(np.ascontiguousarray(box), start, name, numbered=True)
    raise TypeError(f"{rule.rule} needs the instance files, not one mask")


def join_votes(
    votes: Iterable[tuple[int, list[Volume]]], shape: Triple, name: str, float_allowed: bool = True
) -> list[Lesion]:
    """Lesions of per-lesion files: a voxel counts if more than half of its annotators marked it.

    Where two lesions claim a voxel, the lower number keeps it. (Checked on KiTS23: the
    union of such votes is the published aggregate.)

    Parameters
    ----------
    votes : iterable of (number, volumes)
        By ascending number; one volume per annotator, any non-zero value is a vote.
    shape : tuple of 3 int
        RAS shape that every volume must have.
    """
    taken = np.zeros(shape, dtype=bool)
    lesions = []
    for number, volumes in votes:
        count = np.zeros(shape, dtype=np.uint16)
        for volume in volumes:
            if volume.ras.shape != shape:
                raise CaseError(
                    Reason.GRID_MISMATCH,
                    f"{name}: instance {number} has shape {volume.ras.shape}, expected {shape}",
                )
            marks = _whole_numbers(volume, f"{name}: instance {number}", float_allowed) != 0
            count += volume.orientation.apply(marks)
        marked = 2 * count > len(volumes)
        marked &= ~taken
        taken |= marked
        voxels = np.argwhere(marked).astype(np.int32)
        if len(voxels):
            lesions.append(Lesion(number, voxels, f"instance-{number}"))
    return lesions


def _voxels_of(
    mask: Volume, values: tuple[int, ...], name: str, float_allowed: bool
) -> NDArray[np.bool_]:
    """Voxels that hold a lesion value, in stored order."""
    numbers = _whole_numbers(mask, name, float_allowed)
    chosen: NDArray[np.bool_] = numbers == values[0]
    for value in values[1:]:
        chosen |= numbers == value
    return chosen


def _whole_numbers(mask: Volume, name: str, float_allowed: bool) -> NDArray[Any]:
    """Mask values in stored order, known to be whole; no copy where none is needed."""
    stored = mask.stored
    scaled = (mask.slope, mask.intercept) != (1.0, 0.0)
    if stored.dtype.kind in "iu" and not scaled:
        return stored
    if not float_allowed:
        raise CaseError(
            Reason.MASK_NOT_INTEGER,
            f"{name}: stored as {stored.dtype}{' with a scale' if scaled else ''}; if its values "
            f"are whole, list the quirk {Quirk.FLOAT_MASK} in the recipe",
        )
    values = stored * mask.slope + mask.intercept if scaled else stored
    used = values[values != 0]
    if not np.isfinite(used).all():
        raise CaseError(Reason.NOT_FINITE, f"{name}: has {np.sum(~np.isfinite(used))} NaN or inf")
    whole = np.rint(used)
    off = np.abs(used - whole) > (1e-6 if scaled else 0)
    if off.any() or (used.size and np.abs(used).max() > _LARGEST_NUMBER):
        raise CaseError(
            Reason.MASK_NOT_INTEGER,
            f"{name}: {int(off.sum())} voxels hold no whole number, such as {used[off][:1]}; "
            "was it resampled with interpolation?",
        )
    if scaled:
        values = np.rint(values)
    if values.dtype.itemsize > 4 or values.dtype.kind == "f":
        return values.astype(np.int32)
    return values


def ras_box(volume: Volume, chosen: NDArray[np.bool_]) -> tuple[NDArray[np.bool_], Triple]:
    """RAS crop (C order) of the voxels chosen in stored order, and the RAS index of its start."""
    # Stored arrays run x fastest: reduce along memory, in ever smaller pieces.
    blocks = chosen.T
    z = _span(blocks.reshape(len(blocks), -1).any(axis=1))
    if z is None:
        return np.zeros((0, 0, 0), dtype=bool), (0, 0, 0)
    plane: NDArray[np.bool_] = np.any(blocks[z], axis=0)
    y, x = _span(plane.any(axis=1)), _span(plane.any(axis=0))
    assert x is not None and y is not None
    stored_spans = (x, y, z)
    starts = []
    for axis, flip in zip(volume.orientation.axes, volume.orientation.flips, strict=True):
        span = stored_spans[axis]
        starts.append(chosen.shape[axis] - span.stop if flip else span.start)
    box = volume.orientation.apply(chosen[stored_spans])
    return np.ascontiguousarray(box), (starts[0], starts[1], starts[2])


def _span(hits: Any) -> slice | None:
    where = np.flatnonzero(hits)
    return slice(int(where[0]), int(where[-1]) + 1) if where.size else None


def _split(labels: NDArray[Any], start: Triple, name: str, *, numbered: bool) -> list[Lesion]:
    """Lesions of a C-ordered label box; `numbered` keeps the labels as numbers."""
    flat = labels.ravel()
    where = np.flatnonzero(flat)
    values = flat[where]
    order = np.argsort(values, kind="stable")
    where, values = where[order], values[order]
    cuts = np.flatnonzero(values[1:] != values[:-1]) + 1
    firsts = np.concatenate([[0], cuts])
    if len(firsts) > MAXIMUM_INSTANCES:
        raise CaseError(
            Reason.TOO_MANY_INSTANCES,
            f"{name}: {len(firsts):,} lesions; check the recipe's lesion values",
        )
    groups = np.split(where, cuts)
    if numbered:
        numbers = [int(value) for value in values[firsts]]
    else:
        # A component's number is its rank by first voxel, whatever order cc3d used.
        groups.sort(key=lambda group: int(group[0]))
        numbers = list(range(1, len(groups) + 1))
    lesions = []
    for number, group in zip(numbers, groups, strict=True):
        voxels = np.stack(np.unravel_index(group, labels.shape), axis=1).astype(np.int32)
        voxels += np.array(start, dtype=np.int32)
        lesions.append(Lesion(number, voxels, str(number) if numbered else None))
    return lesions
