"""A volume as stored, with what is needed to see it in RAS and in HU."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from uls_data import geometry
from uls_data.errors import CaseError
from uls_data.geometry import Affine
from uls_data.outcome import Flag, Reason

# Both halves of a detached format (.mhd + .raw) count as one volume.
SUFFIXES = (".nii.gz", ".nii", ".mha", ".mhd", ".nrrd")
MAXIMUM_VOXELS = 1 << 33


@dataclass(frozen=True)
class Volume:
    """One 3-D volume, as its file stores it.

    Attributes
    ----------
    stored : ndarray, shape as stored, integer or float
        May be a read-only memory map of the file.
    stored_affine : ndarray, 4x4 float64
        From stored indices to RAS mm.
    slope, intercept : float
        Value = slope * stored + intercept.
    sha256 : str
        Of the file; of the sorted hashes of its files where there are several.
    flags : tuple of Flag
    """

    stored: NDArray[Any]
    stored_affine: Affine
    slope: float
    intercept: float
    sha256: str
    flags: tuple[Flag, ...]

    @cached_property
    def orientation(self) -> geometry.Orientation:
        """How the stored axes become RAS."""
        return geometry.orientation_to_ras(self.stored_affine)

    @cached_property
    def ras(self) -> NDArray[Any]:
        """View of the stored values in RAS order, shape (x, y, z); nothing is copied."""
        return self.orientation.apply(self.stored)

    @cached_property
    def affine(self) -> Affine:
        """Affine of `ras`, 4x4 float64."""
        return self.orientation.apply_affine(self.stored_affine, self.stored.shape)


def suffix_of(path: Path) -> str:
    """Volume suffix of a path (`.nii.gz` counts as one), or the empty string."""
    name = path.name.lower()
    return next((suffix for suffix in SUFFIXES if name.endswith(suffix)), "")


def check_file(path: Path) -> None:
    """Refuse what is not a file: reading from a FIFO would wait forever."""
    if not path.is_file():
        what = "a folder" if path.is_dir() else "a special file" if path.exists() else "nothing"
        raise CaseError(Reason.UNREADABLE, f"{path.name}: expected a file, found {what}")


def squeeze_trailing(shape: tuple[int, ...], name: str) -> tuple[tuple[int, ...], bool]:
    """Drop axes of length 1 after the third; also whether any was dropped.

    Raises
    ------
    CaseError
        `not_3d`: fewer than three axes, or a real fourth one.
    """
    spatial = shape[:3]
    if len(shape) < 3 or any(n != 1 for n in shape[3:]):
        raise CaseError(
            Reason.NOT_3D,
            f"{name}: expected three axes, found shape {shape}; split it into 3-D files",
        )
    if any(n < 1 for n in spatial):
        raise CaseError(Reason.NOT_3D, f"{name}: an axis has no voxels: shape {shape}")
    return spatial, len(shape) > 3


def check_size(voxels: int, name: str) -> None:
    """Refuse what no scan can be, before anything is allocated for it."""
    if voxels > MAXIMUM_VOXELS:
        raise CaseError(
            Reason.TOO_LARGE,
            f"{name}: header claims {voxels:,} voxels; no CT scan has more than {MAXIMUM_VOXELS:,}",
        )
