"""How much two masks share."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def dice(mask: NDArray[Any], other: NDArray[Any]) -> float:
    """Dice of two masks of equal shape; 1 if both are empty."""
    one, two = np.asarray(mask, bool), np.asarray(other, bool)
    total = int(one.sum()) + int(two.sum())
    return 1.0 if total == 0 else 2 * int((one & two).sum()) / total
