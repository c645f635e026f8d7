"""Windows in which CT is shown."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from uls_data.outcome import LesionType

# The paper's windows (its captions print level and width of the second exchanged).
LUNG_WINDOW_HU = (-1200.0, 200.0)
SOFT_WINDOW_HU = (-135.0, 215.0)
_AIR_HU = -400


def window_of(lesion_type: str, hu: NDArray[Any], mask: NDArray[np.bool_]) -> tuple[float, float]:
    """Window (low, high HU) for a lesion: the lung's for lung, and where air surrounds it."""
    known = lesion_type not in (LesionType.VARIOUS, LesionType.UNKNOWN)
    if known:
        return LUNG_WINDOW_HU if lesion_type == LesionType.LUNG else SOFT_WINDOW_HU
    low, high = _box(mask, 4)
    around = hu[low[0] : high[0], low[1] : high[1]][~mask[low[0] : high[0], low[1] : high[1]]]
    airy = around.size and float(np.median(around)) < _AIR_HU
    return LUNG_WINDOW_HU if airy else SOFT_WINDOW_HU


def _box(mask: NDArray[np.bool_], margin: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    where = np.argwhere(mask)
    if not len(where):
        where = np.array(mask.shape)[None] // 2
    low = np.clip(where.min(axis=0) - margin, 0, None)
    return low, np.minimum(where.max(axis=0) + margin + 1, mask.shape)
