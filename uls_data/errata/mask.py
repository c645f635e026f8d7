"""Masks that corrections bring, and what holds for every mask of a lesion."""

from __future__ import annotations

from math import prod
from pathlib import Path

import cc3d
import numpy as np
from numpy.typing import NDArray

from uls_data import geometry
from uls_data.errata.overlay import ErrataError
from uls_data.geometry import AFFINE_TOLERANCE_MM, Affine
from uls_data.io import sha256_bytes, sha256_file, write_bytes
from uls_data.manifest.by_axis import scan_box
from uls_data.manifest.row import Row
from uls_data.nifti_writer import nifti_gz
from uls_data.outcome import Flag, Supervision
from uls_data.voi import CENTRE, VOI_SHAPE
from uls_data.volumes import read_volume
from uls_data.volumes.nifti import nifti_size

_FOLDER = "patches"
_MAXIMUM_BYTES = 1 << 24


def patch_file(overlay: Path, sha256: str) -> Path:
    """File of a patch: beside the overlay, named after its hash."""
    return overlay.parent / _FOLDER / f"{sha256}.nii.gz"


def write_patch(overlay: Path, mask: NDArray[np.bool_], affine: Affine) -> str:
    """Write a mask as a patch beside an overlay; returns the SHA-256 of the file.

    Parameters
    ----------
    mask : ndarray, shape (256, 256, 128), bool, RAS
    affine : ndarray, 4x4
        Of the VOI.
    """
    data = nifti_gz(mask.view(np.uint8), affine)
    sha256 = sha256_bytes(data)
    write_bytes(patch_file(overlay, sha256), data)
    return sha256


def copy_patch(overlay: Path, to: Path, sha256: str) -> None:
    """Copy the patch of one overlay beside another.

    Raises
    ------
    ErrataError
        It is missing, too large, or another file than its name says.
    """
    source, target = _checked(overlay, sha256), patch_file(to, sha256)
    if not target.is_file() or sha256_file(target) != sha256:
        write_bytes(target, source.read_bytes())


def _checked(overlay: Path, sha256: str) -> Path:
    """File of a patch, if it is there and what its name says."""
    path = patch_file(overlay, sha256)
    name = f"{_FOLDER}/{path.name} beside {overlay.name}"
    if not path.is_file():
        raise ErrataError(f"no {name}")
    if path.stat().st_size > _MAXIMUM_BYTES:
        raise ErrataError(f"{name}: larger than the label of a VOI can be")
    if (found := sha256_file(path)) != sha256:
        raise ErrataError(f"{name}: is not the file of its name, but {found[:16]}...")
    return path


def read_patch(overlay: Path, sha256: str, affine: Affine) -> NDArray[np.bool_]:
    """Read the mask of a patch that is beside an overlay.

    Parameters
    ----------
    sha256 : str
        Of the file, which is called after it.
    affine : ndarray, 4x4
        Of the VOI that it is for.

    Returns
    -------
    ndarray, shape (256, 256, 128), bool, RAS

    Raises
    ------
    ErrataError, CaseError
        Missing, another file than its name says, or no mask on the VOI's grid.
    """
    name = f"{_FOLDER}/{patch_file(overlay, sha256).name}"
    try:
        path = _checked(overlay, sha256)
        if nifti_size(path)[0] != prod(VOI_SHAPE):
            raise ErrataError(f"{name}: expected the grid {VOI_SHAPE}")
        volume = read_volume(path, path.parent)
    except OSError as error:
        raise ErrataError(f"{name}: {error.strerror}") from error
    if volume.ras.shape != VOI_SHAPE:
        raise ErrataError(f"{name}: its grid is {volume.ras.shape}")
    off = geometry.affine_difference_mm(volume.affine, affine, VOI_SHAPE)
    if off > AFFINE_TOLERANCE_MM:
        raise ErrataError(f"{name}: lies up to {off:.3g} mm off its VOI")
    mask: NDArray[np.bool_] = volume.ras != 0
    if not np.array_equal(volume.ras[mask], np.ones(int(mask.sum()), volume.ras.dtype)):
        raise ErrataError(f"{name}: expected values 0 and 1 only")
    return mask


def check_mask(mask: NDArray[np.bool_], parent: Row) -> None:
    """Check that a new mask is one lesion that holds the click.

    Parameters
    ----------
    mask : ndarray, shape (256, 256, 128), bool, RAS
    parent : dict
        Row of the mask that it replaces. Where that one had several 6-connected parts, because
        its source gives instances, the new one is one 26-connected part, else one 6-connected.

    Raises
    ------
    ErrataError
        No voxel, some of them in the padding, the click beside it, several parts, or a weak mask
        that leaves its slice.
    """
    if not mask.any():
        raise ErrataError("no voxel is lesion; to leave a lesion out, drop it")
    outside = int(mask.sum()) - int(mask[scan_box(parent, VOI_SHAPE)].sum())
    if outside:
        raise ErrataError(f"{outside} voxels lie in the padding, where there is no scan")
    if not mask[CENTRE]:
        raise ErrataError(f"the click, voxel {CENTRE}, is not in the mask")
    parts = 26 if Flag.SEVERAL_COMPONENTS_6 in (parent["qc_flags"] or ()) else 6
    box, _ = geometry.bounding_box(mask)
    _, count = cc3d.connected_components(
        np.ascontiguousarray(box), connectivity=parts, return_N=True
    )
    if count > 1:
        raise ErrataError(f"{count} parts ({parts}-connected); one lesion is one part")
    if parent["supervision"] == Supervision.WEAK_2D and box.shape[2] > 1:
        raise ErrataError(
            f"{box.shape[2]} slices, but its supervision is weak_2d: one slice. If it is the whole "
            "lesion, say so: --full, or `columns: {supervision: full}` in the overlay",
        )
