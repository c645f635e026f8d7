"""Volumes in every format, and what reading them gives."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
from numpy.typing import NDArray

from demo.files import write_itk
from uls_data.errors import CaseError
from uls_data.outcome import Reason
from uls_data.volumes import Volume, read_volume

SHAPE = (5, 4, 3)
AFFINE = np.array(
    [[0.75, 0, 0, -31.5], [0, 0.5, 0, 12.75], [0, 0, 2.5, -804.25], [0, 0, 0, 1]], dtype=np.float64
)
ARRAY = np.arange(-30, 30, dtype=np.int16).reshape(SHAPE)


def nifti_bytes(
    array: NDArray[Any] = ARRAY, affine: NDArray[Any] = AFFINE, kind: Any = nib.Nifti1Image
) -> bytes:
    data: bytes = kind(array, affine).to_bytes()
    return data


def patched(data: bytes, at: int, layout: str, *values: float) -> bytes:
    """Bytes of a little-endian NIfTI-1 with one header field replaced."""
    changed = bytearray(data)
    struct.pack_into("<" + layout, changed, at, *values)
    return bytes(changed)


def put(folder: Path, name: str, data: bytes) -> Path:
    path = folder / name
    path.write_bytes(data)
    return path


def read(path: Path, **options: Any) -> Volume:
    return read_volume(path, path.parent, **options)


def reason_of(path: Path, **options: Any) -> Reason:
    with pytest.raises(CaseError) as caught:
        read(path, **options)
    assert path.name in caught.value.detail or caught.value.reason is Reason.BAD_AFFINE
    return caught.value.reason


def write_as(folder: Path, form: str, array: NDArray[Any], affine: NDArray[Any]) -> Path:
    """Write one scan in the named form, by nibabel or SimpleITK alone."""
    path = folder / f"scan.{form.split(' ')[0]}"
    if form == "nii.gz members":
        raw = nifti_bytes(array, affine)
        cuts = [raw[:3], raw[3:360], b"", raw[360:400], raw[400:]]
        path.write_bytes(b"".join(gzip.compress(part) for part in cuts))
    elif form == "nii big-endian":
        header = nib.Nifti1Header(endianness=">")
        header.set_data_dtype(array.dtype.newbyteorder(">"))
        image = nib.Nifti1Image(array.astype(array.dtype.newbyteorder(">")), affine, header)
        path.write_bytes(image.to_bytes())
        assert path.read_bytes()[:4] == (348).to_bytes(4, "big")
    elif form in ("nii nifti-2", "nii.gz nifti-2"):
        nib.save(nib.Nifti2Image(array, affine), path)
    elif form in ("nii", "nii.gz"):
        nib.save(nib.Nifti1Image(array, affine), path)
    else:
        write_itk(path, array, affine)
        if form in ("nrrd gzip", "mha zlib"):
            sitk.WriteImage(sitk.ReadImage(str(path)), str(path), True)
    return path


FORMS = (
    "nii",
    "nii.gz",
    "nii.gz members",
    "nii nifti-2",
    "nii.gz nifti-2",
    "nii big-endian",
    "mha",
    "mha zlib",
    "mhd",
    "nrrd",
    "nrrd gzip",
)
