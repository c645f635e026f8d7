"""Headers of NRRD files: a magic line, `field: value` lines, and an empty line.

After the format's own text (teem.sourceforge.net/nrrd/format.html) and its library, whose
reading ITK shares. A field that the library does not know is an error there, and here.
"""

from __future__ import annotations

import math

import numpy as np

from uls_data.errors import CaseError
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
from uls_data.volumes.nrrd_space import affine_of, quoted
from uls_data.volumes.volume import squeeze_trailing

_MAGIC = ("NRRD00.01", *(f"NRRD000{n}" for n in range(1, 6)))
# Names with a space may be written without it.
_FIELDS = (
    "content", "number", "type", "block size", "dimension", "space", "space dimension", "sizes",
    "spacings", "thicknesses", "axis mins", "axis maxs", "space directions", "centerings",
    "kinds", "labels", "units", "min", "max", "old min", "old max", "endian", "encoding",
    "line skip", "byte skip", "sample units", "space units", "space origin",
    "measurement frame", "data file",
)  # fmt: skip
_KNOWN = {name.replace(" ", ""): name for name in _FIELDS} | {"centers": "centerings"}
_AFTER_DIMENSION = (
    "sizes", "spacings", "thicknesses", "axis mins", "axis maxs", "space directions",
    "centerings", "kinds", "labels", "units",
)  # fmt: skip
_AFTER_SPACE = ("space directions", "space units", "space origin", "measurement frame")
_TYPES = {
    "i1": ("signed char", "int8", "int8_t"),
    "u1": ("uchar", "unsigned char", "uint8", "uint8_t"),
    "i2": ("short", "short int", "signed short", "signed short int", "int16", "int16_t"),
    "u2": ("ushort", "unsigned short", "unsigned short int", "uint16", "uint16_t"),
    "i4": ("int", "signed int", "int32", "int32_t"),
    "u4": ("uint", "unsigned int", "uint32", "uint32_t"),
    "i8": (
        *("longlong", "long long", "long long int", "signed long long", "signed long long int"),
        *("int64", "int64_t"),
    ),
    "u8": ("ulonglong", "unsigned long long", "unsigned long long int", "uint64", "uint64_t"),
    "f4": ("float",),
    "f8": ("double",),
}
_CODES = {name: code for code, names in _TYPES.items() for name in names}
_ENCODINGS = {
    "raw": Encoding.RAW,
    **dict.fromkeys(("txt", "text", "ascii"), Encoding.TEXT),
    "hex": Encoding.HEX,
    **dict.fromkeys(("gz", "gzip"), Encoding.GZIP),
    **dict.fromkeys(("bz2", "bzip2"), Encoding.BZIP2),
}
_MOST_AXES = 16
_DOMAINS = ("domain", "space", "time", "???", "none")
# Notes of the same name lead no reader astray.
_IDLE = ("content", "number", "min", "max", "labels", "sample units", "thicknesses")
# Kinds that one value can have; all others have several.
_SINGLE_VALUES = (
    *("list", "point", "vector", "contravariant-vector", "covariant-vector", "normal", "stub"),
    "scalar",
)


def parse_nrrd(data: bytes, name: str, *, whole: bool) -> Header | None:
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
    axes = fields.integer("dimension")
    if not 1 <= axes <= _MOST_AXES:
        raise unreadable(name, f"its header claims {axes} axes")
    _check_notes(fields, axes)
    sizes = fields.sizes("sizes", axes)
    values, domain = _domain(fields, sizes)
    shape, dropped = squeeze_trailing(tuple(sizes[axis] for axis in domain), name)
    kind, encoding = fields.text("type").lower(), fields.text("encoding").lower()
    if kind not in _CODES:
        raise unsupported(name, f"expected numbers as voxels, found type {shown(kind)}")
    if encoding not in _ENCODINGS:
        raise unsupported(name, f"encoding {shown(encoding)} is not read; write it as gzip or raw")
    affine, oriented = affine_of(fields, sizes, domain)
    place = _place(fields, end, _ENCODINGS[encoding])
    dtype = np.dtype(_order(fields, _CODES[kind], _ENCODINGS[encoding]) + _CODES[kind])
    return Header(
        shape, dropped, dtype, affine, oriented, _ENCODINGS[encoding], place, values, fields.notes
    )


def _fields(data: bytes, name: str, whole: bool) -> tuple[Fields, int] | None:
    """Fields of a header and its end: an empty line, or the file's where voxels lie elsewhere."""
    fields, end = Fields(name), 0
    for count, (line, end, closed) in enumerate(lines_of(data, name, whole=whole), 1):
        if count == 1:
            if line not in _MAGIC:
                raise unreadable(name, f"not an NRRD file (starts with {shown(line[:8])})")
        elif not closed:
            return None
        elif not line:
            return fields, end
        elif not line.startswith("#"):
            _read_line(fields, line, count)
    return (fields, end) if whole and "data file" in fields else None


def _read_line(fields: Fields, line: str, count: int) -> None:
    """Take in `field: value`; a `key:=value` is a note of somebody's."""
    spelled, colon, value = line.partition(": ")
    key = _known(spelled)
    if not (colon and spelled.isascii() and spelled.lower() in _spellings(key)):
        _refuse_all_but_notes(fields, line, count)
        return
    if key in fields:
        raise fields.twice(key)
    if key in _AFTER_DIMENSION and "dimension" not in fields:
        raise unreadable(fields.name, f"field {key!r} stands before 'dimension' in the header")
    if key in _AFTER_SPACE and not ("space" in fields or "space dimension" in fields):
        raise unreadable(fields.name, f"field {key!r} stands before 'space' in the header")
    # A file may be called with a space at its end.
    fields.put(key, value.lstrip(BLANKS) if key == "data file" else value.strip(BLANKS))


def _known(spelled: str) -> str:
    """Field that a text may be meant for, blanks and case aside; empty for none."""
    return _KNOWN.get("".join(spelled.split()).lower(), "")


def _spellings(key: str) -> tuple[str, ...]:
    """Return the ways to write a field that every reader knows, in lower case."""
    return tuple(way for way, its in _KNOWN.items() if its == key) + ((key,) if key else ())


def _refuse_all_but_notes(fields: Fields, line: str, count: int) -> None:
    """Refuse a line that some readers take for a field, and others for a note or an error."""
    ends = [line.find(sign) for sign in (":=", ":") if sign in line]
    spelled = next((line[:end] for end in ends if _known(line[:end])), "")
    key = _known(spelled)
    if ":=" in line and (not key or key in _IDLE):
        fields.note(*line.split(":=", 1))
        return
    if not key:
        raise unreadable(
            fields.name, f"line {count} of the header is neither a field of NRRD nor a note"
        )
    if key in fields:
        raise fields.twice(key)
    raise unreadable(fields.name, f"field {shown(spelled)} in the header; write it '{key}: ...'")


def _check_notes(fields: Fields, axes: int) -> None:
    """Refuse notes that teem cannot read, and those that give voxels another meaning."""
    name = fields.name
    if "labels" in fields:
        quoted(fields, "labels", axes)
    if "thicknesses" in fields and any(
        value < 0 for value in fields.numbers("thicknesses", axes, nan=True)
    ):
        raise fields.wrong("thicknesses", "no negative ones")
    if fields.integer("block size", 0) > 0:
        raise unsupported(name, "voxels in blocks are not CT")
    for key in ("old min", "old max"):
        if key in fields and not math.isnan(fields.numbers(key, 1, nan=True)[0]):
            raise unsupported(
                name, f"its voxels were quantised ({key!r}): their own values are not in the file"
            )


def _domain(fields: Fields, sizes: tuple[int, ...]) -> tuple[int, list[int]]:
    """How many values a voxel has, and the axes along which one moves.

    Axes of values must hold one, but for the layers of a segmentation, which come first.
    """
    kinds = ["domain"] * len(sizes)
    if "kinds" in fields:
        kinds = [kind.lower() for kind in fields.words("kinds")]
    if len(kinds) != len(sizes):
        raise fields.wrong("kinds", f"{len(sizes)} kinds")
    layers = sizes[0] if kinds[0] == "list" and fields.notes else 1
    for axis, (kind, size) in enumerate(zip(kinds, sizes, strict=True)):
        if axis == 0 and layers > 1:
            continue
        if kind not in _DOMAINS and (kind not in _SINGLE_VALUES or size != 1):
            raise CaseError(
                Reason.NOT_3D,
                f"{fields.name}: expected one value a voxel, found {size} (kind {shown(kind)})",
            )
    return layers, [axis for axis, kind in enumerate(kinds) if kind in _DOMAINS]


def _order(fields: Fields, code: str, encoding: Encoding) -> str:
    endian = fields.text("endian", "").lower()
    if endian not in ("little", "big", ""):
        raise fields.wrong("endian", "little or big")
    if encoding is Encoding.TEXT:
        return "="
    if not endian and not code.endswith("1"):
        raise unreadable(fields.name, "its header does not say the order of bytes ('endian')")
    return ">" if endian == "big" else "<"


def _place(fields: Fields, end: int, encoding: Encoding) -> Place:
    lines, skipped = fields.integer("line skip", 0), fields.integer("byte skip", 0)
    if lines < 0:
        raise fields.wrong("line skip", "a number of lines")
    if encoding.packed and (lines or skipped):
        raise unsupported(
            fields.name,
            "expected compressed voxels in one piece, found several files or bytes to skip; "
            "write it again",
        )
    if skipped < 0 and encoding is not Encoding.RAW:
        raise unsupported(
            fields.name, "voxels at the end of a file must be raw; write the file again"
        )
    file = None
    if "data file" in fields:
        file = only_one_file(fields.text("data file"), fields.name)
    start = 0 if file is not None else end
    if skipped < 0:
        # -1 is the very end; teem counts further bytes from there.
        return Place(file, start, skip_lines=lines, behind=-skipped - 1)
    return Place(file, start, skip_lines=lines, skip_bytes=skipped)
