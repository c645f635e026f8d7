"""Lesion instances of a mask, numbered as the published archive numbers them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import cc3d
import numpy as np
from numpy.typing import NDArray

from uls_data.errors import CaseError
from uls_data.geometry import Triple
from uls_data.measure.lines import Lines
from uls_data.outcome import Flag, Reason
from uls_data.recipe.model import Components, Quirk, Recipe, Values
from uls_data.volumes.volume import Volume

MAXIMUM_INSTANCES = 10_000
_LARGEST_NUMBER = 1 << 30
_SHOWN_VALUES = 10


@dataclass(frozen=True)
class Measured:
    """Two lines that one reader drew across a lesion.

    Attributes
    ----------
    lines : Lines
        In RAS indices (x, y) of the scan.
    slice_vox : int
        RAS index z of the key slice.
    reader : int
        1-based among the readers of this lesion.
    window_hu : tuple of 2 float, or None
        Low and high HU of the display window.
    outward_vox : float
        How far the lesion reaches beyond the end points, by the recipe.
    stated_mm : tuple of 2 float or None
        Long and short axis as the source states them.
    """

    lines: Lines
    slice_vox: int
    reader: int = 1
    window_hu: tuple[float, float] | None = None
    outward_vox: float = 0.0
    stated_mm: tuple[float | None, float | None] = (None, None)


@dataclass(frozen=True)
class Lesion:
    """One lesion of a scan.

    Attributes
    ----------
    index : int
        1-based: the component's number in C order of the RAS array (x slowest)
        before any filtering, or the number that the source gives.
    voxels : ndarray, shape (n, 3), int32
        Zero-based RAS indices (x, y, z), in C order of the RAS array. Of a lesion that is
        measured and has no mask: none.
    source_lesion_id : str or None
        What the source calls it.
    skipped : (Reason, str) or None
        Why it does not become a VOI, and the numbers behind that.
    readers : tuple of (layer, voxels)
        Masks of single readers (`reader-1`, ...), indexed like `voxels`.
    agreement : int or None
        How many readers marked it.
    scores : tuple of (candidate, measure, value)
        Such as the Dice of two readers' masks.
    measured : tuple of Measured
        One a reader, where lesions are measurements.
    columns : tuple of (column, value)
        Manifest columns that the source tells of this lesion.
    flags : tuple of Flag
    click : tuple of 3 int, or None
        RAS index that a human marked in it, which the first click is.
    """

    index: int
    voxels: NDArray[np.int32]
    source_lesion_id: str | None = None
    skipped: tuple[Reason, str] | None = None
    readers: tuple[tuple[str, NDArray[np.int32]], ...] = ()
    agreement: int | None = None
    scores: tuple[tuple[str, str, float], ...] = ()
    measured: tuple[Measured, ...] = ()
    columns: tuple[tuple[str, str | float | None], ...] = ()
    flags: tuple[Flag, ...] = ()
    click: Triple | None = None


@dataclass(frozen=True)
class Mark:
    """Something that a source marks, and that is not a lesion mask: a row that is skipped.

    Attributes
    ----------
    reason : Reason
    detail : str
    source_lesion_id : str or None
    """

    reason: Reason
    detail: str
    source_lesion_id: str | None = None


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
        numbers = _whole_numbers(mask, name, allowed)
        if rule.allowed is not None:
            _check_values(numbers, rule.allowed, name)
        groups: list[NDArray[np.int32]] = []
        for box, start in ras_boxes(mask, numbers, partial(_holding, rule.values)):
            labels = cc3d.connected_components(box, connectivity=rule.connectivity)
            groups += [voxels for _, voxels in _split(labels, start, name)]
            _check_count(len(groups), name)
        # A component's number is its rank by first voxel in C order of the whole scan.
        groups.sort(key=lambda voxels: tuple(voxels[0].tolist()))
        lesions = [Lesion(number, voxels) for number, voxels in enumerate(groups, 1)]
        if rule.keep == "largest" and lesions:
            largest = max(lesions, key=lambda lesion: (len(lesion.voxels), -lesion.index))
            other = (Reason.NOT_LARGEST_COMPONENT, "the recipe keeps a case's largest component")
            sizes = sorted(len(lesion.voxels) for lesion in lesions)
            unclear = len(sizes) > 1 and 2 * sizes[-2] >= sizes[-1]
            flags = (Flag.LARGEST_COMPONENT_UNCLEAR,) if unclear else ()
            lesions = [
                replace(lesion, flags=flags)
                if lesion is largest
                else replace(lesion, skipped=other, flags=flags)
                for lesion in lesions
            ]
        return lesions
    if isinstance(rule, Values):
        numbers = _whole_numbers(mask, name, allowed)
        by_number: dict[int, list[NDArray[np.int32]]] = {}
        whole = mask.orientation.apply(numbers)
        for inside, start in ras_boxes(mask, numbers):
            part = tuple(slice(at, at + n) for at, n in zip(start, inside.shape, strict=True))
            box = np.ascontiguousarray(whole[part])
            low, high = int(box.min()), int(box.max())
            if low < 0 or high > _LARGEST_NUMBER:
                raise CaseError(
                    Reason.MASK_NOT_INTEGER,
                    f"{name}: values from {low} to {high} cannot number lesions",
                )
            for number, voxels in _split(box, start, name):
                by_number.setdefault(number, []).append(voxels)
            _check_count(len(by_number), name)
        return [
            Lesion(number, _in_c_order(np.concatenate(parts)), str(number))
            for number, parts in sorted(by_number.items())
        ]
    raise TypeError(f"{rule.rule} needs the instance files, not a single mask")


def marks_in(
    volume: Volume, shape: Triple, name: str, float_allowed: bool = True
) -> NDArray[np.bool_]:
    """Voxels of a mask that are not 0, in RAS.

    Raises
    ------
    CaseError
        `grid_mismatch`, `mask_not_integer` or `not_finite`.
    """
    if volume.ras.shape != shape:
        raise CaseError(
            Reason.GRID_MISMATCH, f"{name} has shape {volume.ras.shape}, expected {shape}"
        )
    marks: NDArray[np.bool_] = volume.orientation.apply(
        _whole_numbers(volume, name, float_allowed) != 0
    )
    return marks


def _holding(values: tuple[int, ...], numbers: NDArray[Any]) -> NDArray[np.bool_]:
    """Voxels that hold one of some values."""
    chosen: NDArray[np.bool_] = numbers == values[0]
    for value in values[1:]:
        chosen |= numbers == value
    return chosen


def _not_zero(numbers: NDArray[Any]) -> NDArray[np.bool_]:
    chosen: NDArray[np.bool_] = numbers != 0
    return chosen


def _check_values(numbers: NDArray[Any], allowed: tuple[int, ...], name: str) -> None:
    """Refuse a mask that holds a value which the recipe does not know."""
    low, high = int(numbers.min()), int(numbers.max())
    gapless = len(allowed) == allowed[-1] - allowed[0] + 1
    if low >= allowed[0] and high <= allowed[-1] and (gapless or high == low == 0):
        return
    found = values_of(numbers)
    strange = [value for value in found if value not in allowed]
    if strange:
        raise CaseError(
            Reason.UNEXPECTED_MASK_VALUE,
            f"{name}: expected values {_listed(allowed)}, found {_listed(found)}; is it of another "
            "release, whose numbers mean other things? If they are right, say so in "
            "instances.others of the recipe",
        )


def values_of(numbers: NDArray[Any]) -> list[float]:
    """Distinct values of a mask, ascending."""
    if numbers.dtype == np.uint8:
        return [float(value) for value in np.flatnonzero(np.bincount(numbers.ravel("K")))]
    return [float(value) for value in np.unique(numbers)]


def values_text(mask: Volume) -> str:
    """Values that a mask holds, for a message about a lesion value that is not among them."""
    stored = mask.stored
    if stored.dtype.kind not in "iu":
        stored = stored[np.isfinite(stored)]
    return _listed([value * mask.slope + mask.intercept for value in values_of(stored)])


def _listed(values: Sequence[float]) -> str:
    """Values in words, the first of many."""
    shown = ", ".join(f"{value:g}" for value in values[:_SHOWN_VALUES])
    more = len(values) - _SHOWN_VALUES
    return f"{shown} and {more} more" if more > 0 else shown or "none"


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


def ras_boxes(
    volume: Volume,
    numbers: NDArray[Any],
    choose: Callable[[NDArray[Any]], NDArray[np.bool_]] = _not_zero,
) -> Iterator[tuple[NDArray[np.bool_], Triple]]:
    """RAS crops (C order) that hold all voxels chosen, and where each starts.

    Crops are parted wherever a whole plane is empty: no component crosses such a
    plane, and the empty space between lesions is most of a scan.

    Parameters
    ----------
    numbers : ndarray
        Values of the volume's voxels, in stored order.
    choose : callable
        Which voxels of a part of them count; by default, those that are not 0.
    """
    # Stored arrays run x fastest: the first look goes along memory, and only planes that hold
    # anything are looked at again.
    blocks = numbers.T
    background = not choose(np.zeros(1, numbers.dtype)).any()
    hits = blocks.any(axis=(1, 2)) if background else np.ones(len(blocks), bool)
    for z in _runs(hits):
        chosen = choose(numbers[:, :, z])
        for spans in _parted(chosen.T, tuple(slice(0, n) for n in chosen.T.shape)):
            stored = spans[::-1]
            start = []
            for axis, flip in zip(volume.orientation.axes, volume.orientation.flips, strict=True):
                offset = z.start if axis == 2 else 0
                first, last = stored[axis].start + offset, stored[axis].stop + offset
                start.append(numbers.shape[axis] - last if flip else first)
            box = volume.orientation.apply(chosen[stored])
            yield np.ascontiguousarray(box), (start[0], start[1], start[2])


_Spans = tuple[slice, ...]


def _parted(blocks: NDArray[np.bool_], spans: _Spans) -> Iterator[_Spans]:
    """Boxes without an empty plane inside that cover what lies in one box."""
    inside = blocks[spans]
    for axis, span in enumerate(spans):
        runs = _runs(inside.any(axis=tuple(other for other in range(3) if other != axis)))
        if len(runs) == 1 and runs[0] == slice(0, inside.shape[axis]):
            continue
        for run in runs:
            smaller = list(spans)
            smaller[axis] = slice(span.start + run.start, span.start + run.stop)
            yield from _parted(blocks, tuple(smaller))
        return
    yield spans


def _runs(hits: Any) -> list[slice]:
    """Unbroken runs of true values."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], hits, [False]]).astype(np.int8)))
    return [slice(int(a), int(b)) for a, b in zip(edges[::2], edges[1::2], strict=True)]


def _split(labels: NDArray[Any], start: Triple, name: str) -> list[tuple[int, NDArray[np.int32]]]:
    """Labels of a C-ordered box with their voxels in the scan, each in C order."""
    flat = labels.ravel()
    where = np.flatnonzero(flat)
    values = flat[where]
    order = np.argsort(values, kind="stable")
    where, values = where[order], values[order]
    cuts = np.flatnonzero(values[1:] != values[:-1]) + 1
    _check_count(len(cuts) + 1, name)
    offset = np.array(start, dtype=np.int32)
    found = []
    for group, first in zip(np.split(where, cuts), [0, *cuts.tolist()], strict=True):
        voxels = np.stack(np.unravel_index(group, labels.shape), axis=1).astype(np.int32)
        found.append((int(values[first]), voxels + offset))
    return found


def ras_voxels(stored: NDArray[np.int32], volume: Volume) -> NDArray[np.int32]:
    """Turn indices of the stored array into RAS indices, in C order of the RAS array.

    Parameters
    ----------
    stored : ndarray, shape (n, 3), int32
    """
    turned = np.empty_like(stored)
    ways = zip(volume.orientation.axes, volume.orientation.flips, strict=True)
    for at, (axis, flip) in enumerate(ways):
        index = stored[:, axis]
        turned[:, at] = volume.stored.shape[axis] - 1 - index if flip else index
    return _in_c_order(turned)


def _in_c_order(voxels: NDArray[np.int32]) -> NDArray[np.int32]:
    return voxels[np.lexsort(voxels.T[::-1])]


def _check_count(count: int, name: str) -> None:
    if count > MAXIMUM_INSTANCES:
        raise CaseError(
            Reason.TOO_MANY_INSTANCES,
            f"{name}: {count:,} lesions; check the recipe's lesion values",
        )
