"""The methods by name, and what all of them hold to."""

from __future__ import annotations

import cc3d
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy import ndimage

from tools.phantom import phantom
from uls_data.errors import CaseError
from uls_data.measure.lines import Lines, jittered
from uls_data.outcome import Reason
from uls_data.pseudomask.key_slice import KeySlice
from uls_data.pseudomask.methods import METHODS, NEEDS_IMAGE, pseudo_mask
from uls_data.pseudomask.prior import hull

OURS = [name for name in METHODS if name != "published"]


@pytest.mark.parametrize("name", OURS)
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(number=st.integers(0, 10_000), share=st.sampled_from([0.0, 0.05, 0.2]))
def test_every_mask_holds_the_click_and_is_whole(name: str, number: int, share: float) -> None:
    key_slice = phantom(("methods", number)).key_slice
    lines = jittered(key_slice.lines, np.random.default_rng(number), share)
    if lines.problem(key_slice.hu.shape) is not None:
        return
    seen = KeySlice(key_slice.hu, lines, key_slice.spacing_mm, outward_vox=0.5, identity=(number,))
    mask = pseudo_mask(name, seen).mask
    assert mask.shape == seen.hu.shape
    assert mask[hull(seen)].all()
    assert cc3d.connected_components(mask, connectivity=4, return_N=True)[1] == 1
    if name != "quadrilateral":
        assert np.array_equal(ndimage.binary_fill_holes(mask), mask)


@pytest.mark.parametrize("name", OURS)
def test_order_and_company_change_nothing(name: str) -> None:
    slices = [phantom(("order", number)).key_slice for number in range(4)]
    first = [pseudo_mask(name, one).mask for one in slices]
    again = [pseudo_mask(name, one).mask for one in reversed(slices)][::-1]
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))


@pytest.mark.parametrize("name", OURS)
def test_where_the_slice_begins_changes_nothing(name: str) -> None:
    one = phantom(("place", 5)).key_slice
    wide = np.pad(one.hu, ((40, 7), (3, 60)), mode="edge")
    moved = KeySlice(wide, one.lines.moved(40, 3), one.spacing_mm, identity=one.identity)
    part = pseudo_mask(name, moved).mask[40 : 40 + one.hu.shape[0], 3 : 3 + one.hu.shape[1]]
    assert np.array_equal(part, pseudo_mask(name, one).mask)


@pytest.mark.parametrize("name", OURS)
@pytest.mark.parametrize("hu", [0, -1000, 3071])
def test_a_flat_image_leaves_the_shape(name: str, hu: int) -> None:
    flat = KeySlice(
        np.full((60, 60), hu, np.int16), Lines((20, 30, 40, 31), (29, 24, 30, 37)), (1, 1)
    )
    mask = pseudo_mask(name, flat).mask
    shape = pseudo_mask("quadrilateral" if name == "quadrilateral" else "ellipse", flat).mask
    assert 2 * (mask & shape).sum() / (mask.sum() + shape.sum()) > 0.85


@pytest.mark.parametrize("name", METHODS)
def test_lines_that_are_none_are_refused(name: str) -> None:
    lines = Lines((5, 5, 5, 5), (3, 3, 8, 8))
    with pytest.raises(CaseError) as caught:
        pseudo_mask(name, KeySlice(np.zeros((20, 20), np.int16), lines, (1, 1)))
    assert caught.value.reason == Reason.DEGENERATE_LINES


@pytest.mark.parametrize("name", [name for name in METHODS if name not in NEEDS_IMAGE])
def test_shapes_need_no_image(name: str) -> None:
    lines = Lines((20, 30, 40, 31), (29, 24, 30, 37))
    nothing = np.broadcast_to(np.int16(0), (60, 60))
    noise = np.random.default_rng(0).integers(-1000, 1000, (60, 60)).astype(np.int16)
    masks = [pseudo_mask(name, KeySlice(hu, lines, (1, 1))).mask for hu in (nothing, noise)]
    assert np.array_equal(*masks)


@pytest.mark.parametrize("name", OURS)
@pytest.mark.parametrize(
    "points",
    [
        [1, 1, 3, 1, 2, 0, 2, 2],
        [0, 0, 5, 5, 5, 0, 0, 5],
        [-0.4, 10, 20, 10, 10, 0, 10, 20],
        [2.5, 2.5, 6.1, 2.6, 4.2, 1.4, 4.3, 3.8],
        [1, 10, 38, 10, 20, 38, 20, 1],
    ],
)
def test_tiny_lesions_and_edges(name: str, points: list[float]) -> None:
    hu = np.random.default_rng(1).normal(40, 15, (40, 40)).astype(np.int16)
    seen = KeySlice(hu, Lines.of(points), (0.8, 0.8), (-160.0, 240.0), 0.5, ("edge",))
    mask = pseudo_mask(name, seen).mask
    assert mask[hull(seen)].all()
    assert mask.any()
