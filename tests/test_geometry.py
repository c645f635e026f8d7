"""Geometry: voxels stay at their place in the patient, however a scan is stored."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import permutations, product

import nibabel
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from uls_data import geometry
from uls_data.errors import CaseError
from uls_data.outcome import Flag, Reason

Affine = NDArray[np.float64]
ORIENTATIONS = [
    "".join(letters) for axes in permutations(("RL", "AP", "SI")) for letters in product(*axes)
]

# 60 degrees about a diagonal: two patient axes have the same best stored axis.
THIRDS = np.array([[2, -1, 2, 0], [2, 2, -1, 0], [-1, 2, 2, 0], [0, 0, 0, 3]]) / 3

lengths = st.floats(0.2, 8.0)
places = st.floats(-800.0, 800.0)
small_shapes = st.tuples(*[st.integers(1, 6)] * 3)


@st.composite
def affines(draw: st.DrawFn, most_degrees: float = 20.0) -> Affine:
    """A scan's RAS affine: any spacing and origin, turned about any axis."""
    spacing = draw(st.tuples(lengths, lengths, lengths))
    direction = np.array(draw(st.tuples(*[st.floats(-1, 1)] * 3)))
    norm = np.linalg.norm(direction)
    turn = np.radians(draw(st.floats(0, most_degrees)))
    rotation = Rotation.from_rotvec(turn * direction / norm if norm > 0.1 else [0, 0, 0])
    affine = np.eye(4)
    affine[:3, :3] = rotation.as_matrix() * spacing
    affine[:3, 3] = draw(st.tuples(places, places, places))
    return affine


def stored_as(array: NDArray[np.int64], affine: Affine, codes: Sequence[str]) -> tuple:
    """Lay an array along other axes with nibabel's own orientation code, not the package's."""
    start = nibabel.orientations.io_orientation(np.eye(4))
    wanted = nibabel.orientations.axcodes2ornt(codes)
    change = nibabel.orientations.ornt_transform(start, wanted)
    turned = nibabel.orientations.apply_orientation(array, change)
    return turned, affine @ nibabel.orientations.inv_ornt_aff(change, array.shape)


def numbered(shape: tuple[int, ...]) -> NDArray[np.int64]:
    return np.arange(np.prod(shape), dtype=np.int64).reshape(shape)


@given(affines(180), hnp.arrays(np.float64, (5, 3), elements=st.floats(-500, 500)))
def test_voxel_to_mm_to_voxel(affine: Affine, index: NDArray[np.float64]) -> None:
    there = geometry.to_mm(affine, index)
    np.testing.assert_allclose(geometry.to_vox(affine, there), index, atol=1e-7)
    np.testing.assert_allclose(there, nibabel.affines.apply_affine(affine, index), atol=1e-9)
    np.testing.assert_allclose(geometry.to_vox(affine, there[0]), index[0], atol=1e-7)


@pytest.mark.parametrize("codes", ORIENTATIONS)
@given(affine=affines(), shape=small_shapes)
def test_every_way_to_store_a_scan_gives_one_ras_scan(
    codes: str, affine: Affine, shape: tuple[int, int, int]
) -> None:
    ras = numbered(shape)
    stored, stored_affine = stored_as(ras, affine, codes)
    assert geometry.axis_codes(stored_affine) == codes
    assert "".join(nibabel.aff2axcodes(stored_affine)) == codes
    orientation = geometry.orientation_to_ras(stored_affine)
    view = orientation.apply(stored)
    np.testing.assert_array_equal(view, ras)
    assert np.shares_memory(view, stored)
    found = orientation.apply_affine(stored_affine, stored.shape)
    np.testing.assert_allclose(found, affine, atol=1e-9)
    assert geometry.axis_codes(found) == "RAS"


@given(affines(180), small_shapes)
@example(THIRDS, (2, 3, 4))
def test_reorientation_moves_no_voxel_in_the_patient(
    affine: Affine, shape: tuple[int, int, int]
) -> None:
    # Any rotation, also near 45 degrees: whatever axes are chosen, places must hold.
    stored = numbered(shape)
    orientation = geometry.orientation_to_ras(affine)
    assert sorted(orientation.axes) == [0, 1, 2]
    ras = orientation.apply(stored)
    ras_affine = orientation.apply_affine(affine, stored.shape)
    assert (
        np.linalg.det(ras_affine[:3, :3])
        * np.linalg.det(affine[:3, :3])
        * (-1) ** _odd(orientation)
        > 0
    )
    for index in np.ndindex(ras.shape):
        was = np.argwhere(stored == ras[index])[0]
        np.testing.assert_allclose(
            geometry.to_mm(ras_affine, np.array(index)), geometry.to_mm(affine, was), atol=1e-8
        )


def _odd(orientation: geometry.Orientation) -> int:
    swaps = sum(a > b for i, a in enumerate(orientation.axes) for b in orientation.axes[i + 1 :])
    return (swaps + sum(orientation.flips)) % 2


@given(affines())
def test_a_usable_affine_is_copied_unchanged(affine: Affine) -> None:
    checked = geometry.check_affine(affine)
    np.testing.assert_array_equal(checked, affine)
    assert not np.shares_memory(checked, affine)
    assert geometry.check_affine(affine.astype(np.float32)).dtype == np.float64


def broken(row: int, column: int, value: float) -> Affine:
    affine = np.diag([0.8, 0.8, 2.5, 1.0])
    affine[row, column] = value
    return affine


@pytest.mark.parametrize(
    "affine",
    [
        broken(0, 3, np.nan),
        broken(1, 2, np.nan),
        broken(2, 2, np.inf),
        broken(2, 3, -np.inf),
        broken(0, 0, 0.0),
        broken(3, 3, 0.0),
        broken(3, 3, 2.0),
        broken(3, 0, 1e-3),
        broken(2, 2, 1e9),
        np.zeros((4, 4)),
        np.array([[1, 1, 0, 0], [0, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]),
        np.array([[1, 0, 1, 0], [0, 1, 1, 0], [1, 1, 2, 0], [0, 0, 0, 1]]),
        np.eye(3),
        np.eye(4)[:3],
        np.eye(4)[None],
    ],
)
def test_an_unusable_affine_is_refused(affine: Affine) -> None:
    with pytest.raises(CaseError) as caught:
        geometry.check_affine(affine)
    assert caught.value.reason is Reason.BAD_AFFINE


def test_flags_of_an_affine() -> None:
    straight = np.diag([0.8, 0.8, 2.5, 1.0])
    assert geometry.affine_flags(straight) == ()
    assert geometry.affine_flags(np.diag([0.8, 0.9, 2.5, 1.0])) == (Flag.ANISOTROPIC_IN_PLANE,)
    turned = straight.copy()
    turned[:3, :3] = Rotation.from_euler("x", 12, degrees=True).as_matrix() @ straight[:3, :3]
    assert geometry.affine_flags(turned) == (Flag.OBLIQUE,)
    # A CT gantry tilt that was not corrected: slices slide along y, axes are not square.
    tilted = straight.copy()
    tilted[1, 2] = 0.5
    assert set(geometry.affine_flags(tilted)) == {Flag.OBLIQUE, Flag.SHEARED}


def test_rounding_of_a_header_raises_no_flag() -> None:
    rounded = np.diag([0.7, 0.7, 2.5, 1.0]).astype(np.float32).astype(np.float64)
    rounded[:2, :2] *= 1 + 1e-6
    rounded[0, 1] = rounded[1, 0] = 1e-5
    assert geometry.affine_flags(rounded) == ()


@given(affines(180), st.tuples(*[st.integers(-300, 300)] * 3))
def test_a_shifted_affine_names_the_same_places(affine: Affine, start: tuple[int, ...]) -> None:
    before = affine.copy()
    crop = geometry.shifted(affine, start)
    np.testing.assert_array_equal(affine, before)
    np.testing.assert_allclose(geometry.offset_vox(affine, crop), start, atol=1e-6)
    corner = np.array([1, 2, 3])
    np.testing.assert_allclose(
        geometry.to_mm(crop, corner), geometry.to_mm(affine, corner + start), atol=1e-8
    )


def test_an_offset_between_grids_is_a_fraction() -> None:
    outer = np.diag([2.0, 2.0, 5.0, 1.0])
    inner = geometry.without_origin(outer)
    inner[:3, 3] = [1.0, 4.0, -5.0]
    np.testing.assert_allclose(geometry.offset_vox(outer, inner), [0.5, 2.0, -1.0])


def test_an_affine_without_origin_keeps_its_axes() -> None:
    affine = broken(0, 3, 12.5)
    np.testing.assert_array_equal(geometry.without_origin(affine), broken(0, 3, 0.0))
    assert affine[0, 3] == 12.5


@given(affines(), affines(), st.tuples(*[st.integers(2, 4)] * 3))
def test_difference_of_two_affines_is_that_of_the_worst_voxel(
    one: Affine, other: Affine, shape: tuple[int, int, int]
) -> None:
    index = np.argwhere(np.ones(shape))
    apart = geometry.to_mm(one, index) - geometry.to_mm(other, index)
    worst = np.sqrt((apart**2).sum(axis=1)).max()
    assert geometry.affine_difference_mm(one, other, shape) == pytest.approx(worst)


def test_one_slice_still_shows_a_difference_in_spacing() -> None:
    # A single slice has no second corner along z; a wrong z spacing must show all the same.
    one, other = np.diag([1.0, 1.0, 5.0, 1.0]), np.diag([1.0, 1.0, 2.0, 1.0])
    assert geometry.affine_difference_mm(one, other, (4, 4, 1)) == pytest.approx(3.0)
    assert geometry.affine_difference_mm(one, one, (4, 4, 1)) == 0.0


@given(
    st.tuples(*[st.integers(1, 5)] * 3).flatmap(
        lambda shape: st.tuples(
            st.just(shape), *(st.tuples(st.integers(0, n), st.integers(0, n)) for n in shape)
        )
    )
)
def test_fill_outside(drawn: tuple[tuple[int, ...], ...]) -> None:
    shape, *ends = drawn
    box = tuple(slice(min(pair), max(pair)) for pair in ends)
    array = np.zeros(shape, int)
    geometry.fill_outside(array, box, 7)
    assert (array[box] == 0).all() and np.count_nonzero(array) == array.size - array[box].size


@given(hnp.arrays(bool, st.tuples(*[st.integers(1, 5)] * 3)))
def test_bounding_box(mask: NDArray[np.bool_]) -> None:
    box, start = geometry.bounding_box(mask)
    where = np.argwhere(mask)
    if len(where) == 0:
        assert box.size == 0
        return
    assert start == tuple(where.min(axis=0))
    assert box.shape == tuple(where.max(axis=0) - where.min(axis=0) + 1)
    np.testing.assert_array_equal(np.argwhere(box) + start, where)
    assert np.shares_memory(box, mask)
