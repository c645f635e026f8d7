"""The jury in 3D: what it finds on slices that nobody drew on, and what it always holds."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import cc3d
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from tools import madeup
from uls_data.errors import CaseError
from uls_data.ids import draw
from uls_data.measure.ellipsoid import ellipsoid
from uls_data.measure.lines import Lines
from uls_data.measure.overlap import dice
from uls_data.network.prompt import longest, simulated
from uls_data.pseudomask.jury import jury
from uls_data.pseudomask.jury_3d import Solid, jury_3d
from uls_data.pseudomask.key_slice import KeySlice
from uls_data.pseudomask.slab import FARTHEST, Part, Slab

SHAPE = (64, 60, 20)
SPACING = (0.8, 0.8, 2.5)
WHOLE = (slice(0, 64), slice(0, 60), slice(0, 20))
AT = 9
LINES = Lines((20.0, 30.0, 44.0, 31.0), (32.0, 20.0, 31.0, 40.0))


def scan(height: float, contrast_hu: float = 60, noise_hu: float = 12) -> NDArray[np.int16]:
    """An ellipsoid through the lines, so many times as high as they say, in noise."""
    spacing = (*SPACING[:2], SPACING[2] / height)
    truth = ellipsoid(LINES, AT, spacing, SHAPE)
    noise = np.random.default_rng(7).normal(0, noise_hu, SHAPE)
    return np.rint(40 + contrast_hu * truth + noise).astype(np.int16)


def made(hu: NDArray[Any], lines: Lines = LINES, at: int = AT) -> Solid:
    return jury_3d(hu, KeySlice(hu[:, :, at], lines, SPACING[:2]), at, SPACING)


@pytest.mark.parametrize("height", [0.6, 1.4])
@pytest.mark.parametrize("contrast_hu", [60, -60])
def test_it_finds_how_high_a_lesion_is(height: float, contrast_hu: float) -> None:
    truth = ellipsoid(LINES, AT, (*SPACING[:2], SPACING[2] / height), SHAPE)
    found = made(scan(height, contrast_hu))
    plain = ellipsoid(LINES, AT, SPACING, SHAPE)
    assert dice(found.mask, truth) > max(0.85, dice(plain, truth) + 0.03)
    assert 0.6 < found.predicted_dice < 1


def test_on_its_slice_it_is_the_jury() -> None:
    hu = scan(1.0)
    plane = jury(KeySlice(hu[:, :, AT], LINES, SPACING[:2])).mask
    assert (made(hu).mask[:, :, AT] == plane).all()


def test_upside_down_it_is_the_same() -> None:
    hu = scan(0.8)
    turned = made(hu[:, :, ::-1], at=SHAPE[2] - 1 - AT)
    assert (turned.mask[:, :, ::-1] == made(hu).mask).all()


def test_where_nothing_can_be_seen_the_lines_decide() -> None:
    plain = ellipsoid(LINES, AT, SPACING, SHAPE)
    assert dice(made(np.full(SHAPE, 40, np.int16)).mask, plain) > 0.95
    assert dice(made(scan(1.0, 0)).mask, plain) > 0.8


def test_one_slice_and_the_first_one() -> None:
    hu = scan(1.0)
    assert (made(hu[:, :, AT : AT + 1], at=0).mask[:, :, 0] == made(hu).mask[:, :, AT]).all()
    first = made(hu[:, :, AT:], at=0)
    assert first.mask[:, :, 0].any() and first.mask.shape == (64, 60, SHAPE[2] - AT)


def test_lines_of_no_length() -> None:
    with pytest.raises(CaseError, match="degenerate_lines"):
        made(scan(1.0), Lines((20.0, 30.0, 20.0, 30.0), (20.0, 30.0, 21.0, 30.0)))


@settings(max_examples=25)
@given(
    ends=st.lists(st.tuples(st.floats(2, 60), st.floats(2, 56)), min_size=4, max_size=4),
    at=st.integers(0, SHAPE[2] - 1),
    outward=st.sampled_from([0.0, 0.5]),
    thick=st.floats(0.3, 12),
    seed=st.integers(0, 99),
)
def test_what_it_always_holds(
    ends: list[tuple[float, float]], at: int, outward: float, thick: float, seed: int
) -> None:
    lines = Lines.of(ends)
    if lines.problem(SHAPE[:2]) is not None:
        return
    hu = np.random.default_rng(seed).normal(0, 40, SHAPE).round().astype(np.int16)
    spacing = (0.8, 0.8, thick)
    measured = KeySlice(hu[:, :, at], lines, spacing[:2], outward_vox=outward)
    part = Part.about(measured, at, WHOLE, spacing)
    assert part is not None
    found = jury_3d(hu[part.box], part.measured, part.slice_vox, spacing)
    whole = np.zeros(SHAPE, bool)
    whole[part.box] = found.mask
    assert (whole[:, :, at] == jury(measured).mask).all()
    assert cc3d.connected_components(whole, connectivity=6, return_N=True)[1] == 1
    slices = np.flatnonzero(whole.any(axis=(0, 1)))
    assert (np.diff(slices) == 1).all()
    slab = Slab.of(hu[part.box], part.measured, part.slice_vox, spacing)
    assert abs(slices - at).max() * slab.step <= FARTHEST
    assert 0 <= found.predicted_dice <= 1


def test_a_part_is_as_good_as_the_whole() -> None:
    hu = scan(0.9)
    measured = KeySlice(hu[:, :, AT], LINES, SPACING[:2])
    near = Part.about(measured, AT, WHOLE, SPACING)
    assert near is not None and near.box != WHOLE
    part = np.zeros(SHAPE, bool)
    part[near.box] = jury_3d(hu[near.box], near.measured, near.slice_vox, SPACING).mask
    assert (part == made(hu).mask).all()
    # A scan ends where padding begins.
    cut = Part.about(measured, AT, (slice(0, 50), slice(5, 60), slice(8, 20)), SPACING)
    assert cut is not None and cut.slice_vox == AT - 8
    assert [side.start for side in cut.box][1:] == [5, 8] and cut.box[0].stop == 50
    assert Part.about(measured, AT, (*WHOLE[:2], slice(AT + 1, 20)), SPACING) is None
    assert Part.about(measured, AT, (slice(50, 64), *WHOLE[1:]), SPACING) is None


def test_made_up_lesions_that_it_never_saw() -> None:
    gains = []
    for number in range(1000, 1008):
        hu, mask, spacing = madeup.scan(np.random.default_rng(draw(1 << 53, "made-up", number)))
        drawn = longest(simulated(np.ascontiguousarray(mask.T), spacing))
        measured = KeySlice(hu[:, :, drawn.slice_vox], drawn.lines, spacing[:2])
        found = jury_3d(hu, measured, drawn.slice_vox, spacing)
        plain = ellipsoid(drawn.lines, drawn.slice_vox, spacing, mask.shape)
        gains.append(dice(found.mask, mask) - dice(plain, mask))
        again = jury_3d(hu, replace(measured, identity=("other",)), drawn.slice_vox, spacing)
        assert (again.mask == found.mask).all()
    assert np.mean(gains) > 0.05
