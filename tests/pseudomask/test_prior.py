"""Masks from lines alone: whole, around the quadrilateral, and of the right size."""

from __future__ import annotations

import cc3d
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from uls_data.measure.lines import Lines
from uls_data.pseudomask.key_slice import KeySlice
from uls_data.pseudomask.prior import ellipse, hull, joint, quadrilateral, quarter_ellipses, sound

SHAPE = (70, 60)
METHODS = (quarter_ellipses, ellipse, quadrilateral)
points = st.lists(st.tuples(st.floats(-0.5, 69.5), st.floats(-0.5, 59.5)), min_size=4, max_size=4)


def key_slice(lines: Lines, shape: tuple[int, int] = SHAPE, outward: float = 0.0) -> KeySlice:
    return KeySlice(np.zeros(shape, dtype=np.int16), lines, (1.0, 1.0), outward_vox=outward)


@given(points, st.sampled_from([0.0, 0.5]))
def test_mask_is_whole_and_holds_the_quadrilateral(
    values: list[tuple[float, float]], outward: float
) -> None:
    lines = Lines.of(values)
    if lines.problem(SHAPE) is not None:
        return
    given_slice = key_slice(lines, outward=outward)
    inner = hull(given_slice)
    for method in METHODS:
        mask = method(given_slice).mask
        assert mask.shape == SHAPE and mask.dtype == bool
        assert cc3d.connected_components(mask, connectivity=4, return_N=True)[1] == 1
        assert not (inner & ~mask).any()
        rim = np.pad(~mask, 1, constant_values=True)
        assert cc3d.connected_components(rim, connectivity=4, return_N=True)[1] == 1


@given(st.floats(4, 25), st.floats(0.3, 1.0), st.floats(0, np.pi), st.sampled_from([0.0, 0.5]))
def test_perpendicular_axes_that_halve_each_other_give_the_ellipse(
    half: float, aspect: float, angle: float, outward: float
) -> None:
    along = np.array([np.cos(angle), np.sin(angle)])
    across = np.array([-along[1], along[0]])
    centre = np.array([34.3, 29.6])
    short = half * aspect
    ends = [centre - half * along, centre + half * along]
    lines = Lines.of([*ends, centre - short * across, centre + short * across])
    offset = np.stack(np.meshgrid(*map(np.arange, SHAPE), indexing="ij"), axis=-1) - centre
    radius = np.hypot(offset @ along / (half + outward), offset @ across / (short + outward))
    clear = np.abs(radius - 1) > 1e-6
    for method in (quarter_ellipses, ellipse):
        mask = method(key_slice(lines, outward=outward)).mask
        differs = (mask != (radius <= 1)) & clear
        # A shape thinner than a pixel may be linked by pixels of its own.
        assert differs.sum() <= (0 if short > 2 else 4)


@given(points)
def test_place_of_the_crop_plays_no_part(values: list[tuple[float, float]]) -> None:
    lines = Lines.of(np.rint(np.array(values) * 8) / 8)
    if lines.problem(SHAPE) is not None:
        return
    # By even numbers: a line midway between two pixels goes through the even one.
    wide = (SHAPE[0] + 50, SHAPE[1] + 40)
    for method in METHODS:
        here = method(key_slice(lines.moved(26, 20), wide)).mask
        inside = here[26:96, 20:80]
        if inside.sum() != here.sum():
            continue  # the edge of the slice cuts it
        assert np.array_equal(method(key_slice(lines)).mask, inside)


def test_axes_that_do_not_cross_are_joined_at_their_link() -> None:
    apart = Lines((10, 20, 30, 20), (20, 26, 20, 40))
    assert joint(apart) == pytest.approx([20, 23])
    mask = quarter_ellipses(key_slice(apart)).mask
    assert not (quadrilateral(key_slice(apart)).mask & ~mask).any()
    assert mask.sum() > quadrilateral(key_slice(apart)).mask.sum()


def test_sound_drops_what_does_not_touch_and_fills_holes() -> None:
    lines = Lines((10, 20, 30, 20), (20, 12, 20, 28))
    mask = np.zeros(SHAPE, dtype=bool)
    mask[5:40, 5:40] = True
    mask[33:36, 33:36] = False
    mask[50:55, 50:55] = True
    result = sound(mask, key_slice(lines))
    assert result.sum() == 35 * 35
    assert result[34, 34] and not result[52, 52]
