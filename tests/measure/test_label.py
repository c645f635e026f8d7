"""What is measured on one label."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from uls_data.measure.label import describe_label
from uls_data.outcome import Flag

SHAPE = (256, 256, 128)
SPACING = (0.5, 0.8, 3.0)
MM = ["volume_mm3", "long_axis_mm", "short_axis_mm"]
Place = tuple[Any, Any, Any]


def label_of(*parts: Place) -> NDArray[np.uint8]:
    label = np.zeros(SHAPE, dtype=np.uint8, order="F")
    for part in parts:
        label[part] = 1
    return label


BODY: Place = (slice(124, 133), slice(126, 131), slice(63, 66))


@pytest.mark.parametrize("margin", [0, 1, 60])
def test_the_same_wherever_it_is_looked_for(margin: int) -> None:
    low, high = (124, 126, 63), (133, 131, 66)
    within = (
        (low[0] - margin, low[1] - margin, low[2] - margin),
        (high[0] + margin, high[1] + margin, high[2] + margin),
    )
    expected = describe_label(label_of(BODY), SPACING)
    assert describe_label(label_of(BODY), SPACING, within) == expected


def test_columns_of_a_lesion_in_the_middle() -> None:
    arm_x: Place = (slice(124, 133), 128, 64)
    arm_y: Place = (128, slice(125, 132), 64)
    bar: Place = (slice(127, 130), 128, 65)
    columns, flags = describe_label(label_of(arm_x, arm_y, bar), SPACING)
    assert flags == set()
    assert columns == {
        "mask_voxels": 9 + 7 - 1 + 3,
        "volume_mm3": pytest.approx(18 * 1.2),
        "long_axis_vox": 8.0,
        "short_axis_vox": 6.0,
        "long_axis_mm": pytest.approx(4.0),
        "short_axis_mm": pytest.approx(4.8),
        # In VOI indices, not in those of a crop.
        "long_axis_points_vox": [124.0, 128.0, 132.0, 128.0],
        "short_axis_points_vox": [128.0, 125.0, 128.0, 131.0],
        "long_axis_slice_voi": 64,
    }
    assert type(columns["mask_voxels"]) is int
    assert type(columns["long_axis_slice_voi"]) is int


def test_unknown_spacing_leaves_mm_null_and_the_rest_as_it_is() -> None:
    with_mm, flags = describe_label(label_of(BODY), SPACING)
    without, same_flags = describe_label(label_of(BODY), None)
    assert [without[name] for name in MM] == [None] * 3
    assert {k: v for k, v in without.items() if k not in MM} == {
        k: v for k, v in with_mm.items() if k not in MM
    }
    assert None not in with_mm.values()
    assert flags == same_flags == set()


@pytest.mark.parametrize("dtype", [np.uint8, bool, np.int16, np.float32])
@pytest.mark.parametrize("order", ["C", "F"])
def test_how_a_label_is_stored_does_not_matter(dtype: Any, order: Any) -> None:
    label = label_of(BODY, (slice(100, 110), 128, 64))
    expected = describe_label(label, SPACING)
    assert describe_label(label.astype(dtype, order=order), SPACING) == expected


@pytest.mark.parametrize(
    ("axis", "high", "flag"),
    [
        (0, False, Flag.TOUCHES_X_LOW),
        (0, True, Flag.TOUCHES_X_HIGH),
        (1, False, Flag.TOUCHES_Y_LOW),
        (1, True, Flag.TOUCHES_Y_HIGH),
        (2, False, Flag.TOUCHES_Z_LOW),
        (2, True, Flag.TOUCHES_Z_HIGH),
    ],
)
def test_each_face_of_the_voi_has_its_flag(axis: int, high: bool, flag: Flag) -> None:
    arm = [slice(128, 129), slice(128, 129), slice(64, 65)]
    for reach, expected in ((0, {flag}), (1, set())):
        arm[axis] = (
            slice(arm[axis].start, SHAPE[axis] - reach) if high else slice(reach, arm[axis].stop)
        )
        _, flags = describe_label(label_of(BODY, tuple(arm)), SPACING)
        assert flags == expected
        arm[axis] = slice(64, 65) if axis == 2 else slice(128, 129)


def test_a_label_that_fills_the_voi_touches_every_face() -> None:
    columns, flags = describe_label(np.ones(SHAPE, dtype=np.uint8), SPACING)
    assert flags == {flag for flag in Flag if flag.startswith("touches_")}
    assert len(flags) == 6
    assert columns["mask_voxels"] == 256 * 256 * 128
    assert columns["long_axis_vox"] == pytest.approx(np.hypot(255, 255))
    assert columns["long_axis_slice_voi"] == 0


def test_a_single_voxel() -> None:
    columns, flags = describe_label(label_of((128, 128, 64)), SPACING)
    assert flags == {Flag.SINGLE_VOXEL, Flag.SINGLE_SLICE}
    assert columns == {
        "mask_voxels": 1,
        "volume_mm3": pytest.approx(1.2),
        "long_axis_vox": 0.0,
        "short_axis_vox": 0.0,
        "long_axis_mm": 0.0,
        "short_axis_mm": 0.0,
        "long_axis_points_vox": None,
        "short_axis_points_vox": None,
        "long_axis_slice_voi": None,
    }


def test_a_single_slice() -> None:
    columns, flags = describe_label(label_of((slice(120, 140), slice(125, 131), 64)), SPACING)
    assert flags == {Flag.SINGLE_SLICE}
    assert columns["long_axis_slice_voi"] == 64
    # Thin along x or y is not a single slice.
    assert describe_label(label_of((128, slice(120, 140), slice(60, 70))), SPACING)[1] == set()
    assert describe_label(label_of((slice(120, 140), 128, slice(60, 70))), SPACING)[1] == set()


@pytest.mark.parametrize(
    ("start", "expected"),
    [
        ((133, 128, 64), set()),  # a face
        ((133, 131, 64), {Flag.SEVERAL_COMPONENTS_6}),  # an edge
        ((133, 131, 66), {Flag.SEVERAL_COMPONENTS_6}),  # a corner
        ((134, 128, 64), {Flag.SEVERAL_COMPONENTS_6, Flag.SEVERAL_COMPONENTS_26}),  # a gap
    ],
)
def test_components_by_faces_and_by_corners(start: tuple[int, ...], expected: set[Flag]) -> None:
    other: Place = tuple(slice(at, at + 2) for at in start)
    assert describe_label(label_of(BODY, other), SPACING)[1] == expected


def test_the_centre_is_index_128_128_64() -> None:
    label = label_of(BODY)
    label[128, 128, 64] = 0  # a hole, in a lesion that still surrounds it
    assert describe_label(label, SPACING)[1] == {Flag.CENTRE_OUTSIDE_MASK}
    # One off in the other way of counting: (127, 127, 63) alone is not the centre.
    _, flags = describe_label(label_of((slice(120, 128), slice(120, 128), slice(60, 64))), SPACING)
    assert flags == {Flag.CENTRE_OUTSIDE_MASK}


def test_specks_on_slices_apart_are_described_without_an_axis() -> None:
    columns, flags = describe_label(label_of((128, 128, 64), (128, 128, 67)), SPACING)
    assert (columns["long_axis_vox"], columns["long_axis_points_vox"]) == (0.0, None)
    assert flags == {Flag.SEVERAL_COMPONENTS_6, Flag.SEVERAL_COMPONENTS_26}
