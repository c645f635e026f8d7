"""Lesions that share voxels are flagged, whatever their order; others are left as they are."""

from __future__ import annotations

import numpy as np
import pytest

from uls_data.lesions import Lesion, find_lesions, flag_shared
from uls_data.outcome import Flag
from uls_data.recipe import load_recipe
from uls_data.volumes.volume import Volume


def block(index: int, start: tuple[int, int, int], size: int) -> Lesion:
    voxels = np.argwhere(np.ones((size,) * 3, dtype=bool)) + start
    return Lesion(index, voxels.astype(np.int32))


def test_copies_and_overlaps_are_told_apart() -> None:
    lesions = [
        block(1, (0, 0, 0), 4),
        block(2, (0, 0, 0), 4),
        block(3, (3, 3, 3), 3),
        block(4, (6, 0, 0), 2),
        Lesion(5, np.zeros((0, 3), dtype=np.int32)),
    ]
    flags = [set(lesion.flags) for lesion in flag_shared(lesions)]
    both = {Flag.DUPLICATE_MASK, Flag.OVERLAPS_LESION}
    assert flags == [both, both, {Flag.OVERLAPS_LESION}, set(), set()]


def test_boxes_that_meet_without_a_common_voxel_are_no_overlap() -> None:
    corner = np.array([[0, 0, 0], [3, 3, 3]], dtype=np.int32)
    other = np.array([[3, 0, 0], [0, 3, 3]], dtype=np.int32)
    assert all(not it.flags for it in flag_shared([Lesion(1, corner), Lesion(2, other)]))


def test_other_flags_stay() -> None:
    one = Lesion(1, np.zeros((1, 3), dtype=np.int32), flags=(Flag.OUT_OF_FIELD,))
    found = flag_shared([one, Lesion(2, one.voxels)])
    assert found[0].flags == (Flag.OUT_OF_FIELD, Flag.DUPLICATE_MASK)


@pytest.mark.parametrize(("second", "unclear"), [(5, True), (4, False)])
def test_a_largest_component_that_hardly_is_the_largest_is_flagged(
    second: int, unclear: bool
) -> None:
    mask = np.zeros((30, 4, 4), dtype=np.uint8)
    mask[0:10, 0, 0] = 1
    mask[15 : 15 + second, 2, 2] = 1
    stored = Volume(np.asfortranarray(mask), np.eye(4), 1.0, 0.0, "", ())
    found = find_lesions(stored, load_recipe("deeplesion3d").recipe, "m.nii")
    assert [bool(lesion.skipped) for lesion in found] == [False, True]
    assert all((Flag.LARGEST_COMPONENT_UNCLEAR in lesion.flags) is unclear for lesion in found)
