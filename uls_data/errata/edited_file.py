"""Mask files that another program wrote, untrusted until checked."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from uls_data import geometry
from uls_data.errata.overlay import ErrataError
from uls_data.errors import CaseError
from uls_data.geometry import AFFINE_TOLERANCE_MM, Affine
from uls_data.voi import VOI_SHAPE
from uls_data.volumes import Volume, read_volume
from uls_data.volumes.read import decoded_size
from uls_data.volumes.subgrid import on_grid_of

# More than a VOI's: a program may save a larger grid.
_MAXIMUM_VOXELS = 4 * VOI_SHAPE[0] * VOI_SHAPE[1] * VOI_SHAPE[2]
# Of the smallest voxel side: what programs lose when they write an affine their way.
_SLACK = 0.05
_ROUNDED = 1e-3
_SHOWN = 5


def read_edited(path: Path, affine: Affine) -> tuple[NDArray[np.bool_], tuple[str, ...]]:
    """Read a mask that another program wrote.

    Parameters
    ----------
    path : Path
    affine : ndarray, 4x4
        Of the VOI.

    Returns
    -------
    mask : ndarray, shape (256, 256, 128), bool, RAS
    flags : tuple of str
        What was put right, in words.

    Raises
    ------
    ErrataError
        Unreadable, on another grid, or not of one value; the message says what differs.
    """
    try:
        if decoded_size(path)[0] > _MAXIMUM_VOXELS:
            raise ErrataError(
                f"{path.name}: {decoded_size(path)[0]:,} voxels are too many for a VOI"
            )
        volume = read_volume(path, path.parent)
        volume, flags = _on_grid(volume, affine, path.name)
        mask, more = _binary(volume, path.name)
    except CaseError as error:
        raise ErrataError(error.detail) from error
    except OSError as error:
        raise ErrataError(f"{path}: {error.strerror}") from error
    return mask, (*flags, *more)


def _on_grid(volume: Volume, affine: Affine, name: str) -> tuple[Volume, tuple[str, ...]]:
    if volume.ras.shape != VOI_SHAPE:
        room = Volume(np.empty(VOI_SHAPE, np.uint8), affine, 1.0, 0.0, "", ())
        placed = on_grid_of(volume, room)
        if placed is None:
            raise ErrataError(
                f"{name}: its grid is {volume.ras.shape}, expected {VOI_SHAPE}, or a part of it on "
                f"the same voxels; {_differences(volume.affine, affine)}"
            )
        return placed, ("covers a part of the grid, put in its place",)
    off = geometry.affine_difference_mm(volume.affine, affine, VOI_SHAPE)
    if off <= AFFINE_TOLERANCE_MM:
        return volume, ()
    if off <= _SLACK * min(geometry.spacing_mm(affine)):
        return volume, (f"its affine is {off:.2g} mm off",)
    raise ErrataError(
        f"{name}: lies up to {off:.3g} mm off its VOI; {_differences(volume.affine, affine)}"
    )


def _differences(found: Affine, expected: Affine) -> str:
    """Say in what two affines differ."""
    parts = []
    for what, one, other, slack in (
        ("voxel size", geometry.spacing_mm(found), geometry.spacing_mm(expected), 1e-4),
        ("origin", found[:3, 3], expected[:3, 3], 1e-2),
    ):
        if not np.allclose(one, other, atol=slack):
            parts.append(f"{what} {_numbers(one)} mm, expected {_numbers(other)} mm")
    cosines = [a[:3, :3] / np.array(geometry.spacing_mm(a)) for a in (found, expected)]
    if not np.allclose(cosines[0], cosines[1], atol=1e-4):
        parts.append("its axes point another way")
    return "; ".join(parts) or "the grids are shifted slightly"


def _numbers(values: object) -> str:
    return " ".join(f"{value:.4g}" for value in np.asarray(values).tolist())


def _binary(volume: Volume, name: str) -> tuple[NDArray[np.bool_], tuple[str, ...]]:
    stored = volume.ras
    if (volume.slope, volume.intercept) != (1.0, 0.0):
        stored = stored.astype(np.float64) * volume.slope + volume.intercept
    flags: tuple[str, ...] = ()
    if stored.dtype.kind == "f":
        if not np.isfinite(stored).all():
            raise ErrataError(f"{name}: holds values that are not numbers")
        whole = np.rint(stored)
        if (off := float(np.abs(stored - whole).max())) > _ROUNDED:
            raise ErrataError(f"{name}: expected values 0 and 1, found fractions: no label map")
        flags = ("values rounded",) if off else ()
        stored = whole
    mask: NDArray[np.bool_] = np.asfortranarray(stored != 0)
    values, counts = np.unique(stored[mask], return_counts=True)
    if len(values) > 1:
        said = ", ".join(
            f"{value:g} ({count} voxels)"
            for value, count in zip(values[:_SHOWN], counts[:_SHOWN], strict=True)
        )
        raise ErrataError(f"{name}: expected values 0 and 1, found {said}: keep one segment")
    if len(values) and values[0] != 1:
        if values[0] < 0:
            raise ErrataError(f"{name}: expected values 0 and 1, found {values[0]:g}")
        flags = (*flags, f"value {values[0]:g} taken as 1")
    return mask, flags
