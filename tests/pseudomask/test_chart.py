from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tests.pseudomask.test_bounds import SHAPE, crossing_lines, on_zeros
from uls_data.measure.lines import Lines
from uls_data.pseudomask.chart import Chart
from uls_data.pseudomask.prior import hull, quarter_ellipses


@given(crossing_lines())
def test_coordinates_lead_back_to_the_pixels(lines: Lines) -> None:
    chart = Chart.of(lines)
    turn, radius = chart.coordinates(SHAPE)
    assert ((turn >= 0) & (turn < 4)).all()
    assert np.allclose(chart.points(turn, radius), np.moveaxis(np.indices(SHAPE), 0, 2))


@given(crossing_lines())
def test_end_points_lie_at_radius_1_at_whole_turns(lines: Lines) -> None:
    ends = Chart.of(lines).points(np.arange(4.0), np.ones(4))
    assert np.allclose(ends[0], lines.points[0])
    assert np.allclose(ends[2], lines.points[1])
    others = sorted(ends[[1, 3]].tolist())
    assert np.allclose(others, sorted(lines.points[2:].tolist()))


@given(crossing_lines())
def test_the_disc_of_radius_1_is_the_quarter_ellipses(lines: Lines) -> None:
    key_slice = on_zeros(lines)
    disc = Chart.of(lines).coordinates(SHAPE)[1] <= 1 + 1e-9
    differs = quarter_ellipses(key_slice).mask ^ (disc | hull(key_slice))
    assert differs.sum() <= 1  # the pixel where the axes cross, which a tiny lesion may miss


@given(crossing_lines(), st.floats(0.1, 2))
def test_every_arm_grows_by_what_the_source_says(lines: Lines, outward: float) -> None:
    plain, grown = Chart.of(lines), Chart.of(lines, outward)
    assert np.allclose(np.hypot(*grown.arms.T), np.hypot(*plain.arms.T) + outward)


def test_lines_that_do_not_cross_have_a_chart_too() -> None:
    apart = Lines((10.0, 10.0, 40.0, 10.0), (20.0, 14.0, 20.0, 30.0))
    end_to_end = Lines((10.0, 10.0, 40.0, 10.0), (10.0, 10.0, 10.0, 30.0))
    for lines in (apart, end_to_end):
        turn, radius = Chart.of(lines).coordinates(SHAPE)
        assert np.isfinite(turn).all()
        assert np.isfinite(radius).all()
        assert 100 < (radius <= 1).sum() < 900
