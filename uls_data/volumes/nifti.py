"""NIfTI-1 and NIfTI-2, plain and gzipped: one pass over the file, no float copies.

The voxels go straight from the decoder into one array
of their stored type, and the same pass hashes the file. Uncompressed files are
memory-mapped.
"""

from __future__ import annotations

import math
import struct
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from uls_data import geometry
from uls_data.errors import CaseError
from uls_data.io import sha256_file
from uls_data.outcome import Flag, Reason
from uls_data.volumes.advice import LOOKED_AT_BYTES, unpacked_advice
from uls_data.volumes.nifti_header import SIZES, NiftiHeader, Order
from uls_data.volumes.packed import MAXIMUM_RATIO, PackedReader
from uls_data.volumes.volume import Volume, check_size, squeeze_trailing

_MAXIMUM_HEADER_BYTES = 1 << 24
# More behind the voxels than this, and than a slice, means that the header is wrong.
_MOST_TRAILING_BYTES = 1 << 16


def read_nifti(path: Path) -> Volume:
    """Read a .nii or .nii.gz volume; see `uls_data.volumes.read.read_volume`."""
    with path.open("rb") as file:
        if file.read(2) == b"\x1f\x8b":
            file.seek(0)
            return read_gzipped(file, path.name, path.stat().st_size)
    return _read_plain(path)


def nifti_size(path: Path) -> tuple[int, int]:
    """Voxels and decoded bytes, from the header; a mapped file takes none of its own."""
    with path.open("rb") as file:
        zipped = file.read(2) == b"\x1f\x8b"
        file.seek(0)
        header = _start(PackedReader(file, path.name) if zipped else file, path.name)
    shape, dtype, _, _ = _layout(header, path.name)
    return math.prod(shape), math.prod(shape) * dtype.itemsize * zipped


def _start(source: Any, name: str) -> NiftiHeader:
    """Header at the start of a plain or gzipped stream."""
    start = b""
    wanted = 4
    order: Order = "<"
    while len(start) < wanted:
        piece = source.read(wanted - len(start))
        _expect(len(start) + len(piece), len(start) + 1, name, "header")
        start += piece
        if len(start) == 4:
            try:
                wanted, order = _header_size(start, name)
            except CaseError:
                rest = source.read(LOOKED_AT_BYTES - len(start))
                raise unpacked_advice(start + rest, name) or _no_nifti(start, name) from None
    return NiftiHeader(start, order)


def read_gzipped(file: BinaryIO, name: str, compressed_bytes: int) -> Volume:
    """Read a gzipped NIfTI of a known size from an open file, which it reads to the end."""
    reader = PackedReader(file, name)
    header = _start(reader, name)
    size = int(header["sizeof_hdr"])
    shape, dtype, offset, flags = _layout(header, name)
    data_bytes = math.prod(shape) * dtype.itemsize
    if data_bytes > compressed_bytes * MAXIMUM_RATIO["gzip"]:
        raise CaseError(
            Reason.TRUNCATED_FILE,
            f"{name}: header claims {data_bytes:,} bytes of voxels, which {compressed_bytes:,} "
            "bytes of gzip cannot hold",
        )
    skipped = bytearray(offset - size)
    _expect(reader.read_exactly(memoryview(skipped)), offset - size, name, "header extension")
    stored = np.empty(data_bytes, dtype=np.uint8)
    found = reader.read_exactly(stored.data)
    _expect(found, data_bytes, name, "voxels")
    # Reading on to the end checks the checksum that follows the data.
    trailing = 0
    while piece := reader.read(1 << 16):
        trailing += len(piece)
        flags = _with_trailing(trailing, flags, shape, dtype, name)
    array = stored.view(dtype).reshape(shape, order="F")
    return _volume(array, header, reader.sha256(), flags, name)


def _read_plain(path: Path) -> Volume:
    with path.open("rb") as file:
        header = _start(file, path.name)
    shape, dtype, offset, flags = _layout(header, path.name)
    expected = offset + math.prod(shape) * dtype.itemsize
    _expect(path.stat().st_size, expected, path.name, "file")
    flags = _with_trailing(path.stat().st_size - expected, flags, shape, dtype, path.name)
    array: NDArray[Any] = np.memmap(path, dtype, "r", offset, shape, order="F")
    return _volume(array, header, sha256_file(path), flags, path.name)


def _expect(found: int, expected: int, name: str, part: str) -> None:
    if found < expected:
        raise CaseError(
            Reason.TRUNCATED_FILE,
            f"{name}: {part} needs {expected:,} bytes, found {found:,}; the file is cut short",
        )


def _with_trailing(
    trailing: int, flags: tuple[Flag, ...], shape: tuple[int, ...], dtype: np.dtype[Any], name: str
) -> tuple[Flag, ...]:
    """Add a flag where bytes follow the voxels; many of them contradict the header."""
    if trailing > max(_MOST_TRAILING_BYTES, math.prod(shape[:2]) * dtype.itemsize):
        raise CaseError(
            Reason.UNREADABLE,
            f"{name}: holds more bytes than its header's shape {shape} says: {trailing:,} or more "
            "behind the voxels",
        )
    return tuple(sorted({*flags, Flag.TRAILING_BYTES})) if trailing > 0 else flags


def _header_size(start: bytes, name: str) -> tuple[int, Order]:
    """Size of a header, and the byte order in which it is said."""
    orders: tuple[Order, ...] = ("<", ">")
    for order in orders:
        (size,) = struct.unpack(f"{order}i", start)
        if size in SIZES:
            return size, order
    raise _no_nifti(start, name)


def _no_nifti(start: bytes, name: str) -> CaseError:
    return CaseError(
        Reason.UNREADABLE, f"{name}: not a NIfTI file (starts with {start!r}); download it again"
    )


def _layout(
    header: NiftiHeader, name: str
) -> tuple[tuple[int, ...], np.dtype[Any], int, tuple[Flag, ...]]:
    """Shape, stored type, offset of the voxels, and flags, all checked."""
    magic = bytes(header["magic"].item())[:3]
    if magic not in (b"n+1", b"n+2"):
        raise CaseError(
            Reason.UNSUPPORTED_FORMAT,
            f"{name}: expected a single-file NIfTI, found magic {magic!r}",
        )
    dimensions = [int(n) for n in header["dim"]]
    if not 1 <= dimensions[0] <= 7:
        raise CaseError(Reason.UNREADABLE, f"{name}: header claims {dimensions[0]} axes")
    shape, dropped = squeeze_trailing(tuple(dimensions[1 : dimensions[0] + 1]), name)
    check_size(math.prod(shape), name)
    try:
        dtype = header.dtype()
    except KeyError as error:
        raise CaseError(Reason.UNSUPPORTED_FORMAT, f"{name}: datatype: {error}") from error
    if dtype.kind not in "iuf" or dtype.itemsize > 8:
        raise CaseError(
            Reason.UNSUPPORTED_FORMAT, f"{name}: expected numbers as voxels, found {dtype}"
        )
    offset = float(header["vox_offset"])
    smallest = int(header["sizeof_hdr"])
    if not math.isfinite(offset) or not smallest <= offset <= _MAXIMUM_HEADER_BYTES:
        raise CaseError(Reason.UNREADABLE, f"{name}: voxels cannot start at byte {offset:g}")
    return shape, dtype, int(offset), (Flag.TRAILING_AXIS_DROPPED,) if dropped else ()


def _volume(
    array: NDArray[Any], header: NiftiHeader, sha256: str, flags: tuple[Flag, ...], name: str
) -> Volume:
    slope, intercept = float(header["scl_slope"]), float(header["scl_inter"])
    if not math.isfinite(slope) or slope == 0:  # NIfTI-1: a slope of 0 means no scaling
        slope, intercept = 1.0, 0.0
    elif not math.isfinite(intercept):
        raise CaseError(
            Reason.NOT_FINITE, f"{name}: slope {slope:g} with intercept {intercept}: no scale"
        )
    if int(header["sform_code"]) == 0 and int(header["qform_code"]) == 0:
        flags = (*flags, Flag.ORIENTATION_ASSUMED)
        sizes = header["pixdim"][1:4]
        if not (sizes > 0).all():  # a sign could mean a flip or nothing: readers differ
            raise CaseError(
                Reason.BAD_AFFINE, f"{name}: no orientation, and voxel sizes {sizes.tolist()} mm"
            )
    if int(header["sform_code"]) == 0 < int(header["qform_code"]) and header.qfac_is_invalid:
        flags = (*flags, Flag.QFAC_INVALID)
    with np.errstate(all="ignore"):
        try:
            affine = header.affine()
        except ValueError as error:
            raise CaseError(Reason.BAD_AFFINE, f"affine cannot be read: {error}") from error
    if header.unit_mm != 1:
        affine = affine.copy()
        affine[:3] *= header.unit_mm
        flags = (*flags, Flag.UNITS_CONVERTED)
    return Volume(array, geometry.check_affine(affine), slope, intercept, sha256, flags)
