"""The one way in which this package writes NIfTI: same voxels and affine, same bytes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from uls_data.geometry import Affine
from uls_data.io import gzip
from uls_data.io.mask_gzip import gzip_mask
from uls_data.volumes.nifti_header import VOXELS_AT, room_for, scanner_header


def nifti_gz(voxels: NDArray[np.integer], affine: Affine) -> bytes | bytearray:
    """Gzipped NIfTI-1 of a RAS array.

    sform = qform with code 1 (scanner), millimetres, slope 1, no text in any
    field, no extension, no time or name in the gzip header. Headers hold the
    affine as float32. A sheared affine cannot be a qform; sform holds it in full
    and qform its nearest rotation.

    Parameters
    ----------
    voxels : ndarray, shape (x, y, z), uint8, int16 or int32
        Those made by `room_for` are encoded where they are, others are copied.
    affine : ndarray, 4x4, RAS, mm
    """
    header = scanner_header(voxels.shape, voxels.dtype, affine)
    file = _file_of(voxels)
    if file is None:
        copy = room_for(voxels.shape, voxels.dtype)
        copy[...] = voxels
        file = _file_of(copy)
        assert file is not None
    file[: len(header)] = header
    file[len(header) : VOXELS_AT] = 0
    packed = gzip_mask(file, VOXELS_AT) if voxels.dtype == np.uint8 else None
    return gzip(file.data) if packed is None else packed


def _file_of(voxels: NDArray[np.integer]) -> NDArray[np.uint8] | None:
    """Bytes of the file that these voxels are in; None where they are not from `room_for`."""
    memory = voxels.base
    if (
        isinstance(memory, np.ndarray)
        and memory.dtype == np.uint8
        and memory.ndim == 1
        and memory.nbytes == VOXELS_AT + voxels.nbytes
        and voxels.ctypes.data == memory.ctypes.data + VOXELS_AT
        and voxels.flags.f_contiguous
        and voxels.dtype == voxels.dtype.newbyteorder("<")
    ):
        return memory
    return None


def stored_affine(affine: Affine) -> Affine:
    """Return the affine as a reader of the written file will see it (float32 rounding)."""
    return affine.astype(np.float32).astype(np.float64)
