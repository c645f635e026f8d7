"""The challenge's measures of one 3-D mask, and the same with its code's faults put right.

As the challenge's evaluation has them (facts of DIAGNijmegen/oncology-ULS23, `evaluation/`,
checked against it number by number):

* Dice; 0 where both masks are empty;
* SAPE, the symmetric absolute percentage error of an axis, |p - t| / (p + t), 0 where both
  lengths are 0; its mean over lesions is the SMAPE. Axes are those of `uls_data.measure.axes`, each
  mask's on its own slice;
* ChallengeScore = 0.8 Dice + 0.05 (1 - SMAPE long) + 0.05 (1 - SMAPE short) + 0.1 consistency.
  The paper's formula (1) prints the SMAPEs without the "1 -"; its own 0.729 needs it.

Corrected: Dice of two empty masks is 1, and a SAPE is 1 where one mask alone is empty (the
challenge gives 0 for no mask at all against a lesion of one pixel, whose axes are 0 as well).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from uls_data.measure import axes
from uls_data.tables import Record

WITHIN = 0.1


def dice_of(shared: int, one: int, other: int, *, both_empty: float) -> float:
    """Dice from voxel counts: of what two masks share, and of each."""
    return 2.0 * shared / (one + other) if one + other else both_empty


def sape(truth: float, found: float) -> float:
    """Symmetric absolute percentage error of a length, 0 to 1; 0 if both are 0."""
    total = abs(truth) + abs(found)
    return abs(found - truth) / total if total else 0.0


def challenge_score(
    dice: float, long_smape: float, short_smape: float, consistency: float
) -> float:
    """ChallengeScore of four means, each 0 to 1; summed in the order of the challenge's code."""
    return (
        0.8 * dice
        + 0.05 * (1 - min(1.0, long_smape))
        + 0.05 * (1 - min(1.0, short_smape))
        + 0.1 * consistency
    )


def score(found: NDArray[Any], truth: NDArray[Any]) -> Record:
    """Score one mask.

    Parameters
    ----------
    found, truth : ndarray, shape (x, y, z), RAS; non-zero is lesion
        On the same grid.

    Returns
    -------
    dict
        `dice`, `long_sape`, `short_sape` (the challenge's), the same with `_corrected`;
        `long_within_10`, `short_within_10`: whether the axis is within 10 % of the reference's
        length; `voxels_true`, `voxels_found`; `long_true_vox`, `long_found_vox`,
        `short_true_vox`, `short_found_vox` in pixels.
    """
    found, truth = (np.asarray(mask).astype(bool, copy=False) for mask in (found, truth))
    counts = int(np.count_nonzero(truth)), int(np.count_nonzero(found))
    shared = int(np.count_nonzero(found & truth))
    lengths = [axes.measure(mask) for mask in (truth, found)]
    row: Record = {
        "dice": dice_of(shared, *counts, both_empty=0.0),
        "dice_corrected": dice_of(shared, *counts, both_empty=1.0),
        "voxels_true": counts[0],
        "voxels_found": counts[1],
    }
    one_is_empty = (counts[0] == 0) != (counts[1] == 0)
    for axis in ("long", "short"):
        true, measured = (float(getattr(each, f"{axis}_vox")) for each in lengths)
        error = sape(true, measured)
        row |= {
            f"{axis}_sape": error,
            f"{axis}_sape_corrected": 1.0 if one_is_empty else error,
            f"{axis}_within_10": not one_is_empty and abs(measured - true) <= WITHIN * true,
            f"{axis}_true_vox": true,
            f"{axis}_found_vox": measured,
        }
    return row
