"""Stored values of one single-frame CT slice (PS3.3 C.7.6.3, PS3.5 section 8).

Uncompressed values are taken from the file's bytes as they are; compressed ones go
through `uls_data.dicom.codestream`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from uls_data.dicom.codestream import NATIVE, check_syntax, decode
from uls_data.dicom.elements import Header, Tag
from uls_data.dicom.pixel_format import PixelFormat
from uls_data.errors import CaseError
from uls_data.outcome import Reason

# Detectors reconstruct to 512 or 1024, rarely 2048, columns.
MAXIMUM_SIDE = 1 << 13


def pixel_format(header: Header) -> PixelFormat:
    """Format of a slice, from its header alone.

    Raises
    ------
    CaseError
        `unsupported_format`, `unreadable`, `too_large`, or `multi_frame`.
    """
    name = header.name
    frames = header.numbers(Tag.NUMBER_OF_FRAMES, 1)
    if frames is not None and frames != (1.0,):
        raise CaseError(
            Reason.MULTI_FRAME,
            f"{name}: expected one frame a file, found {frames[0]:g}; multi-frame CT is not read, "
            "convert it to single slices",
        )
    samples = header.integer(Tag.SAMPLES_PER_PIXEL)
    # Both greys hold the same values; they differ in how a screen shows them.
    grey = header.text(Tag.PHOTOMETRIC_INTERPRETATION) in ("MONOCHROME1", "MONOCHROME2", "")
    if samples not in (1, None) or not grey:
        raise CaseError(
            Reason.UNSUPPORTED_FORMAT, f"{name}: expected one grey value a pixel, found colours"
        )
    rows, columns, allocated, sign = (
        _required(header, tag)
        for tag in (Tag.ROWS, Tag.COLUMNS, Tag.BITS_ALLOCATED, Tag.PIXEL_REPRESENTATION)
    )
    if not (rows and columns):
        raise CaseError(Reason.UNREADABLE, f"{name}: a slice of {columns} x {rows} pixels")
    if max(rows, columns) > MAXIMUM_SIDE:
        raise CaseError(
            Reason.TOO_LARGE,
            f"{name}: header claims {columns:,} x {rows:,} pixels; more than {MAXIMUM_SIDE:,} "
            "a side is not a CT slice",
        )
    stored, high = header.integer(Tag.BITS_STORED), header.integer(Tag.HIGH_BIT)
    stored = allocated if stored is None else stored
    high = stored - 1 if high is None else high
    if allocated not in (8, 16, 32) or not 0 <= stored - 1 <= high < allocated or sign > 1:
        raise CaseError(
            Reason.UNSUPPORTED_FORMAT,
            f"{name}: expected integers of 8, 16 or 32 bits, found bits allocated {allocated}, "
            f"stored {stored}, high bit {high}, pixel representation {sign}",
        )
    check_syntax(header)
    if allocated == 8 and not header.little_endian:
        raise CaseError(Reason.UNSUPPORTED_FORMAT, f"{name}: big-endian pixels of 8 bits")
    return PixelFormat(rows, columns, allocated, stored, high, bool(sign))


def check_room(header: Header, form: PixelFormat, file_bytes: int) -> None:
    """Refuse a file that cannot hold its pixels, before anything is allocated for them.

    Raises
    ------
    CaseError
        `truncated_file` or `unreadable`.
    """
    name, start, length = header.name, header.pixels_start, header.pixels_bytes
    if start is None or header.pixels_tag != Tag.PIXEL_DATA:
        what = "floating point pixels" if header.pixels_tag else "the end of the file"
        raise CaseError(
            Reason.UNREADABLE if header.pixels_tag else Reason.TRUNCATED_FILE,
            f"{name}: expected {Tag.PIXEL_DATA.label}, found {what}",
        )
    compressed = header.transfer_syntax not in NATIVE
    if compressed != (length is None):
        raise CaseError(
            Reason.UNREADABLE,
            f"{name}: transfer syntax {header.transfer_syntax} does not go with pixel data of "
            f"{'undefined length' if length is None else f'{length:,} bytes'}",
        )
    if length is None:
        return
    # Values have an even length; padding behind the last pixel is to be ignored (PS3.5 8.1.1).
    expected = form.frame_bytes + form.frame_bytes % 2
    found = min(length, file_bytes - start)
    if found < form.frame_bytes:
        raise CaseError(
            Reason.TRUNCATED_FILE,
            f"{name}: {form.columns} x {form.rows} pixels of {form.bits_allocated} bits need "
            f"{form.frame_bytes:,} bytes, found {found:,}; the file is cut short",
        )
    if length >= expected + form.frame_bytes:
        raise CaseError(
            Reason.UNREADABLE,
            f"{name}: holds {length:,} bytes of pixels, but {form.columns} x {form.rows} pixels of "
            f"{form.bits_allocated} bits are {form.frame_bytes:,}",
        )


def has_padding_behind(header: Header, form: PixelFormat) -> bool:
    """Whether more bytes follow the pixels than make their length even."""
    return (header.pixels_bytes or 0) > form.frame_bytes + form.frame_bytes % 2


def read_pixels(data: bytes, header: Header, form: PixelFormat, target: NDArray[Any]) -> None:
    """Fill an array of (rows, columns) with the stored values of one slice.

    Parameters
    ----------
    data : bytes
        The whole file.
    header, form
        Of the same bytes; `check_room` has passed.
    target : ndarray, shape (rows, columns), `form.dtype`

    Raises
    ------
    CaseError
        `unreadable`, `truncated_file` or `unsupported_format`.
    """
    if header.transfer_syntax in NATIVE:
        raw = np.frombuffer(
            data,
            form.dtype.newbyteorder("<" if header.little_endian else ">"),
            form.rows * form.columns,
            header.pixels_start or 0,
        ).reshape(form.rows, form.columns)
        high = form.high_bit
    else:
        raw = decode(data, header, form)
        high = form.bits_stored - 1  # a codestream has no bits to spare
    if form.bits_stored == form.bits_allocated:
        target[...] = raw
    elif high == form.bits_stored - 1 and not form.signed:
        np.bitwise_and(raw, (1 << form.bits_stored) - 1, out=target)
    else:
        # Out go the bits above the value, then those below; the sign fills in from above.
        np.left_shift(raw, form.bits_allocated - 1 - high, out=target)
        np.right_shift(target, form.bits_allocated - form.bits_stored, out=target)


def padding_limits(header: Header, form: PixelFormat) -> tuple[int, int] | None:
    """Smallest and largest stored value that mean "outside the field"; None where none is named.

    From Pixel Padding Value and Pixel Padding Range Limit (PS3.3 C.7.5.1.1.2), as the stored
    bits hold them.
    """
    value = header.integer(Tag.PIXEL_PADDING_VALUE)
    limit = header.integer(Tag.PIXEL_PADDING_RANGE_LIMIT)
    if value is None:
        return None
    ends = [_as_stored(end, form) for end in (value, limit) if end is not None]
    return min(ends), max(ends)


def _as_stored(value: int, form: PixelFormat) -> int:
    # Writers give the value as US or SS whatever the pixels are: the bits are what counts.
    bits = value & (1 << form.bits_stored) - 1
    return bits - (1 << form.bits_stored) if form.signed and bits > form.limits[1] else bits


def _required(header: Header, tag: Tag) -> int:
    value = header.integer(tag)
    if value is None:
        raise CaseError(Reason.UNREADABLE, f"{header.name}: {tag.label} is missing")
    return value
