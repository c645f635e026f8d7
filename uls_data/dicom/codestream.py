"""Compressed pixel data of one frame: fragments, codestreams, and pydicom's decoders.

A decoder allocates what its codestream claims, so the codestream's own header is held
against the file's before it is handed over.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray
from pydicom import uid

from uls_data.dicom.elements import Header
from uls_data.errors import CaseError
from uls_data.outcome import Reason

if TYPE_CHECKING:
    from uls_data.dicom.pixel_format import PixelFormat

NATIVE = frozenset(
    (uid.ImplicitVRLittleEndian, uid.ExplicitVRLittleEndian, uid.ExplicitVRBigEndian)
)
_OPENJPEG, _RLE, _LIBJPEG = "pylibjpeg-openjpeg", "pylibjpeg-rle", "pylibjpeg-libjpeg"
_CHARLS = "pyjpegls"
# Package that decodes each compressed transfer syntax.
_PACKAGES: dict[str, str] = {
    uid.JPEG2000Lossless: _OPENJPEG,
    uid.JPEG2000: _OPENJPEG,
    uid.HTJ2KLossless: _OPENJPEG,
    uid.HTJ2KLosslessRPCL: _OPENJPEG,
    uid.HTJ2K: _OPENJPEG,
    uid.RLELossless: _RLE,
    uid.JPEGBaseline8Bit: _LIBJPEG,
    uid.JPEGExtended12Bit: _LIBJPEG,
    uid.JPEGLossless: _LIBJPEG,
    uid.JPEGLosslessSV1: _LIBJPEG,
    uid.JPEGLSLossless: _CHARLS,  # pylibjpeg-libjpeg decodes it as well
    uid.JPEGLSNearLossless: _CHARLS,
}
COMPRESSED = frozenset(_PACKAGES)
# A slice of air shrinks by a thousand and more, a series of slices by 2 to 20.
MAXIMUM_RATIO = 1000
_ITEM, _SEQUENCE_END = b"\xfe\xff\x00\xe0", b"\xfe\xff\xdd\xe0"
_LOGGERS = ("pydicom.pixels.decoders.base", "openjpeg.decode", "_openjpeg")
_TURN = threading.Lock()


def check_syntax(header: Header) -> None:
    """Refuse a transfer syntax that cannot be decoded here.

    Raises
    ------
    CaseError
        `unsupported_format`, with the package that would decode it.
    """
    if header.transfer_syntax not in NATIVE:
        _plugin(header.transfer_syntax, header.name)


def _plugin(syntax: str, name: str) -> str:
    """Plugin of pydicom that decodes a transfer syntax, of those that are installed."""
    package = _PACKAGES.get(syntax)
    if package is None:
        raise CaseError(
            Reason.UNSUPPORTED_FORMAT,
            f"{name}: transfer syntax {syntax} is not read; decompress the files first, as "
            "with gdcmconv --raw",
        )
    from pydicom.pixels.decoders.base import get_decoder

    plugins = get_decoder(syntax).available_plugins
    if not plugins:
        raise CaseError(
            Reason.UNSUPPORTED_FORMAT,
            f"{name}: {uid.UID(syntax).name} needs the package {package}: "
            f"`pip install {package}`, or decompress the files first, as with gdcmconv --raw",
        )
    return "pylibjpeg" if "pylibjpeg" in plugins else str(plugins[0])


def decode(data: bytes, header: Header, form: PixelFormat) -> NDArray[Any]:
    """Decode a compressed slice to stored values, shape (rows, columns).

    Parameters
    ----------
    data : bytes
        The whole file.
    header, form
        Of the same bytes.

    Raises
    ------
    CaseError
        `unreadable` or `truncated_file`.
    """
    return decode_frame(_frame(data, header), header.transfer_syntax, form, header.name)


def decode_frame(frame: bytes, syntax: str, form: PixelFormat, name: str) -> NDArray[Any]:
    """Decode the codestream of one frame to stored values, shape (rows, columns).

    Raises
    ------
    CaseError
        `unreadable`, `truncated_file` or `unsupported_format`.
    """
    from pydicom.encaps import encapsulate
    from pydicom.pixels.decoders.base import get_decoder

    plugin = _plugin(syntax, name)
    if syntax != uid.RLELossless:
        _check_codestream(frame, name, form)
    options: dict[str, Any] = {
        "rows": form.rows,
        "columns": form.columns,
        "bits_allocated": form.bits_allocated,
        "bits_stored": form.bits_stored,
        "pixel_representation": int(form.signed),
        "samples_per_pixel": 1,
        "number_of_frames": 1,
        "photometric_interpretation": "MONOCHROME2",
        "pixel_keyword": "PixelData",
    }
    try:
        with _quiet():
            decoded: NDArray[Any]
            decoded, _ = get_decoder(syntax).as_array(
                encapsulate([frame]), raw=True, decoding_plugin=plugin, **options
            )
    except BaseException as error:
        # A panic of the RLE decoder, which is Rust, is not an `Exception`.
        if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
            raise
        raise CaseError(
            Reason.UNREADABLE,
            f"{name}: {uid.UID(syntax).name} pixel data cannot be decoded; download the file again",
        ) from None
    if decoded.shape != (form.rows, form.columns) or decoded.dtype != form.dtype:
        raise CaseError(
            Reason.UNREADABLE,
            f"{name}: expected {form.rows} rows of {form.columns} {form.dtype}, decoded "
            f"{decoded.shape} {decoded.dtype}",
        )
    return decoded


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence decoders: they warn of what is checked here, and say twice what they raise.

    Warnings, loggers and the standard error belong to the whole process: threads take turns.
    """
    sys.stderr.flush()
    with _TURN, warnings.catch_warnings(), ExitStack() as restore:
        warnings.simplefilter("ignore")
        for logger in map(logging.getLogger, _LOGGERS):
            restore.callback(setattr, logger, "disabled", logger.disabled)
            logger.disabled = True
        saved, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
        restore.callback(os.close, saved)
        restore.callback(os.close, nowhere)
        restore.callback(os.dup2, saved, 2)
        os.dup2(nowhere, 2)
        yield


def _frame(data: bytes, header: Header) -> bytes:
    """Join the fragments of the only frame (PS3.5 A.4)."""
    at, items = header.pixels_start or 0, list[bytes]()
    while (mark := data[at : at + 4]) == _ITEM:
        length = int.from_bytes(data[at + 4 : at + 8], "little")
        at += 8 + length
        if at > len(data):
            break
        items.append(data[at - length : at])
    if mark != _SEQUENCE_END:
        cut = at + 4 > len(data)
        raise CaseError(
            Reason.TRUNCATED_FILE if cut else Reason.UNREADABLE,
            f"{header.name}: compressed pixel data {'end with the file' if cut else 'are damaged'}"
            f" at byte {min(at, len(data)):,}; download the file again",
        )
    # The first item is an offset table, which one frame does not need.
    return b"".join(items[1:])


def _check_codestream(frame: bytes, name: str, form: PixelFormat) -> None:
    """Hold the size that a JPEG or JPEG 2000 codestream claims against the header's."""
    if frame[:4] == b"\xff\x4f\xff\x51":
        # SIZ: extent and origin of the image, and the number of its components.
        right, bottom, left, top = (
            int.from_bytes(frame[at : at + 4], "big") for at in (8, 12, 16, 20)
        )
        components = int.from_bytes(frame[40:42], "big")
        # The first component may be sampled less often than every pixel.
        found = (right - left, bottom - top, components if frame[43:45] == b"\x01\x01" else 0)
    else:
        found = _jpeg_size(frame)
    if found != (form.columns, form.rows, 1):
        raise CaseError(
            Reason.UNREADABLE,
            f"{name}: header says {form.columns} x {form.rows} pixels of 1 component, its "
            f"codestream {found[0]} x {found[1]} of {found[2]}",
        )
    if not frame.rstrip(b"\0").endswith(b"\xff\xd9"):
        raise CaseError(
            Reason.TRUNCATED_FILE,
            f"{name}: the codestream has no end; download the file again",
        )


def _jpeg_size(frame: bytes) -> tuple[int, int, int]:
    """Columns, rows and components of a JPEG or JPEG-LS frame; zeros where it shows none."""
    at = 2 if frame[:2] == b"\xff\xd8" else len(frame)
    while at + 10 <= len(frame) and frame[at] == 0xFF:
        marker = frame[at + 1]
        # Start of frame: C0 to CF but DHT, JPG and DAC; F7 in JPEG-LS.
        if marker == 0xF7 or (0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC)):
            rows, columns = (int.from_bytes(frame[at + k : at + k + 2], "big") for k in (5, 7))
            return columns, rows, frame[at + 9]
        at += 2 + int.from_bytes(frame[at + 2 : at + 4], "big")
    return 0, 0, 0
