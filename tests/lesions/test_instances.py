"""Instances: a partition of the mask, numbered as scipy numbers it, however the mask is stored."""

from __future__ import annotations

from itertools import permutations, product
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray
from scipy import ndimage

from demo.phantom import store
from uls_data.errors import CaseError
from uls_data.lesions import Lesion, find_lesions
from uls_data.lesions.instances import MAXIMUM_INSTANCES, ras_boxes
from uls_data.lesions.joined import join_votes
from uls_data.outcome import Reason
from uls_data.recipe import Quirk, Recipe, load_recipe
from uls_data.recipe.model import Components, Values
from uls_data.volumes.volume import Volume

AFFINE = np.diag([0.8, 0.9, 2.5, 1.0])
# Steps of one voxel that connect, by how many coordinates may change.
STRUCTURE = {6: 1, 18: 2, 26: 3}
ORIENTATIONS = [
    "".join(letters) for axes in permutations(("RL", "AP", "SI")) for letters in product(*axes)
]
EVERY_ORIENTATION = pytest.mark.parametrize("codes", ORIENTATIONS)
FEW = settings(max_examples=max(5, settings().max_examples // 10))

shapes = st.tuples(*[st.integers(1, 6)] * 3)
masks = hnp.arrays(np.uint8, shapes, elements=st.sampled_from([0, 0, 0, 1, 2, 3]))


def recipe_with(rule: Components | Values, *quirks: Quirk) -> Recipe:
    recipe = load_recipe("lits").recipe
    return recipe.model_copy(update={"instances": rule, "quirks": quirks})


def components(*values: int, connectivity: Any = 6, keep: Any = "all") -> Recipe:
    rule = Components(
        rule="components", values=values or (1,), connectivity=connectivity, keep=keep
    )
    return recipe_with(rule, Quirk.FLOAT_MASK)


def numbers_are_lesions() -> Recipe:
    return recipe_with(Values(rule="values"), Quirk.FLOAT_MASK)


def volume(array: Any, codes: str = "RAS", slope: float = 1.0, intercept: float = 0.0) -> Volume:
    """A mask given in RAS order, stored along other axes with x fastest, as files are."""
    stored, affine = store(np.asarray(array), AFFINE, codes)
    return Volume(np.asfortranarray(stored), affine, slope, intercept, "", ())


def painted(lesions: list[Lesion], shape: tuple[int, ...]) -> NDArray[np.int64]:
    """Label map of lesions; fails where two share a voxel."""
    labels = np.zeros(shape, dtype=np.int64)
    for lesion in lesions:
        assert (labels[tuple(lesion.voxels.T)] == 0).all()
        labels[tuple(lesion.voxels.T)] = lesion.index
    return labels


def numbered(volumes: list[Volume]) -> dict[int, Volume]:
    """Volumes of annotators 1, 2, ..."""
    return dict(enumerate(volumes, 1))


def in_c_order(lesion: Lesion, shape: tuple[int, ...]) -> bool:
    flat = np.ravel_multi_index(tuple(lesion.voxels.T), shape)
    return lesion.voxels.dtype == np.int32 and bool((np.diff(flat) > 0).all())


@given(
    masks,
    st.sampled_from([(1,), (2,), (1, 3), (3, 2, 1), (7,)]),
    st.sampled_from(sorted(STRUCTURE)),
    st.sampled_from(ORIENTATIONS),
)
def test_components_are_those_of_scipy(
    mask: NDArray[np.uint8], values: tuple[int, ...], connectivity: int, codes: str
) -> None:
    structure = ndimage.generate_binary_structure(3, STRUCTURE[connectivity])
    chosen = np.isin(mask, values)
    expected, count = ndimage.label(chosen, structure)
    lesions = find_lesions(volume(mask, codes), components(*values, connectivity=connectivity), "m")
    found = painted(lesions, mask.shape)
    np.testing.assert_array_equal(found > 0, chosen)
    # Same parts: each number of one goes with one number of the other.
    pairs = set(zip(found[chosen].tolist(), expected[chosen].tolist(), strict=True))
    assert len(pairs) == len(lesions) == count
    assert [lesion.index for lesion in lesions] == list(range(1, count + 1))
    assert all(in_c_order(lesion, mask.shape) and lesion.skipped is None for lesion in lesions)
    # Numbers rise with the first voxel in C order (x slowest), the contract's rule.
    firsts = [np.ravel_multi_index(tuple(lesion.voxels[0]), mask.shape) for lesion in lesions]
    assert firsts == sorted(firsts)


@EVERY_ORIENTATION
@FEW
@given(mask=hnp.arrays(bool, shapes))
def test_numbers_are_scipys_whatever_the_orientation(codes: str, mask: NDArray[np.bool_]) -> None:
    lesions = find_lesions(volume(mask.astype(np.uint8), codes), components(), "m")
    np.testing.assert_array_equal(painted(lesions, mask.shape), ndimage.label(mask)[0])


@pytest.mark.parametrize("density", [0.02, 0.2, 0.3])
def test_numbers_are_scipys_on_winding_components(rng: np.random.Generator, density: float) -> None:
    # Near the percolation threshold components meet late, which tempts a labeller to renumber.
    mask = rng.random((30, 25, 20)) < density
    expected, count = ndimage.label(mask)
    assert count > 100
    lesions = find_lesions(volume(mask.astype(np.uint8), "IPL"), components(), "m")
    np.testing.assert_array_equal(painted(lesions, mask.shape), expected)


def test_numbers_go_by_x_first() -> None:
    mask = np.zeros((9, 9, 9), dtype=np.uint8)
    for place in [(8, 0, 0), (4, 8, 0), (4, 0, 8), (0, 8, 8)]:
        mask[place] = 1
    lesions = find_lesions(volume(mask), components(), "m")
    assert [lesion.voxels[0].tolist() for lesion in lesions] == [
        [0, 8, 8],
        [4, 0, 8],
        [4, 8, 0],
        [8, 0, 0],
    ]


def test_connectivity_decides_at_edges_and_corners() -> None:
    mask = np.zeros((4, 4, 4), dtype=np.uint8)
    mask[0, 0, 0] = mask[1, 1, 0] = mask[2, 2, 1] = 1  # edge, then corner
    found = [len(find_lesions(volume(mask), components(connectivity=c), "m")) for c in (6, 18, 26)]
    assert found == [3, 2, 1]


@given(masks, st.sampled_from(ORIENTATIONS))
def test_values_keep_their_numbers(mask: NDArray[np.uint8], codes: str) -> None:
    mask = mask * np.uint8(80)  # gaps, and numbers above 127
    lesions = find_lesions(volume(mask, codes), numbers_are_lesions(), "m")
    np.testing.assert_array_equal(painted(lesions, mask.shape), mask)
    assert [lesion.index for lesion in lesions] == sorted(set(mask[mask > 0].tolist()))
    assert [lesion.source_lesion_id for lesion in lesions] == [str(n.index) for n in lesions]
    assert all(in_c_order(lesion, mask.shape) for lesion in lesions)


def test_one_value_in_two_places_is_one_lesion() -> None:
    mask = np.zeros((5, 5, 5), dtype=np.int16)
    mask[0, 0, 0] = mask[4, 4, 4] = 300
    (lesion,) = find_lesions(volume(mask), numbers_are_lesions(), "m")
    assert (lesion.index, lesion.voxels.tolist()) == (300, [[0, 0, 0], [4, 4, 4]])


def test_negative_values_are_no_lesion_numbers() -> None:
    mask = np.zeros((3, 3, 3), dtype=np.int16)
    mask[1, 1, 1] = -2
    with pytest.raises(CaseError) as caught:
        find_lesions(volume(mask), numbers_are_lesions(), "m")
    assert caught.value.reason is Reason.MASK_NOT_INTEGER


@given(hnp.arrays(bool, shapes))
def test_keep_largest_keeps_one_and_hides_none(mask: NDArray[np.bool_]) -> None:
    here = volume(mask.astype(np.uint8))
    everything = find_lesions(here, components(), "m")
    lesions = find_lesions(here, components(keep="largest"), "m")
    assert [lesion.voxels.tolist() for lesion in lesions] == [
        lesion.voxels.tolist() for lesion in everything
    ]
    sizes = [len(lesion.voxels) for lesion in lesions]
    kept = [lesion.index for lesion in lesions if lesion.skipped is None]
    # In a tie the lower number stays.
    assert kept == ([sizes.index(max(sizes)) + 1] if sizes else [])


@pytest.mark.parametrize("recipe", [components(1, 2), numbers_are_lesions()])
@pytest.mark.parametrize("dtype", [np.int8, np.uint16, np.int64, ">i2", np.float32, np.float64])
def test_whole_numbers_count_the_same_in_every_dtype(
    rng: np.random.Generator, recipe: Recipe, dtype: Any
) -> None:
    mask = rng.integers(0, 3, (6, 5, 4))
    expected = painted(find_lesions(volume(mask.astype(np.uint8)), recipe, "m"), mask.shape)
    found = find_lesions(volume(mask.astype(dtype), "PIR"), recipe, "m")
    np.testing.assert_array_equal(painted(found, mask.shape), expected)


@pytest.mark.parametrize("recipe", [components(1), numbers_are_lesions()])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (0.5, Reason.MASK_NOT_INTEGER),
        (0.9999, Reason.MASK_NOT_INTEGER),
        (3e9, Reason.MASK_NOT_INTEGER),
        (np.nan, Reason.NOT_FINITE),
        (-np.inf, Reason.NOT_FINITE),
    ],
)
def test_a_float_mask_that_is_not_whole_is_refused(
    recipe: Recipe, dtype: Any, value: float, reason: Reason
) -> None:
    mask = np.zeros((4, 4, 4), dtype=dtype)
    mask[1, 1, 1] = 1
    assert len(find_lesions(volume(mask), recipe, "m")) == 1
    mask[2, 2, 2] = value
    with pytest.raises(CaseError) as caught:
        find_lesions(volume(mask), recipe, "case_7")
    assert caught.value.reason is reason
    assert "case_7" in caught.value.detail


@pytest.mark.parametrize("rule", [components(1).instances, numbers_are_lesions().instances])
@pytest.mark.parametrize(("dtype", "slope"), [(np.float32, 1.0), (np.uint8, 0.5)])
def test_float_and_scaled_masks_need_the_quirk(rule: Any, dtype: Any, slope: float) -> None:
    mask = np.full((2, 2, 2), 2, dtype=dtype)
    with pytest.raises(CaseError) as caught:
        find_lesions(volume(mask, slope=slope), recipe_with(rule), "m")
    assert caught.value.reason is Reason.MASK_NOT_INTEGER
    assert Quirk.FLOAT_MASK in caught.value.detail


@pytest.mark.parametrize(
    ("dtype", "slope", "intercept"),
    [
        (np.uint8, 1 / 255, 0.0),
        (np.uint8, 1 / 49, 0.0),
        (np.int16, 0.1, 0.0),
        (np.float32, 2.0, 0.0),
        (np.int16, 1.0, -5.0),
    ],
)
@pytest.mark.parametrize("recipe", [components(1, connectivity=6), numbers_are_lesions()])
def test_a_scaled_mask_counts_by_its_values(
    rng: np.random.Generator, recipe: Recipe, dtype: Any, slope: float, intercept: float
) -> None:
    mask = rng.integers(0, 2, (5, 4, 3))
    stored = (mask - intercept) / slope
    if np.issubdtype(dtype, np.integer):
        stored = np.rint(stored)
    found = find_lesions(volume(stored.astype(dtype), "LPS", slope, intercept), recipe, "m")
    expected = find_lesions(volume(mask.astype(np.uint8)), recipe, "m")
    np.testing.assert_array_equal(painted(found, mask.shape), painted(expected, mask.shape))


def test_a_scale_that_makes_fractions_is_refused() -> None:
    mask = np.zeros((3, 3, 3), dtype=np.uint8)
    mask[0, 0, 0], mask[2, 2, 2] = 2, 1
    with pytest.raises(CaseError) as caught:
        find_lesions(volume(mask, slope=0.5), components(1), "m")
    assert caught.value.reason is Reason.MASK_NOT_INTEGER


@pytest.mark.parametrize("recipe", [components(1), components(1, keep="largest"), components(9)])
@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_an_empty_mask_has_no_lesions(recipe: Recipe, dtype: Any) -> None:
    assert find_lesions(volume(np.zeros((4, 3, 2), dtype=dtype)), recipe, "m") == []
    assert find_lesions(volume(np.zeros((4, 3, 2), dtype=dtype)), numbers_are_lesions(), "m") == []


def test_noise_in_place_of_a_mask_is_refused() -> None:
    side = 2 * int(np.ceil((MAXIMUM_INSTANCES + 1) ** (1 / 3)))
    mask = np.zeros((side, side, side), dtype=np.uint8)
    mask[::2, ::2, ::2] = 1
    with pytest.raises(CaseError) as caught:
        find_lesions(volume(mask), components(), "m")
    assert caught.value.reason is Reason.TOO_MANY_INSTANCES


@given(hnp.arrays(bool, shapes), st.sampled_from(ORIENTATIONS))
def test_boxes_hold_the_choice_and_no_empty_plane(mask: NDArray[np.bool_], codes: str) -> None:
    here = volume(mask, codes)
    rebuilt = np.zeros_like(mask)
    for box, start in ras_boxes(here, here.stored):
        part = tuple(slice(at, at + n) for at, n in zip(start, box.shape, strict=True))
        assert not rebuilt[part].any()  # boxes do not overlap where it matters
        rebuilt[part] |= box
        assert box.flags.c_contiguous
        for axis in range(3):
            others = tuple(other for other in range(3) if other != axis)
            assert box.any(axis=others).all()
    np.testing.assert_array_equal(rebuilt, mask)


@EVERY_ORIENTATION
def test_other_values_part_lesions_and_background_can_be_one(codes: str) -> None:
    mask = np.zeros((4, 5, 6), dtype=np.uint8)
    mask[1, 1, 1], mask[1, 1, 2], mask[1, 1, 3], mask[3, 3, 3] = 1, 2, 1, 2
    found = find_lesions(volume(mask, codes), components(1), "m")
    assert [lesion.voxels.tolist() for lesion in found] == [[[1, 1, 1]], [[1, 1, 3]]]
    (rest,) = find_lesions(volume(mask, codes), components(0), "m")
    assert len(rest.voxels) == mask.size - 4


SHAPE = (5, 4, 3)


def marked(*places: tuple[int, int, int], codes: str = "RAS") -> Volume:
    mask = np.zeros(SHAPE, dtype=np.uint8)
    for place in places:
        mask[place] = 1
    return volume(mask, codes)


A, B, C, D = (0, 0, 0), (1, 1, 1), (2, 2, 2), (4, 3, 2)


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ([(A, B)], [A, B]),
        ([(A, B), (B, C)], [B]),
        ([(A, B), (B, C), (C, D)], [B, C]),
        ([(A, B), (A, B), (A, C), (A, C)], [A]),
        ([(A,), (A,), (B,), (B,), (A, B)], [A, B]),
    ],
)
def test_more_than_half_of_the_annotators_decide(
    files: list[tuple[tuple[int, int, int], ...]], expected: list[tuple[int, int, int]]
) -> None:
    volumes = [
        marked(*places, codes=codes)
        for places, codes in zip(files, ["RAS", "IPL", "LPS", "SAR", "PIR"], strict=False)
    ]
    (lesion,) = join_votes([(7, numbered(volumes))], SHAPE, "case")
    assert [tuple(v) for v in lesion.voxels.tolist()] == expected
    assert (lesion.index, lesion.voxels.dtype) == (7, np.int32)
    assert "7" in (lesion.source_lesion_id or "")


@given(hnp.arrays(np.uint8, (4, *SHAPE), elements=st.integers(0, 1)), st.integers(1, 4))
def test_votes_are_a_majority_voxel_by_voxel(files: NDArray[np.uint8], count: int) -> None:
    volumes = [volume(mask * 255) for mask in files[:count]]
    lesions = join_votes([(1, numbered(volumes))], SHAPE, "case")
    expected = files[:count].mean(axis=0) > 0.5
    np.testing.assert_array_equal(painted(lesions, SHAPE) == 1, expected)
    assert all(in_c_order(lesion, SHAPE) for lesion in lesions)


def test_the_lower_number_keeps_a_voxel_that_two_lesions_claim() -> None:
    lesions = join_votes(
        [(1, numbered([marked(A, B)])), (2, numbered([marked(B, C)])), (4, numbered([marked(A)]))],
        SHAPE,
        "c",
    )
    found = {lesion.index: [tuple(v) for v in lesion.voxels.tolist()] for lesion in lesions}
    # The last one has nothing left, and is told as skipped.
    assert found == {1: [A, B], 2: [C], 4: []}
    assert [lesion.skipped is not None for lesion in lesions] == [False, False, True]


def test_several_annotators_are_readers_and_a_single_one_is_none() -> None:
    (two,) = join_votes([(1, numbered([marked(A, B), marked(), marked(B, C)]))], SHAPE, "case")
    masks = {name: [tuple(v) for v in voxels.tolist()] for name, voxels in two.readers}
    # The second marked nothing: a vote, but no mask.
    assert masks == {"reader-1": [A, B], "reader-3": [B, C]}
    assert two.agreement == 2
    (one,) = join_votes([(1, numbered([marked(A)]))], SHAPE, "case")
    assert (one.readers, one.agreement) == ((), None)


def test_no_votes_no_lesions() -> None:
    assert join_votes([], SHAPE, "case") == []
    lesions = join_votes(
        [(1, numbered([marked()])), (2, numbered([marked(A), marked(B)]))], SHAPE, "case"
    )
    assert [lesion.source_lesion_id for lesion in lesions] == ["instance-1", "instance-2"]
    assert [lesion.skipped and lesion.skipped[0] for lesion in lesions] == [Reason.NO_LESION] * 2


def test_votes_of_another_shape_are_refused() -> None:
    other = volume(np.ones((4, 4, 3), dtype=np.uint8))
    with pytest.raises(CaseError) as caught:
        join_votes([(3, numbered([marked(A), other]))], SHAPE, "case")
    assert caught.value.reason is Reason.GRID_MISMATCH


def test_votes_obey_the_scale_and_refuse_what_is_not_whole() -> None:
    """A file of ones with intercept -1 holds no mark, and NaN is not a vote."""
    ones = np.ones((2, 2, 2), dtype=np.uint8)
    hidden = Volume(ones, np.eye(4), 1.0, -1.0, "", ())
    (nothing,) = join_votes([(1, {1: hidden})], (2, 2, 2), "case")
    assert nothing.skipped is not None and not len(nothing.voxels)
    broken = np.zeros((2, 2, 2))
    broken[0, 0, 0] = np.nan
    with pytest.raises(CaseError) as caught:
        join_votes([(1, {1: Volume(broken, np.eye(4), 1.0, 0.0, "", ())})], (2, 2, 2), "case")
    assert caught.value.reason is Reason.NOT_FINITE


def test_many_annotators_do_not_wrap_round() -> None:
    volume = Volume(np.ones((2, 2, 2), dtype=np.uint8), np.eye(4), 1.0, 0.0, "", ())
    (lesion,) = join_votes([(1, numbered([volume] * 300))], (2, 2, 2), "case")
    assert len(lesion.voxels) == 8
