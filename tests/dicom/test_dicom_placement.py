"""Where the frames of a DICOM Segmentation lie in a scan."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from makers.seg import RAS, SHAPE, encoded, grid, masks_of, placed, read, segmentation, uid_of
from numpy.typing import NDArray

from demo.phantom import store, tilted
from uls_data import geometry
from uls_data.dicom.placement import place_segment
from uls_data.errors import CaseError
from uls_data.outcome import Reason


@given(
    seed=st.integers(0, 1000),
    shape=st.tuples(*[st.integers(1, 9)] * 3),
    codes=st.sampled_from(["LPS", "RAS", "LPI", "PIR", "SAL"]),
    tilt=st.sampled_from([0.0, 12.0]),
    empty=st.booleans(),
    fraction=st.sampled_from([None, 1, 255]),
)
def test_segments_come_back(
    tmp_path: Path,
    seed: int,
    shape: tuple[int, ...],
    codes: str,
    tilt: float,
    empty: bool,
    fraction: int | None,
) -> None:
    truth = masks_of(seed, 3, shape)
    grid = tilted(RAS, tilt)
    turned = {number: store(mask, grid, codes) for number, mask in truth.items()}
    drawn = {number: stored for number, (stored, _) in turned.items()}
    ds = segmentation(drawn, turned[1][1], bool(seed % 2), empty, fraction, shuffle=seed)
    seg = read(tmp_path, encoded(ds))
    for number, mask in truth.items():
        # On the grid that it was drawn on, and on the scan's RAS grid: nothing is resampled.
        stored, affine = turned[number]
        assert np.array_equal(placed(seg, number, stored.shape, affine), stored)
        assert np.array_equal(placed(seg, number, shape, grid), mask)


def test_an_empty_segment_is_no_error(tmp_path: Path) -> None:
    stored, affine = grid()
    seg = read(tmp_path, encoded(segmentation({1: stored, 2: stored & False}, affine)))
    assert not placed(seg, 2, SHAPE, affine).any()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda a: a @ np.diag([1, 1.3, 1, 1]), "voxels off"),
        (lambda a: a @ np.diag([2, 2, 1, 1]), "voxels off"),
        (lambda a: a @ np.diag([0.5, 0.5, 1, 1]), "voxels off"),
        (lambda a: tilted(a, 5.0), "voxels off"),
        (lambda a: geometry.shifted(a, (0, 0, 1)), r"\(0, 0, -1\) to \(6, 4, -1\)"),
        (lambda a: geometry.shifted(a, (-1, 0, 0)), r"\(1, 0, 0\) to \(7, 4, 0\)"),
        (lambda a: a + np.pad([[0.2]], ((0, 3), (3, 0))), "0.286 voxels off"),
        (lambda a: a + np.pad([[0.3]], ((2, 1), (3, 0))), "0.12 voxels off"),
    ],
)
def test_another_grid(
    tmp_path: Path, change: Callable[[NDArray[np.float64]], NDArray[np.float64]], words: str
) -> None:
    stored, affine = grid()
    seg = read(tmp_path, encoded(segmentation({1: stored | True}, affine)))
    with pytest.raises(CaseError, match=words) as caught:
        place_segment(seg, 1, SHAPE, change(affine))
    assert caught.value.reason is Reason.GRID_MISMATCH
    assert "SEG.dcm" in caught.value.detail


def test_rounded_positions_are_the_same_grid(tmp_path: Path) -> None:
    stored, affine = grid()
    seg = read(tmp_path, encoded(segmentation({1: stored}, np.round(affine, 2))))
    assert np.array_equal(placed(seg, 1, SHAPE, affine), stored)


def test_frames_that_contradict_each_other_or_the_scan(tmp_path: Path) -> None:
    stored, affine = grid()
    uids = [uid_of(at) for at in range(SHAPE[2])]
    seg = read(tmp_path, encoded(segmentation({1: stored | True}, affine)))
    assert placed(seg, 1, SHAPE, affine, sop_uids=uids).all()
    assert placed(seg, 1, SHAPE, affine, sop_uids=["1.2.3", ""]).all()
    with pytest.raises(CaseError, match=r"frame 1 lies on slice 0 .* names slice 3") as caught:
        place_segment(seg, 1, SHAPE, affine, uids[::-1])
    assert caught.value.reason is Reason.ANNOTATION_MISMATCH
    ds = segmentation({1: stored | True}, affine)
    groups = ds.PerFrameFunctionalGroupsSequence
    groups[2].PlanePositionSequence = groups[0].PlanePositionSequence
    with pytest.raises(CaseError, match="frames 1 and 3 both show segment 1 on slice 0") as caught:
        place_segment(read(tmp_path, encoded(ds)), 1, SHAPE, affine)
    assert caught.value.reason is Reason.ANNOTATION_MISMATCH


def test_shares_of_a_voxel_are_not_guessed(tmp_path: Path) -> None:
    stored, affine = grid()
    ds = segmentation({1: stored}, affine, fraction=200)
    values = bytearray(ds.PixelData)
    values[values.index(200)] = 100
    ds.PixelData = bytes(values)
    with pytest.raises(CaseError, match="frame 1 has 1 pixels") as caught:
        place_segment(read(tmp_path, encoded(ds)), 1, SHAPE, affine)
    assert caught.value.reason is Reason.MASK_NOT_INTEGER
