"""What a DICOM file says about itself: wanted elements, and where its pixel data lie.

Follows PS3.5 section 7 (elements, sequences, transfer syntaxes) and PS3.10 section 7
(preamble and file meta information), with the leniences of pydicom that archives need;
tests hold it against pydicom on every file they have. Values stay raw bytes until somebody
asks for one. pydicom takes about 1 ms for such a header, which is minutes over an
archive of 240,000 files, warns about odd values of elements that nobody wants, follows
nested sequences by recursion, and inflates a deflated file whole. This walk takes a seventh
of that, never warns, and is bounded in elements, depth and bytes.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Callable
from pathlib import Path
from struct import Struct
from typing import NamedTuple

from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)
from pydicom.valuerep import EXPLICIT_VR_LENGTH_32, STANDARD_VR

from uls_data.dicom.elements import Header, Tag, is_uid
from uls_data.errors import CaseError
from uls_data.outcome import Reason

# Mostly enough for all that comes before the pixel data of a CT slice.
CHUNK_BYTES = 1 << 14
_MAXIMUM_ELEMENTS = 100_000
# Sequences and items that are open at once; structured reports nest ten deep.
_DEEPEST = 128
_LONGEST_VALUE = 1 << 12
_UNDEFINED = 0xFFFFFFFF
# A deflated slice is inflated whole: one of 4,096 x 4,096 pixels of 32 bits fits.
_DEFLATED = DeflatedExplicitVRLittleEndian.encode()
_MOST_META_BYTES = 1 << 12
_MOST_INFLATED_BYTES = (1 << 26) + (1 << 20)
_ITEM, _ITEM_END, _SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
# Of explicit elements, from tag to length, by VR (PS3.5 section 7.1.2).
_HEAD_BYTES = {vr.encode("ascii"): 12 if vr in EXPLICIT_VR_LENGTH_32 else 8 for vr in STANDARD_VR}
_PIXELS = frozenset((Tag.FLOAT_PIXEL_DATA, Tag.DOUBLE_FLOAT_PIXEL_DATA, Tag.PIXEL_DATA))

_EXPLICIT = {little: Struct("><"[little] + "HH2sH").unpack_from for little in (True, False)}
_IMPLICIT = {little: Struct("><"[little] + "HHL").unpack_from for little in (True, False)}
_LENGTH = {little: Struct("><"[little] + "L").unpack_from for little in (True, False)}


class NotDicomError(CaseError):
    """A file is not DICOM at all."""


class _Encoding(NamedTuple):
    little: bool
    explicit: bool


class _Stop(NamedTuple):
    """An element that a scan does not pass: where its head and its value start."""

    tag: int
    length: int
    head: int
    value: int


class _Source:
    """The first bytes of a file, and a way to more."""

    def __init__(self, data: bytes, more: Callable[[int], bytes], name: str) -> None:
        self.data, self.base, self._more = data, 0, more
        self.left = _MAXIMUM_ELEMENTS
        self.name = name

    def bytes_at(self, at: int, count: int) -> bytes:
        """Bytes at an offset; fewer only at the end of the file."""
        index = at - self.base
        if index < 0 or index + count > len(self.data):
            self.data, self.base, index = self._more(at), at, 0
        return self.data[index : index + count]


def _scan(
    source: _Source,
    at: int,
    encoding: _Encoding,
    end: int,
    wanted: frozenset[int],
    values: dict[int, bytes],
) -> _Stop | None:
    """Pass elements of defined length, keeping the wanted ones.

    Stops at the first element of undefined length, or whose tag is not below `end`;
    None at the end of the file.
    """
    # Half of what finding series costs is this loop: locals only, one dictionary look-up.
    little, explicit = encoding
    implicit = _IMPLICIT[little]
    unpack, heads = _EXPLICIT[little], _HEAD_BYTES
    data, index, room = source.data, at - source.base, len(source.data) - 12
    for used in range(1, source.left):
        if not 0 <= index <= room:
            at = source.base + index
            # 12 bytes are the longest head; the last one of a file may have 8.
            if len(source.bytes_at(at, 12)) < 8:
                return None
            data, index, room = source.data, at - source.base, len(source.data) - 12
        head = 8
        if explicit:
            group, element, vr, length = unpack(data, index)
            if vr in heads:
                head = heads[vr]
                if head == 12:
                    if index > room:
                        return None
                    (length,) = _LENGTH[little](data, index + 8)
            elif not b"AA" <= vr <= b"ZZ":
                # Delimiters, and single elements that some writers leave implicit.
                group, element, length = implicit(data, index)
        else:
            group, element, length = implicit(data, index)
        tag = group << 16 | element
        if length == _UNDEFINED or tag >= end:
            source.left -= used
            return _Stop(tag, length, source.base + index, source.base + index + head)
        if tag in wanted and tag not in values:
            if length > _LONGEST_VALUE:
                raise CaseError(
                    Reason.UNREADABLE,
                    f"{source.name}: an element of {length:,} bytes where a few are expected",
                )
            at = source.base + index + head
            values[tag] = source.bytes_at(at, length)
            if len(values[tag]) < length:
                return None
            data, index, room = source.data, at - source.base - head, len(source.data) - 12
        index += head + length
    raise CaseError(
        Reason.UNREADABLE,
        f"{source.name}: more than {_MAXIMUM_ELEMENTS:,} elements before the pixel data",
    )


def _behind_undefined(source: _Source, at: int, encoding: _Encoding) -> int:
    """Offset behind a value of undefined length, whatever nests in it."""
    # Encodings of the items that are open; None stands for an open sequence.
    open_: list[_Encoding | None] = [None]
    while open_:
        inside = open_[-1]
        if inside is None:
            # Items and delimiters have no VR, and all a fixed length of head.
            stop = _scan(source, at, encoding._replace(explicit=False), 0, frozenset(), {})
        else:
            stop = _scan(source, at, inside, _ITEM, frozenset(), {})
        if stop is None:
            raise CaseError(
                Reason.TRUNCATED_FILE, f"{source.name}: the file ends inside a sequence"
            )
        at = stop.value
        if stop.length == _UNDEFINED and (inside is not None or stop.tag == _ITEM):
            # In an explicit file, what nests in an unknown (UN) sequence is implicit.
            explicit = encoding.explicit and _shows_vr(source, at)
            open_.append(None if inside is not None else encoding._replace(explicit=explicit))
            if len(open_) > _DEEPEST:
                raise CaseError(
                    Reason.UNREADABLE, f"{source.name}: sequences nest more than {_DEEPEST} deep"
                )
        elif stop.tag == (_SEQUENCE_END if inside is None else _ITEM_END):
            open_.pop()
        elif inside is None and stop.tag == _ITEM:
            at += stop.length
        else:
            raise CaseError(
                Reason.UNREADABLE,
                f"{source.name}: byte {stop.head:,} must start or end an item of a sequence",
            )
    return at


def _shows_vr(source: _Source, at: int) -> bool:
    """Whether the element at an offset has a VR: where bytes and declaration differ, bytes win."""
    vr = source.bytes_at(at, 6)[4:]
    return len(vr) == 2 and vr.isalpha() and vr.isupper()


def looks_like_dicom(start: bytes, name: str) -> bool:
    """Whether a file is DICOM, by its first 132 bytes, and by its suffix without a preamble."""
    if start[128:132] == b"DICM":
        return True
    # Without a preamble: the first element is of group 2 (file meta) or 8 (identification).
    return name.lower().endswith(".dcm") and start[:2] in (b"\x02\0", b"\x08\0", b"\0\x08")


def parse_header(
    data: bytes,
    name: str,
    wanted: frozenset[int],
    more: Callable[[int], bytes] | None = None,
) -> Header:
    """Wanted elements from the first bytes of a file, or from all of them.

    Parameters
    ----------
    data : bytes
        From the first byte of the file on.
    name : str
        Of the file, for messages.
    wanted : frozenset of int
        Tags of the top level; the walk ends behind the largest of them. Where that is the
        pixel data, it ends there, and no pixel is looked at.
    more : callable
        Returns bytes of the file from an offset on; for where `data` is but its start.

    Raises
    ------
    CaseError
        `unreadable`, `truncated_file` or `too_large`.
    """
    source = _Source(data, more or (lambda at: data[at:]), name)
    values: dict[int, bytes] = {}
    at, syntax, encoding = _file_meta(source, 132 if data[128:132] == b"DICM" else 0)
    if syntax == DeflatedExplicitVRLittleEndian:
        syntax = str(ExplicitVRLittleEndian)  # `inflated` took care of the rest
    end = min(max(wanted) + 1, Tag.FLOAT_PIXEL_DATA)
    while (stop := _scan(source, at, encoding, end, wanted, values)) is not None:
        if stop.tag in _PIXELS:
            length = None if stop.length == _UNDEFINED else stop.length
            return Header(name, values, syntax, encoding.little, stop.value, length, stop.tag)
        if stop.tag >= end:
            break
        at = _behind_undefined(source, stop.value, encoding)
    return Header(name, values, syntax, encoding.little)


def inflated(data: bytes, name: str) -> bytes:
    """Return a file, its data set inflated where it is deflated (PS3.5 A.5), bounded.

    Raises
    ------
    CaseError
        `too_large`, `truncated_file` or `unreadable`.
    """
    if _DEFLATED not in data[:_MOST_META_BYTES]:
        return data
    source = _Source(data, lambda at: data[at:], name)
    at, syntax, _ = _file_meta(source, 132 if data[128:132] == b"DICM" else 0)
    if syntax != DeflatedExplicitVRLittleEndian:
        return data
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        rest = inflater.decompress(data[at:], _MOST_INFLATED_BYTES)
    except zlib.error:
        raise CaseError(Reason.UNREADABLE, f"{name}: damaged deflated data; get it again") from None
    if not inflater.eof:
        long = len(rest) >= _MOST_INFLATED_BYTES
        raise CaseError(
            Reason.TOO_LARGE if long else Reason.TRUNCATED_FILE,
            f"{name}: deflated data "
            + (f"take more than {_MOST_INFLATED_BYTES:,} bytes" if long else "end too early"),
        )
    return data[:at] + rest


def _file_meta(source: _Source, at: int) -> tuple[int, str, _Encoding]:
    """Where the data set starts, its transfer syntax, and how it is encoded."""
    # Group 0002 is explicit and little endian whatever follows (PS3.10 section 7.1).
    values: dict[int, bytes] = {}
    wanted = frozenset((Tag.TRANSFER_SYNTAX_UID,))
    stop = _scan(source, at, _Encoding(little=True, explicit=True), 0x00030000, wanted, values)
    at = at if stop is None else stop.head
    syntax = values.get(Tag.TRANSFER_SYNTAX_UID, b"").decode("latin-1").strip(" \0")
    if syntax == DeflatedExplicitVRLittleEndian:
        return at, syntax, _Encoding(little=True, explicit=True)
    explicit = _shows_vr(source, at)
    if not syntax:
        # A first group 0008 shows its byte order.
        big = explicit and source.bytes_at(at, 2) == b"\0\x08"
        if explicit:
            syntax = str(ExplicitVRBigEndian if big else ExplicitVRLittleEndian)
        else:
            syntax = str(ImplicitVRLittleEndian)
    little = syntax != ExplicitVRBigEndian
    return at, syntax if is_uid(syntax) else "unknown", _Encoding(little, explicit)


def read_header(path: Path, name: str, wanted: frozenset[int]) -> tuple[Header, int]:
    """Header of a file that is known to be one, and the size of the file in bytes, inflated.

    Reads the file in pieces of 16 KiB, only those where elements start.

    Raises
    ------
    CaseError
        As `parse_header`.
    NotDicomError
        The file is not DICOM, by its first bytes.
    OSError
        The file cannot be read.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        size = os.fstat(descriptor).st_size
        start = os.pread(descriptor, CHUNK_BYTES, 0)
        if not looks_like_dicom(start, path.name):
            raise NotDicomError(Reason.UNSUPPORTED_FORMAT, f"{name}: not a DICOM file")
        if _DEFLATED in start[:_MOST_META_BYTES] and size <= _MOST_INFLATED_BYTES:
            data = inflated(os.pread(descriptor, size, 0), name)
            return parse_header(data, name, wanted), len(data)
        header = parse_header(start, name, wanted, lambda at: os.pread(descriptor, CHUNK_BYTES, at))
    finally:
        os.close(descriptor)
    return header, size
