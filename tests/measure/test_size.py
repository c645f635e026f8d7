"""The minimum-size rule."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import ArrayLike, NDArray

from uls_data.measure.lines import Lines
from uls_data.measure.size import below_minimum, inertia_axes_vox, lesion_size
from uls_data.recipe import load_recipe
from uls_data.recipe.model import MinimumSize, SizeMeasure

SPACING = (0.5, 0.8, 3.0)
OF_LINES = {SizeMeasure.RECIST_LONG_VOX, SizeMeasure.RECIST_LONG_MM}
IN_MM = {SizeMeasure.LONG_AXIS_MM, SizeMeasure.SHORT_AXIS_MM, SizeMeasure.VOLUME_MM3}


def voxels_of(mask: ArrayLike, start: tuple[int, int, int] = (0, 0, 0)) -> NDArray[np.int32]:
    return (np.argwhere(mask) + start).astype(np.int32)


def line(count: int, axis: int) -> NDArray[np.int32]:
    voxels = np.zeros((count, 3), dtype=np.int32)
    voxels[:, axis] = np.arange(count)
    return voxels + np.array([200, 100, 50], dtype=np.int32)


@given(
    hnp.arrays(bool, st.tuples(*[st.integers(1, 6)] * 3)).filter(lambda mask: mask.any()),
    st.tuples(*[st.integers(0, 600)] * 3),
)
def test_inertia_axes_against_the_covariance(
    mask: NDArray[np.bool_], start: tuple[int, int, int]
) -> None:
    voxels = voxels_of(mask, start)
    covariance = np.atleast_2d(np.cov(voxels.T.astype(float), bias=True))
    eigenvalues = np.clip(np.linalg.eigvalsh(covariance), 0, None)
    major, minor = inertia_axes_vox(voxels)
    assert major == pytest.approx(np.sqrt(20 * eigenvalues[-1]), abs=1e-5)
    assert minor == pytest.approx(np.sqrt(20 * eigenvalues[0]), abs=1e-5)


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize(("count", "major"), [(1, 0.0), (2, 5**0.5), (3, (40 / 3) ** 0.5), (4, 5)])
def test_inertia_axes_of_lines(axis: int, count: int, major: float) -> None:
    # Variance of 0..n-1 is (n^2 - 1) / 12.
    assert inertia_axes_vox(line(count, axis)) == pytest.approx((major, 0.0), abs=1e-9)


def test_inertia_axes_of_a_box_and_of_a_ball() -> None:
    box = voxels_of(np.ones((9, 3, 5)))
    assert inertia_axes_vox(box) == pytest.approx(((20 * 80 / 12) ** 0.5, (20 * 8 / 12) ** 0.5))
    x, y, z = np.indices((41, 41, 41)) - 20
    major, minor = inertia_axes_vox(voxels_of(x**2 + y**2 + z**2 <= 15**2))
    assert major == pytest.approx(30, rel=0.01)  # the diameter: that is what 20 is for
    assert minor == pytest.approx(30, rel=0.01)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_the_published_limit_keeps_a_line_of_four_and_drops_one_of_three(axis: int) -> None:
    rule = load_recipe("lits").recipe.minimum_size
    assert rule == MinimumSize(measure=SizeMeasure.INERTIA_MAJOR_VOX, at_least=5)
    assert below_minimum(line(4, axis), rule, SPACING) is None
    why = below_minimum(line(3, axis), rule, SPACING)
    assert why is not None and "3.651" in why and "inertia_major_vox" in why


@pytest.mark.parametrize("name", ["nih_ln_abd", "nih_ln_med"])
def test_lymph_nodes_go_by_the_minor_axis(name: str) -> None:
    rule = load_recipe(name).recipe.minimum_size
    assert below_minimum(voxels_of(np.ones((4, 4, 4))), rule, None) is None
    assert below_minimum(voxels_of(np.ones((30, 30, 3))), rule, None) is not None


def cross() -> NDArray[np.int32]:
    """Arms of 7 voxels along x and 5 along y, and a short bar on the next slice: 14 voxels."""
    mask = np.zeros((9, 9, 2), dtype=bool)
    mask[1:8, 4, 0] = mask[4, 2:7, 0] = True
    mask[4:7, 4, 1] = True
    return voxels_of(mask, (300, 20, 7))


@pytest.mark.parametrize(
    ("measure", "size"),
    [
        (SizeMeasure.LONG_AXIS_VOX, 6.0),
        (SizeMeasure.SHORT_AXIS_VOX, 4.0),
        (SizeMeasure.LONG_AXIS_MM, 3.0),
        (SizeMeasure.SHORT_AXIS_MM, 3.2),
        (SizeMeasure.MASK_VOXELS, 14.0),
        (SizeMeasure.VOLUME_MM3, 14 * 1.2),
        (SizeMeasure.INERTIA_MAJOR_VOX, inertia_axes_vox(cross())[0]),
        (SizeMeasure.INERTIA_MINOR_VOX, inertia_axes_vox(cross())[1]),
    ],
)
def test_each_measure_and_its_limit(measure: SizeMeasure, size: float) -> None:
    voxels = cross()
    assert lesion_size(voxels, measure, SPACING) == pytest.approx(size)
    # Exactly the limit is large enough; anything more is not.
    assert below_minimum(voxels, MinimumSize(measure=measure, at_least=size), SPACING) is None
    above = MinimumSize(measure=measure, at_least=size * 1.0001)
    assert measure in (below_minimum(voxels, above, SPACING) or "")


@pytest.mark.parametrize("measure", [m for m in SizeMeasure if m not in OF_LINES])
def test_without_spacing_a_rule_in_mm_keeps_the_lesion(measure: SizeMeasure) -> None:
    rule = MinimumSize(measure=measure, at_least=1e6)
    assert (below_minimum(cross(), rule, None) is None) == (measure in IN_MM)
    assert (lesion_size(cross(), measure, None) is None) == (measure in IN_MM)


def test_a_rule_about_lines_measures_the_lines() -> None:
    lines = Lines((10, 10, 13, 14), (11, 13, 12, 11))
    vox = MinimumSize(measure=SizeMeasure.RECIST_LONG_VOX, at_least=5)
    assert below_minimum(cross(), vox, None, lines) is None
    assert below_minimum(cross(), vox.model_copy(update={"exclusive": True}), None, lines)
    mm = MinimumSize(measure=SizeMeasure.RECIST_LONG_MM, at_least=5, exclusive=True)
    assert "3.534" in (below_minimum(cross(), mm, (0.5, 0.8, 1.0), lines) or "")
    assert below_minimum(cross(), mm, (1.1, 1.1, 1.0), lines) is None
    assert below_minimum(cross(), mm, None, lines) is None  # not known: kept
    assert below_minimum(cross(), vox, None) is None  # a lesion without lines


def test_no_rule_keeps_everything() -> None:
    assert below_minimum(line(1, 0), None, SPACING) is None
