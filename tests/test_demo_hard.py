"""The demo's hard lesions: the same from a seed, one piece each, and no ellipsoids."""

from __future__ import annotations

from pathlib import Path
from statistics import fmean

import numpy as np
import pytest
from scipy import ndimage

from demo.growth import aslant
from demo.hard import HardScan, make_hard, scan_of
from demo.measured import measure
from uls_data.measure.ellipsoid import ellipsoid
from uls_data.measure.overlap import dice

SPACING = (0.9, 0.9, 2.5)


@pytest.fixture(scope="module")
def scans() -> list[HardScan]:
    return [scan_of(0, f"p{n}") for n in range(5)]


def test_an_ellipsoid_of_the_lines_is_not_enough(scans: list[HardScan]) -> None:
    found = []
    for scan in scans:
        for lesion in scan.lesions:
            mask = scan.mask(lesion)
            at = int(mask.sum(axis=(0, 1)).argmax())
            lines = measure(mask[:, :, at])
            found.append(dice(ellipsoid(lines, at, SPACING, mask.shape), mask))
    assert 0.62 < fmean(found) < 0.78


def test_the_same_seed_gives_the_same_bytes(tmp_path: Path) -> None:
    for folder, seed in (("a", 3), ("b", 3), ("c", 4)):
        make_hard(tmp_path / folder, seed, 1, 0)
    files = [sorted((tmp_path / folder).rglob("*.nii")) for folder in "abc"]
    one, again, other = ([path.read_bytes() for path in each] for each in files)
    assert len(one) == 2 and one == again and one[0] != other[0]


@pytest.mark.parametrize("seed", range(20))
def test_a_form_is_one_piece_that_holds_its_centre(seed: int) -> None:
    random = np.random.Generator(np.random.PCG64(seed))
    mask = aslant(random, np.array([24, 24, 8]), 8.0, (48, 48, 16), SPACING)
    assert mask[24, 24, 8] and ndimage.label(mask)[1] == 1
    # It leans: the middle of its highest slice is beside that of its lowest.
    slices = np.flatnonzero(mask.any(axis=(0, 1)))
    low, high = (np.argwhere(mask[:, :, at]).mean(axis=0) for at in (slices[0], slices[-1]))
    assert np.hypot(*((high - low) * SPACING[:2])) > 3
