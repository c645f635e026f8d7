"""What no CT scan holds: values that cannot be HU, and those that hardly are."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from uls_data.errors import CaseError
from uls_data.outcome import Flag, Reason
from uls_data.volumes.volume import Volume

# Whole rows of the scan, evenly spread, with about so many voxels are looked at.
_SAMPLED_VOXELS = 1 << 19
# Metal reaches 16,000 HU and more where scanners record it, in few voxels.
_METAL_HU, _MOST_METAL = 16_000, 0.01
# Denser than any bone, and lighter than any tissue but lung.
_BONE_HU, _FAT_HU = 3071, -200
_AIR_HU = -300
_SOFT_HU = (-200, 300)
_LEAST_SHARE = 0.001
# Stored values of most scanners are HU + 1024: where that is kept, soft tissue lies up there.
_OFFSET_HU, _MUCH_SOFT = 1024, 0.1
# A scan that was scaled to 0 to 1, or to -1 to 1, or standardised.
_NARROWEST_HU = 20


def check_hu(scan: Volume) -> set[Flag]:
    """Return the flags of a scan whose values are hardly HU, by evenly spread voxels of it.

    Returns
    -------
    set of Flag
        `no_air`, `hu_offset_suspected`.

    Raises
    ------
    CaseError
        `hu_out_of_range`: they cannot be HU.
    """
    stored = scan.stored
    rows = stored.shape[1] * stored.shape[2]
    step = max(1, round((rows * stored.shape[0] / _SAMPLED_VOXELS) ** 0.5))
    values = stored[:, ::step, ::step].astype(np.float64).ravel("K") * scan.slope + scan.intercept
    values = values[np.isfinite(values)]
    if not len(values):
        return set()
    low, high = float(values.min()), float(values.max())
    if (values > _METAL_HU).mean() > _MOST_METAL:
        raise _no_hu(low, high, f"many above {_METAL_HU:,}; was a sign or an offset lost?")
    if low > _BONE_HU:
        raise _no_hu(low, high, f"none as low as bone ({_BONE_HU:,}); was an offset added?")
    if high < _FAT_HU:
        raise _no_hu(low, high, f"none as high as fat ({_FAT_HU}); was an offset taken away twice?")
    if 0 < high - low < _NARROWEST_HU and (values != np.rint(values)).any():
        raise _no_hu(low, high, "with fractions; were they scaled to a small range?")
    flags = set()
    if (values < _AIR_HU).mean() < _LEAST_SHARE:
        flags.add(Flag.NO_AIR)
        if _soft_share(values - _OFFSET_HU) > _MUCH_SOFT:
            flags.add(Flag.HU_OFFSET_SUSPECTED)
    if _soft_share(values) < _LEAST_SHARE:
        flags.add(Flag.HU_OFFSET_SUSPECTED)
    return flags


def _soft_share(values: NDArray[np.float64]) -> float:
    return float(((values >= _SOFT_HU[0]) & (values <= _SOFT_HU[1])).mean())


def _no_hu(low: float, high: float, found: str) -> CaseError:
    return CaseError(
        Reason.HU_OUT_OF_RANGE,
        f"expected HU, found values from {low:g} to {high:g}, {found} Export the scan again",
    )
