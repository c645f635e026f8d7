"""Draws: as often as the plan says, the same whatever happened before."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from makers.vois import tiny_plan

from uls_data.errors import ManifestError
from uls_data.manifest.example import Example
from uls_data.network.examples import find_examples
from uls_data.network.sampling import Sampler, read_ahead, weights
from uls_data.network.voxels import LESION


def made(kind: str, long_axis: float | None) -> Example:
    return Example(Path(), {"lesion_type": kind, "long_axis_vox": long_axis})


def test_weights_by_type_and_size() -> None:
    examples = [made("lung", 10.0)] * 6 + [made("colon", 40.0)] * 2
    plain = weights(examples, tiny_plan().training)
    np.testing.assert_allclose(plain, 1 / 8)
    balanced = weights(examples, tiny_plan(type_balance=1).training)
    assert balanced[:6].sum() == pytest.approx(0.5) and balanced[6:].sum() == pytest.approx(0.5)
    sized = weights(examples, tiny_plan(size_power=1).training)
    assert sized[7] / sized[0] == pytest.approx(4)
    odd = weights([made("lung", 0.0), made("lung", None)], tiny_plan(size_power=-1).training)
    assert np.isfinite(odd).all() and (odd > 0).all()


def test_weights_by_expected_dice() -> None:
    def masked(supervision: str, dice: float | None, scores: Any = None) -> Example:
        row = {"predicted_dice": dice, "supervision": supervision, "candidate_scores": scores}
        return Example(Path(), {**made("lung", 10.0).row, **row})

    certified = [{"candidate": "certificate", "measure": "expected_dice", "value": 0.5}]
    examples = [
        masked("full", None),
        masked("pseudo_3d", 0.9, certified),
        masked("pseudo_3d", 0.5),
        masked("pseudo_3d", 0.0),
        masked("pseudo_3d", None),
    ]
    np.testing.assert_allclose(weights(examples, tiny_plan().training), 1 / 5)
    squared = weights(examples, tiny_plan(dice_power=2).training)
    np.testing.assert_allclose(squared / squared[0], [1, 0.25, 0.25, 0.05**2, 0.64])


def test_masks_in_manifests_have_an_expected_dice(vois: Path) -> None:
    found = find_examples(vois)
    chosen = weights(found.train, tiny_plan(dice_power=1).training)
    assert len(chosen) == len(found.train)
    assert chosen.sum() == pytest.approx(1)


def test_draws_follow_the_weights() -> None:
    examples = [made("lung", 10.0), made("lung", 30.0)]
    sampler = Sampler(examples, tiny_plan(size_power=1), 0, "ignore")
    drawn = np.array([sampler.chosen(step, slot) for step in range(2000) for slot in range(2)])
    # 4,000 draws: three quarters, with a deviation of 0.7 %.
    assert drawn.mean() == pytest.approx(0.75, abs=0.025)
    again = Sampler(examples, tiny_plan(size_power=1), 0, "ignore")
    assert [again.chosen(n, 1) for n in range(99, 0, -1)] == list(drawn[1::2][99:0:-1])
    other = Sampler(examples, tiny_plan(size_power=1), 1, "ignore")
    assert any(other.chosen(n, 0) != sampler.chosen(n, 0) for n in range(50))


def test_batches_do_not_depend_on_where_they_start(vois: Path) -> None:
    found = find_examples(vois)
    with ThreadPoolExecutor(2) as pool:
        whole = list(Sampler(found.train, tiny_plan(), 4, "ignore").batches(0, 6, pool))
        rest = list(
            Sampler(found.train, tiny_plan(), 4, "ignore", cache_bytes=0).batches(3, 6, pool)
        )
    assert len(whole) == 6 and all(len(batch) == 2 for batch in whole)
    for one, other in zip(whole[3:], rest, strict=True):
        for first, second in zip(one, other, strict=True):
            np.testing.assert_array_equal(first.hu, second.hu)
            np.testing.assert_array_equal(first.marks, second.marks)
    # The centre is a lesion voxel, of whichever click.
    centres = [r.marks[r.click] & LESION for batch in whole for r in batch]
    assert all(centres)


def test_what_cannot_be_read_is_replaced(vois: Path) -> None:
    train = find_examples(vois).train
    bad = Example(train[0].root, {**train[0].row, "image_path": "none.nii"})
    sampler = Sampler([bad, *train[1:2]], tiny_plan(), 0, "ignore")
    for step in range(4):
        sampler.region(step, 0)
    assert set(sampler.failed) == {0}
    with pytest.raises(ManifestError, match="cannot be read"):
        Sampler([bad], tiny_plan(), 0, "ignore").region(0, 0)


def test_reading_ahead_is_bounded_and_in_order() -> None:
    running: list[int] = []

    def read(item: int) -> int:
        running.append(item)
        return item

    with ThreadPoolExecutor(1) as pool:
        stream = read_ahead(read, iter(range(100)), pool, 3)
        assert [next(stream) for _ in range(5)] == list(range(5))
        assert len(running) <= 8
        stream.close()  # type: ignore[attr-defined]
