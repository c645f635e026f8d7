"""The component at the click, and what the probabilities say of it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from uls_data.network.inference import Answer
from uls_data.network.lesion import REACH_MM, clicked, find_lesion

SPACING = (2.5, 1.0, 0.8)


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 2**32), st.floats(0.05, 0.5), st.sampled_from([1, 2, 32]))
def test_component_against_brute_force(seed: int, share: float, first: int) -> None:
    random = np.random.default_rng(seed)
    lesion = random.random((7, 9, 11)) < share
    click = tuple(int(random.integers(n)) for n in lesion.shape)
    labels, count = ndimage.label(lesion)
    wanted = None
    if labels[click]:
        wanted = labels == labels[click]
    elif count:
        away = (np.argwhere(lesion) - click) * SPACING
        square = (away**2).sum(axis=1)
        if square.min() <= REACH_MM**2:
            wanted = labels == labels[tuple(np.argwhere(lesion)[square.argmin()])]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("uls_data.network.lesion._FIRST_VOX", first)
        found = clicked(lesion, click, SPACING)  # type: ignore[arg-type]
    if wanted is None or found is None:
        assert wanted is None and found is None
        return
    full = np.zeros(lesion.shape, bool)
    full[found[0]] = found[1]
    assert np.array_equal(full, wanted)


def answer(probability: np.ndarray, votes: np.ndarray | None = None) -> Answer:
    p = np.clip(probability, 1e-6, 1 - 1e-6)
    return Answer(np.log(p / (1 - p)).astype(np.float32), votes, 8)


def test_what_is_measured() -> None:
    p = np.full((20, 30, 30), 0.01)
    p[5:10, 5:15, 5:15] = 0.9
    p[5:10, 5:15, 15:17] = 0.4  # could be lesion too
    p[15:18, 25:28, 25:28] = 0.99  # another lesion
    votes = (p > 0.5).astype(np.uint8) * 8
    votes[5:10, 5:15, 15:17] = 2
    found = find_lesion(answer(p, votes), (7, 10, 10), (1, 1, 1))
    assert found is not None and found.mask.shape == (5, 10, 10) and found.mask.all()
    size, beside = 500, 100
    assert np.isclose(found.mean_probability, 0.9)
    assert np.isclose(found.entropy_bits, -0.9 * np.log2(0.9) - 0.1 * np.log2(0.1))
    assert np.isclose(found.soft_dice, 2 * 0.9 * size / (size + 0.9 * size + 0.4 * beside))
    assert found.view_disagreement is not None
    assert np.isclose(found.view_disagreement, 1 - 2 * size / (2 * size + beside / 4))
    assert find_lesion(answer(p), (7, 10, 10), (1, 1, 1)).view_disagreement is None  # type: ignore[union-attr]
    assert find_lesion(answer(p), (0, 25, 5), (1, 1, 1)) is None
