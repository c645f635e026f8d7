"""The one way in which this package writes NIfTI: same voxels and affine, same bytes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from uls_data.geometry import Affine
from uls_data.io import gzip
from uls_data.io.mask_gzip import gzip_mask
from uls_data.volumes.nifti_header import scanner_header

_OFFSET = 352


def nifti_gz(voxels: NDArray[np.integer], affine: Affine) -> bytes:
    """Gzipped NIfTI-1 of a RAS array.

    sform = qform with code 1 (scanner), millimetres, slope 1, no text in any
    field, no extension, no time or name in the gzip header. Headers hold the
    affine as float32. A sheared affine cannot be a qform; sform holds it in full
    and qform its nearest rotation.

    Parameters
    ----------
    voxels : ndarray, shape (x, y, z), uint8, int16 or int32
    affine : ndarray, 4x4, RAS, mm
    """
    header = scanner_header(voxels.shape, voxels.dtype, affine)
    # One buffer for header and voxels, so that nothing is copied before encoding.
    buffer = bytearray(_OFFSET + voxels.nbytes)
    buffer[: len(header)] = header
    target = np.frombuffer(buffer, dtype=voxels.dtype.newbyteorder("<"), offset=_OFFSET)
    target.reshape(voxels.shape, order="F")[...] = voxels
    packed = gzip_mask(buffer, _OFFSET) if voxels.dtype == np.uint8 else None
    return gzip(buffer) if packed is None else packed


def stored_affine(affine: Affine) -> Affine:
    """Return the affine as a reader of the written file will see it (float32 rounding)."""
    return affine.astype(np.float32).astype(np.float64)
