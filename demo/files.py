"""Writers of made-up archives: same voxels, same bytes, same times."""

from __future__ import annotations

import gzip
import hashlib
import os
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from demo.phantom import Affine

FIXED_TIME = 1_577_836_800  # 2020-01-01, so that two archives look alike
GZIP_LEVEL = 6
# MetaImage's name of a type, and NRRD's.
_ITK_TYPES = {
    "uint8": ("MET_UCHAR", "unsigned char"),
    "int8": ("MET_CHAR", "signed char"),
    "int16": ("MET_SHORT", "short"),
    "uint16": ("MET_USHORT", "unsigned short"),
    "int32": ("MET_INT", "int"),
    "int64": ("MET_LONG_LONG", "long long int"),
    "float32": ("MET_FLOAT", "float"),
    "float64": ("MET_DOUBLE", "double"),
}
_RECIPE_HEAD = """\
# {comment}
schema_version: 1
source: {source}
recipe_version: 1
title: {title} (made up)

licence:
  name: CC0-1.0
  redistributable: true
  evidence: computed by uls_data.demo from a seed

citation: none
access:
  - Written by `make demo`.

"""
_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
_APPLE_DOUBLE = b"\x00\x05\x16\x07\x00\x02\x00\x00Mac OS X        "
_DS_STORE = b"\x00\x00\x00\x01Bud1\x00\x00"


def seed_of(seed: int, *name: str) -> int:
    """Seed of one scan, from the archive's seed and the scan's name alone."""
    text = "/".join([str(seed), *name])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")


def write(path: Path, data: bytes | bytearray) -> None:
    """Write a file and the folders above it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def recipe_text(source: str, title: str, comment: str, rest: str) -> str:
    """Recipe of a made-up archive.

    Parameters
    ----------
    comment : str
        First line.
    rest : str
        YAML from `reader` on.
    """
    return _RECIPE_HEAD.format(source=source, title=title, comment=comment) + rest


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
    """Write `.nrrd`, `.mha` or `.mhd` with `.raw`, uncompressed, to the byte as SimpleITK does.

    Parameters
    ----------
    path : Path
    data : ndarray, indexed in the order of its affine's columns
    affine : ndarray, shape (4, 4)
        RAS mm, as everywhere; written as LPS.
    """
    lps = _LPS @ affine
    spacing = np.sqrt((lps[:3, :3] ** 2).sum(axis=0))
    names = _ITK_TYPES[data.dtype.name]
    header = _nrrd if path.suffix == ".nrrd" else _meta_image
    voxels = data.astype(data.dtype.newbyteorder("<")).tobytes(order="F")
    text = header(data.shape, names, lps[:3, :3] / spacing, spacing, lps[:3, 3])
    if path.suffix == ".mhd":
        raw = path.with_suffix(".raw")
        write(raw, voxels)
        write(path, f"{text}ElementDataFile = {raw.name}\n".encode())
    else:
        end = "ElementDataFile = LOCAL\n" if path.suffix == ".mha" else "\n"
        write(path, f"{text}{end}".encode() + voxels)


def _numbers(values: Any, between: str = " ") -> str:
    """Numbers with all their digits, whole ones and zeros of either sign as ITK writes them."""
    return between.join(f"{float(value):.17g}" for value in np.ravel(values))


def _meta_image(
    shape: tuple[int, ...], names: tuple[str, str], direction: Any, spacing: Any, origin: Any
) -> str:
    ends = [
        "RAI"[axis] if column[axis] > 0 else "LPS"[axis]
        for column in direction.T
        for axis in [int(np.abs(column).argmax())]
    ]
    lines = {
        "ObjectType": "Image",
        "NDims": "3",
        "BinaryData": "True",
        "BinaryDataByteOrderMSB": "False",
        "CompressedData": "False",
        "TransformMatrix": _numbers(direction.T),
        "Offset": _numbers(origin),
        "CenterOfRotation": "0 0 0",
        "AnatomicalOrientation": "".join(ends),
        "ElementSpacing": _numbers(spacing),
        "DimSize": _numbers(shape),
        "ElementType": names[0],
    }
    return "".join(f"{key} = {value}\n" for key, value in lines.items())


def _nrrd(
    shape: tuple[int, ...], names: tuple[str, str], direction: Any, spacing: Any, origin: Any
) -> str:
    vectors = " ".join(f"({_numbers(column, ',')})" for column in (direction * spacing).T)
    lines = [
        "NRRD0004",
        "# Complete NRRD file format specification at:",
        "# http://teem.sourceforge.net/nrrd/format.html",
        f"type: {names[1]}",
        "dimension: 3",
        "space: left-posterior-superior",
        f"sizes: {_numbers(shape)}",
        f"space directions: {vectors}",
        "kinds: domain domain domain",
        "endian: little",
        "encoding: raw",
        f"space origin: ({_numbers(origin, ',')})",
    ]
    return "".join(f"{line}\n" for line in lines if "little" not in line or names[0][-4:] != "CHAR")


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
