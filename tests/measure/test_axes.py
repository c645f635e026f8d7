"""Axes against a slow second version, written from the definition's words alone."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray
from scipy import ndimage

from uls_data.measure.axes import Axes, measure

Mask = NDArray[np.bool_]
Pixel = tuple[int, int]
# Both versions are fast on small masks: look at more than the profile's number.
MANY = settings(max_examples=max(200, settings().max_examples))


def slow(mask: Mask) -> Axes:
    """Definition (c): every pair of boundary pixels, one after the other."""
    best_length, best_z, best_pair, best_boundary = 0.0, None, None, []
    for z in range(mask.shape[2]):
        boundary = boundary_of(largest_component(mask[:, :, z].T))
        for a, b in itertools.combinations(boundary, 2):
            length = math.dist(a, b)
            if length > best_length:
                best_length, best_z, best_pair, best_boundary = length, z, (a, b), boundary
    if best_pair is None:
        return Axes(0.0, 0.0, None, None, None)
    short = perpendicular(best_boundary, best_pair)
    return Axes(best_length, math.dist(*short), best_z, points(best_pair), points(short))


def largest_component(plane: Mask) -> Mask:
    labels, count = ndimage.label(plane)
    sizes = [int((labels == number).sum()) for number in range(1, count + 1)]
    return labels == sizes.index(max(sizes)) + 1 if sizes else plane


def boundary_of(plane: Mask) -> list[Pixel]:
    rows, columns = np.nonzero(plane & ~ndimage.binary_erosion(plane))
    return list(zip(rows.tolist(), columns.tolist(), strict=True))


def perpendicular(boundary: list[Pixel], long_pair: tuple[Pixel, Pixel]) -> tuple[Pixel, Pixel]:
    along = np.subtract(long_pair[1], long_pair[0])
    chords = []
    for a, b in itertools.combinations(boundary, 2):
        across = np.subtract(b, a)
        cosine = np.dot(along, across) / (np.linalg.norm(along) * np.linalg.norm(across))
        angle = np.degrees(np.arccos(np.clip(cosine, -1, 1)))
        chords.append((math.dist(a, b), abs(angle - 90), (a, b)))
    for tolerance in itertools.count(1):
        best_length, best = 0.0, None
        for length, off, pair in chords:
            if off < tolerance and length > best_length:
                best_length, best = length, pair
        if best is not None:
            return best
    raise AssertionError


def points(pair: tuple[Pixel, Pixel]) -> tuple[float, float, float, float]:
    (y1, x1), (y2, x2) = pair
    return float(x1), float(y1), float(x2), float(y2)


def check(mask: Mask) -> Axes:
    found, expected = measure(mask), slow(mask)
    # End points, slice and None exactly; lengths up to the last bit of a square root.
    assert (found.slice_index, found.long_points, found.short_points) == (
        expected.slice_index,
        expected.long_points,
        expected.short_points,
    )
    assert found.long_vox == pytest.approx(expected.long_vox, rel=1e-12, abs=0)
    assert found.short_vox == pytest.approx(expected.short_vox, rel=1e-12, abs=0)
    return found


def empty(*shape: int) -> Mask:
    return np.zeros(shape or (16, 16, 3), dtype=bool)


def on_slice(plane: Any, slices: int = 3, z: int = 1) -> Mask:
    mask = empty(*np.shape(plane), slices)
    mask[:, :, z] = plane
    return mask


@st.composite
def blobs(draw: st.DrawFn) -> Mask:
    """A few overlapping ellipses, boxes and specks: components, holes, ties, the border."""
    shape = draw(st.tuples(st.integers(1, 22), st.integers(1, 22), st.integers(1, 4)))
    x, y, z = np.indices(shape)
    mask = empty(*shape)
    for _ in range(draw(st.integers(1, 5))):
        cx, cy, cz = (draw(st.integers(0, n - 1)) for n in shape)
        rx, ry, rz = draw(st.tuples(*[st.floats(0.5, limit) for limit in (8, 8, 2)]))
        shift_x, shift_y = np.abs(x - cx) / rx, np.abs(y - cy) / ry
        power = draw(st.sampled_from([1, 2, 8]))
        part = shift_x**power + shift_y**power + (np.abs(z - cz) / rz) ** power <= 1
        mask = mask ^ part if draw(st.booleans()) else mask | part
    return mask


@MANY
@given(blobs())
def test_blobs(mask: Mask) -> None:
    check(mask)


@MANY
@given(hnp.arrays(bool, st.tuples(st.integers(1, 7), st.integers(1, 7), st.integers(1, 3))))
@example(np.ones((2, 2, 1), dtype=bool))
@example(np.ones((2, 2, 2), dtype=bool))
@example(np.ones((1, 1, 1), dtype=bool))
@example(np.ones((5, 1, 2), dtype=bool))
@example(np.zeros((0, 4, 4), dtype=bool))
def test_noise(mask: Mask) -> None:
    # Noise has equal components, diagonal touches and ties in every slice.
    check(mask)


def test_every_mask_of_three_by_three() -> None:
    for bits in itertools.product((False, True), repeat=9):
        check(np.array(bits).reshape(3, 3, 1))


@pytest.mark.parametrize("radius", [1, 1.5, 2, 3, 4.5, 6, 8, 12])
@pytest.mark.parametrize("aspect", [1.0, 0.6, 0.25])
@pytest.mark.parametrize("degrees", [0, 20, 45, 110])
def test_digitised_ellipses(radius: float, aspect: float, degrees: float) -> None:
    x, y = np.indices((27, 27)) - 13
    turn = np.radians(degrees)
    along = x * np.cos(turn) + y * np.sin(turn)
    across = y * np.cos(turn) - x * np.sin(turn)
    found = check(on_slice((along / radius) ** 2 + (across / (radius * aspect)) ** 2 <= 1))
    assert found.long_vox <= 2 * radius


@given(
    st.tuples(st.integers(-6, 6), st.integers(-6, 6)).filter(any),
    st.integers(2, 4),
)
def test_lines_have_short_equal_to_long_when_straight(step: Pixel, count: int) -> None:
    # Drawn with 4-connected steps; a staircase is measured as any other mask.
    mask = empty(60, 60, 1)
    x, y = 30, 30
    mask[x, y] = True
    for _ in range(count):
        for axis, moves in enumerate(step):
            for _ in range(abs(moves)):
                x += int(np.sign(moves)) * (axis == 0)
                y += int(np.sign(moves)) * (axis == 1)
                mask[min(x, 59), min(y, 59)] = True
    found = check(mask)
    if 0 in step:
        assert found.short_vox == found.long_vox
        assert found.short_points == found.long_points


@pytest.mark.parametrize("axis", [0, 1])
def test_published_line_gets_short_equal_to_long(axis: int) -> None:
    mask = empty()
    mask[(slice(4, 8), 5, 1) if axis == 0 else (5, slice(4, 8), 1)] = True
    found = check(mask)
    assert (found.long_vox, found.short_vox) == (3.0, 3.0)


def test_rings_are_measured_on_both_sides() -> None:
    x, y = np.indices((21, 21)) - 10
    for outer, inner in [(10, 8), (9, 3), (6, 5.5)]:
        check(on_slice((x**2 + y**2 <= outer**2) & (x**2 + y**2 > inner**2)))


def test_nothing_and_single_voxels_measure_nothing() -> None:
    nothing = Axes(0.0, 0.0, None, None, None)
    assert check(empty()) == nothing
    single = empty()
    single[3, 4, 1] = single[5, 6, 2] = single[4, 5, 1] = True  # 4 and 5 touch by a corner
    assert check(single) == nothing
    assert measure(single).long_mm((0.7, 0.9, 3.0)) == 0.0


def test_single_voxels_with_an_empty_slice_between_measure_nothing() -> None:
    # A label cut by its VOI, or an instance that the source numbers, may have a gap.
    mask = empty(4, 4, 3)
    mask[0, 0, 0] = mask[2, 2, 2] = True
    check(mask)


def test_equal_components_keep_the_first_in_rows_of_y() -> None:
    mask = empty()
    mask[9:11, 2:4, 1] = True  # lower y: first, though its x is higher
    mask[2:4, 8:10, 1] = True
    found = check(mask)
    assert found.long_points == (9.0, 2.0, 10.0, 3.0)


def test_more_pixels_beat_a_longer_component() -> None:
    mask = empty()
    mask[1:5, 1:5, 0] = True
    mask[1:15, 10, 0] = True  # 14 pixels against 16
    assert check(mask).long_vox == pytest.approx(np.hypot(3, 3))


def test_equal_slices_keep_the_lowest() -> None:
    mask = empty(16, 16, 4)
    mask[2:7, 3, 1] = mask[2:7, 8, 3] = True
    mask[2:6, 3, 0] = True
    assert check(mask).slice_index == 1


def test_a_wider_slice_does_not_hide_a_lower_one_of_equal_length() -> None:
    # Slice 2 spans more than slice 1, but in two pieces.
    mask = empty()
    mask[2:7, 3, 1] = True
    mask[2:7, 3, 2] = mask[9:13, 12, 2] = True
    found = check(mask)
    assert (found.slice_index, found.long_vox) == (1, 4.0)


@pytest.mark.parametrize(
    ("lower_arm", "short"),
    # 5 pixels aside on 300 are 0.95 degrees; to the left comes first, and so does the upper arm.
    [(300, (450.0, 200.0, 445.0, 500.0)), (310, (545.0, 500.0, 550.0, 810.0))],
)
def test_a_very_long_boundary(lower_arm: int, short: tuple[float, ...]) -> None:
    # 1600 boundary pixels, worked out by hand: the slow version would take minutes.
    mask = empty(1001, 811, 1)
    mask[:, 500, 0] = True
    mask[450, 200:500, 0] = mask[550, 501 : 501 + lower_arm, 0] = True
    found = measure(mask)
    assert found.long_points == (0.0, 500.0, 1000.0, 500.0)
    assert found.short_points == short


def test_any_type_counts_what_is_not_zero() -> None:
    mask = empty()
    mask[2:9, 3:5, 1] = True
    for dtype in (np.uint8, np.int16, np.float32):
        assert measure(mask.astype(dtype) * 3) == measure(mask)


def test_millimetres_follow_the_in_plane_spacing_of_each_axis() -> None:
    mask = empty()
    mask[2:12, 5, 1] = True
    mask[6, 3:10, 1] = True
    found = check(mask)
    assert (found.long_vox, found.short_vox) == (9.0, 6.0)
    spacing = (0.5, 0.8, 3.0)
    assert found.long_mm(spacing) == pytest.approx(4.5)
    assert found.short_mm(spacing) == pytest.approx(4.8)
    assert check(mask.transpose(1, 0, 2)).long_mm(spacing) == pytest.approx(7.2)


@given(blobs(), st.floats(0.3, 2), st.floats(0.3, 2))
def test_millimetres_are_those_of_the_end_points(mask: Mask, x_mm: float, y_mm: float) -> None:
    found = measure(mask)
    if found.long_points is not None and found.short_points is not None:
        for ends, length in [
            (found.long_points, found.long_mm((x_mm, y_mm, 9.0))),
            (found.short_points, found.short_mm((x_mm, y_mm, 9.0))),
        ]:
            x1, y1, x2, y2 = ends
            expected = math.dist((x1 * x_mm, y1 * y_mm), (x2 * x_mm, y2 * y_mm))
            assert length == pytest.approx(expected)


@given(blobs(), st.tuples(*[st.integers(0, 5)] * 3))
def test_moving_a_mask_moves_the_end_points_only(mask: Mask, shift: tuple[int, ...]) -> None:
    moved = np.pad(mask, [(n, 2) for n in shift])
    here, there = measure(mask), measure(moved)
    assert (here.long_vox, here.short_vox) == (there.long_vox, there.short_vox)
    if here.slice_index is not None and here.long_points and there.long_points:
        assert there.slice_index == here.slice_index + shift[2]
        by = (shift[0], shift[1], shift[0], shift[1])
        assert there.long_points == tuple(p + n for p, n in zip(here.long_points, by, strict=True))
