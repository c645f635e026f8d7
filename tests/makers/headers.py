"""Text headers of MetaImage and NRRD, written by hand; and what SimpleITK makes of them."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from uls_data.volumes import Volume

SHAPE = (5, 4, 3)
VOXELS = np.arange(-30, 30, dtype="<i2").reshape(SHAPE, order="F")
PAYLOAD = VOXELS.tobytes("F")


def metaimage(
    *lines: str,
    payload: bytes = PAYLOAD,
    file: str = "LOCAL",
    kind: str = "MET_SHORT",
    sizes: str = "5 4 3",
    binary: bool | None = True,
    end: str = "\n",
) -> bytes:
    """Bytes of a .mha; lines stand between the size and the type."""
    head = [
        "ObjectType = Image",
        f"NDims = {len(sizes.split())}",
        *([] if binary is None else [f"BinaryData = {binary}"]),
        f"DimSize = {sizes}",
        *lines,
        f"ElementType = {kind}",
        f"ElementDataFile = {file}",
    ]
    return "".join(f"{line}{end}" for line in head).encode() + payload


def nrrd(*lines: str, payload: bytes = PAYLOAD, end: str = "\n", **fields: str | None) -> bytes:
    """Bytes of a .nrrd; fields replace those of the same name, or None leaves one out."""
    plain: Mapping[str, str | None] = {
        "type": "short",
        "dimension": "3",
        "sizes": "5 4 3",
        "encoding": "raw",
        "endian": "little",
    }
    head = [f"{key}: {value}" for key, value in {**plain, **fields}.items() if value is not None]
    return "".join(f"{line}{end}" for line in ["NRRD0004", *head, *lines, ""]).encode() + payload


def put(folder: Path, name: str, data: bytes) -> Path:
    path = folder / name
    path.write_bytes(data)
    return path


@contextmanager
def silent() -> Iterator[None]:
    """What ITK prints from C++ is of no interest."""
    saved, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)
        os.close(nowhere)


def by_itk(path: Path) -> tuple[NDArray[Any], NDArray[np.float64]]:
    """Voxels in stored order, and the affine to RAS, by SimpleITK alone."""
    with silent():
        image = sitk.ReadImage(str(path))
    axes = image.GetDimension()
    voxels = sitk.GetArrayFromImage(image).T
    if image.GetNumberOfComponentsPerPixel() == 1 and voxels.ndim > axes:
        voxels = voxels[0]
    affine = np.eye(4)
    direction = np.reshape(image.GetDirection(), (axes, axes))[:3, :3]
    affine[:3, :3] = direction * np.array(image.GetSpacing()[:3])
    affine[:3, 3] = image.GetOrigin()[:3]
    return voxels.reshape(voxels.shape[:3]), np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine


def assert_as_itk(volume: Volume, path: Path) -> None:
    """Hold a volume against SimpleITK: every voxel, and every bit of the affine."""
    voxels, affine = by_itk(path)
    assert volume.stored.dtype.newbyteorder("=") == voxels.dtype
    np.testing.assert_array_equal(volume.stored, voxels)
    np.testing.assert_array_equal(volume.stored_affine, affine)
