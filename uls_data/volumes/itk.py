"""MetaImage and NRRD volumes, the formats of ITK; LPS becomes RAS here and nowhere else.

Raw voxels are mapped, all others are decoded into one array of their stored type.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from uls_data import geometry
from uls_data.errors import CaseError
from uls_data.ids import hash_of
from uls_data.io import sha256_file
from uls_data.outcome import Flag, Reason
from uls_data.volumes.header_text import Encoding, Header
from uls_data.volumes.metaheader import read_header, voxel_file
from uls_data.volumes.packed import MAXIMUM_RATIO, PackedReader
from uls_data.volumes.text_voxels import read_hex, read_numbers
from uls_data.volumes.volume import Volume, check_file, check_size

_LINE_END = re.compile(rb"\r\n|\n|\r")
_SKIPPED_BYTES = 1 << 20
_GZIP_MAGIC = b"\x1f\x8b"


def read_itk(path: Path, root: Path) -> Volume:
    """Read a .mha, .mhd or .nrrd volume; see `uls_data.volumes.read.read_volume`."""
    return volume_of(read_header(path), path, root)


def volume_of(header: Header, path: Path, root: Path) -> Volume:
    """Read the voxels that a header describes.

    Returns
    -------
    Volume
        Where a voxel has several values, `stored` has them along a first axis of its own.

    Raises
    ------
    CaseError, OSError
    """
    with np.errstate(invalid="ignore"):
        affine = geometry.check_affine(geometry.LPS_TO_RAS @ header.affine_lps)
    file = voxel_file(header, path, root)
    array, sha256 = _voxels(header, path, file, hashed=True)
    flags = (Flag.TRAILING_AXIS_DROPPED,) if header.dropped else ()
    if not header.oriented:
        flags = (*flags, Flag.ORIENTATION_ASSUMED)
    return Volume(
        stored=array,
        stored_affine=affine,
        slope=1.0,
        intercept=0.0,
        sha256=sha256 if file == path else hash_of(sorted([sha256, sha256_file(path)])),
        flags=flags,
    )


def read_voxels(path: Path, root: Path) -> NDArray[Any]:
    """Voxels of a .mha, .mhd or .nrrd alone: mapped where they are raw, and nothing is hashed.

    Raises
    ------
    CaseError, OSError
        As `read_itk`, but for what the affine may be.
    """
    check_file(path)
    header = read_header(path)
    return _voxels(header, path, voxel_file(header, path, root), hashed=False)[0]


def _voxels(header: Header, path: Path, file: Path, *, hashed: bool) -> tuple[NDArray[Any], str]:
    """Array of a header's shape, and the hash of the file that holds the voxels."""
    check_size(header.voxels, path.name)
    with file.open("rb") as opened:
        start = _start(header, path, opened)
        if header.encoding.packed:
            return _unpacked(header, path, opened, start)
        if header.encoding is Encoding.RAW:
            array: NDArray[Any] = np.memmap(
                opened, header.dtype, "r", start, header.stored_shape, order="F"
            )
        else:
            array = np.empty(header.voxels, dtype=header.dtype)
            opened.seek(start)
            if header.encoding is Encoding.HEX:
                read_hex(opened, array.view(np.uint8), path.name)
            else:
                read_numbers(opened, array, path.name)
            array = array.reshape(header.stored_shape, order="F")
    return array, sha256_file(file) if hashed else ""


def _start(header: Header, path: Path, opened: BinaryIO) -> int:
    """Byte of the file at which the voxels start, if what follows can hold them."""
    place, size = header.place, os.fstat(opened.fileno()).st_size
    if place.behind is not None:
        start = size - place.behind - header.voxel_bytes
        if start < place.start:
            raise _cut_short(path, header.voxel_bytes, size - place.behind - place.start)
        return start
    start = place.start + _lines_bytes(opened, header, path) + place.skip_bytes
    left = max(size - start, 0)
    if header.encoding is Encoding.RAW and left < header.voxel_bytes:
        raise _cut_short(path, header.voxel_bytes, left)
    if header.encoding.packed:
        _check_room(header.voxel_bytes, left, MAXIMUM_RATIO[header.encoding], path)
        if (place.packed_bytes or 0) > left:
            raise _cut_short(path, place.packed_bytes or 0, left)
    elif header.encoding is not Encoding.RAW:
        # Digits and what parts them: at least one byte each, but for the last.
        _check_room(2 * header.voxels - 1, left, 1, path)
    return start


def _lines_bytes(opened: BinaryIO, header: Header, path: Path) -> int:
    """Bytes of the lines that stand before the voxels."""
    if not header.place.skip_lines:
        return 0
    opened.seek(header.place.start)
    ends = _LINE_END.finditer(opened.read(_SKIPPED_BYTES))
    for count, end in enumerate(ends, 1):
        if count == header.place.skip_lines:
            return end.end()
    raise CaseError(
        Reason.UNREADABLE,
        f"{path.name}: has no {header.place.skip_lines} lines before its voxels",
    )


def _unpacked(header: Header, path: Path, opened: BinaryIO, start: int) -> tuple[NDArray[Any], str]:
    """Decode compressed voxels in one pass, to their end and its check sum."""
    packing = str(header.encoding)
    if header.encoding is Encoding.ZLIB:
        opened.seek(start)
        packing = "gzip" if opened.read(2) == _GZIP_MAGIC else packing
    opened.seek(0)
    reader = PackedReader(
        opened, path.name, packing, start=start, packed_bytes=header.place.packed_bytes
    )
    stored = np.empty(header.voxel_bytes, dtype=np.uint8)
    found = reader.read_exactly(stored.data)
    if found < len(stored) or reader.read(1):
        more = "fewer" if found < len(stored) else "more"
        raise CaseError(
            Reason.TRUNCATED_FILE,
            f"{path.name}: its header needs {len(stored):,} bytes of voxels, it holds {more}",
        )
    return stored.view(header.dtype).reshape(header.stored_shape, order="F"), reader.sha256()


def _check_room(wanted: int, left: int, ratio: int, path: Path) -> None:
    """Refuse a header whose shape the file cannot hold, before it is allocated."""
    if wanted > left * ratio:
        raise CaseError(
            Reason.TRUNCATED_FILE,
            f"{path.name}: header claims {wanted:,} bytes of voxels, which {left:,} bytes "
            "cannot hold",
        )


def _cut_short(path: Path, wanted: int, left: int) -> CaseError:
    return CaseError(
        Reason.TRUNCATED_FILE,
        f"{path.name}: voxels need {wanted:,} bytes, found {max(left, 0):,}; the file is cut short",
    )
