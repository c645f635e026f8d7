"""The one way in which this package writes NIfTI: same voxels and affine, same bytes."""

from __future__ import annotations

import nibabel
import numpy as np
from numpy.typing import NDArray

from uls_data.geometry import Affine
from uls_data.io import gzip

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
    header = nibabel.Nifti1Header(endianness="<")
    header.set_data_shape(voxels.shape)
    header.set_data_dtype(voxels.dtype)
    header.set_xyzt_units("mm")
    header.set_qform(affine, code=1, strip_shears=True)
    header.set_sform(affine, code=1)
    header.set_slope_inter(1.0, 0.0)
    header["vox_offset"] = _OFFSET
    header["magic"] = b"n+1"
    # One buffer for header and voxels, so that nothing is copied before encoding.
    buffer = bytearray(_OFFSET + voxels.nbytes)
    buffer[: len(header.binaryblock)] = header.binaryblock
    target = np.frombuffer(buffer, dtype=voxels.dtype.newbyteorder("<"), offset=_OFFSET)
    target.reshape(voxels.shape, order="F")[...] = voxels
    return gzip(buffer)


def stored_affine(affine: Affine) -> Affine:
    """Return the affine as a reader of the written file will see it (float32 rounding)."""
    return affine.astype(np.float32).astype(np.float64)
