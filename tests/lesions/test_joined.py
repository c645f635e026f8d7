"""Lesions of several readers who marked one scan."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray
from scipy import ndimage

from uls_data.lesions.joined import by_component, by_overlap, joined
from uls_data.lesions.votes import Voxels
from uls_data.outcome import Reason

SHAPE = (5, 4, 3)


def voxels_of(*places: tuple[int, int, int]) -> Voxels:
    return np.array(sorted(places), np.int32).reshape(-1, 3)


def painted(voxels: Voxels) -> NDArray[np.bool_]:
    mask = np.zeros(SHAPE, bool)
    mask[tuple(voxels.T)] = True
    assert mask.sum() == len(voxels)
    return mask


A, B, C, D = (0, 0, 0), (0, 0, 1), (0, 0, 2), (4, 3, 2)


@given(hnp.arrays(bool, (3, *SHAPE)))
def test_components_of_all_readers_together(masks: NDArray[np.bool_]) -> None:
    expected, count = ndimage.label(masks.any(axis=0))
    groups = by_component([np.argwhere(mask).astype(np.int32) for mask in masks], SHAPE)
    assert len(groups) == count
    for number, group in enumerate(groups, 1):
        inside = expected == number
        found = {reader: painted(voxels) for reader, voxels in group}
        for reader, mask in enumerate(masks):
            np.testing.assert_array_equal(
                found.get(reader, np.zeros(SHAPE, bool)), mask & inside, strict=True
            )
        lesion = joined(number, [(at + 1, own) for at, own in group], (1, 2, 3), None)
        np.testing.assert_array_equal(
            painted(lesion.voxels), (masks.sum(axis=0) >= 2) & inside, strict=True
        )
        assert lesion.agreement == (masks & inside).any(axis=(1, 2, 3)).sum()
        assert (lesion.skipped is not None) == (not len(lesion.voxels))


def test_marks_that_share_voxels_are_one_lesion() -> None:
    marks = [voxels_of(A, B), voxels_of(D), voxels_of(B, C), voxels_of(D)]
    groups = by_overlap(marks)
    assert [[at for at, _ in group] for group in groups] == [[0, 2], [1, 3]]


@pytest.mark.parametrize(
    ("readers", "expected"), [((1, 2), [B]), ((1, 2, 3), [B]), ((1, 2, 3, 4), [])]
)
def test_who_marked_nothing_votes_against(readers: tuple[int, ...], expected: list[Any]) -> None:
    lesion = joined(4, [(1, voxels_of(A, B)), (2, voxels_of(B, C))], readers, "x+y")
    assert [tuple(v) for v in lesion.voxels.tolist()] == expected
    assert (lesion.index, lesion.source_lesion_id, lesion.agreement) == (4, "x+y", 2)
    assert [name for name, _ in lesion.readers] == ["reader-1", "reader-2"]
    if not expected:
        assert lesion.skipped is not None and lesion.skipped[0] is Reason.BELOW_AGREEMENT
        assert "2 of its 4 readers" in lesion.skipped[1]
    dice = {candidate: value for candidate, _, value in lesion.scores}
    assert dice["reader-1/reader-2"] == 0.5
    assert dice.get("reader-1/reader-3", 0) == 0 and ("reader-1/reader-3" in dice) == (3 in readers)


@given(st.integers(1, 5), hnp.arrays(bool, SHAPE, elements=st.booleans()))
def test_several_marks_of_one_reader_are_one_layer(reader: int, mask: NDArray[np.bool_]) -> None:
    mask[0, 0, 0] = True
    half = mask.copy()
    half[2:] = False
    marks = [(reader, np.argwhere(m).astype(np.int32)) for m in (mask, half)]
    lesion = joined(1, marks, (reader,), None)
    np.testing.assert_array_equal(painted(lesion.voxels), mask)
    # One alone is not a reader among several.
    assert (lesion.readers, lesion.agreement, lesion.scores) == ((), None, ())
