"""Numbers of a mask tell a good one from a faulty one, and are finite for any."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from makers.planted import cropped, cut, flood, leak, shifted
from numpy.typing import NDArray
from scipy import ndimage

from uls_data.measure.shape import _grown, core_of, measure_hu, measure_mask
from uls_data.pictures.thumbnails import Subject
from uls_data.voi import CENTRE, VOI_SHAPE

SPACING = np.array([0.8, 0.8, 1.6])
STRIPES = np.broadcast_to((np.arange(256, dtype=np.int16) * 7 % 99)[:, None, None], VOI_SHAPE)


def ellipsoid(*radii_mm: float, centre: tuple[int, int, int] = CENTRE) -> NDArray[np.int64]:
    grid = np.stack(np.meshgrid(*[np.arange(-30, 31)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
    inside = ((grid * SPACING / np.array(radii_mm)) ** 2).sum(axis=1) <= 1
    return np.asarray(grid[inside] + np.array(centre))


def measured(voxels: NDArray[np.int64]) -> dict[str, float]:
    return measure_mask(*cropped(voxels), SPACING.tolist())


@pytest.mark.parametrize("radii", [(10, 10, 10), (18, 9, 7), (6, 6, 14)])
def test_a_good_mask_has_unsuspicious_numbers(radii: tuple[int, int, int]) -> None:
    found = measured(ellipsoid(*radii))
    assert found["lobe"] == found["apart"] == found["click_distance"] == found["border_face"] == 0
    assert found["fill"] == pytest.approx(1, abs=0.03)
    assert found["slice_jump"] < 0.1
    assert max(found["flat_side"], found["flat_end"]) < 0.1
    assert found["click_offset"] < 0.05


def test_each_fault_shows_in_its_number(rng: np.random.Generator) -> None:
    good = ellipsoid(14, 11, 10)
    for _ in range(5):
        leaked = leak(good, SPACING, rng)
        assert leaked is not None
        found = measured(leaked)
        assert found["lobe"] > 0.25 and found["fill"] < 0.85
        assert measured(flood(good, rng))["slice_jump"] > 0.4
        found = measured(cut(good, rng))
        assert max(found["flat_side"], found["flat_end"]) > 0.35
        assert measured(shifted(good, SPACING, rng))["click_distance"] > 0.1


def test_several_components_and_the_border_are_seen() -> None:
    two = np.concatenate([ellipsoid(10, 10, 10), ellipsoid(4, 4, 4, centre=(160, 128, 64))])
    assert measured(two)["apart"] == pytest.approx(0.06, abs=0.02)
    at_border = measured(ellipsoid(10, 10, 10, centre=(255, 128, 64)))
    assert at_border["border_face"] == 1
    assert at_border["flat_side"] < 0.1  # the border is not a cut


@given(data=st.data())
def test_any_mask_has_finite_numbers(data: st.DataObject) -> None:
    start = data.draw(st.tuples(st.integers(0, 255), st.integers(0, 255), st.integers(0, 127)))
    most = [min(9, end - a) for a, end in zip(start, VOI_SHAPE, strict=True)]
    shape = data.draw(st.tuples(*[st.integers(1, n) for n in most]))
    bits = data.draw(st.binary(min_size=int(np.prod(shape)), max_size=int(np.prod(shape))))
    label = np.zeros(VOI_SHAPE, np.uint8)
    part = np.frombuffer(bits, np.uint8).reshape(shape) % 2
    label[tuple(slice(a, a + n) for a, n in zip(start, shape, strict=True))] = part
    label[start] = 1
    spacing = data.draw(st.none() | st.tuples(*[st.floats(0, 1e7) | st.just(float("nan"))] * 3))
    subject = Subject.of(label)
    found = measure_mask(subject.mask, subject.start, spacing)
    found |= measure_hu(subject.mask, subject.start, STRIPES, data.draw(st.none() | st.just(5)))
    assert np.isfinite(list(found.values())).all()


def made_up(moved: int, rng: np.random.Generator) -> dict[str, float]:
    voxels = ellipsoid(9, 9, 9)
    mask, (x, y, z) = cropped(voxels)
    image = rng.normal(-50, 15, VOI_SHAPE).round().astype(np.int16)
    image[tuple(voxels.T)] += 120
    return measure_hu(mask, (x + moved, y, z), image, -1025)


def test_hu_inside_and_around_and_an_outline_beside_its_edges(rng: np.random.Generator) -> None:
    good = made_up(0, rng)
    assert good["hu_inside"] == pytest.approx(70, abs=5)
    assert good["hu_around"] == pytest.approx(-50, abs=5)
    assert good["contrast"] > 4
    assert good["edge_gain"] < 0.05
    for moved in (-4, 4):
        found = made_up(moved, rng)
        assert found["edge_gain"] > 0.3
        assert found["edge_shift"] == pytest.approx(4, abs=0.5)


def test_padding_is_no_tissue(rng: np.random.Generator) -> None:
    mask, start = cropped(ellipsoid(9, 9, 9))
    image = np.full(VOI_SHAPE, -1025, np.int16)
    assert measure_hu(mask, start, image, -1025) == {}
    image[:131] = 40
    found: dict[str, Any] = measure_hu(mask, start, image, -1025)
    assert found["hu_inside"] == found["hu_around"] == 40
    assert found["edge_gain"] == 0  # the edge of the scan is not an edge of a lesion


@given(hnp.arrays(bool, st.tuples(*[st.integers(1, 9)] * 2)), st.integers(1, 4))
def test_masks_shrink_and_grow_as_scipy_has_it(mask: NDArray[np.bool_], reach: int) -> None:
    np.testing.assert_array_equal(core_of(mask), ndimage.binary_erosion(mask))
    square = np.ones([2 * reach + 1] * 2, bool)
    np.testing.assert_array_equal(_grown(mask, reach), ndimage.binary_dilation(mask, square))
