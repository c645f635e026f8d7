"""The jury in 3D: the mask of the measured slice, followed through the others.

A network that sees every slice in the chart of the lines (`uls_data.pseudomask.slab`) says how
likely each voxel is the lesion's. Like the jury's own it knows tissue only relative to what lies
inside and around the lines, so that it holds for organs that it did not learn from.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import cc3d
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from uls_data.pseudomask.features import RADII
from uls_data.pseudomask.jury import (
    FLATTEST_HU,
    at_pixels,
    best_cut,
    jury,
    node_odds,
    shipped,
    shipped_network,
)
from uls_data.pseudomask.key_slice import KeySlice
from uls_data.pseudomask.network import Network
from uls_data.pseudomask.slab import Slab

# The ellipsoid's vote in log odds: so much per radius, up to so much. Chosen on odd-numbered
# sarcomas, nodules and made-up lesions that the network had not seen (docs/3d-masks.md).
ELLIPSOID_VOTE = (1.0, 1.0)
# How far the log odds are smoothed within a slice, as a share of the long axis: rays leave jags.
_SMOOTH = 0.04
# Where the image is flat there is nothing to follow: then the ellipsoid decides.
_ALONE = 10.0
MOST_ODDS = 10.0
_LEAST_LIKELY = 0.01


@dataclass(frozen=True)
class Solid:
    """A mask in 3D.

    Attributes
    ----------
    mask : ndarray, shape (x, y, z), bool
        One 6-connected component; on the measured slice it is the jury's mask.
    predicted_dice : float
        What the Dice against a human mask is expected to be.
    """

    mask: NDArray[np.bool_]
    predicted_dice: float


@cache
def shipped_network_3d() -> Network:
    """Read the weights that come with the package."""
    return Network.from_json(shipped("network_3d.json"))


def log_odds(
    slab: Slab,
    network: Network | None = None,
    network_2d: Network | None = None,
    vote: tuple[float, float] = ELLIPSOID_VOTE,
) -> NDArray[np.float32]:
    """Log odds that a voxel is the lesion's, shape of `slab.hu`; -10 where nobody looks.

    Parameters
    ----------
    network, network_2d : Network, optional
        Instead of those that come with the package.
    vote : tuple of 2 float
        The ellipsoid's: per radius, and at most.
    """
    found = np.full(slab.hu.shape, -MOST_ODDS, np.float32)
    turn, radius = slab.chart.coordinates((slab.hu.shape[0], slab.hu.shape[1]))
    seen = radius <= RADII[-1]
    turn, radius = turn[seen], radius[seen]
    flat = np.ptp(slab.hu[:, :, slab.slice_vox]) < FLATTEST_HU
    slope, most = (_ALONE, MOST_ODDS) if flat else vote
    for z, features in slab.features(network_2d or shipped_network()):
        odds = np.clip(slope * (1 - np.hypot(radius, slab.depth(z))), -most, most)
        if not flat:
            odds += at_pixels(node_odds(network or shipped_network_3d(), features), turn, radius)
        found[seen, z] = np.clip(odds, -MOST_ODDS, MOST_ODDS)
    width = _SMOOTH * slab.crop.lines.long_vox
    smooth: NDArray[np.float32] = ndimage.gaussian_filter(found, (width, width, 0), mode="nearest")
    return smooth


def cut(odds: NDArray[np.float32], plane: NDArray[np.bool_], slice_vox: int) -> Solid:
    """Mask of the highest expected Dice that holds `plane` on its slice, and no more there.

    Parameters
    ----------
    odds : ndarray, shape (x, y, z)
        From `log_odds`.
    plane : ndarray, shape (x, y), bool
        One component.
    slice_vox : int
        Index z of that slice.
    """
    inside = 1 / (1 + np.exp(-odds.astype(np.float64)))
    likely = inside[inside > _LEAST_LIKELY]
    least, expected = best_cut(likely) if likely.size else (1.0, 0.0)
    mask = inside >= least
    mask[:, :, slice_vox] = plane
    labels = cc3d.connected_components(mask, connectivity=6)
    at = labels[:, :, slice_vox][plane]
    return Solid(labels == at[0] if at.size else np.zeros_like(mask), expected)


def jury_3d(
    hu: NDArray[np.number],
    measured: KeySlice,
    slice_vox: int,
    spacing_mm: tuple[float, float, float],
) -> Solid:
    """Mask of a measured lesion.

    Parameters
    ----------
    hu : ndarray, shape (x, y, z)
        Part of a scan in HU, without padding (`uls_data.pseudomask.slab.box_about`).
    measured : KeySlice
        The lines, in indices of `hu`; the image is taken from there.
    slice_vox : int
        Index z of their slice.
    spacing_mm : tuple of 3 float
        x, y, z.

    Raises
    ------
    CaseError
        `degenerate_lines`.
    """
    slab = Slab.of(hu, measured, slice_vox, spacing_mm)
    made = cut(log_odds(slab), jury(slab.crop).mask, slice_vox)
    (x, y), (columns, rows) = slab.corner, made.mask.shape[:2]
    mask = np.zeros(hu.shape, bool)
    mask[x : x + columns, y : y + rows] = made.mask
    return Solid(mask, made.predicted_dice)
