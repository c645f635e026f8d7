"""The released engine, fault by fault; `test_real_pseudomask` holds it against its results."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from skimage.measure import regionprops

from uls_data.errors import CaseError
from uls_data.measure.lines import Lines
from uls_data.pseudomask.key_slice import KeySlice
from uls_data.pseudomask.published import (
    RELEASED,
    _error_percent,
    _fit,
    published,
    published_ellipse,
    table_lines,
)

COLUMNS, ROWS = 90, 80
# As a table writes them: column, row, fractions.
TABLE = Lines((30.71, 40.2, 58.93, 44.87), (43.4, 52.61, 46.18, 33.75))


def key_slice(hu: NDArray[np.int16] | None = None, lines: Lines = TABLE) -> KeySlice:
    """The slice as a reader hands it on: RAS, half a pixel between corners and centres."""
    if hu is None:
        hu = np.zeros((COLUMNS, ROWS), dtype=np.int16)
    ras = np.array([COLUMNS - 1, ROWS - 1]) - (lines.points - 0.5)
    return KeySlice(hu, Lines.of(ras), (0.8, 0.8), (-100.0, 100.0), 0.5, ("deeplesion", "1"))


thousandths = st.integers(0, 511_999).map(lambda value: value / 1000)


@given(st.lists(thousandths, min_size=8, max_size=8), st.integers(512, 1024))
def test_lines_of_the_table_come_back_to_the_last_digit(values: list[float], side: int) -> None:
    table = Lines.of(values)
    ras = np.array([side - 1, side - 1]) - (table.points - 0.5)
    given_slice = KeySlice(np.zeros((side, side), np.int8), Lines.of(ras), (1.0, 1.0), None, 0.5)
    assert np.array_equal(table_lines(given_slice).points, table.points)


@given(
    st.floats(5, 30), st.floats(0.2, 0.9), st.floats(0, 3.1), st.floats(-50, 50), st.floats(0, 400)
)
def test_fit_finds_an_ellipse(a: float, aspect: float, angle: float, x: float, y: float) -> None:
    t = np.linspace(0, 2 * np.pi, 40, endpoint=False)
    u, v = a * np.cos(t), a * aspect * np.sin(t)
    points = np.stack(
        [u * np.cos(angle) - v * np.sin(angle), u * np.sin(angle) + v * np.cos(angle)]
    )
    found = _fit(points.T + np.array([x, y]))
    assert found is not None
    assert found[:4] == pytest.approx((x, y, a, a * aspect), rel=1e-6, abs=1e-6)
    assert np.sin(found[4] - angle) == pytest.approx(0, abs=1e-6)


def test_points_on_one_line_have_no_ellipse() -> None:
    assert _fit(np.stack([np.arange(9.0), 2 * np.arange(9.0)], axis=1)) is None
    assert _fit(np.zeros((4, 2))) is None


def test_ellipse_holds_the_drawn_lines_and_stays_in_the_box() -> None:
    mask = published_ellipse(TABLE, (COLUMNS, ROWS))
    assert mask is not None and mask.shape == (ROWS, COLUMNS)
    for column, row in TABLE.points.astype(int):
        assert mask[row, column]
    rows, columns = np.nonzero(mask)
    assert columns.min() >= 25 and columns.max() <= 63
    assert rows.min() >= 28 and rows.max() <= 57
    # Cut to whole pixels, not rounded: the ellipse moves by up to a pixel.
    rounded = published_ellipse(TABLE, (COLUMNS, ROWS), replace(RELEASED, truncated=False))
    assert rounded is not None and not np.array_equal(mask, rounded)


def test_ellipse_beyond_the_slice_is_lost() -> None:
    moved = TABLE.moved(30, 0)
    assert published_ellipse(moved, (COLUMNS, ROWS)) is None
    with pytest.raises(CaseError, match="loses"):
        published(key_slice(lines=moved))


def test_short_axis_is_held_against_the_long_one() -> None:
    x, y = np.meshgrid(np.arange(60), np.arange(60), indexing="ij")
    thin = ((x - 30) / 20) ** 2 + ((y - 30) / 8) ** 2 <= 1
    disc = (x - 30) ** 2 + (y - 30) ** 2 <= 400
    assert _error_percent(disc, 40, 40) < 2
    assert 70 < _error_percent(thin, 40, 40) < 80
    assert _error_percent(thin, 40, 16) < 2
    assert _error_percent(disc, 40, 16) > 25
    assert _error_percent(np.zeros((9, 9), dtype=bool), 40, 16) == 9999


def test_without_contrast_it_is_the_ellipse() -> None:
    made = published(key_slice())
    ellipse = published_ellipse(TABLE, (COLUMNS, ROWS))
    assert ellipse is not None
    assert np.array_equal(made.mask, ellipse[::-1, ::-1].T)
    assert ("ellipse", "winner", 1.0) in made.scores


def test_grabcut_wins_where_it_is_rounder_and_repeats_itself() -> None:
    x, y = np.meshgrid(np.arange(COLUMNS), np.arange(ROWS), indexing="ij")
    centre = key_slice().lines.points.mean(axis=0)
    disc = np.hypot(x - centre[0], y - centre[1]) <= 14
    random = np.random.default_rng(1)
    hu = np.where(disc, 80, -60) + random.integers(-5, 6, disc.shape)
    made = published(key_slice(hu.astype(np.int16)))
    # The fault prefers a disc as wide as the long axis is long.
    assert ("ellipse", "winner", 1.0) not in made.scores
    found = regionprops(made.mask.astype(np.uint8))[0]
    assert found.axis_minor_length > 24
    assert np.array_equal(made.mask, published(key_slice(hu.astype(np.int16))).mask)
