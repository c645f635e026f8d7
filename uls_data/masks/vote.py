"""Majority vote of several annotators' masks (paper section 3.1.4: three, then a review)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from uls_data.errors import CaseError
from uls_data.outcome import Reason


@dataclass(frozen=True)
class Vote:
    """What several masks of one lesion agree on.

    Attributes
    ----------
    mask : ndarray, shape (x, y, z), bool
        Voxels that more than half of the masks hold.
    votes : ndarray, shape (x, y, z), uint8
        How many masks hold each voxel.
    voters : int
    tied : int
        Voxels that exactly half of them hold: background, for a strict majority; 0 where the
        number of voters is odd.
    unanimous : int
        Voxels that all hold.
    """

    mask: NDArray[np.bool_]
    votes: NDArray[np.uint8]
    voters: int
    tied: int
    unanimous: int


def majority(masks: Sequence[NDArray[Any]]) -> Vote:
    """Strict majority of masks; an empty mask is a vote too.

    Parameters
    ----------
    masks : sequence of ndarray, shape (x, y, z); non-zero is lesion
        One an annotator, on one grid; one to 255.

    Raises
    ------
    CaseError
        `grid_mismatch`: masks of different shapes; `mask_missing`: none; `too_many_instances`:
        more than 255.
    """
    if not masks:
        raise CaseError(Reason.MASK_MISSING, "a vote needs at least one mask")
    if len(masks) > np.iinfo(np.uint8).max:
        raise CaseError(Reason.TOO_MANY_INSTANCES, f"{len(masks)} masks; at most 255 can vote")
    votes = np.zeros(masks[0].shape, np.uint8)
    for mask in masks:
        if mask.shape != votes.shape:
            raise CaseError(
                Reason.GRID_MISMATCH,
                f"expected masks of one grid, found {votes.shape} and {mask.shape}",
            )
        votes += mask != 0
    half, odd = divmod(len(masks), 2)
    return Vote(
        mask=votes > half,
        votes=votes,
        voters=len(masks),
        tied=0 if odd else int((votes == half).sum()),
        unanimous=int((votes == len(masks)).sum()),
    )
