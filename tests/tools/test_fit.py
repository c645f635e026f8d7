from __future__ import annotations

import numpy as np

from tools.fit import fit, nodes_of
from tools.phantom import phantom
from uls_data.pseudomask.features import CHANNELS, RADII, RAYS


def test_a_fit_learns_to_see_edges_and_hangs_on_its_seed_alone() -> None:
    lesions = [phantom(("fit", number), (4.0, 6.0)) for number in range(12)]
    x, y = nodes_of((one.key_slice, one.mask) for one in lesions)
    assert x.shape == (12, RAYS, len(RADII), CHANNELS)
    assert y.shape == (12, RAYS, len(RADII))
    assert np.isfinite(x).all()
    share = np.ones(12)
    network = fit(x, y, share, steps=25, seed=1)
    wrong = ((network.logits(x.astype(np.float32)) > 0) != (y > 0.5)).mean()
    assert wrong < 0.1
    assert fit(x, y, share, 2, seed=1).to_json() == fit(x, y, share, 2, seed=1).to_json()
    assert fit(x, y, share, 2, seed=1).to_json() != fit(x, y, share, 2, seed=2).to_json()
