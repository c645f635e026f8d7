"""Stage 3: cut a click-centred VOI from a scan, and the label of one lesion."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from uls_data.errors import CaseError
from uls_data.geometry import Triple, fill_outside
from uls_data.outcome import Flag, Reason
from uls_data.volumes.nifti_header import room_for
from uls_data.volumes.volume import Volume

VOI_SHAPE: Triple = (256, 256, 128)
CENTRE: Triple = (128, 128, 64)
_INT16 = np.iinfo(np.int16)
_INT32 = np.iinfo(np.int32)


@dataclass(frozen=True)
class Box:
    """Where a VOI lies in its scan, in RAS voxels.

    Attributes
    ----------
    origin : tuple of 3 int
        Scan index of VOI index (0, 0, 0); negative where padding precedes the scan.
    pad_before, pad_after : tuple of 3 int
        Padded voxels on the low and the high side of each axis.
    """

    origin: Triple
    pad_before: Triple
    pad_after: Triple

    @property
    def inside(self) -> tuple[slice, slice, slice]:
        """Part of the VOI that the scan covers, in VOI indices."""
        x, y, z = (
            slice(before, size - after)
            for before, size, after in zip(self.pad_before, VOI_SHAPE, self.pad_after, strict=True)
        )
        return x, y, z

    @property
    def covered(self) -> tuple[slice, slice, slice]:
        """The same part in scan indices."""
        x, y, z = (
            slice(origin + part.start, origin + part.stop)
            for origin, part in zip(self.origin, self.inside, strict=True)
        )
        return x, y, z

    @property
    def click(self) -> Triple:
        """Scan index of the VOI's centre."""
        x, y, z = (origin + centre for origin, centre in zip(self.origin, CENTRE, strict=True))
        return x, y, z


@dataclass(frozen=True)
class VoiImage:
    """Voxels of one VOI.

    Attributes
    ----------
    voxels : ndarray, shape (256, 256, 128), int16 or int32, x fastest in memory
        HU, RAS; padded voxels hold `pad_value_hu`.
    pad_value_hu : int
        Minimum of the real voxels minus one: no real voxel holds it.
    hu_min, hu_max : int
        Of the real voxels.
    limits : tuple of 2 int
        Smallest and largest voxel, padding included.
    flags : tuple of Flag
    """

    voxels: NDArray[np.signedinteger]
    pad_value_hu: int
    hu_min: int
    hu_max: int
    limits: tuple[int, int]
    flags: tuple[Flag, ...]


def box_at(origin: Triple, scan_shape: tuple[int, ...]) -> Box:
    """Box whose index (0, 0, 0) lies at `origin` of a scan.

    Raises
    ------
    CaseError
        `replay_position`: the box does not meet the scan.
    """
    before, after = [], []
    for start, size, scan in zip(origin, VOI_SHAPE, scan_shape, strict=True):
        before.append(max(0, -start))
        after.append(max(0, start + size - scan))
        if before[-1] >= size or after[-1] >= size:
            raise CaseError(
                Reason.REPLAY_POSITION, f"a VOI at {origin} does not meet a scan of {scan_shape}"
            )
    return Box(origin, (before[0], before[1], before[2]), (after[0], after[1], after[2]))


def box_around(click: Triple, scan_shape: tuple[int, ...]) -> Box:
    """Box in which a click of the scan lies at index (128, 128, 64)."""
    x, y, z = (at - centre for at, centre in zip(click, CENTRE, strict=True))
    return box_at((x, y, z), scan_shape)


def cut_image(scan: Volume, box: Box, pad_value_hu: int | None = None) -> VoiImage:
    """Cut and pad one VOI; only its own voxels are converted to HU.

    Parameters
    ----------
    pad_value_hu : int, optional
        Instead of the VOI's minimum minus one.

    Raises
    ------
    CaseError
        `not_finite`, or `hu_out_of_range` where int32 cannot hold the values.
    """
    stored = scan.ras[box.covered]
    voxels = room_for(VOI_SHAPE, np.int16)
    real: NDArray[np.integer] = voxels[box.inside]
    flags: tuple[Flag, ...] = ()
    shift = _whole_shift(scan, stored.dtype)
    if shift is None:
        # One copy with x fastest: all that follows runs over memory in its order.
        real, flags = hounsfield(np.asfortranarray(stored), scan.slope, scan.intercept)
        shift = 0
    else:
        real = real.view(stored.dtype.newbyteorder("="))
        real[...] = stored
    low, high = int(real.min()) + shift, int(real.max()) + shift
    pad = low - 1 if pad_value_hu is None else pad_value_hu
    padded = any(box.pad_before) or any(box.pad_after)
    lowest, highest = (min(low, pad), max(high, pad)) if padded else (low, high)
    if lowest < _INT32.min or highest > _INT32.max:
        raise CaseError(
            Reason.HU_OUT_OF_RANGE, f"values from {low} to {high} with padding {pad}: no int32 HU"
        )
    if lowest < _INT16.min or highest > _INT16.max:
        flags = (*flags, Flag.HU_INT32)
        voxels = room_for(VOI_SHAPE, np.int32)
    inside = voxels[box.inside]
    if not np.shares_memory(inside, real):
        inside[...] = real
    if shift:
        # Whatever wraps around on the way: both ends of the range are known to fit.
        inside += np.array(shift).astype(inside.dtype)
    if padded:
        # The last axis is the slowest in memory.
        fill_outside(voxels.T, box.inside[::-1], pad)
    return VoiImage(voxels, pad, low, high, (lowest, highest), flags)


def _whole_shift(scan: Volume, dtype: np.dtype[Any]) -> int | None:
    """Difference between HU and stored integers of 16 bits; None where it is not that simple."""
    simple = dtype.kind in "iu" and dtype.itemsize == 2 and scan.slope == 1
    simple = simple and scan.intercept.is_integer() and abs(scan.intercept) < 1 << 20
    return int(scan.intercept) if simple else None


def hounsfield(
    stored: NDArray[Any], slope: float, intercept: float
) -> tuple[NDArray[np.integer], tuple[Flag, ...]]:
    """Return stored values as whole HU, rounded half to even where they are not whole.

    Returns
    -------
    hu : ndarray of the stored integer type (as it is), or int64
    flags : `hu_rounded` where a value changed by more than 1e-3 HU
    """
    if stored.dtype.kind in "iu" and (slope, intercept) == (1.0, 0.0):
        return stored, ()
    whole_scale = slope.is_integer() and intercept.is_integer()
    if (
        stored.dtype.kind in "iu"
        and stored.dtype.itemsize <= 4
        and whole_scale
        and max(abs(slope), abs(intercept)) < 1 << 20
    ):
        return stored.astype(np.int64) * int(slope) + int(intercept), ()
    with np.errstate(over="ignore", invalid="ignore"):
        values = stored.astype(np.float64) * slope + intercept
    if not np.isfinite(values).all():
        bad = int((~np.isfinite(values)).sum())
        raise CaseError(Reason.NOT_FINITE, f"{bad} voxels of the VOI are NaN or infinite")
    whole = np.rint(values)
    if np.abs(whole).max(initial=0) > 1 << 40:
        raise CaseError(Reason.HU_OUT_OF_RANGE, f"values up to {np.abs(whole).max():g} are not HU")
    rounded = bool(np.abs(whole - values).max(initial=0) > 1e-3)
    return whole.astype(np.int64), (Flag.HU_ROUNDED,) if rounded else ()


def scan_minimum_hu(scan: Volume) -> int:
    """Smallest HU of a whole scan (for the published padding)."""
    stored = scan.stored
    if stored.dtype.kind == "f":
        stored = stored[np.isfinite(stored)]  # a NaN outside every VOI does no harm
    extremes = np.array([stored.min(), stored.max()])
    return int(hounsfield(extremes, scan.slope, scan.intercept)[0].min())


def extent(voxels: NDArray[np.int32], box: Box) -> tuple[Triple, Triple]:
    """First VOI index, and one past the last, between which a label can hold anything.

    Parameters
    ----------
    voxels : ndarray, shape (n, 3), int32
        RAS indices of the lesion in the scan, at least one.
    """
    ends = [voxels.min(axis=0), voxels.max(axis=0) + 1]
    (i, j, k), (x, y, z) = np.clip(ends - np.array(box.origin), 0, VOI_SHAPE).tolist()
    return (i, j, k), (x, y, z)


def cut_label(voxels: NDArray[np.int32], box: Box) -> NDArray[np.uint8]:
    """Label of one lesion in a VOI.

    Parameters
    ----------
    voxels : ndarray, shape (n, 3), int32
        RAS indices of the lesion in the scan; those outside the VOI are left out.

    Returns
    -------
    ndarray, shape (256, 256, 128), uint8 {0, 1}, x fastest in memory
    """
    label: NDArray[np.uint8] = room_for(VOI_SHAPE, np.uint8)
    label[...] = 0
    local = voxels - np.array(box.origin, dtype=np.int32)
    inside = ((local >= 0) & (local < np.array(VOI_SHAPE, dtype=np.int32))).all(axis=1)
    label[tuple(local[inside].T)] = 1
    return label
