"""Gzip of masks: their runs of one value are known, so nothing needs to be searched for.

A mask is nearly all zeros. A general encoder takes several times as long to find that out, for more
bytes (docs/speed.md). This one works in whole numbers alone: every machine writes the same.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import deflate
import numpy as np
from numpy.typing import NDArray

_HEADER = b"\x1f\x8b\x08\0\0\0\0\0\x04\xff"  # no name, no time, unknown system
_LONGEST = 258  # of one match
_END, _FIRST_LENGTH, _LENGTHS = 256, 257, 29
_SHORTEST_MATCH = 3
# Bits of a code of the alphabet, by symbol: together they fill it. Matches of 258 are most of a
# mask and have one bit; next come the two values, then lengths from 131, the rest of a row.
_VALUE_BITS, _REST_BITS, _LATE_BITS, _OTHER_BITS = 3, 5, 7, 8
_CODE_BITS = {
    0: _VALUE_BITS,
    1: _VALUE_BITS,
    _END: _OTHER_BITS,
    **dict.fromkeys(range(257, 263), _OTHER_BITS),
    **dict.fromkeys(range(263, 270), _LATE_BITS),
    **dict.fromkeys(range(270, 281), _OTHER_BITS),
    **dict.fromkeys(range(281, 285), _REST_BITS),
    285: 1,
}
# The same for the numbers of bits above, which precede the codes; 18 repeats zeros.
_TABLE_BITS = {1: 3, 3: 2, 5: 3, 7: 3, 8: 2, 18: 3}
_TABLE_ORDER = (16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15)
_MOST_ZEROS, _LEAST_ZEROS = 138, 11
# A lesion has two runs per row that it touches, and each run takes about 80 bytes of memory here.
_MOST_RUNS = 1 << 20
# Voxels that are looked at together for whether any is 1.
_PIECE = 1 << 15


def gzip_mask(data: bytearray | NDArray[np.uint8], start: int) -> bytes | None:
    """Compress a header and the voxels behind it to one gzip member, without time or name.

    Parameters
    ----------
    data : bytearray or ndarray, uint8
        Header and voxels, one byte each.
    start : int
        Bytes of the header, fewer than 65,536.

    Returns
    -------
    bytes or None
        None where there is no voxel, one that is neither 0 nor 1, or noise instead of runs.
    """
    whole = np.frombuffer(data, np.uint8)
    voxels = whole[start:]
    if not voxels.size:
        return None
    pieces = np.maximum.reduceat(voxels, np.arange(0, len(voxels), _PIECE))
    if pieces.max() > 1:
        return None
    changes = _changes(voxels, np.flatnonzero(pieces))
    if len(changes) >= _MOST_RUNS:
        return None
    size = start.to_bytes(2, "little")
    stored = b"\0" + size + bytes(255 - byte for byte in size) + whole[:start].tobytes()
    end = deflate.crc32(data).to_bytes(4, "little") + (len(data) % (1 << 32)).to_bytes(4, "little")
    return b"".join([_HEADER, stored, _deflated(voxels, changes), end])


def _changes(voxels: NDArray[np.uint8], marked: NDArray[np.int64]) -> NDArray[np.int64]:
    """Where voxels differ from those before, looked for in and beside pieces that hold any 1."""
    if not len(marked):
        return np.empty(0, np.int64)
    first, last = int(marked[0]) * _PIECE, (int(marked[-1]) + 1) * _PIECE + 1
    first = max(first - 1, 0)
    part = voxels[first:last]
    return np.flatnonzero(part[1:] != part[:-1]) + first + 1


def _deflated(voxels: NDArray[np.uint8], changes: NDArray[np.int64]) -> bytes:
    """One last block of voxels that are 0 or 1 (RFC 1951, section 3.2.7)."""
    opening, value_codes, tails, tail_bits, end = _codes()
    lengths = np.diff(changes, prepend=0, append=len(voxels))
    values = (np.arange(len(lengths)) + voxels[0]) % 2
    # Of each run one value, the longest matches, which are zero bits, and what remains.
    matches, rest = np.divmod(lengths - 1, _LONGEST)
    tail_at = _VALUE_BITS + 2 * matches
    bits = tail_at + tail_bits[rest]
    at = len(opening) + np.cumsum(bits) - bits
    stop = int(at[-1] + bits[-1])
    stream = np.zeros(stop + len(end), np.uint8)
    stream[: len(opening)], stream[stop:] = opening, end
    _put(stream, at, value_codes[values])
    _put(stream, at + tail_at, tails[values, rest])
    return np.packbits(stream, bitorder="little").tobytes()


def _put(stream: NDArray[np.uint8], at: NDArray[np.int64], codes: NDArray[np.int64]) -> None:
    """Set the bits of codes in a stream of zeros."""
    for bit in range(int(codes.max()).bit_length()):
        stream[at[(codes >> bit) & 1 == 1] + bit] = 1


@cache
def _codes() -> tuple[Any, ...]:
    """Bits that open the block, codes of values, of ends of runs, and bits of those; its end."""
    codes = _canonical(_CODE_BITS)
    value_codes = np.array([_number(codes[0]), _number(codes[1])])
    ends = [[_tail(codes, value, rest) for rest in range(_LONGEST)] for value in (0, 1)]
    tails = np.array([[_number(end) for end in of_value] for of_value in ends])
    return _opening(), value_codes, tails, np.array([len(end) for end in ends[0]]), codes[_END]


def _tail(codes: dict[int, list[int]], value: int, rest: int) -> list[int]:
    """Bits of the last voxels of a run, of a length that no longest match has."""
    if rest < _SHORTEST_MATCH:
        return codes[value] * rest
    # Lengths in groups of four symbols, each group with a bit more behind the symbol.
    group = max(0, (rest - _SHORTEST_MATCH).bit_length() - 3)
    symbol = _FIRST_LENGTH + 4 * group + ((rest - _SHORTEST_MATCH) >> group)
    further = [(rest - _SHORTEST_MATCH) >> bit & 1 for bit in range(group)]
    return [*codes[symbol], *further, 0]  # and the one distance, the voxel before


def _opening() -> list[int]:
    """Bits before the first code: last block, own codes, and which."""
    codes = _canonical(_TABLE_BITS)
    used = max(_TABLE_ORDER.index(symbol) for symbol in _TABLE_BITS) + 1
    bits = [1, *_little(2, 2), *_little(_LENGTHS, 5), *_little(0, 5), *_little(used - 4, 4)]
    for symbol in _TABLE_ORDER[:used]:
        bits += _little(_TABLE_BITS.get(symbol, 0), 3)
    bits += codes[_VALUE_BITS] * 2
    zeros = _END - 2
    for count in (_MOST_ZEROS, zeros - _MOST_ZEROS):
        bits += [*codes[18], *_little(count - _LEAST_ZEROS, 7)]
    for symbol in range(_END, _FIRST_LENGTH + _LENGTHS):
        bits += codes[_CODE_BITS[symbol]]
    return bits + codes[1]


def _canonical(lengths: dict[int, int]) -> dict[int, list[int]]:
    """Codes of symbols, first bit first, by the bits that each has (section 3.2.2)."""
    codes = {}
    code, before = 0, 0
    for length, symbol in sorted((length, symbol) for symbol, length in lengths.items()):
        code <<= length - before
        codes[symbol] = _little(code, length)[::-1]
        code, before = code + 1, length
    return codes


def _little(number: int, count: int) -> list[int]:
    return [number >> bit & 1 for bit in range(count)]


def _number(bits: list[int]) -> int:
    return sum(bit << at for at, bit in enumerate(bits))
