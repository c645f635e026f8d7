"""Fingerprints: the same for one scan or mask however it is cut and turned, else different."""

from __future__ import annotations

from itertools import permutations, product
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from uls_data.auditing.fingerprint import SKETCH_SIZE, mask_fingerprint, scan_sketch

TURNS = [(order, flips) for order in permutations(range(3)) for flips in product((1, -1), repeat=3)]


def turned(array: NDArray[Any], turn: tuple[tuple[int, ...], tuple[int, ...]]) -> NDArray[Any]:
    order, flips = turn
    return array.transpose(order)[tuple(slice(None, None, step) for step in flips)]


def scan(seed: int, shape: tuple[int, int, int] = (64, 60, 56)) -> NDArray[np.int16]:
    """Noise over something smooth, in air that is clipped."""
    noise = np.random.default_rng(seed).normal(0, 12, shape)
    x, y, z = np.ogrid[-1 : 1 : shape[0] * 1j, -1 : 1 : shape[1] * 1j, -1 : 1 : shape[2] * 1j]  # type: ignore[misc]
    body = np.where(x**2 + y**2 < 0.8, 60 * np.cos(3 * x + z), -1024)
    return np.asarray(np.maximum(body + noise, -1024), np.int16)


def shared(one: NDArray[np.uint64], other: NDArray[np.uint64]) -> int:
    return len(np.intersect1d(one, other))


SCAN = scan(0)
SKETCH = scan_sketch(SCAN, None)


def test_a_sketch_is_full_and_sorted() -> None:
    assert len(SKETCH) == SKETCH_SIZE
    assert (np.diff(SKETCH.astype(object)) > 0).all()


@given(turn=st.sampled_from(TURNS), shift=st.integers(-2000, 2000))
def test_turned_mirrored_and_shifted(turn: Any, shift: int) -> None:
    other = turned(SCAN.astype(np.int32), turn) + shift
    assert np.array_equal(scan_sketch(other, None), SKETCH)


@given(
    start=st.tuples(*[st.integers(0, 16)] * 3),
    turn=st.sampled_from(TURNS),
    padding=st.tuples(*[st.integers(0, 12)] * 3),
)
def test_a_crop_shares_its_part(start: Any, turn: Any, padding: Any) -> None:
    """Half of each axis or more is kept, and something else lies around it."""
    part = SCAN[tuple(slice(at, at + 44) for at in start)]
    pad = int(part.min()) - 1
    padded = np.pad(turned(part, turn), [(n, 0) for n in padding], constant_values=pad)
    assert shared(scan_sketch(padded, pad), SKETCH) > 20


def test_two_scans_share_nothing() -> None:
    sketches = [scan_sketch(scan(seed), None) for seed in range(1, 12)]
    assert [shared(sketch, SKETCH) for sketch in sketches] == [0] * 11


def test_texture_that_all_scans_share_does_not_count() -> None:
    """Air, a step, a single bright voxel, a ramp: nothing of it names a scan."""
    air = np.full((40, 40, 40), -1024, np.int16)
    step = air.copy()
    step[20:] = 40
    spike = air.copy()
    spike[::7, ::5, ::9] = 300
    for plain in (air, step, spike, air[:2]):
        assert scan_sketch(plain, None).size == 0


def test_padding_leaves_no_trace() -> None:
    """Beside padding a place looks different in every crop, so it has no number."""
    part = SCAN[20:40, 20:40, 20:40]
    bare = scan_sketch(part, None)
    for pad in (-1100, -3000):
        around = np.pad(part, 4, constant_values=pad)
        assert np.isin(scan_sketch(around, pad), bare).all()


def lesion(seed: int = 0) -> NDArray[np.bool_]:
    mask = np.zeros((48, 40, 30), bool)
    mask[10:22, 8:15, 5:11] = np.random.default_rng(seed).random((12, 7, 6)) > 0.3
    return mask


@given(turn=st.sampled_from(TURNS), seed=st.integers(0, 50))
def test_masks_turned_and_moved(turn: Any, seed: int) -> None:
    moved = np.pad(turned(lesion(seed), turn), [(5, 1), (9, 2), (3, 4)])
    assert mask_fingerprint(moved) == mask_fingerprint(lesion(seed))
    assert mask_fingerprint(moved) != mask_fingerprint(lesion(seed + 1))


@pytest.mark.parametrize("turn", TURNS)
def test_a_cube_has_as_many_turns(turn: Any) -> None:
    cube = np.random.default_rng(4).random((6, 6, 6)) > 0.3
    assert mask_fingerprint(turned(cube, turn)) == mask_fingerprint(cube)


def test_boxes_of_other_shapes_differ() -> None:
    """Their bits alone are the same."""
    one, other = (mask_fingerprint(np.ones(shape)) for shape in ((4, 6, 8), (3, 8, 8)))
    assert one is not None and other is not None and one != other


def test_small_and_flat_masks_have_none() -> None:
    for shape in ((4, 4, 6), (20, 20, 1), (1, 20, 20)):
        assert mask_fingerprint(np.ones(shape)) is None
    assert mask_fingerprint(np.zeros((9, 9, 9))) is None
    assert mask_fingerprint(np.ones((4, 5, 5))) is not None
