from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from uls_data.measure.lines import Lines
from uls_data.pseudomask.bounds import END_POINT_VOX, Bounds, end_point_vox
from uls_data.pseudomask.chart import Chart
from uls_data.pseudomask.key_slice import KeySlice
from uls_data.pseudomask.prior import hull, quarter_ellipses

SHAPE = (64, 60)


@st.composite
def crossing_lines(draw: st.DrawFn) -> Lines:
    """Lines that cross inside, of any tilt and lopsidedness, up to 20 degrees off square."""
    long = draw(st.floats(3, 34))
    short = draw(st.floats(max(2.0, 0.3 * long), long))
    tilt, off = draw(st.floats(0, np.pi)), draw(st.floats(-0.35, 0.35))
    t, u = draw(st.floats(0.3, 0.7)), draw(st.floats(0.25, 0.75))
    centre = np.array([32 + draw(st.floats(0, 1)), 30 + draw(st.floats(0, 1))])
    a = np.array([np.cos(tilt), np.sin(tilt)]) * long
    b = np.array([-np.sin(tilt + off), np.cos(tilt + off)]) * short
    return Lines.of([centre - t * a, centre + (1 - t) * a, centre - u * b, centre + (1 - u) * b])


def on_zeros(lines: Lines) -> KeySlice:
    return KeySlice(np.zeros(SHAPE, np.int16), lines, (1.0, 1.0))


@settings(max_examples=100)
@given(crossing_lines(), st.integers(0, 10**6), st.sampled_from(["noise", "all", "none", "blob"]))
def test_whatever_the_image_says_a_mask_keeps_to_the_lines(
    lines: Lines, seed: int, kind: str
) -> None:
    noise = np.random.default_rng(seed).normal(size=SHAPE)
    mask = {
        "noise": noise > 0,
        "all": noise > -99,
        "none": noise > 99,
        "blob": ndimage.gaussian_filter(noise, 3) > 0,
    }[kind]
    bounds = Bounds.of(on_zeros(lines))
    held = bounds.applied(mask)
    assert ndimage.label(held)[1] == 1
    assert np.array_equal(ndimage.binary_fill_holes(held), held)
    assert held[hull(on_zeros(lines))].all()
    assert end_point_vox(held, lines.points).max() <= END_POINT_VOX


@given(crossing_lines())
def test_outside_the_box_there_is_nothing(lines: Lines) -> None:
    held = Bounds.of(on_zeros(lines)).applied(np.ones(SHAPE, dtype=bool))
    places = np.argwhere(held)
    a, b, *_ = lines.points
    along = (b - a) / lines.long_vox
    for way in (along, np.array([-along[1], along[0]])):
        low, high = np.min(lines.points @ way), np.max(lines.points @ way)
        room = max(2.0, 0.15 * (high - low) / 2) + 0.75  # the pixel under an end point
        assert (places @ way >= low - room).all()
        assert (places @ way <= high + room).all()


def test_a_mask_that_keeps_to_the_lines_is_left_alone() -> None:
    lines = Lines((20.0, 30.0, 44.0, 30.0), (30.0, 22.0, 30.0, 38.0))
    disc = quarter_ellipses(on_zeros(lines)).mask
    assert np.array_equal(Bounds.of(on_zeros(lines)).applied(disc), disc)


@given(crossing_lines())
def test_the_distance_of_an_end_point_is_that_of_the_nearest_edge(lines: Lines) -> None:
    mask = Chart.of(lines).coordinates(SHAPE)[1] <= 1
    if not mask.any():
        return
    found = end_point_vox(mask, lines.points)
    # By hand: every side of every pixel that has a neighbour of the other kind.
    sides = [
        ((x + dx / 2), (y + dy / 2))
        for x, y in np.argwhere(mask)
        for dx, dy in ((1, 0), (-1, 0), (0, 1), (0, -1))
        if not mask[x + dx, y + dy]
    ]
    expected = [min(np.hypot(x - px, y - py) for x, y in sides) for px, py in lines.points]
    assert np.allclose(found, expected)
