"""Voxels in b2nd files: parts come back as they were, in any thread and after any change."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from uls_data.volumes.b2nd import open_blocks, packed

blosc2 = pytest.importorskip("blosc2", reason="blosc2 is not installed: pip install -e '.[store]'")
BOX = (slice(3, 70), slice(10, 99), slice(1, 39))


def voxels(dtype: Any = np.int16, seed: int = 0) -> NDArray[Any]:
    random = np.random.default_rng(seed)
    made = random.normal(0, 40, (90, 100, 40)).round()
    return np.asfortranarray(np.clip(made, 0, 1) if dtype == np.uint8 else made, dtype)


def read(path: Path) -> NDArray[Any]:
    return open_blocks(path).read(BOX)


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.int32])
def test_a_part_is_what_was_stored(tmp_path: Path, dtype: Any) -> None:
    path, stored = tmp_path / "a.b2nd", voxels(dtype)
    path.write_bytes(packed(stored, "scan", (4, 5, 6)))
    blocks = open_blocks(path)
    assert (blocks.shape, blocks.frame, blocks.origin) == (stored.shape, "scan", (4, 5, 6))
    assert blocks.dtype == dtype
    part = blocks.read(BOX)
    assert part.flags.f_contiguous and np.array_equal(part, stored[BOX])
    assert packed(stored, "scan", (4, 5, 6)) == path.read_bytes()
    assert path.stat().st_size < 0.7 * stored.nbytes


def test_arrays_with_other_settings_are_read(tmp_path: Path) -> None:
    """Stores of versions before 0.1.0: another codec, and the bits apart."""
    path, stored = tmp_path / "a.b2nd", voxels()
    blosc2.asarray(
        np.ascontiguousarray(stored.T),
        chunks=(32, 64, 64),
        blocks=(8, 32, 32),
        cparams={"codec": blosc2.Codec.LZ4, "filters": [blosc2.Filter.BITSHUFFLE]},
        urlpath=str(path),
        meta={"uls-data": {"frame": "voi", "origin": [0, 0, 0]}},
    )
    assert np.array_equal(read(path), stored[BOX])


def test_a_file_that_was_replaced_is_opened_again(tmp_path: Path) -> None:
    path = tmp_path / "a.b2nd"
    for seed in range(3):
        path.unlink(missing_ok=True)
        path.write_bytes(packed(voxels(seed=seed), "scan", (seed, 0, 0)))
        for _ in range(2):
            assert np.array_equal(read(path), voxels(seed=seed)[BOX])
            assert open_blocks(path).origin == (seed, 0, 0)


def test_threads_read_at_once(tmp_path: Path) -> None:
    expected = {}
    for seed in range(3):
        path = tmp_path / f"{seed}.b2nd"
        path.write_bytes(packed(voxels(seed=seed), "scan", (0, 0, 0)))
        expected[path] = voxels(seed=seed)[BOX]
    order = list(expected) * 60
    with ThreadPoolExecutor(4) as pool:
        for path, part in zip(order, pool.map(read, order), strict=True):
            assert np.array_equal(part, expected[path])
