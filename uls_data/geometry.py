"""Axes, affines and orientation: the only module that knows them.

Frame: RAS+ patient space in millimetres. Voxel indices are zero-based and name
voxel centres. An affine maps an index (i, j, k, 1) to (x, y, z, 1) in mm.
Arrays are indexed [x, y, z] once they are in RAS order.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from uls_data.errors import CaseError
from uls_data.outcome import Flag, Reason

Affine = NDArray[np.float64]
Triple = tuple[int, int, int]

LPS_TO_RAS: Affine = np.diag([-1.0, -1.0, 1.0, 1.0])
# Headers are float32: two honest copies of one geometry differ by rounding only.
AFFINE_TOLERANCE_MM = 1e-3
OBLIQUE_TOLERANCE = 1e-3
# Micro-CT of a specimen has 0.02 mm, no clinical scan steps by more than 25 mm.
SMALLEST_SPACING_MM, LARGEST_SPACING_MM = 0.02, 25.0


@dataclass(frozen=True)
class Orientation:
    """How stored axes become RAS axes: a permutation and three flips, never a resample.

    Attributes
    ----------
    axes : tuple of 3 int
        `axes[r]` is the stored axis that becomes RAS axis r.
    flips : tuple of 3 bool
        Whether RAS axis r runs against its stored axis.
    """

    axes: Triple
    flips: tuple[bool, bool, bool]

    @property
    def is_ras(self) -> bool:
        """Whether the stored axes are RAS axes already."""
        return self.axes == (0, 1, 2) and not any(self.flips)

    def apply(self, stored: NDArray[Any]) -> NDArray[Any]:
        """View of a stored 3-D array in RAS order; no voxel is copied."""
        view = stored.transpose(self.axes)
        return view[tuple(slice(None, None, -1 if flip else 1) for flip in self.flips)]

    def apply_affine(self, affine: Affine, stored_shape: tuple[int, ...]) -> Affine:
        """Affine of the RAS view of an array with this stored affine and shape."""
        to_stored = np.zeros((4, 4))
        to_stored[3, 3] = 1
        for ras_axis, (stored_axis, flip) in enumerate(zip(self.axes, self.flips, strict=True)):
            to_stored[stored_axis, ras_axis] = -1 if flip else 1
            to_stored[stored_axis, 3] = stored_shape[stored_axis] - 1 if flip else 0
        result: Affine = affine @ to_stored
        return result


def check_affine(affine: NDArray[Any]) -> Affine:
    """Return a copy as float64 that is known to be usable.

    Raises
    ------
    CaseError
        `bad_affine`: not 4x4, not finite, bottom row not (0, 0, 0, 1), singular, or of voxels
        that no scan has.
    """
    matrix = np.array(affine, dtype=np.float64)
    if matrix.shape != (4, 4):
        raise CaseError(Reason.BAD_AFFINE, f"expected a 4x4 affine, found shape {matrix.shape}")
    if not np.isfinite(matrix).all():
        raise CaseError(Reason.BAD_AFFINE, f"affine is not finite: {describe(matrix)}")
    if not np.array_equal(matrix[3], (0, 0, 0, 1)):
        raise CaseError(Reason.BAD_AFFINE, f"bottom row is not 0 0 0 1: {describe(matrix)}")
    with np.errstate(over="ignore"):
        lengths = spacing_mm(matrix)
    if not SMALLEST_SPACING_MM <= min(lengths) <= max(lengths) <= LARGEST_SPACING_MM:
        found = " x ".join(f"{length:g}" for length in lengths)
        raise CaseError(
            Reason.BAD_AFFINE,
            f"expected voxels of {SMALLEST_SPACING_MM:g} to {LARGEST_SPACING_MM:g} mm, found "
            f"{found} mm; are they in another unit? Fix the header",
        )
    volume = abs(np.linalg.det(matrix[:3, :3] / lengths))
    if volume < 1e-3:
        raise CaseError(Reason.BAD_AFFINE, f"affine is singular: {describe(matrix)}")
    return matrix


def spacing_mm(affine: Affine) -> tuple[float, float, float]:
    """Voxel size along each array axis, in mm: the lengths of the affine's columns."""
    x, y, z = np.sqrt((affine[:3, :3] ** 2).sum(axis=0))
    return float(x), float(y), float(z)


def orientation_to_ras(affine: Affine) -> Orientation:
    """Permutation and flips that bring the array closest to RAS+.

    Each patient axis is given the stored axis most aligned with it, the best
    match first, so that the assignment is one to one for oblique scans too.
    """
    cosines = affine[:3, :3] / spacing_mm(affine)
    strength = np.abs(cosines)
    axes = [-1, -1, -1]
    for _ in range(3):
        patient, stored = np.unravel_index(int(np.argmax(strength)), (3, 3))
        axes[int(patient)] = int(stored)
        strength[patient, :] = -1
        strength[:, stored] = -1
    flips = [bool(cosines[patient, stored] < 0) for patient, stored in enumerate(axes)]
    return Orientation((axes[0], axes[1], axes[2]), (flips[0], flips[1], flips[2]))


def axis_codes(affine: Affine) -> str:
    """Three letters that say which way the stored axes run, such as `RAS` or `IPL`."""
    orientation = orientation_to_ras(affine)
    letters = ["?", "?", "?"]
    for patient, (stored, flip) in enumerate(zip(orientation.axes, orientation.flips, strict=True)):
        letters[stored] = ("LPI" if flip else "RAS")[patient]
    return "".join(letters)


def affine_flags(affine: Affine) -> tuple[Flag, ...]:
    """Return the flags of a RAS affine: oblique, sheared, anisotropic in plane."""
    flags = []
    lengths = np.array(spacing_mm(affine))
    cosines = affine[:3, :3] / lengths
    if np.abs(cosines - np.diag(np.diag(cosines))).max() > OBLIQUE_TOLERANCE:
        flags.append(Flag.OBLIQUE)
    if np.abs(cosines.T @ cosines - np.eye(3)).max() > OBLIQUE_TOLERANCE:
        flags.append(Flag.SHEARED)
    if abs(lengths[0] - lengths[1]) > AFFINE_TOLERANCE_MM:
        flags.append(Flag.ANISOTROPIC_IN_PLANE)
    return tuple(flags)


def shifted(affine: Affine, offset_vox: tuple[int, ...]) -> Affine:
    """Affine of a crop that starts at voxel `offset_vox` (may be negative) of the array."""
    result = affine.copy()
    result[:3, 3] = affine[:3, :3] @ np.asarray(offset_vox, dtype=np.float64) + affine[:3, 3]
    return result


def without_origin(affine: Affine) -> Affine:
    """Affine that puts index 0 of the array at 0 mm, as some published ones do."""
    result = affine.copy()
    result[:3, 3] = 0
    return result


def offset_vox(outer: Affine, inner: Affine) -> NDArray[np.float64]:
    """Index in `outer` of voxel (0, 0, 0) of `inner`; fractional where grids do not align."""
    offset = np.linalg.solve(outer[:3, :3], inner[:3, 3] - outer[:3, 3])
    return np.asarray(offset, dtype=np.float64)


def to_mm(affine: Affine, index_vox: NDArray[Any]) -> NDArray[np.float64]:
    """Patient coordinates (RAS, mm) of voxel indices, shape (..., 3)."""
    return np.asarray(index_vox @ affine[:3, :3].T + affine[:3, 3], dtype=np.float64)


def to_vox(affine: Affine, point_mm: NDArray[Any]) -> NDArray[np.float64]:
    """Voxel indices (fractional) of patient coordinates (RAS, mm), shape (..., 3)."""
    points = np.asarray(point_mm, dtype=np.float64)
    indices = np.linalg.solve(affine[:3, :3], (points - affine[:3, 3]).reshape(-1, 3).T).T
    return np.asarray(indices.reshape(points.shape), dtype=np.float64)


def affine_difference_mm(one: Affine, other: Affine, shape: tuple[int, ...]) -> float:
    """Largest distance between where two affines put the eight corners of a grid, in mm."""
    corners = np.stack(
        np.meshgrid(*[(0, max(n - 1, 1)) for n in shape], indexing="ij"), axis=-1
    ).reshape(-1, 3)
    return float(np.linalg.norm(to_mm(one, corners) - to_mm(other, corners), axis=1).max())


def same_but_flipped(one: Affine, other: Affine, shape: tuple[int, ...]) -> bool:
    """Whether two affines of one stored grid differ by no more than careless writers' habits.

    Those are axes that run the other way, from the same corner or from the opposite one, or whose
    sign was confused with the origin's (LPS and RAS); an origin within one voxel; and a spacing
    within 1 %.
    """
    lengths = np.array(spacing_mm(one)), np.array(spacing_mm(other))
    if np.abs(lengths[0] / lengths[1] - 1).max() > 0.01:
        return False
    ways = one[:3, :3] / lengths[0], other[:3, :3] / lengths[1]
    cosines = (ways[0] * ways[1]).sum(axis=0)
    if np.abs(cosines).min() < 1 - OBLIQUE_TOLERANCE:
        return False
    reach_mm = lengths[1].max()
    flips = np.where(cosines < 0, -1.0, 1.0)
    steps = np.array(shape[:3]) - 1
    opposite = to_mm(one, np.where(flips < 0, steps, 0))
    # What turned an axis of the patient about may have turned the origin with it.
    turned = one[:3, 3] * np.where((np.abs(ways[1]) * (flips < 0)).max(axis=1) > 0.5, -1.0, 1.0)
    candidates = (one[:3, 3], opposite, turned)
    return any(np.linalg.norm(it - other[:3, 3]) <= reach_mm for it in candidates)


def bounding_box(mask: NDArray[np.bool_]) -> tuple[NDArray[np.bool_], Triple]:
    """View of the smallest box that holds a mask, shape (x, y, z), and where it starts.

    An empty mask gives an empty box.
    """
    start = [0, 0, 0]
    for axis in (2, 1, 0):
        hit = np.flatnonzero(mask.any(axis=tuple(a for a in range(3) if a != axis)))
        if hit.size == 0:
            return mask[:0, :0, :0], (0, 0, 0)
        start[axis] = int(hit[0])
        keep = [slice(None)] * 3
        keep[axis] = slice(int(hit[0]), int(hit[-1]) + 1)
        mask = mask[tuple(keep)]
    return mask, (start[0], start[1], start[2])


def fill_outside(array: NDArray[Any], box: tuple[slice, ...], value: Any) -> None:
    """Set what lies outside a box of an array; what lies inside is not touched."""
    for axis, part in enumerate(box):
        across = (slice(None),) * axis
        array[(*across, slice(0, part.start))] = value
        array[(*across, slice(part.stop, None))] = value
        array = array[(*across, part)]


def describe(affine: Affine) -> str:
    """One line with the numbers of an affine, for messages."""
    return " ".join("[" + " ".join(f"{v:g}" for v in row) + "]" for row in affine[:3])
