"""What looks like a measured lesion, on slices that nobody drew on."""

from __future__ import annotations

import cc3d
import numpy as np
import pytest
from numpy.typing import NDArray

from uls_data.measure.ellipsoid import ellipse_field, ellipsoid
from uls_data.measure.lines import Lines
from uls_data.measure.overlap import dice
from uls_data.pseudomask.likeness import like_solid, likeness

SHAPE = (60, 60, 24)
SPACING = (1.0, 1.0, 2.0)
AT = 12
LINES = Lines((18.0, 30.0, 42.0, 30.0), (30.0, 20.0, 30.0, 40.0))


def lesion(height: float) -> NDArray[np.bool_]:
    """Ellipsoid through the lines, so many times as high as they say."""
    flat = ellipse_field(LINES, SHAPE[:2])[:, :, None]
    half_mm = height * np.sqrt(24 * 20) / 2
    return flat + (((np.arange(SHAPE[2]) - AT) * SPACING[2]) / half_mm) ** 2 <= 1


def scan(mask: NDArray[np.bool_], contrast_hu: float, noise_hu: float = 12) -> NDArray[np.int16]:
    random = np.random.default_rng(5)
    hu = 40 + contrast_hu * mask + random.normal(0, noise_hu, SHAPE)
    return np.rint(hu).astype(np.int16)


def made(hu: NDArray[np.int16], mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    return like_solid(hu, np.ones(SHAPE, bool), mask[:, :, AT], LINES, AT, SPACING)


@pytest.mark.parametrize("height", [0.6, 1.45])
@pytest.mark.parametrize("contrast_hu", [40, -40])
def test_it_finds_how_high_a_lesion_is(height: float, contrast_hu: float) -> None:
    truth = lesion(height)
    found = made(scan(truth, contrast_hu), truth)
    plain = ellipsoid(LINES, AT, SPACING, SHAPE)
    assert dice(found, truth) > dice(plain, truth) + 0.05
    assert dice(found, truth) > 0.88
    assert (found[:, :, AT] == truth[:, :, AT]).all()
    assert cc3d.connected_components(found, connectivity=6, return_N=True)[1] == 1


def test_without_contrast_the_lines_decide() -> None:
    truth = lesion(1.0)
    found = made(scan(truth, 0), truth)
    assert dice(found, ellipsoid(LINES, AT, SPACING, SHAPE)) > 0.95


def test_what_touches_it_and_looks_alike_ends_where_the_lines_say() -> None:
    truth = lesion(1.0)
    mixed = truth.copy()
    mixed[30:, 25:35] = True  # a vessel that never ends
    found = made(scan(mixed, 60), truth)
    assert dice(found, truth) > 0.8
    assert not found[53:].any()


def test_odds_know_padding_and_what_is_not_known() -> None:
    truth = lesion(1.0)
    hu, flat = scan(truth, 60), np.sqrt(ellipse_field(LINES, SHAPE[:2]))
    valid = np.ones(SHAPE, bool)
    valid[:, :25] = False
    padded = np.where(valid, hu, -2000)
    odds = likeness(padded, valid, truth[:, :, AT], flat, AT, SPACING)
    assert odds.dtype == np.float32 and np.abs(odds).max() <= 3
    assert (odds[~valid] == -3).all()
    inside, outside = odds[truth & valid], odds[~truth & valid]
    assert np.median(inside) > 1 and np.median(outside) < -1
    # Padding is not tissue: what HU it holds says nothing of the others.
    other = likeness(np.where(valid, hu, 3000), valid, truth[:, :, AT], flat, AT, SPACING)
    assert (odds == other).all()
    for at in (-1, SHAPE[2]):
        assert not likeness(hu, valid, truth[:, :, AT], flat, at, SPACING).any()
    nowhere = np.zeros(SHAPE[:2], bool)
    assert not likeness(hu, np.ones(SHAPE, bool), nowhere, flat, AT, SPACING).any()
    assert not like_solid(hu, np.ones(SHAPE, bool), nowhere, LINES, AT, SPACING).any()
