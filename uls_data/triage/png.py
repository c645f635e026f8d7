"""Slices as PNG, with a colour of their own for padding."""

from __future__ import annotations

import struct
import zlib
from typing import Any

import deflate
import numpy as np
from numpy.typing import NDArray

_GREYS = 254
# Padding is not tissue: hatched, in a colour that no window gives.
_PALETTE = b"".join(
    bytes([round(grey * 255 / (_GREYS - 1))] * 3) for grey in range(_GREYS)
) + bytes((70, 40, 70, 108, 66, 108))
_LEVEL = 1


def slice_png(
    plane: NDArray[Any], window_hu: tuple[float, float], pad_value_hu: int | None
) -> bytes:
    """Draw one slice, a pixel a voxel, both axes turned round.

    Parameters
    ----------
    plane : ndarray, shape (a, b)
        HU. Index (0, 0) is drawn at the lower right corner: the patient's right is on the left,
        the front on top or on the left, the head on top.
    window_hu : (low, high)
        Shown black and white.
    pad_value_hu : int or None
        Sentinel, shown hatched.
    """
    turned = plane.T[::-1, ::-1]
    low, high = window_hu
    share = np.clip((turned.astype(np.float32) - low) / (high - low), 0, 1)
    pixels = (share * (_GREYS - 1) + 0.5).astype(np.uint8)
    if pad_value_hu is not None:
        padded = turned == pad_value_hu
        if padded.any():
            rows, columns = np.nonzero(padded)
            pixels[rows, columns] = _GREYS + ((rows + columns) % 8 < 2)
    height, width = pixels.shape
    # Every row begins with the number of its filter: none.
    lines = np.zeros((height, width + 1), np.uint8)
    lines[:, 1:] = pixels
    return b"".join(
        (
            b"\x89PNG\r\n\x1a\n",
            _chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0)),
            _chunk(b"PLTE", _PALETTE),
            _chunk(b"IDAT", bytes(deflate.zlib_compress(lines.tobytes(), _LEVEL))),
            _chunk(b"IEND", b""),
        )
    )


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
