"""The challenge's measures: by hand, by a second version, and by its own code's numbers."""

from __future__ import annotations

import itertools
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from makers.perturbed import KINDS, crop, perturbed
from numpy.typing import NDArray
from scipy import ndimage

from uls_data.geometry import spacing_mm
from uls_data.ids import draw
from uls_data.scoring.challenge import challenge_score, sape, score
from uls_data.scoring.collection import collect
from uls_data.scoring.consistency import (
    agreement,
    agreement_corrected,
    aligned,
    nearest_shift_of,
    offset_of,
    shift_of,
)

Mask = NDArray[np.bool_]
NOTHING = np.zeros((12, 12, 3), bool)


def block(*parts: tuple[int, int]) -> Mask:
    mask = NOTHING.copy()
    mask[tuple(slice(a, b) for a, b in parts)] = True
    return mask


def test_the_paper_s_own_score_needs_one_minus_smape() -> None:
    found = challenge_score(0.703, 0.112, 0.120, 0.787)
    assert found == pytest.approx(0.729, abs=1e-3)
    assert 0.8 * 0.703 + 0.05 * 0.112 + 0.05 * 0.120 + 0.1 * 0.787 < 0.66


def test_scores_by_hand() -> None:
    truth, found = block((2, 6), (2, 5), (1, 2)), block((3, 7), (2, 5), (1, 2))
    row = score(found, truth)
    assert row["dice"] == row["dice_corrected"] == 2 * 9 / 24
    assert (row["long_true_vox"], row["long_sape"], row["short_sape"]) == (math.hypot(3, 2), 0, 0)
    assert row["long_within_10"] and row["short_within_10"]
    row = score(block((2, 10), (2, 5), (1, 2)), truth)
    long = math.hypot(3, 2), math.hypot(7, 2)
    assert row["long_sape"] == pytest.approx((long[1] - long[0]) / sum(long), abs=1e-15)
    assert not row["long_within_10"]
    # 10 % is of the reference's length, and the bound itself is within.
    truth, found = block((0, 11), (2, 3), (0, 1)), block((0, 12), (2, 3), (0, 1))
    assert score(found, truth)["long_within_10"]
    assert not score(truth, block((0, 10), (2, 3), (0, 1)))["long_within_10"]


def test_empty_masks_are_defined() -> None:
    pixel, lesion = block((2, 3), (2, 3), (1, 2)), block((2, 6), (2, 5), (1, 2))
    both = score(NOTHING, NOTHING)
    assert (both["dice"], both["dice_corrected"], both["long_sape"]) == (0, 1, 0)
    assert both["long_within_10"] and both["long_sape_corrected"] == 0
    for one, other in itertools.permutations([NOTHING, lesion]):
        row = score(one, other)
        assert (row["dice"], row["dice_corrected"], row["long_sape"]) == (0, 0, 1)
        assert not row["long_within_10"]
    # A pixel has no axes: the challenge calls no mask at all perfect in both.
    row = score(NOTHING, pixel)
    assert (row["long_sape"], row["short_sape"]) == (0, 0)
    assert (row["long_sape_corrected"], row["short_sape_corrected"]) == (1, 1)
    assert not row["long_within_10"]


@given(st.floats(0, 1e3), st.floats(0, 1e3))
@example(0.0, 0.0)
def test_sape_is_a_share(one: float, other: float) -> None:
    assert 0 <= sape(one, other) == sape(other, one) <= 1
    assert sape(one, one) == 0


SPACINGS = st.tuples(*[st.floats(0.2, 8, allow_subnormal=False)] * 3)
SHIFTS = st.tuples(*[st.integers(-200, 200)] * 3)


@given(SHIFTS, SPACINGS)
@example((3, -3, 7), (0.7, 0.7, 0.7))
def test_what_is_exported_is_floored_to_the_same_voxels(
    shift: tuple[int, int, int], spacing: tuple[float, float, float]
) -> None:
    offset = offset_of(shift, spacing)
    assert shift_of(offset, spacing) == nearest_shift_of(offset, spacing) == shift
    for mm, by, size in zip(offset, (shift[0], shift[1], -shift[2]), spacing, strict=True):
        assert mm == pytest.approx(by * size, rel=1e-12, abs=1e-12)


def test_the_challenge_floors_a_last_bit_to_a_whole_voxel() -> None:
    # 3 x 0.7 is 2.0999999999999996: two voxels, says the floor.
    assert shift_of((3 * 0.7, 0, -3 * 0.7), (0.7, 0.7, 0.7)) == (2, 0, 3)
    assert nearest_shift_of((3 * 0.7, 0, -3 * 0.7), (0.7, 0.7, 0.7)) == (3, 0, 3)


@given(st.integers(0, 1 << 30), st.tuples(*[st.integers(-9, 9)] * 3))
def test_alignment_repeats_the_border_as_the_challenge_s_spline_does(
    seed: int, shift: tuple[int, int, int]
) -> None:
    mask = np.random.default_rng(seed).random((7, 6, 5)) < 0.5
    # Its way: a cubic spline of bytes, moved against the shift, border repeated.
    expected = ndimage.shift(mask.astype(np.uint8), [-by for by in shift], mode="nearest")
    assert np.array_equal(aligned(mask, shift), expected != 0)


@given(st.integers(0, 1 << 30), st.tuples(*[st.integers(-6, 6)] * 3))
def test_two_cuts_of_one_scan_agree(seed: int, apart: tuple[int, int, int]) -> None:
    """Clicks A and B of a scan, VOIs around both, offsets as the export derives them."""
    rng = np.random.default_rng(seed)
    scan = rng.random((30, 28, 26)) < 0.4
    at, size = np.array([8, 8, 8]), np.array([10, 9, 8])
    cuts = [
        scan[tuple(slice(a, a + n) for a, n in zip(start, size, strict=True))]
        for start in (at, at + apart)
    ]
    spacing = (0.7, 0.8, 2.5)
    mm = [by * s for by, s in zip(np.multiply(apart, (-1, -1, 1)), spacing, strict=True)]  # LPS
    shift = nearest_shift_of(mm, spacing)
    assert agreement_corrected(*cuts, shift) == 1.0
    # The challenge's form agrees as long as both VOIs hold the whole lesion.
    small = np.zeros_like(scan)
    small[13:16, 13:15, 13:14] = True
    cuts = [
        small[tuple(slice(a, a + n) for a, n in zip(start, (18, 18, 18), strict=True))]
        for start in ((1, 1, 1), np.array((1, 1, 1)) + np.maximum(apart, 0))
    ]
    shift = nearest_shift_of(
        [by * s for by, s in zip(np.maximum(apart, 0) * (-1, -1, 1), spacing, strict=True)], spacing
    )
    assert agreement(*cuts, shift) == agreement_corrected(*cuts, shift) == 1.0


def test_empty_masks_and_clicks_far_apart() -> None:
    lesion = block((2, 6), (2, 5), (1, 2))
    assert agreement(NOTHING, NOTHING, (0, 0, 0)) == 0
    assert agreement_corrected(NOTHING, NOTHING, (0, 0, 0)) == 1
    assert agreement(NOTHING, lesion, (0, 0, 0)) == 0
    assert agreement_corrected(NOTHING, lesion, (0, 0, 0)) == 0
    # No voxel in common: nothing can agree, unless nothing was found.
    assert agreement_corrected(lesion, lesion, (50, 0, 0)) == 0
    assert agreement_corrected(NOTHING, NOTHING, (50, 0, 0)) == 1


# Of the challenge's own code (evaluation/misc.py at d4f70851), run on the same crops,
# perturbations and translations: mean over 325 labels and sample std. Its loop over pairs of
# boundary pixels was vectorised for the 271 masks with 80 of them or more; on the other 331 both
# gave the same chord.
REFERENCE = {
    "dice": (0.43256838185246504, 0.3373328206388241),
    "long": (0.2273484628004193, 0.3461774812735052),
    "short": (0.3026414851950993, 0.36272746047925125),
    "consistency": (0.15162626617525243, 0.22351534861706335),
}


@pytest.mark.real
@pytest.mark.slow
def test_numbers_of_the_challenge_s_code_on_all_real_labels(real_data: Path) -> None:
    folders = [p for p in (real_data / "uls23-labels").iterdir() if p.is_dir()]
    labels = {}
    for folder in folders:
        if folder.name not in ("kits21-replay", "DeepLesion3D-val"):
            labels |= collect(folder).items
    kinds: set[str] = set()
    found: dict[str, list[float]] = {"dice": [], "long": [], "short": [], "consistency": []}
    for voi_id, item in sorted(labels.items()):
        mask, affine, _ = item.read()
        assert affine is not None
        truth = crop(mask)
        one, other = (perturbed(truth, voi_id, number) for number in (0, 1))
        kinds.add(KINDS[draw(len(KINDS), "kind", voi_id, 0)])
        row = score(one, truth)
        offset = [(draw(2001, "mm", axis, voi_id) - 1000) / 200 for axis in range(3)]
        spacing = spacing_mm(affine)
        found["dice"].append(row["dice"])
        found["long"].append(row["long_sape"])
        found["short"].append(row["short_sape"])
        found["consistency"].append(agreement(one, other, shift_of(offset, spacing)))
    assert kinds == set(KINDS)
    assert len(found["dice"]) == 325
    for name, (mean, std) in REFERENCE.items():
        assert np.mean(found[name]) == pytest.approx(mean, abs=1e-12), name
        assert np.std(found[name], ddof=1) == pytest.approx(std, abs=1e-12), name
