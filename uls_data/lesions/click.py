"""The click: one lesion voxel, which becomes the centre of the VOI."""

from __future__ import annotations

import numpy as np

from uls_data.geometry import Triple
from uls_data.ids import draw
from uls_data.lesions.instances import Lesion
from uls_data.profile import Profile


def click_of(
    lesion: Lesion, profile: Profile, seed: int, source: str, case_id: str, sample_index: int
) -> Triple:
    """Voxel (x, y, z; zero-based RAS index in the scan) of one click on a lesion.

    Drawn uniformly from the lesion's voxels by (seed, source, case_id,
    lesion_index, sample_index) alone (contract 3.4); under a profile with
    `click_from_voxel_count`, a function of the number of voxels, as published. Where a human
    marked a point of the lesion, that is the first.
    """
    if lesion.click is not None and sample_index == 0:
        return lesion.click
    count = len(lesion.voxels)
    if profile.click_from_voxel_count:
        rank = published_rank(count, sample_index)
    else:
        rank = draw(count, seed, source, case_id, lesion.index, sample_index)
    x, y, z = lesion.voxels[rank].tolist()
    return x, y, z


def click_source(lesion: Lesion, sample_index: int) -> str:
    """Who sets a click: `human` or `drawn`."""
    return "human" if lesion.click is not None and sample_index == 0 else "drawn"


def published_rank(count: int, sample_index: int) -> int:
    """Rank, in C order of the RAS array, of the voxel that the published archive clicked."""
    # What `set_determinism(seed=42)` hands on to the one random transform of every
    # new Compose: the published archive drew each lesion's click from this seed again.
    seed = int(np.random.RandomState(42).randint(2**32, dtype="uint32"))
    state = np.random.RandomState(seed)
    rank = 0
    for _ in range(sample_index + 1):
        state.rand()  # decides between lesion and background; always lesion here
        rank = int(state.randint(count))
    return rank
