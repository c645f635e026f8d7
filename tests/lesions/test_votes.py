"""What readers of a lesion agree on, and how far they differ."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from makers.cells import cells, cells_of, voxels_of

from uls_data.lesions.votes import (
    Agreement,
    cluster,
    consensus,
    dice_scores,
    disagreement_of,
)

masks = st.frozensets(cells, max_size=12)


@given(st.lists(masks, max_size=9))
def test_groups_are_what_shared_voxels_connect(many: list[frozenset[tuple[int, int, int]]]) -> None:
    groups = [{number} for number in range(len(many))]
    for one, other in combinations(range(len(many)), 2):
        if many[one] & many[other]:
            mine = next(group for group in groups if one in group)
            theirs = next(group for group in groups if other in group)
            if mine is not theirs:
                mine |= theirs
                groups.remove(theirs)
    expected = sorted(sorted(group) for group in groups)
    assert cluster([voxels_of(mask) for mask in many]) == expected


def test_a_long_chain_is_one_group() -> None:
    chain = [voxels_of({(0, 0, z), (0, 0, z + 1)}) for z in range(400)]
    order = np.random.default_rng(3).permutation(400)
    assert cluster([chain[at] for at in order]) == [list(range(400))]


def test_neighbours_that_share_no_voxel_stay_apart() -> None:
    assert cluster([voxels_of({(0, 0, 0)}), voxels_of({(0, 0, 1)})]) == [[0], [1]]
    assert cluster([]) == []
    assert cluster([voxels_of(()), voxels_of(())]) == [[0], [1]]


@given(st.lists(masks, min_size=1, max_size=5), st.integers(1, 5))
def test_votes_are_counted(layers: list[frozenset[tuple[int, int, int]]], at_least: int) -> None:
    count = {cell: sum(cell in layer for layer in layers) for layer in layers for cell in layer}
    needed = {
        Agreement.ANY: 1,
        Agreement.MAJORITY: len(layers) / 2 + 0.1,
        Agreement.ALL: len(layers),
        at_least: at_least,
    }
    for rule, votes in needed.items():
        expected = {cell for cell, found in count.items() if found >= votes}
        assert cells_of(consensus([voxels_of(layer) for layer in layers], rule)) == expected


@given(st.lists(masks, min_size=1, max_size=4))
def test_each_two_readers_have_their_dice(layers: list[frozenset[tuple[int, int, int]]]) -> None:
    named = [(f"reader-{number}", voxels_of(layer)) for number, layer in enumerate(layers, 1)]
    found = {candidate: value for candidate, measure, value in dice_scores(named)}
    expected = {
        f"reader-{a + 1}/reader-{b + 1}": 2 * len(one & other) / (len(one) + len(other))
        for (a, one), (b, other) in combinations(enumerate(layers), 2)
        if one or other
    }
    assert found == pytest.approx(expected)
    far = disagreement_of(dice_scores(named))
    if expected:
        assert far == pytest.approx(1 - np.mean(list(expected.values())))
    else:
        assert far is None


def test_only_dice_says_how_far_readers_differ() -> None:
    scores = (("reader-1/reader-2", "dice", 0.8), ("reader-1", "centre_off_mask_mm", 7.0))
    assert disagreement_of(scores) == pytest.approx(0.2)
