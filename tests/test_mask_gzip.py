"""Gzip of masks, unpacked by the decoders that readers use."""

from __future__ import annotations

import gzip
import hashlib

import deflate
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from isal import igzip
from numpy.typing import NDArray

from uls_data.io.mask_gzip import gzip_mask

HEADER = bytes(range(256)) + b"\xff" * 96
PINNED = "1cca638e612c48d8c7fa2a85cb91a13a7cd0f062f917f57dc9724e94e4e21db2"


def check(voxels: NDArray[np.uint8], header: bytes = HEADER) -> int:
    """Pack a mask and unpack it three ways; returns how many bytes it took."""
    data = bytearray(header + voxels.tobytes())
    packed = gzip_mask(data, len(header))
    assert packed is not None
    assert gzip.decompress(packed) == data
    assert bytes(deflate.gzip_decompress(packed, len(data))) == data
    assert igzip.decompress(packed) == data
    return len(packed)


@pytest.mark.parametrize("value", [0, 1])
def test_runs_of_every_length(value: int) -> None:
    # Each length that a match has, alone and behind one and two of the longest.
    for length in range(1, 3 * 258 + 5):
        check(np.full(length, value, np.uint8), b"")
        run = np.full(length + 2, 1 - value, np.uint8)
        run[1:-1] = value
        check(run)


@pytest.mark.parametrize("size", [1 << 15, (1 << 16) + 1, 100_000])
def test_changes_at_the_borders_of_what_is_looked_at_together(size: int) -> None:
    for first in {0, 1, size // 2, (1 << 15) - 1, 1 << 15, (1 << 15) + 1, size - 1} - {size}:
        for length in (1, 2, 1 << 15, size):
            voxels = np.zeros(size, np.uint8)
            voxels[first : first + length] = 1
            check(voxels)


def test_masks_of_any_kind() -> None:
    rng = np.random.default_rng(0)
    for share in (0.0005, 0.01, 0.5, 0.999):
        check((rng.random(40_000) < share).astype(np.uint8))
    for longest in (2, 4, 40, 2000):
        lengths = rng.integers(1, longest, 200)
        check(np.repeat(np.arange(200) % 2, lengths).astype(np.uint8))


@settings(max_examples=200, deadline=None)
@given(
    first=st.integers(0, 1),
    lengths=st.lists(st.integers(1, 5) | st.integers(1, 70_000), min_size=1, max_size=40),
    header=st.binary(max_size=400),
)
def test_any_runs_behind_any_header(first: int, lengths: list[int], header: bytes) -> None:
    values = (np.arange(len(lengths)) + first) % 2
    check(np.repeat(values, lengths).astype(np.uint8), header)


def test_noise_is_left_to_the_general_encoder() -> None:
    """A run takes more memory than a voxel, so that only as many are taken as lesions have."""
    stripes = (np.arange(1 << 20) % 2).astype(np.uint8)
    check(stripes)
    assert gzip_mask(bytearray(HEADER + stripes.tobytes() + b"\0"), len(HEADER)) is None


def test_same_bytes_for_ever_and_fewer_than_a_general_encoder_takes() -> None:
    x, y, z = np.indices((256, 256, 128), np.int16) - np.array([128, 128, 64]).reshape(3, 1, 1, 1)
    ball = (x * x + y * y + z * z < 400).astype(np.uint8)
    flat = ball.ravel(order="F")
    assert check(flat) < len(deflate.gzip_compress(HEADER + flat.tobytes(), 1))
    packed = gzip_mask(bytearray(HEADER + flat.tobytes()), len(HEADER))
    assert hashlib.sha256(packed or b"").hexdigest() == PINNED


def test_other_values_are_left_to_the_general_encoder() -> None:
    for voxels in ([0, 1, 2], [255], []):
        assert gzip_mask(bytearray(HEADER + bytes(voxels)), len(HEADER)) is None
