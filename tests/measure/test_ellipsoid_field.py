"""The ellipsoid of two lines, against its formula and the 2D ellipse."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from uls_data.measure.ellipsoid import ellipsoid, half_height_mm, radius_field
from uls_data.measure.lines import Lines
from uls_data.pseudomask.key_slice import KeySlice
from uls_data.pseudomask.prior import ellipse


def _lines(x: float, y: float, long: float, short: float, degrees: float) -> Lines:
    along = np.array([np.cos(np.radians(degrees)), np.sin(np.radians(degrees))])
    across = np.array([-along[1], along[0]])
    middle = np.array([x, y])
    ends = [s * long / 2 * along for s in (-1, 1)] + [s * short / 2 * across for s in (-1, 1)]
    return Lines.of([middle + end for end in ends])


@given(
    st.floats(8, 40),
    st.floats(0.3, 1),
    st.floats(0, 180),
    st.floats(0.5, 2),
    st.floats(0.5, 6),
)
def test_volume_is_that_of_the_ellipsoid(
    long: float, ratio: float, degrees: float, pixel: float, step: float
) -> None:
    lines, spacing = _lines(40.3, 38.7, long, ratio * long, degrees), (pixel, pixel, step)
    mask = ellipsoid(lines, 40, spacing, (80, 80, 80))
    half = half_height_mm(lines, spacing)
    expected = 4 / 3 * np.pi * (long / 2) * (ratio * long / 2) * (half / step)
    # A sum over slices errs where there are few of them.
    fewest = min(ratio * long, 2 * half / step)
    assert mask.sum() == pytest.approx(expected, rel=0.1 + 2 / fewest)


@given(st.floats(6, 30), st.floats(0.3, 1), st.floats(0, 180), st.floats(0, 1))
def test_key_slice_is_the_ellipse(long: float, ratio: float, degrees: float, out: float) -> None:
    lines = _lines(30.2, 31.9, long, ratio * long, degrees)
    field = radius_field(lines, 3, (1.0, 1.0, 2.0), (64, 64, 7), out)
    flat = ellipse(KeySlice(np.zeros((64, 64), np.int16), lines, (1.0, 1.0), None, out)).mask
    drawn = field[:, :, 3] <= 1 + 1e-6
    # The 2D mask also holds the quadrilateral of the end points, which lies within.
    assert (drawn & ~flat).sum() == 0
    assert (flat & ~drawn).sum() <= 4


def test_height_is_the_mean_of_the_axes_in_mm() -> None:
    lines = _lines(32, 32, 20, 5, 0)
    field = radius_field(lines, 10.0, (0.5, 0.5, 2.5), (64, 64, 21))
    # sqrt(10 mm x 2.5 mm) / 2 = 2.5 mm: one slice up is the surface.
    assert field[32, 32, [9, 10, 11]] == pytest.approx([1, 0, 1])
    assert field[42, 32, 10] == pytest.approx(1)
    assert field[32, 34, 10] == pytest.approx(0.8)
    assert field.dtype == np.float32


def test_anisotropic_pixels_count_in_mm() -> None:
    along_y = Lines.of([[8, 0], [8, 16], [4, 8], [12, 8]])
    assert half_height_mm(along_y, (2.0, 1.0, 1.0)) == pytest.approx(8.0)
    assert half_height_mm(along_y, (2.0, 1.0, 1.0), 1.0) == pytest.approx(np.sqrt(18 * 20) / 2)
