"""Writers of made-up archives: same voxels, same bytes, same times."""

from __future__ import annotations

import gzip
import hashlib
import os
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import SimpleITK
from numpy.typing import NDArray

from demo.phantom import Affine

FIXED_TIME = 1_577_836_800  # 2020-01-01, so that two archives look alike
GZIP_LEVEL = 6
_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
_APPLE_DOUBLE = b"\x00\x05\x16\x07\x00\x02\x00\x00Mac OS X        "
_DS_STORE = b"\x00\x00\x00\x01Bud1\x00\x00"


def seed_of(seed: int, *name: str) -> int:
    """Seed of one scan, from the archive's seed and the scan's name alone."""
    text = "/".join([str(seed), *name])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")


def write(path: Path, data: bytes) -> None:
    """Write a file and the folders above it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def nifti_bytes(data: NDArray[Any], affine: Affine, *, codes: bool = True) -> bytes:
    """Bytes of an uncompressed NIfTI-1 file.

    Parameters
    ----------
    data : ndarray
        Stored in its own dtype, without scaling.
    affine : ndarray, shape (4, 4)
    codes : bool
        True: qform and sform both hold the affine, code 1. False, as in KiTS:
        sform alone, code 2.
    """
    image = nib.Nifti1Image(data, affine)
    if codes:
        image.header.set_xyzt_units("mm")
        image.set_qform(affine, 1)
        image.set_sform(affine, 1)
    result: bytes = image.to_bytes()
    return result


def gzipped(data: bytes) -> bytes:
    """Gzip without time and name."""
    return gzip.compress(data, GZIP_LEVEL, mtime=0)


def write_nifti(path: Path, data: NDArray[Any], affine: Affine, *, codes: bool = True) -> None:
    """Write `.nii` or `.nii.gz`; see `nifti_bytes`."""
    raw = nifti_bytes(data, affine, codes=codes)
    write(path, gzipped(raw) if path.name.endswith(".gz") else raw)


def write_itk(path: Path, data: NDArray[Any], affine: Affine) -> None:
    """Write `.nrrd`, `.mha` or `.mhd` with `.raw`, uncompressed.

    Parameters
    ----------
    path : Path
    data : ndarray, indexed in the order of its affine's columns
    affine : ndarray, shape (4, 4)
        RAS mm, as everywhere; written as LPS.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    lps = _LPS @ affine
    spacing = np.sqrt((lps[:3, :3] ** 2).sum(axis=0))
    image = SimpleITK.GetImageFromArray(np.ascontiguousarray(data.transpose()))
    image.SetSpacing([float(v) for v in spacing])
    image.SetOrigin([float(v) for v in lps[:3, 3]])
    image.SetDirection([float(v) for v in (lps[:3, :3] / spacing).ravel()])
    SimpleITK.WriteImage(image, str(path), False)


def write_mac_junk(folder: Path, names: tuple[str, ...]) -> None:
    """Write what macOS leaves in archives: `.DS_Store`, and `._NAME` beside each name."""
    write(folder / ".DS_Store", _DS_STORE.ljust(512, b"\x00"))
    for name in names:
        write(folder / f"._{name}", _APPLE_DOUBLE.ljust(163, b"\x00"))


def set_times(root: Path) -> None:
    """Give everything below `root` one fixed time."""
    for path in sorted(root.rglob("*"), reverse=True):
        os.utime(path, (FIXED_TIME, FIXED_TIME))
    os.utime(root, (FIXED_TIME, FIXED_TIME))
