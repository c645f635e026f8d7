"""How the values of a slice are stored."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class PixelFormat:
    """How the values of a slice are stored.

    Attributes
    ----------
    rows, columns : int
    bits_allocated, bits_stored, high_bit : int
        The value lies in the bits `high_bit - bits_stored + 1` to `high_bit`; others may hold
        anything (old writers kept overlays there).
    signed : bool
    """

    rows: int
    columns: int
    bits_allocated: int
    bits_stored: int
    high_bit: int
    signed: bool

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the array of stored values, in the machine's byte order."""
        return np.dtype(f"{'i' if self.signed else 'u'}{self.bits_allocated // 8}")

    @property
    def frame_bytes(self) -> int:
        """Bytes of one slice, uncompressed."""
        return self.rows * self.columns * self.bits_allocated // 8

    @property
    def limits(self) -> tuple[int, int]:
        """Smallest and largest value that the stored bits can hold."""
        if self.signed:
            return -(1 << self.bits_stored - 1), (1 << self.bits_stored - 1) - 1
        return 0, (1 << self.bits_stored) - 1
