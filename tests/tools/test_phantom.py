from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from tools.phantom import painted, phantom


def test_a_phantom_hangs_on_its_identity_alone() -> None:
    a, b, c = phantom(("x", 1)), phantom(("x", 1)), phantom(("x", 2))
    assert np.array_equal(a.key_slice.hu, b.key_slice.hu)
    assert np.array_equal(a.mask, b.mask)
    assert a.key_slice.lines != c.key_slice.lines


@pytest.mark.parametrize("number", range(8))
def test_the_lesion_has_the_contrast_that_was_asked_for(number: int) -> None:
    made = phantom(("contrast", number), (3.0, 3.0))
    assert made.contrast_to_noise == 3.0
    assert ndimage.label(made.mask)[1] == 1
    assert made.key_slice.lines.problem(made.mask.shape) is None
    core = ndimage.binary_erosion(made.mask, iterations=2)
    noise = made.key_slice.hu[core].std()
    assert 5 < noise < 45


def test_a_mask_without_extent_is_refused() -> None:
    with pytest.raises(ValueError, match="no lines"):
        painted(np.zeros((5, 5), dtype=bool), ("none",))
