"""Made-up lesions to learn from: always the same ones, one body each, with a border to find."""

from __future__ import annotations

import cc3d
import numpy as np

from tools.madeup import scan
from uls_data.ids import draw


def test_scans_hang_on_their_number_alone() -> None:
    found = [scan(np.random.default_rng(draw(1 << 53, "made-up", n))) for n in (0, 1, 0)]
    for hu, lesion, spacing_mm in found:
        assert hu.shape == lesion.shape and hu.dtype == np.int16
        assert lesion.sum() > 100 and hu.min() >= -1024
        assert cc3d.connected_components(lesion, connectivity=6).max() == 1
        assert 0.6 <= spacing_mm[0] == spacing_mm[1] <= 1 <= spacing_mm[2] <= 5
        # More even inside than the mix of tissues about it.
        assert hu[lesion].std() < hu[~lesion].std()
    assert (found[0][0] == found[2][0]).all() and (found[0][1] == found[2][1]).all()
    assert (found[0][0] != found[1][0]).any()
