"""GrabCut: it finds an edge, repeats itself, and never raises."""

from __future__ import annotations

from dataclasses import replace

import cc3d
import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from uls_data.measure.lines import Lines
from uls_data.pseudomask.grabcut import Window, cut, grabcut, seeds, windows
from uls_data.pseudomask.key_slice import KeySlice
from uls_data.pseudomask.prior import hull, quarter_ellipses

SHAPE = (72, 64)


def phantom(angle: float = 0.4, noise: float = 8.0) -> tuple[KeySlice, NDArray[np.bool_]]:
    """A tilted ellipse, lines that are a tenth too short, and an identity."""
    x, y = np.meshgrid(*map(np.arange, SHAPE), indexing="ij")
    u = (x - 36) * np.cos(angle) + (y - 31) * np.sin(angle)
    v = (y - 31) * np.cos(angle) - (x - 36) * np.sin(angle)
    truth = (u / 15) ** 2 + (v / 10) ** 2 <= 1
    random = np.random.default_rng(5)
    hu = np.where(truth, 60, -40) + random.normal(size=SHAPE) * noise
    lines = Lines.from_mask(truth)
    assert lines is not None
    middle = lines.points.mean(axis=0)
    lines = Lines.of(middle + 0.9 * (lines.points - middle))
    return KeySlice(
        np.rint(hu).astype(np.int16), lines, (1.0, 1.0), (-160, 240), 0.0, ("p",)
    ), truth


def test_one_run_finds_the_edge_that_the_lines_do_not_tell() -> None:
    given_slice, truth = phantom()
    regions = seeds(given_slice, quarter_ellipses(given_slice).mask)
    found = cut(Window(-100, 100).grey(given_slice.hu), regions, 1)
    assert found is not None
    assert (found != truth).sum() <= 0.05 * truth.sum()
    assert (quarter_ellipses(given_slice).mask != truth).sum() > 0.15 * truth.sum()


def test_stopping_early_changes_nothing() -> None:
    given_slice, _ = phantom(noise=60)
    regions = seeds(given_slice, quarter_ellipses(given_slice).mask)
    grey = Window(-100, 100).grey(given_slice.hu)
    cv2.setRNGSeed(7)
    models = np.zeros((2, 1, 65))
    image = cv2.cvtColor(grey, cv2.COLOR_GRAY2BGR)
    state = regions.copy()
    cv2.grabCut(image, state, None, models[0], models[1], 25, cv2.GC_INIT_WITH_MASK)
    found = cut(grey, regions, 7)
    assert found is not None
    # Standing still once is standing still for good, up to the last pixels of a cycle.
    assert (found != ((state == cv2.GC_FGD) | (state == cv2.GC_PR_FGD))).sum() <= 3


def test_a_mask_hangs_on_identity_alone() -> None:
    given_slice, _ = phantom(noise=60)
    first = grabcut(given_slice)
    cv2.setRNGSeed(99)
    threads = cv2.getNumThreads()
    try:
        cv2.setNumThreads(1)
        again = grabcut(given_slice)
    finally:
        cv2.setNumThreads(threads)
    assert np.array_equal(first.mask, again.mask) and first.scores == again.scores


def test_the_winner_is_the_candidate_with_the_best_axes() -> None:
    given_slice, _ = phantom()
    made = grabcut(given_slice)
    names = [name for name, measure, _ in made.scores if measure == "long_error_vox"]
    assert names == ["ellipse", "display", "core_50", "core_100"]
    winners = [name for name, measure, _ in made.scores if measure == "winner"]
    assert len(winners) == 1 and winners[0] in names
    # An error of the short axis counts: a 40 x 16 lesion is not won by a disc of 40 x 40.
    thin = replace(given_slice, lines=Lines((16, 31, 56, 31), (36, 23, 36, 39)))
    measured = Lines.from_mask(grabcut(thin).mask)
    assert measured is not None and abs(measured.short_vox - 16) <= 4


def test_windows_are_low_and_high_of_the_core() -> None:
    given_slice, _ = phantom(noise=0)
    regions = seeds(given_slice, quarter_ellipses(given_slice).mask)
    found = windows(given_slice, regions)
    assert found["display"] == Window(-160, 240)
    assert found["core_50"] == Window(10, 110)
    assert found["core_100"] == Window(-40, 160)
    grey = found["core_50"].grey(np.array([0, 10, 60, 110, 300]))
    assert grey.tolist() == [0, 0, 128, 255, 255]


coordinate = st.floats(-0.5, 39.5)


@settings(max_examples=25)
@given(
    st.lists(coordinate, min_size=8, max_size=8),
    st.sampled_from(["flat", "noise", "extreme", "step"]),
    st.sampled_from([None, (-160.0, 240.0), (40.0, 40.0), (240.0, -160.0)]),
)
def test_never_raises_and_is_always_whole(
    values: list[float], kind: str, window: tuple[float, float] | None
) -> None:
    lines = Lines.of(values)
    if lines.problem((40, 40)) is not None:
        return
    random = np.random.default_rng(3)
    hu = {
        "flat": np.zeros((40, 40)),
        "noise": random.normal(size=(40, 40)) * 100,
        "extreme": random.choice([-(2**31), 2**31 - 1], size=(40, 40)),
        "step": np.where(np.arange(40) < 20, -1000, 1000)[:, None] * np.ones((1, 40)),
    }[kind]
    given_slice = KeySlice(hu.astype(np.int32), lines, (1.0, 1.0), window, 0.5, (kind,))
    mask = grabcut(given_slice).mask
    assert cc3d.connected_components(mask, connectivity=4, return_N=True)[1] == 1
    assert not (hull(given_slice) & ~mask).any()


@pytest.mark.parametrize("sides", ["no_foreground", "no_background", "flat"])
def test_seeds_that_opencv_refuses_give_no_run(sides: str) -> None:
    grey = np.arange(400, dtype=np.uint8).reshape(20, 20)
    regions = np.full((20, 20), cv2.GC_BGD, dtype=np.uint8)
    if sides == "no_background":
        regions[...] = cv2.GC_FGD
    if sides == "flat":
        regions[5:15, 5:15] = cv2.GC_FGD
        grey = np.full_like(grey, 7)
    assert cut(grey, regions, 1) is None
