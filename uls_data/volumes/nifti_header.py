"""The header of a NIfTI file, as far as this package reads and writes it.

The common cases need no library, whose load is a third of a worker's start; the others
ask nibabel.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from io import BytesIO
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from uls_data.geometry import Affine

# Fields, formats and offsets in bytes, by the size of the header: NIfTI-1 and NIfTI-2.
_FIELDS: dict[int, dict[str, tuple[str, int]]] = {
    348: {
        "sizeof_hdr": ("i4", 0),
        "dim": ("8i2", 40),
        "datatype": ("i2", 70),
        "bitpix": ("i2", 72),
        "pixdim": ("8f4", 76),
        "vox_offset": ("f4", 108),
        "scl_slope": ("f4", 112),
        "scl_inter": ("f4", 116),
        "xyzt_units": ("u1", 123),
        "qform_code": ("i2", 252),
        "sform_code": ("i2", 254),
        "quatern": ("3f4", 256),
        "qoffset": ("3f4", 268),
        "srow": ("(3,4)f4", 280),
        "magic": ("S4", 344),
    },
    540: {
        "sizeof_hdr": ("i4", 0),
        "magic": ("S8", 4),
        "datatype": ("i2", 12),
        "dim": ("8i8", 16),
        "pixdim": ("8f8", 104),
        "vox_offset": ("i8", 168),
        "scl_slope": ("f8", 176),
        "scl_inter": ("f8", 184),
        "qform_code": ("i4", 344),
        "sform_code": ("i4", 348),
        "xyzt_units": ("i4", 500),
        "srow": ("(3,4)f8", 400),
    },
}
SIZES = tuple(_FIELDS)
# Where voxels begin in a file that is written: a header of 348 bytes, and no extension.
VOXELS_AT = 352
_TYPES = {2: "u1", 4: "i2", 8: "i4", 16: "f4", 64: "f8", 256: "i1", 512: "u2", 768: "u4"}
_TYPES |= {1024: "i8", 1280: "u8"}
_CODES = {np.dtype(name): code for code, name in _TYPES.items()}
_METRES, _MM, _MICROMETRES = 1, 2, 3
_IN_MM = {_METRES: 1000.0, _MICROMETRES: 0.001}

Order = Literal["<", ">"]


def _layout(size: int, order: Order) -> np.dtype[Any]:
    fields = _FIELDS[size]
    layout = np.dtype(
        {
            "names": list(fields),
            "formats": [form for form, _ in fields.values()],
            "offsets": [at for _, at in fields.values()],
            "itemsize": size,
        }
    )
    return layout.newbyteorder(order)


@dataclass(frozen=True)
class NiftiHeader:
    """Header of a file that is being read; `header["dim"]` is one of its fields.

    Attributes
    ----------
    raw : bytes
    order : str
        `<` or `>`.
    """

    raw: bytes
    order: Order

    @cached_property
    def _fields(self) -> NDArray[Any]:
        return np.ndarray((), _layout(len(self.raw), self.order), self.raw)

    def __getitem__(self, name: str) -> Any:
        return self._fields[name]

    @property
    def qfac_is_invalid(self) -> bool:
        """Whether pixdim[0] is neither 1 nor -1, which says whether a qform mirrors."""
        return abs(float(self["pixdim"][0])) != 1

    def _of_library(self) -> Any:
        import nibabel

        kind = nibabel.Nifti1Header if len(self.raw) == SIZES[0] else nibabel.Nifti2Header
        header = kind.from_fileobj(BytesIO(self.raw), self.order, check=False)
        if self.qfac_is_invalid:
            # As the format's own library: 0, which old writers left, means 1.
            header["pixdim"][0] = -1 if self["pixdim"][0] < 0 else 1
        return header

    def dtype(self) -> np.dtype[Any]:
        """Type of the voxels as stored.

        Raises
        ------
        KeyError
            No type has this code.
        """
        code = int(self["datatype"])
        found = np.dtype(_TYPES[code]) if code in _TYPES else self._of_library().get_data_dtype()
        return found.newbyteorder(self.order)

    @property
    def unit_mm(self) -> float:
        """Length of the header's unit in mm; what names no length is taken as mm."""
        return _IN_MM.get(int(self["xyzt_units"]) & 7, 1.0)

    def affine(self) -> Affine:
        """Affine that counts, in the header's unit: sform, else qform, else voxel sizes.

        Raises
        ------
        ValueError
            It cannot be made of what the header says.
        """
        if self["sform_code"] == 0:
            from nibabel.spatialimages import HeaderDataError

            try:
                return np.asarray(self._of_library().get_best_affine(), np.float64)
            except HeaderDataError as error:
                raise ValueError(str(error)) from error
        affine = np.eye(4)
        affine[:3] = self["srow"]
        return affine


def room_for(shape: tuple[int, ...], dtype: Any) -> NDArray[Any]:
    """Voxels of a file that is to be written, x fastest in memory, their values not set.

    Memory in front of them has room for the header: `uls_data.nifti_writer` copies nothing.

    Parameters
    ----------
    shape : tuple of 3 int
    dtype : dtype
        Uint8, int16 or int32.
    """
    little = np.dtype(dtype).newbyteorder("<")
    memory = np.empty(VOXELS_AT + math.prod(shape) * little.itemsize, np.uint8)
    voxels: NDArray[Any] = memory[VOXELS_AT:].view(little).reshape(shape, order="F")
    return voxels


def scanner_header(shape: tuple[int, ...], dtype: np.dtype[Any], affine: Affine) -> bytearray:
    """Little-endian NIfTI-1 header of voxels that are not scaled and follow at `VOXELS_AT`.

    sform = qform with code 1 (scanner), millimetres. A sheared affine cannot be a qform: it gets
    the nearest rotation.
    """
    raw = bytearray(SIZES[0])
    header: Any = np.ndarray((), _layout(SIZES[0], "<"), raw)
    zooms = np.sqrt(np.sum(affine[:3, :3] * affine[:3, :3], axis=0))
    axes = affine[:3, :3] / zooms
    handedness = 1 if np.linalg.det(axes) > 0 else -1
    axes[:, -1] *= handedness
    left, _, right = np.linalg.svd(axes)
    header["sizeof_hdr"] = SIZES[0]
    header["dim"] = [len(shape), *shape, *[1] * (7 - len(shape))]
    header["datatype"] = _CODES[np.dtype(dtype.type)]
    header["bitpix"] = 8 * dtype.itemsize
    header["pixdim"] = [handedness, *zooms, 1, 1, 1, 1]
    header["vox_offset"] = VOXELS_AT
    header["scl_slope"] = 1
    header["xyzt_units"] = _MM
    header["qform_code"] = header["sform_code"] = 1
    header["quatern"] = _quaternion(left @ right)[1:]
    header["qoffset"] = affine[:3, 3]
    header["srow"] = affine[:3]
    header["magic"] = b"n+1"
    return raw


def _quaternion(rotation: NDArray[np.float64]) -> NDArray[np.float64]:
    """Quaternion (w, x, y, z) of a rotation, w at least 0 (Bar-Itzhack 2000)."""
    xx, yx, zx, xy, yy, zy, xz, yz, zz = rotation.flat
    lower = np.array(
        [
            [xx - yy - zz, 0, 0, 0],
            [yx + xy, yy - xx - zz, 0, 0],
            [zx + xz, zy + yz, zz - xx - yy, 0],
            [yz - zy, zx - xz, xy - yx, xx + yy + zz],
        ]
    )
    values, vectors = np.linalg.eigh(lower / 3)
    found = vectors[[3, 0, 1, 2], np.argmax(values)]
    return np.asarray(-found if found[0] < 0 else found)
