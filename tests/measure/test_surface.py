"""Dice and surface Dice against what they are by definition."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from uls_data.measure.overlap import dice
from uls_data.measure.surface import surface_dice

masks = arrays(np.bool_, st.tuples(st.integers(1, 9), st.integers(1, 9)))


@given(masks, st.data())
def test_dice_counts_pixels(mask: np.ndarray, data: st.DataObject) -> None:
    other = data.draw(arrays(np.bool_, mask.shape))
    a = {tuple(p) for p in np.argwhere(mask)}
    b = {tuple(p) for p in np.argwhere(other)}
    expected = 2 * len(a & b) / (len(a) + len(b)) if a or b else 1.0
    assert dice(mask, other) == pytest.approx(expected)


def outline(mask: np.ndarray) -> list[tuple[int, int]]:
    found = []
    for x, y in np.argwhere(mask):
        for dx, dy in ((1, 0), (-1, 0), (0, 1), (0, -1)):
            u, v = x + dx, y + dy
            if not (0 <= u < mask.shape[0] and 0 <= v < mask.shape[1]) or not mask[u, v]:
                found.append((int(x), int(y)))
                break
    return found


@given(masks, st.data(), st.sampled_from([(1.0, 1.0), (0.7, 0.7), (0.5, 2.0)]))
def test_surface_dice_by_brute_force(
    mask: np.ndarray, data: st.DataObject, spacing: tuple[float, float]
) -> None:
    other = data.draw(arrays(np.bool_, mask.shape))
    a, b = outline(mask), outline(other)
    if not a or not b:
        assert surface_dice(mask, other, spacing) == float(not a and not b)
        return

    def near(points: list[tuple[int, int]], others: list[tuple[int, int]]) -> int:
        return sum(
            min(np.hypot((x - u) * spacing[0], (y - v) * spacing[1]) for u, v in others) <= 1 + 1e-9
            for x, y in points
        )

    expected = (near(a, b) + near(b, a)) / (len(a) + len(b))
    assert surface_dice(mask, other, spacing) == pytest.approx(expected)
