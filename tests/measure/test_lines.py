"""Lines of a reader: their lengths, where they cross, and what is none."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from uls_data.measure import axes
from uls_data.measure.lines import Lines, jittered

coordinate = st.floats(2, 97, allow_nan=False)
points = st.lists(coordinate, min_size=8, max_size=8)


@given(points)
def test_crossing_lies_on_both_lines(values: list[float]) -> None:
    lines = Lines.of(values)
    found = lines.crossing()
    if found is None:
        return
    x, y, t, u = found
    a, b, c, d = lines.points
    at = np.array([x, y])
    size = max(1.0, abs(t), abs(u)) * 100
    assert np.allclose(a + t * (b - a), at, atol=1e-6 * size)
    if lines.problem((100, 100)) is None:
        assert np.allclose(c + u * (d - c), at, atol=1e-6 * size)
        assert lines.cross_inside() == (0 <= t <= 1 and 0 <= u <= 1)


@given(points, st.floats(-50, 50), st.floats(-50, 50))
def test_moving_changes_no_length(values: list[float], dx: float, dy: float) -> None:
    lines = Lines.of(values)
    moved = lines.moved(dx, dy)
    assert moved.long_vox == pytest.approx(lines.long_vox, abs=1e-9)
    assert moved.short_vox == pytest.approx(lines.short_vox, abs=1e-9)
    assert np.allclose(moved.points - lines.points, [dx, dy])


def test_lines_of_a_mask_are_the_challenge_measure_or_wider() -> None:
    random = np.random.default_rng(4)
    mask = np.zeros((60, 60), dtype=bool)
    mask[12:40, 20:31] = True
    mask[20:26, 31:38] = random.random((6, 7)) > 0.3
    lines = Lines.from_mask(mask, 1)
    found = axes.measure(mask[:, :, None])
    assert lines is not None
    assert (lines.long_vox, lines.short_vox) == (found.long_vox, found.short_vox)
    by_eye = Lines.from_mask(mask)
    assert by_eye is not None
    assert by_eye.long == lines.long
    assert by_eye.short_vox > lines.short_vox
    assert Lines.from_mask(np.zeros((5, 5))) is None


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ([10, 10, 10, 10, 5, 5, 15, 15], "both need 1 px"),
        ([10, 10, 30, 10, 20, 20, 20, 20.5], "both need 1 px"),
        ([10, 10, 30, 10, 20, 5, 20, 99.6], "outside the slice"),
        ([-0.6, 10, 30, 10, 20, 5, 20, 15], "outside the slice"),
        ([10, 10, 30, 10, 12, 11, 28, 12], "nearly one line"),
        ([10, float("nan"), 30, 10, 20, 5, 20, 15], "not a finite number"),
    ],
)
def test_what_no_mask_can_be_made_of(values: list[float], says: str) -> None:
    problem = Lines.of(values).problem((100, 100))
    assert problem is not None
    assert says in problem


def test_lengths_in_mm_take_the_spacing_of_each_axis() -> None:
    lines = Lines((0, 0, 30, 40), (0, 0, 0, 10))
    assert lines.length_mm((1.0, 1.0)) == (50.0, 10.0)
    assert lines.length_mm((0.5, 2.0)) == (pytest.approx(np.hypot(15, 80)), 20.0)


def test_noise_has_the_size_that_is_asked_for() -> None:
    lines = Lines((100, 100, 140, 100), (120, 90, 120, 110))
    random = np.random.default_rng(0)
    moved = np.array([jittered(lines, random, 0.05).points for _ in range(4000)]) - lines.points
    assert moved[:, :2].std() == pytest.approx(2.0, rel=0.03)
    assert moved[:, 2:].std() == pytest.approx(1.0, rel=0.03)
    assert abs(moved.mean()) < 0.05


def test_overshoot_is_how_far_beyond_an_axis_the_lines_cross() -> None:
    long = [[0, 0], [20, 0]]
    assert Lines.of([*long, [10, -5], [10, 5]]).overshoot() == (0, 0)
    assert Lines.of([*long, [30, -5], [30, 5]]).overshoot() == pytest.approx((0.5, 0))
    assert Lines.of([*long, [10, 5], [10, 15]]).overshoot() == pytest.approx((0, 0.5))
    assert Lines.of([*long, [0, 5], [10, 5]]).overshoot() == (2, 2)
