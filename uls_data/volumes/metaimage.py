"""Headers of MetaImage files (.mha, .mhd): `Key = value` lines, the last one names the voxels.

After MetaIO, the library of those who made the format (github.com/Kitware/MetaIO), whose
reading ITK shares. What it reads otherwise than it was meant is refused, not guessed.
"""

from __future__ import annotations

import numpy as np

from uls_data.errors import CaseError
from uls_data.geometry import Affine
from uls_data.outcome import Reason
from uls_data.volumes.header_text import (
    BLANKS,
    Encoding,
    Fields,
    Header,
    Place,
    lines_of,
    only_one_file,
    shown,
    unreadable,
    unsupported,
)
from uls_data.volumes.volume import squeeze_trailing

_TYPES = {
    "MET_CHAR": "i1",
    "MET_ASCII_CHAR": "i1",
    "MET_UCHAR": "u1",
    "MET_SHORT": "i2",
    "MET_USHORT": "u2",
    "MET_INT": "i4",
    "MET_UINT": "u4",
    "MET_LONG": "i4",  # MetaIO's long has four bytes on every machine
    "MET_ULONG": "u4",
    "MET_LONG_LONG": "i8",
    "MET_ULONG_LONG": "u8",
    "MET_FLOAT": "f4",
    "MET_DOUBLE": "f8",
}
# Every key that MetaIO reads, but for the comment, and how many numbers it holds: one, one
# an axis, or a square of them. What is unknown is a note of somebody's.
_TEXTS = (
    "ObjectType", "ObjectSubType", "AcquisitionDate", "Name", "CompressedData", "BinaryData",
    "ElementByteOrderMSB", "BinaryDataByteOrderMSB", "DistanceUnits", "AnatomicalOrientation",
    "Modality", "ElementType", "ElementDataFile",
)  # fmt: skip
_SINGLE = (
    "NDims", "FileFormatVersion", "ID", "ParentID", "CompressedDataSize", "HeaderSize",
    "ElementMin", "ElementMax", "ElementNumberOfChannels", "ElementNBits",
    "ElementToIntensityFunctionSlope", "ElementToIntensityFunctionOffset",
)  # fmt: skip
_PER_AXIS = (
    "DimSize", "Position", "Origin", "Offset", "ImagePosition", "ElementOrigin",
    "CenterOfRotation", "ElementSpacing", "ElementSize", "SequenceID",
)  # fmt: skip
_SQUARE = ("TransformMatrix", "Rotation", "Orientation", "ElementDirection")
_KEYS = {key.lower(): key for key in [*_TEXTS, *_SINGLE, *_PER_AXIS, *_SQUARE, "Color"]}
# MetaIO cuts a text here and stumbles over the rest.
_LONGEST_TEXT = 499
_MOST_AXES = 10
_HERE = ("LOCAL", "Local", "local")
_YES, _NO = ("true", "t", "1"), ("false", "f", "0")


def parse_metaimage(data: bytes, name: str, *, whole: bool) -> Header | None:
    """Header at the start of a file; None where it does not end within these bytes.

    Parameters
    ----------
    whole : bool
        Whether these bytes are the whole file.

    Raises
    ------
    CaseError
        With the reason, and what was expected and found.
    """
    found = _fields(data, name, whole)
    if found is None:
        return None
    fields, end = found
    axes = _axes(fields)
    _refuse_other_meanings(fields)
    channels = fields.integer("ElementNumberOfChannels", 1)
    if channels != 1:
        raise CaseError(Reason.NOT_3D, f"{name}: expected one value a voxel, found {channels}")
    shape, dropped = squeeze_trailing(fields.sizes("DimSize", axes), name)
    code = _TYPES.get(fields.text("ElementType"))
    if code is None:
        kind = shown(fields.text("ElementType"))
        raise unsupported(name, f"expected numbers as voxels, found ElementType {kind}")
    affine, oriented = _affine(fields, axes)
    swapped = _agreed_flag(fields, "BinaryDataByteOrderMSB", "ElementByteOrderMSB")
    encoding = _encoding(fields, swapped)
    dtype = np.dtype(code if encoding is Encoding.TEXT else f"{'>' if swapped else '<'}{code}")
    place = _place(fields, end, encoding)
    return Header(shape, dropped, dtype, affine, oriented, encoding, place)


def _fields(data: bytes, name: str, whole: bool) -> tuple[Fields, int] | None:
    """Known keys of the header, and its end; the line that names the voxels is its last."""
    fields = Fields(name)
    for count, (line, end, _) in enumerate(lines_of(data, name, whole=whole), 1):
        if not line.strip(BLANKS):
            continue
        at = min((line.find(sign) for sign in "=:" if sign in line), default=0)
        spelled, value = line[:at].strip(BLANKS), line[at + 1 :].strip(BLANKS)
        if not spelled:
            # MetaIO would take the next line for this one's value.
            raise unreadable(name, f"line {count} of the header is not 'Key = value'")
        key = _KEYS.get("".join(spelled.split()).lower())
        if key is None:
            continue
        _check_line(fields, key, spelled, value)
        fields.put(key, value)
        if key == "ElementDataFile":
            return fields, end
    return None


def _check_line(fields: Fields, key: str, spelled: str, value: str) -> None:
    """Refuse a line that MetaIO would not read as what it looks like."""
    if key not in fields and spelled != key:
        raise unreadable(fields.name, f"key {shown(spelled)} in the header; write it {key!r}")
    if (key in _PER_AXIS or key in _SQUARE) and "NDims" not in fields:
        raise unreadable(fields.name, f"key {key!r} stands before 'NDims' in the header")
    if key in _TEXTS and len(value) > _LONGEST_TEXT:
        raise unreadable(fields.name, f"key {key!r} holds more than {_LONGEST_TEXT} characters")


def _axes(fields: Fields) -> int:
    """Return the number of axes; every key holds as many numbers as that asks for."""
    axes = fields.integer("NDims")
    if not 1 <= axes <= _MOST_AXES:
        raise unreadable(fields.name, f"its header claims {axes} axes")
    counts = {"Color": 4, **dict.fromkeys(_SINGLE, 1)}
    counts |= {**dict.fromkeys(_PER_AXIS, axes), **dict.fromkeys(_SQUARE, axes * axes)}
    for key, count in counts.items():
        if key in fields and key != "DimSize":
            # MetaIO takes what is missing from the next line.
            fields.numbers(key, count)
    return axes


def _refuse_other_meanings(fields: Fields) -> None:
    """Refuse what would give the voxels another value or place, and is not read."""
    for key, plain in (
        ("ElementToIntensityFunctionSlope", 1),
        ("ElementToIntensityFunctionOffset", 0),
        ("FileFormatVersion", 0),
    ):
        if key in fields and fields.numbers(key, 1) != [plain]:
            found = fields.text(key)
            raise unsupported(fields.name, f"{key} = {found} is not read; write it with {plain}")
    units = fields.text("DistanceUnits", "mm")
    if units.lower() not in ("mm", "?", ""):
        raise unsupported(fields.name, f"DistanceUnits = {shown(units)}; write it in mm")


def _flag(fields: Fields, key: str) -> bool | None:
    if key not in fields:
        return None
    value = fields.text(key).lower()
    if value not in (*_YES, *_NO):
        raise fields.wrong(key, "True or False")
    return value in _YES


def _agreed_flag(fields: Fields, *keys: str) -> bool:
    found = {value for key in keys if (value := _flag(fields, key)) is not None}
    if len(found) > 1:
        raise unreadable(
            fields.name, f"its header contradicts itself, keep one of {', '.join(keys)}"
        )
    return True in found


def _agreed(fields: Fields, keys: tuple[str, ...], count: int) -> list[float] | None:
    """Numbers of the keys that mean the same; None where there is none of them."""
    found = {key: fields.numbers(key, count) for key in keys if key in fields}
    values = list(found.values())
    if any(value != values[0] for value in values):
        raise unreadable(
            fields.name, f"its header contradicts itself, keep one of {', '.join(found)}"
        )
    return values[0] if values else None


def _affine(fields: Fields, axes: int) -> tuple[Affine, bool]:
    """Affine to LPS mm, and whether the header says how the axes lie."""
    squared = axes * axes
    matrix = _agreed(fields, ("TransformMatrix", "Rotation", "Orientation"), squared)
    origin = _agreed(fields, ("Offset", "Position", "Origin", "ImagePosition"), axes)
    # The size of an element may differ from the spacing: slices can overlap.
    spacing = _agreed(fields, ("ElementSpacing",), axes) or _agreed(fields, ("ElementSize",), axes)
    affine = np.eye(4)
    if axes < 3:
        return affine, False
    if matrix is not None:
        # A row of the file is the direction of one axis.
        affine[:3, :3] = np.reshape(matrix, (axes, axes))[:3, :3].T
    if spacing is not None:
        with np.errstate(over="ignore"):  # its size is checked where it is used
            affine[:3, :3] *= spacing[:3]
    if origin is not None:
        affine[:3, 3] = origin[:3]
    return affine, matrix is not None


def _encoding(fields: Fields, swapped: bool) -> Encoding:
    packed, binary = _flag(fields, "CompressedData"), _flag(fields, "BinaryData")
    if binary is False:
        if packed or swapped:
            raise unsupported(
                fields.name, "voxels as text that are compressed or swapped; write it again"
            )
        return Encoding.TEXT
    return Encoding.ZLIB if packed else Encoding.RAW


def _place(fields: Fields, end: int, encoding: Encoding) -> Place:
    named = fields.text("ElementDataFile")
    file = None if named in _HERE else only_one_file(named, fields.name)
    first = 0 if file is not None else end
    size, packed = fields.integer("HeaderSize", 0), fields.integer("CompressedDataSize", 0)
    if size < -1 or 0 < size < first:
        raise fields.wrong("HeaderSize", "-1, or the bytes before the voxels")
    if packed < 0:
        raise fields.wrong("CompressedDataSize", "a number of bytes")
    if size == -1 and encoding is not Encoding.RAW:
        raise unsupported(fields.name, "voxels at the end of a file must be raw; write it again")
    return Place(
        file,
        size if size > 0 else first,
        behind=0 if size == -1 else None,
        packed_bytes=packed if packed and encoding.packed else None,
    )
