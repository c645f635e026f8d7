from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from tests.pseudomask.test_bounds import crossing_lines
from uls_data.measure.lines import Lines
from uls_data.pseudomask.bone import bone, clickable, surroundings
from uls_data.pseudomask.jury import jury
from uls_data.pseudomask.key_slice import KeySlice
from uls_data.pseudomask.prior import hull, quadrilateral

SHAPE = (80, 80)
CROSS = Lines.of([(20, 40), (60, 40), (40, 25), (40, 55)])


def muscle_and_bone(*, marrow: bool = True, lines: Lines = CROSS) -> KeySlice:
    """A lesion of 60 HU on fat, and a ring of 900 HU that takes one end of its long axis."""
    x, y = np.mgrid[: SHAPE[0], : SHAPE[1]]
    hu = np.where(np.hypot(x - 40, (y - 40) * 1.3) < 20, 60, -100)
    ring = np.hypot(x - 58, y - 40)
    hu[ring < 9] = 900
    if marrow:
        hu[ring < 6] = 20
    return KeySlice(hu.astype(np.int16), lines, (1.0, 1.0))


@pytest.mark.parametrize("marrow", [True, False])
def test_cortex_and_marrow_are_in_no_mask_and_under_no_click(marrow: bool) -> None:
    key_slice = muscle_and_bone(marrow=marrow)
    inside = clickable(key_slice)
    assert hull(key_slice)[55, 40] and not inside[55, 40]
    assert inside[40, 40]
    mask = jury(key_slice).mask
    assert not mask[54:, 40].any()
    assert mask[inside].all()
    assert ndimage.label(mask)[1] == 1


def test_a_lesion_of_bone_keeps_it() -> None:
    key_slice = replace(muscle_and_bone(), of_bone=True)
    assert np.array_equal(clickable(key_slice), quadrilateral(key_slice).mask)
    assert jury(key_slice).mask[hull(key_slice)].all()


def test_bone_that_would_take_most_of_the_quadrilateral_takes_nothing() -> None:
    hu = np.full(SHAPE, 60, np.int16)
    hu[36:, :] = 900
    hu[:, 45:] = 900
    key_slice = KeySlice(hu, CROSS, (1.0, 1.0))
    assert not bone(surroundings(key_slice)[0]).any()
    assert np.array_equal(clickable(key_slice), quadrilateral(key_slice).mask)


def test_a_bone_larger_than_what_the_lines_span_stays() -> None:
    key_slice = muscle_and_bone(marrow=False)
    hu = key_slice.hu.copy()
    hu[54:, :] = 900
    assert (hu > 500).sum() > hull(key_slice).sum()
    assert not bone(surroundings(replace(key_slice, hu=hu))[0]).any()


def test_a_speck_of_calcium_is_the_lesion_s_own() -> None:
    key_slice = muscle_and_bone()
    hu = np.where(key_slice.hu > 500, -100, key_slice.hu)
    hu[38:41, 38:41] = 700
    assert not bone(surroundings(replace(key_slice, hu=hu))[0]).any()


def test_without_an_image_the_quadrilateral_is_clicked_on() -> None:
    key_slice = replace(muscle_and_bone(), hu=np.broadcast_to(np.int16(0), SHAPE))
    assert np.array_equal(clickable(key_slice), quadrilateral(key_slice).mask)


@given(crossing_lines(), st.integers(0, 10**6))
def test_every_pixel_that_can_be_clicked_is_in_the_mask(lines: Lines, seed: int) -> None:
    noise = np.random.default_rng(seed).normal(size=SHAPE)
    dense = ndimage.gaussian_filter(noise, 2) > 0.15
    hu = np.where(dense, 900, 40).astype(np.int16)
    key_slice = KeySlice(hu, lines, (1.0, 1.0))
    inside, mask = clickable(key_slice), jury(key_slice).mask
    assert inside.any()
    assert mask[inside].all()
    assert ndimage.label(mask)[1] == 1
    assert np.array_equal(ndimage.binary_fill_holes(mask), mask)
