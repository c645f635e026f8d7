"""Computed CT scans: a body, an organ and irregular lesions, from a seed alone.

Arrays are indexed [x, y, z] in RAS order. Every random number comes from
`numpy.random.Generator(PCG64(seed))` and HU are rounded to integers, so that a
seed gives the same bytes again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import permutations, product
from typing import Any

import numpy as np
from numpy.typing import NDArray

Affine = NDArray[np.float64]
Mask = NDArray[np.bool_]
Triple = tuple[int, int, int]
Spacing = tuple[float, float, float]
# Of a generator, the voxel that it holds, its radius in mm, the scan's shape and spacing.
Form = Callable[[np.random.Generator, NDArray[np.int_], float, Triple, Spacing], Mask]

AIR_HU = -1000
BODY_HU = 40
LOWEST_HU = -1024
NOISE_SD_HU = 10.0
TEXTURE_SD_HU = 6.0
TEXTURE_STEP_VOX = 12
CONTRAST_HU = (30, 80)
_POSITIVE, _NEGATIVE = "RAS", "LPI"

ORIENTATIONS: tuple[str, ...] = tuple(
    "".join(letters) for axes in permutations(("LR", "PA", "IS")) for letters in product(*axes)
)
"""All 48 ways to store a volume, as the patient directions its three axes run towards."""


@dataclass(frozen=True)
class LesionSpec:
    """One lesion of a phantom.

    Attributes
    ----------
    centre : tuple of 3 float
        Position as a fraction of the scan's shape.
    radius_mm : float
        About half the lesion's length; its surface is lobulated.
    contrast_hu : int or None
        Difference from the tissue around it; None draws one of 30..80.
    touches : int or None
        Number (1..) of an earlier lesion that this one is laid against, on the side
        of higher x: the two share faces of voxels, and `centre` counts no more.
    at_edge : bool
        Whether the lesion is centred on the scan's topmost slice, which cuts it.
    single_voxel : bool
        Whether the lesion is one voxel.
    form : callable, optional
        Draws its voxels; None: an ellipsoid with smaller ones that reach out of it.
    """

    centre: tuple[float, float, float] = (0.5, 0.5, 0.5)
    radius_mm: float = 6.0
    contrast_hu: int | None = None
    touches: int | None = None
    at_edge: bool = False
    single_voxel: bool = False
    form: Form | None = None


@dataclass(frozen=True)
class Phantom:
    """A computed scan in RAS order.

    Attributes
    ----------
    ct_hu : ndarray of int16, shape (x, y, z)
    label_map : ndarray of uint8, shape (x, y, z)
        0, or the number of the lesion in the order in which lesions were asked for.
    organ : ndarray of uint8, shape (x, y, z)
        1 in the organ, lesions inside it included.
    spacing_mm : tuple of 3 float
    name : str
    """

    ct_hu: NDArray[np.int16]
    label_map: NDArray[np.uint8]
    organ: NDArray[np.uint8]
    spacing_mm: Spacing
    name: str

    def affine(self, origin_mm: Spacing = (0.0, 0.0, 0.0)) -> Affine:
        """RAS affine of the scan with voxel (0, 0, 0) at `origin_mm`."""
        return ras_affine(self.spacing_mm, origin_mm)


def make_phantom(
    seed: int,
    shape: Triple = (96, 80, 48),
    spacing_mm: Spacing = (0.8, 0.8, 2.5),
    lesions: Sequence[LesionSpec] = (LesionSpec(),),
    organ_hu: int = 90,
    name: str = "phantom",
) -> Phantom:
    """Compute one scan.

    Parameters
    ----------
    seed : int
        Not negative; the same seed and arguments give the same voxels.
    shape : tuple of 3 int
        Voxels along x, y, z.
    spacing_mm : tuple of 3 float
    lesions : sequence of LesionSpec
        Each is one 6-connected component unless it touches another; where two
        would overlap, the earlier keeps the voxels.
    organ_hu : int
        Mean of the organ: 90 for a liver, -800 for a lung.
    name : str

    Returns
    -------
    Phantom
    """
    rng = np.random.Generator(np.random.PCG64(seed))
    body = _ellipse(shape, (0.46, 0.44, None))
    organ = _ellipse(shape, (0.30, 0.28, 0.42))
    hu = np.where(body, float(BODY_HU), float(AIR_HU))
    hu[organ] = organ_hu
    hu += np.where(body, TEXTURE_SD_HU * _smooth_field(rng, shape), 0.0)
    label_map = np.zeros(shape, dtype=np.uint8)
    for number, spec in enumerate(lesions, start=1):
        mask = _lesion(rng, spec, label_map, spacing_mm)
        drawn = int(rng.integers(CONTRAST_HU[0], CONTRAST_HU[1] + 1))
        hu[mask] += drawn if spec.contrast_hu is None else spec.contrast_hu
        label_map[mask] = number
    hu += NOISE_SD_HU * rng.standard_normal(shape)
    ct_hu = np.rint(np.maximum(hu, LOWEST_HU)).astype(np.int16)
    return Phantom(ct_hu, label_map, organ.astype(np.uint8), spacing_mm, name)


def ras_affine(spacing_mm: Spacing, origin_mm: Spacing = (0.0, 0.0, 0.0)) -> Affine:
    """Affine of a RAS array: spacing on the diagonal, voxel (0, 0, 0) at `origin_mm`."""
    affine: Affine = np.diag([*spacing_mm, 1.0]).astype(np.float64)
    affine[:3, 3] = origin_mm
    return affine


def tilted(affine: Affine, degrees: float) -> Affine:
    """Turn an affine about the patient's left-right axis, as a tilted scan."""
    sine, cosine = np.sin(np.radians(degrees)), np.cos(np.radians(degrees))
    turn: Affine = np.eye(4)
    turn[1:3, 1:3] = [[cosine, -sine], [sine, cosine]]
    result: Affine = turn @ affine
    return result


def store(
    array: NDArray[Any], affine_ras: Affine, codes: Sequence[str]
) -> tuple[NDArray[Any], Affine]:
    """Turn a RAS array and its affine into another way of storing the same scan.

    Parameters
    ----------
    array : ndarray, shape (x, y, z)
    affine_ras : ndarray, shape (4, 4)
    codes : sequence of 3 str
        Where the stored axes run to, one of `ORIENTATIONS`: `IPL` or ("I", "P", "L").

    Returns
    -------
    stored : ndarray
        A contiguous copy.
    affine : ndarray, shape (4, 4)
        Maps its indices to the same patient coordinates (RAS, mm).
    """
    if "".join(codes) not in ORIENTATIONS:
        raise ValueError(f"not an orientation: {codes!r}")
    axes = [(_POSITIVE if code in _POSITIVE else _NEGATIVE).index(code) for code in codes]
    flips = [code in _NEGATIVE for code in codes]
    to_ras = np.zeros((4, 4))
    to_ras[3, 3] = 1
    for stored_axis, (ras_axis, flip) in enumerate(zip(axes, flips, strict=True)):
        to_ras[ras_axis, stored_axis] = -1 if flip else 1
        to_ras[ras_axis, 3] = array.shape[ras_axis] - 1 if flip else 0
    turned = array.transpose(axes)[tuple(slice(None, None, -1 if f else 1) for f in flips)]
    affine: Affine = affine_ras @ to_ras
    return np.ascontiguousarray(turned), affine


def grown(mask: Mask) -> Mask:
    """Add to a mask the voxels that share a face with it."""
    wide = np.pad(mask, 1)
    result: Mask = mask.copy()
    for axis in range(3):
        for shift in (-1, 1):
            result |= np.roll(wide, shift, axis=axis)[1:-1, 1:-1, 1:-1]
    return result


def border(mask: Mask) -> Mask:
    """Find the voxels on both sides of a mask's surface."""
    return (grown(mask) & ~mask) | (grown(~mask) & mask)


def _ellipse(shape: Triple, radii: tuple[float, float, float | None]) -> Mask:
    """Ellipsoid in the middle of a grid; radii as fractions of it, None for a cylinder."""
    square = np.zeros(shape)
    for axis, (count, radius) in enumerate(zip(shape, radii, strict=True)):
        if radius is not None:
            along = (np.arange(count) - (count - 1) / 2) / (radius * count)
            square += _on_axis(along**2, axis)
    return square <= 1


def _on_axis(values: NDArray[np.floating[Any]], axis: int) -> NDArray[np.floating[Any]]:
    """Shape a vector so that it is broadcast along one of three axes."""
    return values.reshape([-1 if a == axis else 1 for a in range(3)])


def _smooth_field(rng: np.random.Generator, shape: Triple) -> NDArray[np.float64]:
    """Random field that changes over about 12 voxels: a coarse grid, interpolated."""
    field = rng.standard_normal([n // TEXTURE_STEP_VOX + 2 for n in shape])
    for axis, count in enumerate(shape):
        low, part = np.divmod(np.arange(count), TEXTURE_STEP_VOX)
        weight = _on_axis(part / TEXTURE_STEP_VOX, axis)
        field = field.take(low, axis) * (1 - weight) + field.take(low + 1, axis) * weight
    return field


def _lesion(
    rng: np.random.Generator, spec: LesionSpec, label_map: NDArray[np.uint8], spacing_mm: Spacing
) -> Mask:
    """Voxels of one lesion; those of earlier lesions are left out."""
    shape = label_map.shape
    if spec.touches is not None:
        partner = np.argwhere(label_map == spec.touches)
        if len(partner) == 0:
            raise ValueError(f"lesion {spec.touches}, which is to be touched, does not exist yet")
        centre = np.rint(partner.mean(axis=0)).astype(int)
    else:
        centre = np.array([int(f * n) for f, n in zip(spec.centre, shape, strict=True)])
        if spec.at_edge:
            centre[2] = shape[2] - 1
        if not ((centre >= 0) & (centre < shape)).all():
            raise ValueError(f"lesion centre {spec.centre} lies outside the scan")
    mask = np.zeros(shape, dtype=bool)
    mask[tuple(centre)] = True
    if not spec.single_voxel:
        mask |= (spec.form or _lobes)(rng, centre, spec.radius_mm, shape, spacing_mm)
    if spec.touches is not None:
        mask = _laid_against(mask, label_map == spec.touches)
    mask &= label_map == 0
    return mask


def _lobes(
    rng: np.random.Generator,
    centre: NDArray[np.int_],
    radius_mm: float,
    shape: Triple,
    spacing_mm: Spacing,
) -> Mask:
    """Union of an ellipsoid and three to five smaller ones that reach out of it.

    All hold the voxel `centre`. An ellipsoid along the axes is 6-connected, so
    the union is, too.
    """
    result = np.zeros(shape, dtype=bool)
    lobes = 1 + int(rng.integers(3, 6))
    for lobe in range(lobes):
        size = rng.uniform(0.7, 0.9, 3) if lobe == 0 else rng.uniform(0.5, 0.75, 3)
        radii = radius_mm * size / spacing_mm
        direction = rng.standard_normal(3)
        direction /= np.sqrt((direction**2).sum())
        at = centre + direction * radii * (0 if lobe == 0 else rng.uniform(0.5, 0.9))
        result |= ball(shape, at, radii)
    return result


def ball(
    shape: tuple[int, ...], centre: NDArray[np.floating[Any]], radii: NDArray[np.floating[Any]]
) -> Mask:
    """Voxels of a grid in an ellipsoid along its axes; centre and radii in voxels."""
    square = np.zeros(shape)
    for axis in range(3):
        along = (np.arange(shape[axis]) - centre[axis]) / radii[axis]
        square += _on_axis(along**2, axis)
    result: Mask = square <= 1
    return result


def _laid_against(mask: Mask, partner: Mask) -> Mask:
    """Move a mask along x, from the high side, until it digs two voxels into its partner."""
    shifts = range(mask.shape[0] - 1, -1, -1)
    meets = next((s for s in shifts if (_moved(mask, s) & partner).any()), 0)
    return _moved(mask, max(meets - 2, 0))


def _moved(mask: Mask, shift: int) -> Mask:
    """Move a mask towards higher x; what leaves the grid is lost."""
    result = np.zeros_like(mask)
    result[shift:] = mask[: mask.shape[0] - shift]
    return result
