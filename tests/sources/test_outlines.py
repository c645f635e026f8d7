"""Filled outlines: every pixel as brute force says, whatever the path does."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from uls_data.sources.lidc import outlines
from uls_data.sources.lidc.outlines import Outline, Ring, fill_outlines, fill_paths, slices_at

Pixels = set[tuple[int, int]]

SHAPE = (12, 10)
# Corners on, beside and far beyond a small grid, so that paths touch and cross themselves.
corners = st.tuples(st.integers(-4, 15), st.integers(-4, 13))
far_corners = st.tuples(st.integers(-9999, 9999), st.integers(-9999, 9999))
paths = st.lists(corners, min_size=1, max_size=14)
any_paths = st.lists(st.one_of(corners, far_corners), min_size=1, max_size=8)
steps = st.lists(st.tuples(st.integers(-1, 1), st.integers(-1, 1)), min_size=1, max_size=40)


def as_array(path: Sequence[tuple[int, int]]) -> NDArray[np.int32]:
    return np.array(path, dtype=np.int32).reshape(-1, 2)


def pixels_of(path: Any, shape: tuple[int, int] = SHAPE, *, drawn: bool = False) -> Pixels:
    which, pixels = fill_paths([as_array(path)], shape, drawn=drawn)
    assert not which.any()
    found = {(int(x), int(y)) for x, y in pixels}
    assert len(found) == len(pixels)
    return found


def is_drawn(path: Sequence[tuple[int, int]], x: int, y: int) -> bool:
    """Whether a centre lies on a line of the closed path."""
    for (x0, y0), (x1, y1) in zip(path, [*path[1:], path[0]], strict=True):
        on_line = (x1 - x0) * (y - y0) == (y1 - y0) * (x - x0)
        if on_line and min(x0, x1) <= x <= max(x0, x1) and min(y0, y1) <= y <= max(y0, y1):
            return True
    return False


def is_inside(path: Sequence[tuple[int, int]], x: int, y: int) -> bool:
    """Even-odd along a ray so flat that it meets no corner of any path: exact whole numbers."""
    ray_x, ray_y = 10**9, 1
    crossings = 0
    for (x0, y0), (x1, y1) in zip(path, [*path[1:], path[0]], strict=True):
        side0 = ray_x * (y0 - y) - ray_y * (x0 - x)
        side1 = ray_x * (y1 - y) - ray_y * (x1 - x)
        if (side0 > 0) == (side1 > 0):
            continue
        # Ahead of the centre, not behind it: along the ray, times the line's direction.
        ahead = (x0 - x) * (y1 - y0) - (y0 - y) * (x1 - x0)
        crossings += (ahead > 0) == (ray_x * (y1 - y0) - ray_y * (x1 - x0) > 0)
    return crossings % 2 == 1


def brute_force(path: Sequence[tuple[int, int]], shape: tuple[int, int], drawn: bool) -> Pixels:
    return {
        (x, y)
        for x in range(shape[0])
        for y in range(shape[1])
        if (drawn if is_drawn(path, x, y) else is_inside(path, x, y))
    }


@given(st.one_of(paths, any_paths), st.booleans())
def test_every_pixel_is_as_brute_force_says(path: list[tuple[int, int]], drawn: bool) -> None:
    assert pixels_of(path, drawn=drawn) == brute_force(path, SHAPE, drawn)


@given(steps, st.booleans(), st.booleans())
def test_so_it_is_for_paths_from_pixel_to_pixel(
    moves: list[tuple[int, int]], drawn: bool, back: bool
) -> None:
    walked = np.cumsum([(5, 5), *moves], axis=0)
    path = [(int(x), int(y)) for x, y in (*walked, *walked[::-1])] if back else walked.tolist()
    assert pixels_of(path, drawn=drawn) == brute_force(path, SHAPE, drawn)


@given(paths, st.booleans(), st.integers(0, 20), st.integers(0, 3))
def test_what_does_not_matter(
    path: list[tuple[int, int]], drawn: bool, start: int, again: int
) -> None:
    filled = pixels_of(path, drawn=drawn)
    start %= len(path)
    rolled = [*path[start:], *path[:start]]
    assert pixels_of(rolled, drawn=drawn) == filled
    assert pixels_of(path[::-1], drawn=drawn) == filled
    assert pixels_of([*path, path[0]], drawn=drawn) == filled  # closed by its writer
    assert pixels_of([point for point in path for _ in range(again + 1)], drawn=drawn) == filled
    turned = pixels_of([(y, x) for x, y in path], SHAPE[::-1], drawn=drawn)
    assert {(x, y) for y, x in turned} == filled


@given(paths)
def test_drawn_pixels_are_all_the_difference(path: list[tuple[int, int]]) -> None:
    without, with_them = pixels_of(path), pixels_of(path, drawn=True)
    drawn = {p for p in with_them if is_drawn(path, *p)}
    assert with_them - without == drawn
    assert without <= with_them


def test_the_first_ring_outside_a_nodule() -> None:
    # A reader's outline as LIDC has it: each pixel the next one's neighbour.
    ring = [(3, 2), (4, 2), (5, 3), (5, 4), (4, 5), (3, 5), (2, 4), (2, 3), (3, 2)]
    assert pixels_of(ring) == {(3, 3), (4, 3), (3, 4), (4, 4)}
    assert pixels_of(ring, drawn=True) == {(3, 3), (4, 3), (3, 4), (4, 4), *ring}


def test_points_and_lines_enclose_nothing() -> None:
    for path in ([(3, 3)], [(3, 3), (3, 3)], [(2, 2), (6, 2)], [(2, 2), (6, 4), (4, 3), (2, 2)]):
        assert pixels_of(path) == set()
    assert pixels_of([(2, 2), (6, 4)], drawn=True) == {(2, 2), (4, 3), (6, 4)}


def test_an_open_path_is_closed_by_a_line() -> None:
    assert pixels_of([(2, 2), (5, 2), (5, 5), (2, 5)]) == {(3, 3), (3, 4), (4, 3), (4, 4)}


def test_a_bay_closed_at_a_corner_is_outside() -> None:
    # (5, 5) has drawn pixels on all sides, but the path goes round it from without.
    path = [(2, 2), (8, 2), (8, 8), (2, 8), (2, 6), (4, 6), (5, 6), (6, 5), (5, 4), (4, 5), (3, 4),
            (2, 4)]  # fmt: skip
    assert (5, 5) in pixels_of([(4, 5), (5, 4), (6, 5), (5, 6)])
    assert (5, 5) not in pixels_of(path)
    assert {(6, 6), (7, 5), (6, 4), (3, 3), (3, 7)} <= pixels_of(path)


@pytest.mark.parametrize("cells", [1, 60, 1 << 22])
@given(many=st.lists(st.one_of(paths, any_paths), max_size=9), drawn=st.booleans())
def test_paths_do_not_disturb_each_other(
    cells: int, many: list[list[tuple[int, int]]], drawn: bool
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(outlines, "_CELLS_AT_ONCE", cells)
        which, pixels = fill_paths([as_array(path) for path in many], SHAPE, drawn=drawn)
    assert (np.diff(which) >= 0).all()
    for number, path in enumerate(many):
        found = {(int(x), int(y)) for x, y in pixels[which == number]}
        assert found == pixels_of(path, drawn=drawn)


def test_a_path_without_points_is_nothing() -> None:
    which, pixels = fill_paths([as_array([]), as_array([(1, 1)])], SHAPE, drawn=True)
    assert (which.tolist(), pixels.tolist()) == ([1], [[1, 1]])


def test_a_path_far_beyond_the_grid_takes_no_room() -> None:
    far = 1 << 14
    path = [(-far, -far), (far, -far), (far, far), (-far, far)] * 500
    assert pixels_of(path[:4]) == {(x, y) for x in range(SHAPE[0]) for y in range(SHAPE[1])}
    assert pixels_of(path) == set()  # an even number of rounds


slice_outlines = st.builds(
    Outline, st.integers(-1, 3), paths.map(as_array), st.sampled_from([True, True, True, False])
)


@given(st.lists(slice_outlines, max_size=6), st.sampled_from(Ring), st.randoms())
def test_outlines_with_holes(drawings: list[Outline], ring: Ring, random: Any) -> None:
    shape = (*SHAPE, 3)
    filled = fill_outlines(drawings, ring, shape)
    lesion: set[tuple[int, ...]] = set()
    hole: set[tuple[int, ...]] = set()
    for it in drawings:
        path = [(int(x), int(y)) for x, y in it.points]
        wanted = (ring is Ring.INSIDE) is it.inclusion
        target = lesion if it.inclusion else hole
        if it.slice_index in range(3):
            target |= {(*p, it.slice_index) for p in brute_force(path, SHAPE, drawn=wanted)}
    expected = sorted(lesion - hole)
    assert filled.voxels.dtype == np.int32
    assert filled.voxels.shape == (len(expected), 3)
    assert [tuple(voxel) for voxel in filled.voxels.tolist()] == expected  # C order
    reach = {
        number
        for number, it in enumerate(drawings)
        if it.slice_index not in range(3)
        or any(not (0 <= x < SHAPE[0] and 0 <= y < SHAPE[1]) for x, y in it.points.tolist())
    }
    assert filled.out_of_field == len(reach)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(outlines, "_CELLS_AT_ONCE", 1)
        assert np.array_equal(fill_outlines(drawings, ring, shape).voxels, filled.voxels)
    shuffled = random.sample(drawings, len(drawings))
    assert np.array_equal(fill_outlines(shuffled, ring, shape).voxels, filled.voxels)


@given(st.lists(slice_outlines, min_size=1, max_size=6))
def test_drawn_pixels_lie_on_one_side(drawings: list[Outline]) -> None:
    """No drawn pixel is lesion outside; inside, every drawn one is, where no hole covers it."""
    shape = (*SHAPE, 3)
    voxels = {ring: fill_outlines(drawings, ring, shape).voxels.tolist() for ring in Ring}
    for x, y, z in voxels[Ring.OUTSIDE]:
        same = [it.points.tolist() for it in drawings if it.slice_index == z and not it.inclusion]
        assert not any(is_drawn(path, x, y) for path in same)
    outside, inside = ({tuple(v) for v in voxels[ring]} for ring in (Ring.OUTSIDE, Ring.INSIDE))
    assert outside <= inside


@given(
    st.lists(st.floats(-50, 50), min_size=1, max_size=8),
    st.lists(st.floats(-60, 60), max_size=8),
    st.floats(0, 5),
)
def test_slices_are_the_nearest(slices: list[float], wanted: list[float], tolerance: float) -> None:
    found = slices_at(np.array(wanted), np.array(slices), tolerance)
    assert found.shape == (len(wanted),)
    for z_mm, at in zip(wanted, found.tolist(), strict=True):
        distances = np.abs(np.array(slices) - z_mm)
        if at < 0:
            assert distances.min() > tolerance
        else:
            assert distances[at] == distances.min() <= tolerance
