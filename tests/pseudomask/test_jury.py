from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from tests.pseudomask.test_bounds import crossing_lines, on_zeros
from tools.phantom import phantom
from uls_data.measure.lines import Lines, jittered
from uls_data.measure.overlap import dice
from uls_data.pseudomask.bounds import END_POINT_VOX, Bounds, end_point_vox
from uls_data.pseudomask.features import CHANNELS, RADII, RAYS
from uls_data.pseudomask.jury import best_cut, jury, probability
from uls_data.pseudomask.key_slice import KeySlice, PseudoMask
from uls_data.pseudomask.network import Network
from uls_data.pseudomask.prior import hull, quarter_ellipses


def check(made: PseudoMask, key_slice: KeySlice) -> None:
    mask = made.mask
    assert mask.shape == key_slice.hu.shape
    assert ndimage.label(mask)[1] == 1
    assert np.array_equal(ndimage.binary_fill_holes(mask), mask)
    assert mask[hull(key_slice)].all()
    assert not (mask & ~Bounds.of(key_slice).outer).any()
    assert made.predicted_dice is not None
    assert 0 <= made.predicted_dice <= 1
    assert made.uncertainty is not None
    assert 0 <= made.uncertainty <= 1
    assert all(np.isfinite(value) for _, _, value in made.scores)


@settings(max_examples=40)
@given(crossing_lines(), st.integers(0, 999), st.floats(0, 5))
def test_the_rules_hold_on_any_image(lines: Lines, seed: int, blur: float) -> None:
    noise = np.random.default_rng(seed).normal(size=on_zeros(lines).hu.shape)
    # Soft tissue: what is bone need not be held.
    hu = np.rint(np.clip(ndimage.gaussian_filter(noise, blur) * 500, -900, 190)).astype(np.int16)
    key_slice = replace(on_zeros(lines), hu=hu)
    made = jury(key_slice)
    check(made, key_slice)
    assert end_point_vox(made.mask, lines.points).max() <= END_POINT_VOX


@settings(max_examples=60)
@given(st.lists(st.integers(-50, 1950), min_size=8, max_size=8), st.integers(0, 99))
def test_any_valid_lines_give_a_mask(hundredths: list[int], seed: int) -> None:
    hu = np.random.default_rng(seed).integers(-200, 200, (20, 20)).astype(np.int16)
    key_slice = KeySlice(hu, Lines.of(np.array(hundredths) / 100), (1.0, 1.0))
    if key_slice.lines.problem((20, 20)) is None:
        check(jury(key_slice), key_slice)


@given(crossing_lines())
def test_a_flat_image_gives_the_prior(lines: Lines) -> None:
    made = jury(on_zeros(lines))
    prior = quarter_ellipses(on_zeros(lines)).mask
    # The bounds add or take a pixel per end point, which is much of a tiny lesion.
    assert (made.mask ^ prior).sum() <= max(8, 0.1 * prior.sum())
    assert {candidate for candidate, _, _ in made.scores} == {"prior", "fused"}


@pytest.mark.parametrize("number", range(6))
def test_on_clear_lesions_bad_lines_are_repaired(number: int) -> None:
    made = phantom(("clear", number), (5.0, 6.0))
    lines = jittered(made.key_slice.lines, np.random.default_rng(number))
    key_slice = replace(made.key_slice, lines=lines)
    ours = dice(jury(key_slice).mask, made.mask)
    assert ours > dice(quarter_ellipses(key_slice).mask, made.mask) - 0.01
    assert ours > 0.8


def test_the_same_whatever_ran_before_and_whatever_the_global_seed() -> None:
    key_slice = phantom(("again", 1)).key_slice
    first = jury(key_slice)
    np.random.seed(2)  # noqa: NPY002 (the global state must not matter)
    jury(phantom(("another", 1)).key_slice)
    again = jury(replace(key_slice, identity=("other name",)))
    assert np.array_equal(first.mask, again.mask)
    assert first.scores == again.scores
    assert first.predicted_dice == again.predicted_dice


@pytest.mark.parametrize("by", [(7, 0), (0, 31), (128, 255)])
def test_where_the_slice_begins_does_not_matter(by: tuple[int, int]) -> None:
    key_slice = phantom(("moved", 1)).key_slice
    wider = np.pad(key_slice.hu, [(by[0], 5), (by[1], 5)], mode="reflect")
    moved = replace(key_slice, hu=wider, lines=key_slice.lines.moved(*by))
    shape = key_slice.hu.shape
    there = jury(moved).mask[by[0] : by[0] + shape[0], by[1] : by[1] + shape[1]]
    assert np.array_equal(there, jury(key_slice).mask)


def test_a_source_that_draws_outside_gets_a_larger_mask() -> None:
    key_slice = phantom(("outward", 1)).key_slice
    flat = replace(key_slice, hu=np.zeros_like(key_slice.hu))
    assert jury(replace(flat, outward_vox=0.5)).mask.sum() > jury(flat).mask.sum()


def test_where_the_network_knows_nothing_the_lines_decide_most_at_their_ends() -> None:
    network = Network.random(CHANNELS, 4, np.random.default_rng(0))
    for weights in network.weights:
        weights[...] = 0
    seen = np.zeros((RAYS, len(RADII), CHANNELS), np.float32)
    # At two end points and midway to the next, from well inside to well outside.
    turn = np.broadcast_to(np.array([0.0, 3.0, 0.5])[:, None], (3, 5))
    radius = np.broadcast_to(np.array([0.6, 0.95, 1.0, 1.05, 1.4]), (3, 5))
    inside = probability(network, seen, turn.copy(), radius.copy())
    assert inside[0] == pytest.approx(inside[1])
    assert inside[:, 2] == pytest.approx(0.5)
    assert (np.diff(inside, axis=1) < 0).all()
    assert inside[0, 1] > 0.7 and inside[2, 1] < 0.55
    assert inside + inside[:, ::-1] == pytest.approx(1)
    assert 0.95 < inside[0, 0] < 0.96  # however far inside, the image can speak against it


def test_the_cut_has_the_highest_expected_dice() -> None:
    inside = np.array([0.9, 0.8, 0.45, 0.1])
    cut, expected = best_cut(inside)
    by_hand = [2 * inside[:n].sum() / (n + inside.sum()) for n in (1, 2, 3, 4)]
    assert expected == pytest.approx(max(by_hand))
    assert cut == 0.45


def test_lines_that_never_cross_foretell_less() -> None:
    hu = np.random.default_rng(0).integers(-60, 60, (64, 64)).astype(np.int16)
    hu[20:45, 25:40] += 80
    long = [[20, 32], [44, 32]]
    crossing = jury(KeySlice(hu, Lines.of([*long, [32, 26], [32, 38]]), (1.0, 1.0)))
    beyond = jury(KeySlice(hu, Lines.of([*long, [32, 36], [32, 48]]), (1.0, 1.0)))
    assert crossing.predicted_dice is not None and beyond.predicted_dice is not None
    assert crossing.predicted_dice > 0.8 and beyond.predicted_dice < 0.7
