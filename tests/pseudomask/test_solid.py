"""The ellipsoid as a mask: whole, around the quadrilateral, within its grid, wherever it lies."""

from __future__ import annotations

import cc3d
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from uls_data.errors import CaseError
from uls_data.measure.ellipsoid import ellipsoid
from uls_data.measure.lines import Lines
from uls_data.pseudomask.key_slice import KeySlice
from uls_data.pseudomask.prior import hull
from uls_data.pseudomask.solid import solid

SHAPE = (40, 36, 14)
points = st.lists(st.tuples(st.floats(-0.5, 39.5), st.floats(-0.5, 35.5)), min_size=4, max_size=4)


def on_grid(voxels: np.ndarray) -> np.ndarray:
    mask = np.zeros(SHAPE, bool)
    mask[tuple(voxels.T)] = True
    return mask


@given(points, st.integers(0, 13), st.sampled_from([0.8, 2.5, 40.0]))
def test_one_component_around_the_quadrilateral(
    values: list[tuple[float, float]], at: int, height_mm: float
) -> None:
    lines = Lines.of(values)
    if lines.problem(SHAPE[:2]) is not None:
        return
    spacing = (0.8, 0.8, height_mm)
    voxels = solid(lines, at, SHAPE, spacing)
    assert voxels.dtype == np.int32 and (voxels >= 0).all() and (voxels < SHAPE).all()
    assert (voxels == np.argwhere(on_grid(voxels))).all()  # in C order, none twice
    mask = on_grid(voxels)
    assert cc3d.connected_components(mask, connectivity=6, return_N=True)[1] == 1
    inner = hull(KeySlice(np.zeros(SHAPE[:2], np.int16), lines, (0.8, 0.8)))
    assert not (inner & ~mask[:, :, at]).any()
    formula = ellipsoid(lines, at, spacing, SHAPE)
    others = np.arange(SHAPE[2]) != at
    assert not (mask & ~formula)[:, :, others].any()


def test_it_is_the_formula_where_that_is_one_piece() -> None:
    lines = Lines((8.0, 18.0, 28.0, 18.0), (18.0, 11.0, 18.0, 25.0))
    spacing = (0.8, 0.8, 2.5)
    mask = on_grid(solid(lines, 7, SHAPE, spacing))
    assert (mask == ellipsoid(lines, 7, spacing, SHAPE)).all()
    # sqrt(16 x 11.2) / 2 = 6.7 mm: two slices of 2.5 mm above, and two below.
    assert np.flatnonzero(mask.any(axis=(0, 1))).tolist() == [5, 6, 7, 8, 9]


def test_what_lies_beyond_the_grid_is_left_out() -> None:
    lines = Lines((-9.0, 18.0, 28.0, 18.0), (10.0, 4.0, 10.0, 30.0))
    mask = on_grid(solid(lines, 0, SHAPE, (0.8, 0.8, 2.5)))
    assert mask[0, 18, 0] and mask[:, :, 3].any()


def test_lines_that_say_nothing_are_refused() -> None:
    lines = Lines((8.0, 18.0, 28.0, 18.0), (18.0, 11.0, 18.0, 11.0))
    with pytest.raises(CaseError, match="both need 1 px"):
        solid(lines, 7, SHAPE, (0.8, 0.8, 2.5))
    good = Lines((8.0, 18.0, 28.0, 18.0), (18.0, 11.0, 18.0, 25.0))
    with pytest.raises(CaseError, match="the measured slice 14 is none of 14"):
        solid(good, 14, SHAPE, (0.8, 0.8, 2.5))
