"""The VOI: real voxels as in the scan, padding that none of them holds, the click in the middle."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import ArrayLike, NDArray

from uls_data.errors import CaseError
from uls_data.outcome import Flag, Reason
from uls_data.voi import (
    Box,
    VoiImage,
    box_around,
    box_at,
    cut_image,
    cut_label,
    extent,
    scan_minimum_hu,
)
from uls_data.volumes.volume import Volume

SHAPE = (256, 256, 128)
CENTRE = (128, 128, 64)
SMALL = (7, 5, 4)
# A VOI is 8 million voxels: few examples, unless the profile asks for many.
FEW = settings(max_examples=max(12, settings().max_examples // 20))


def scan_of(
    stored: ArrayLike, slope: float = 1.0, intercept: float = 0.0, affine: ArrayLike | None = None
) -> Volume:
    matrix = np.diag([0.8, 0.8, 2.5, 1.0]) if affine is None else np.asarray(affine)
    return Volume(np.asarray(stored), matrix, slope, intercept, "", ())


def paste(voi: NDArray[Any], box: Box, scan_shape: tuple[int, ...]) -> NDArray[np.float64]:
    """Lay a VOI back over its scan by its origin alone; NaN where it says nothing."""
    result = np.full(scan_shape, np.nan)
    index = np.indices(SHAPE, sparse=True)
    at = [i + o for i, o in zip(index, box.origin, strict=True)]
    keep = [((a >= 0) & (a < n)).ravel() for a, n in zip(at, scan_shape, strict=True)]
    target = [a.ravel()[k] for a, k in zip(at, keep, strict=True)]
    result[np.ix_(*target)] = voi[np.ix_(*keep)]
    return result


def check(image: VoiImage, box: Box, hu: NDArray[Any]) -> None:
    """Everything that holds for every VOI of the paper profile; `hu` is the whole scan's."""
    voxels = image.voxels
    assert voxels.shape == SHAPE
    assert voxels.flags.f_contiguous
    # Found from the shapes alone, in world terms: which VOI indices lie in the scan?
    real = [
        (np.arange(n) + o >= 0) & (np.arange(n) + o < m)
        for n, o, m in zip(SHAPE, box.origin, hu.shape, strict=True)
    ]
    part = voxels[np.ix_(*real)]
    assert image.pad_value_hu == image.hu_min - 1
    # As many voxels hold the sentinel as are padded, and no real one does: every padded one.
    assert not (part == image.pad_value_hu).any()
    assert np.count_nonzero(voxels == image.pad_value_hu) == voxels.size - part.size
    assert (int(part.min()), int(part.max())) == (image.hu_min, image.hu_max)
    assert image.limits == (int(voxels.min()), int(voxels.max()))
    pasted = paste(voxels, box, hu.shape)
    covered = ~np.isnan(pasted)
    assert covered.sum() == part.size
    np.testing.assert_array_equal(pasted[covered], hu[covered])
    assert voxels[box.inside].shape == part.shape
    np.testing.assert_array_equal(voxels[box.inside], hu[box.covered])


@st.composite
def scans_and_clicks(draw: st.DrawFn) -> tuple[NDArray[np.int16], tuple[int, int, int]]:
    """Scans smaller than the VOI on some axes and larger on others."""
    long_axis = draw(st.sampled_from([0, 1, 2, None]))
    shape = [draw(st.integers(1, 20)) for _ in range(3)]
    if long_axis is not None:
        shape[long_axis] = draw(st.integers(SHAPE[long_axis] - 4, SHAPE[long_axis] + 90))
    x, y, z = (draw(st.integers(0, n - 1)) for n in shape)
    rng = np.random.default_rng(draw(st.integers(0, 1000)))
    return rng.integers(-1024, 3071, shape, dtype=np.int16), (x, y, z)


@FEW
@given(scans_and_clicks())
def test_crop_then_paste(example: tuple[NDArray[np.int16], tuple[int, int, int]]) -> None:
    stored, click = example
    scan = scan_of(stored)
    box = box_around(click, stored.shape)
    image = cut_image(scan, box)
    assert box.click == click
    assert image.voxels[CENTRE] == stored[click]
    assert image.voxels.dtype == np.int16
    assert image.flags == ()
    check(image, box, stored)


@given(scans_and_clicks())
def test_padding_adds_up(example: tuple[NDArray[np.int16], tuple[int, int, int]]) -> None:
    stored, click = example
    box = box_around(click, stored.shape)
    for n, before, after, inside, covered in zip(
        SHAPE, box.pad_before, box.pad_after, box.inside, box.covered, strict=True
    ):
        assert before >= 0 and after >= 0
        assert before + (covered.stop - covered.start) + after == n
        assert (inside.start, inside.stop) == (before, n - after)
    for n, c in zip(stored.shape, box.covered, strict=True):
        assert 0 <= c.start < c.stop <= n


def test_a_scan_stored_the_other_way_gives_the_same_voi(rng: np.random.Generator) -> None:
    ras = rng.integers(-1000, 1000, SMALL, dtype=np.int16)
    turned = np.ascontiguousarray(ras.transpose(2, 0, 1)[::-1, :, ::-1])
    affine = np.array([[0, 0.8, 0, 0], [0, 0, -0.8, 0], [-2.5, 0, 0, 0], [0, 0, 0, 1.0]])
    box = box_around((1, 2, 3), SMALL)
    image = cut_image(scan_of(turned, affine=affine), box)
    np.testing.assert_array_equal(image.voxels, cut_image(scan_of(ras), box).voxels)


@pytest.mark.parametrize(
    ("dtype", "low", "high", "slope", "intercept", "expected"),
    [
        ("int16", -1024, 3071, 1.0, 0.0, np.int16),
        (">i2", -1024, 3071, 1.0, 0.0, np.int16),
        ("uint8", 0, 255, 1.0, 0.0, np.int16),
        ("uint16", 0, 4095, 1.0, 0.0, np.int16),
        ("uint16", 0, 4095, 1.0, -1024.0, np.int16),
        ("uint16", 40_000, 65_535, 1.0, 0.0, np.int32),
        ("uint16", 40_000, 65_535, 1.0, -50_000.0, np.int16),
        ("int16", 20_000, 32_767, 2.0, 0.0, np.int32),
        ("int16", -1000, 1000, -1.0, 0.0, np.int16),
        # The shift itself does not fit into int16, what it makes of the voxels does.
        ("int16", -32_768, -20_000, 1.0, 40_000.0, np.int16),
        (">u2", 35_000, 65_535, 1.0, -40_000.0, np.int16),
        ("int16", -100, 100, 1.0, 100_000.0, np.int32),
        ("int32", -1024, 3071, 1.0, 0.0, np.int16),
        ("int32", -70_000, 70_000, 1.0, 0.0, np.int32),
        ("int64", -1024, 3071, 1.0, 0.0, np.int16),
        ("float32", -1024, 3071, 1.0, 0.0, np.int16),
        ("float32", -1024, 90_000, 1.0, 0.0, np.int32),
        ("float64", 0, 4095, 2.0, -1024.0, np.int16),
    ],
)
def test_whole_hu_of_every_dtype(
    rng: np.random.Generator,
    dtype: str,
    low: int,
    high: int,
    slope: float,
    intercept: float,
    expected: type,
) -> None:
    stored = rng.integers(low, high, SMALL, endpoint=True).astype(dtype)
    stored[0, 0, 0], stored[-1, -1, -1] = low, high
    hu = stored.astype(np.int64) * int(slope) + int(intercept)
    box = box_around((3, 2, 1), SMALL)
    image = cut_image(scan_of(stored, slope, intercept), box)
    assert image.voxels.dtype == expected
    assert image.flags == ((Flag.HU_INT32,) if expected == np.int32 else ())
    check(image, box, hu)


def test_fractions_are_rounded_half_to_even_and_flagged() -> None:
    stored = np.full(SMALL, 10.0, dtype=np.float32)
    stored[:5, 0, 0] = [0.5, 1.5, -0.5, 2.4, -999.6]
    box = box_around((0, 0, 0), SMALL)
    image = cut_image(scan_of(stored), box)
    assert image.flags == (Flag.HU_ROUNDED,)
    assert image.voxels[128:133, 128, 64].tolist() == [0, 2, 0, 2, -1000]
    check(image, box, np.rint(stored))


@pytest.mark.parametrize(("error", "flags"), [(1e-5, ()), (0.01, (Flag.HU_ROUNDED,))])
def test_float_noise_alone_raises_no_flag(error: float, flags: tuple[Flag, ...]) -> None:
    stored = np.full(SMALL, 40.0) + error
    assert cut_image(scan_of(stored), box_around((0, 0, 0), SMALL)).flags == flags


def test_a_fractional_slope_on_whole_numbers_is_rounded() -> None:
    stored = np.arange(np.prod(SMALL), dtype=np.int16).reshape(SMALL)
    box = box_around((0, 0, 0), SMALL)
    image = cut_image(scan_of(stored, 0.25, -100.0), box)
    assert image.flags == (Flag.HU_ROUNDED,)
    check(image, box, np.rint(stored * 0.25 - 100.0))


def test_padding_below_int16_widens_instead_of_wrapping() -> None:
    stored = np.zeros(SMALL, dtype=np.int16)
    stored[3, 2, 1] = -32768
    box = box_around((3, 2, 1), SMALL)
    image = cut_image(scan_of(stored), box)
    assert (image.voxels.dtype, image.pad_value_hu) == (np.int32, -32769)
    assert image.flags == (Flag.HU_INT32,)
    check(image, box, stored)


def test_no_padding_no_widening() -> None:
    stored = np.zeros(SHAPE, dtype=np.int16, order="F")
    stored[CENTRE] = -32768
    box = box_around(CENTRE, SHAPE)
    assert (box.pad_before, box.pad_after) == ((0, 0, 0), (0, 0, 0))
    image = cut_image(scan_of(stored), box)
    assert (image.voxels.dtype, image.flags) == (np.int16, ())
    np.testing.assert_array_equal(image.voxels, stored)
    assert image.limits == (-32768, 0)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_what_is_not_finite_is_refused_in_the_voi_and_harmless_outside(
    value: float, dtype: type
) -> None:
    stored = np.zeros((300, 4, 4), dtype=dtype)
    stored[10, 2, 2] = value
    with pytest.raises(CaseError) as caught:
        cut_image(scan_of(stored), box_around((10, 2, 2), stored.shape))
    assert caught.value.reason is Reason.NOT_FINITE
    image = cut_image(scan_of(stored), box_around((290, 2, 2), stored.shape))
    assert (image.hu_min, image.hu_max, image.flags) == (0, 0, ())


@pytest.mark.parametrize(
    "stored",
    [
        np.full(SMALL, 3e9),
        np.full(SMALL, 1e30, dtype=np.float32),
        np.full(SMALL, 1 << 40, dtype=np.int64),
        np.full(SMALL, -(1 << 31), dtype=np.int32),  # fits, but its padding does not
    ],
)
def test_what_int32_cannot_hold_is_refused(stored: NDArray[Any]) -> None:
    with pytest.raises(CaseError) as caught:
        cut_image(scan_of(stored), box_around((0, 0, 0), SMALL))
    assert caught.value.reason is Reason.HU_OUT_OF_RANGE


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_box_that_misses_the_scan_is_refused(axis: int) -> None:
    scan_shape = (300, 40, 20)

    def at(place: int) -> Box:
        origin = [0, 0, 0]
        origin[axis] = place
        return box_at((origin[0], origin[1], origin[2]), scan_shape)

    last, first = scan_shape[axis] - 1, 1 - SHAPE[axis]
    for place in (last, first):
        covered = at(place).covered[axis]
        assert covered.stop - covered.start == 1
    for place in (last + 1, first - 1, 10_000, -10_000):
        with pytest.raises(CaseError) as caught:
            at(place)
        assert caught.value.reason is Reason.REPLAY_POSITION


def test_the_label_keeps_one_lesion_and_loses_what_lies_outside() -> None:
    start = np.array([20, 30, 10])
    lesion = (np.argwhere(np.ones((400, 2, 2))) + start).astype(np.int32)
    box = box_around((220, 31, 11), (600, 40, 20))
    label = cut_label(lesion, box)
    assert (label.dtype, label.shape, label.flags.f_contiguous) == (np.uint8, SHAPE, True)
    assert label[CENTRE] == 1
    # Cut on both sides along x; a voxel that wrapped round would be one too many.
    found = {tuple(v) for v in (np.argwhere(label) + box.origin).tolist()}
    assert found == {tuple(v) for v in lesion.tolist() if 220 - 128 <= v[0] <= 220 + 127}
    assert label.max() == 1


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("end", [0, -1])
def test_a_voxel_just_outside_the_voi_is_nowhere_in_the_label(axis: int, end: int) -> None:
    origin = np.array([40, 50, 60])
    box = box_at((40, 50, 60), (400, 400, 300))
    inside, outside = np.array(CENTRE), np.array(CENTRE)
    inside[axis] = (0, SHAPE[axis] - 1)[end]
    outside[axis] = (-1, SHAPE[axis])[end]
    label = cut_label((np.stack([inside, outside]) + origin).astype(np.int32), box)
    assert np.argwhere(label).tolist() == [inside.tolist()]


def test_a_published_pad_value_may_be_a_real_one() -> None:
    stored = np.full((300, 4, 4), 50, dtype=np.int16)
    stored[0, 0, 0] = -1024  # outside the VOI
    stored[290, 0, 0] = -30
    scan = scan_of(stored)
    assert scan_minimum_hu(scan) == -1024
    box = box_around((290, 1, 1), stored.shape)
    image = cut_image(scan, box, scan_minimum_hu(scan))
    assert (image.pad_value_hu, image.hu_min) == (-1024, -30)
    assert image.voxels[CENTRE] == 50 and image.voxels[0, 0, 0] == -1024


def test_a_given_pad_value_above_all_voxels_widens_too() -> None:
    stored = np.zeros(SMALL, dtype=np.int16)
    image = cut_image(scan_of(stored), box_around((0, 0, 0), SMALL), 40_000)
    assert (image.voxels.dtype, image.limits) == (np.int32, (0, 40_000))
    assert (image.hu_min, image.hu_max, int(image.voxels.max())) == (0, 0, 40_000)


@pytest.mark.parametrize(("slope", "expected"), [(1.0, -1124), (2.0, -2148), (-1.0, -3100)])
def test_the_scan_minimum_is_in_hu(slope: float, expected: int) -> None:
    stored = np.array([-1024, 0, 3000], dtype=np.int16).reshape(3, 1, 1)
    assert scan_minimum_hu(scan_of(stored, slope, -100.0)) == expected


@given(
    st.lists(st.tuples(*[st.integers(0, 399)] * 3), min_size=1, max_size=6),
    st.tuples(*[st.integers(0, 399)] * 3),
)
def test_a_label_holds_nothing_outside_its_extent(
    places: list[tuple[int, int, int]], click: tuple[int, int, int]
) -> None:
    voxels, box = np.array(places, np.int32), box_around(click, (400, 400, 400))
    label, (low, high) = cut_label(voxels, box), extent(voxels, box)
    inside = label[tuple(map(slice, low, high))]
    assert np.count_nonzero(inside) == np.count_nonzero(label)
    if len(places) == 1 and label.any():
        assert inside.shape == (1, 1, 1)
