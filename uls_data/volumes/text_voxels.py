"""Voxels written as text: numbers, or the bytes in hexadecimal digits."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from uls_data.errors import CaseError
from uls_data.io import CHUNK_BYTES
from uls_data.outcome import Reason

# Small, since each number of a piece is an object for a moment.
_PIECE_BYTES = CHUNK_BYTES // 8
_WHITE = b" \t\r\n\v\f"


def read_numbers(file: BinaryIO, target: NDArray[Any], name: str) -> None:
    """Fill a flat array with the numbers of a text, which must be as many.

    Raises
    ------
    CaseError
        `unreadable`: what is not a number of this type, or more of them; `truncated_file`: fewer.
    """
    at = 0
    for piece in _whole_words(file, name):
        values = _numbers(piece, target.dtype, name)
        _check_room(at + len(values), len(target), name)
        target[at : at + len(values)] = values
        at += len(values)
    if at < len(target):
        raise _too_few(at, len(target), name)


def read_hex(file: BinaryIO, target: NDArray[np.uint8], name: str) -> None:
    """Fill a flat array of bytes from hexadecimal digits, which must be as many.

    Raises
    ------
    CaseError
        `unreadable` or `truncated_file`, as `read_numbers`.
    """
    at, odd = 0, b""
    while piece := file.read(_PIECE_BYTES):
        digits = odd + piece.translate(None, _WHITE)
        odd = digits[len(digits) & ~1 :]
        try:
            values = bytes.fromhex(digits[: len(digits) & ~1].decode("ascii"))
        except ValueError as error:
            raise _no_voxels(name, "hexadecimal digits") from error
        _check_room(at + len(values), len(target), name)
        target[at : at + len(values)] = np.frombuffer(values, np.uint8)
        at += len(values)
    if at < len(target) or odd:
        raise _too_few(at, len(target), name)


def _whole_words(file: BinaryIO, name: str) -> Iterator[bytes]:
    """Pieces of a text that end between two words."""
    rest = b""
    while piece := file.read(_PIECE_BYTES):
        text = rest + piece
        end = max(text.rfind(white.to_bytes()) for white in _WHITE) + 1
        if len(text) - end > _PIECE_BYTES:
            raise _no_voxels(name, "numbers")
        yield text[:end]
        rest = text[end:]
    yield rest


def _numbers(piece: bytes, dtype: np.dtype[Any], name: str) -> NDArray[Any]:
    """Values of a piece; commas may surround them."""
    parse = int if dtype.kind in "iu" else float
    words = [word for raw in piece.split() if (word := raw.strip(b","))]
    try:
        if b"_" in piece:  # Python's own digits separator
            raise ValueError("not a number")
        values = [parse(word) for word in words]
        if values and parse is int:
            low, high = np.iinfo(dtype).min, np.iinfo(dtype).max
            if min(values) < low or max(values) > high:
                raise ValueError(f"not within {low} to {high}")
        with np.errstate(over="ignore"):
            return np.array(values, dtype=dtype)
    except ValueError as error:
        raise _no_voxels(name, f"numbers that {dtype} holds") from error


def _check_room(found: int, wanted: int, name: str) -> None:
    if found > wanted:
        raise CaseError(
            Reason.UNREADABLE, f"{name}: holds more voxels than the {wanted:,} of its header"
        )


def _no_voxels(name: str, expected: str) -> CaseError:
    return CaseError(
        Reason.UNREADABLE, f"{name}: expected voxels as text, {expected}; get it again"
    )


def _too_few(found: int, wanted: int, name: str) -> CaseError:
    return CaseError(
        Reason.TRUNCATED_FILE,
        f"{name}: its header needs {wanted:,} voxels or bytes as text, found {found:,}; "
        "the file is cut short",
    )
