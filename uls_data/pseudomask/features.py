"""What the boundary network sees: a slice in the chart of its lines, as numbers near 1.

Rays leave the centre at equal turns, one through every end point; along them radii run from
well inside the lesion to well outside. Everything is relative to the tissue inside and
around the lines, so that neither the organ nor the size of a lesion matters.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from uls_data.pseudomask.chart import Chart
from uls_data.pseudomask.key_slice import KeySlice

RAYS = 48
RADII = np.linspace(0.3, 1.75, 30)
CHANNELS = 10
TURN = np.arange(RAYS) * (4 / RAYS)
LOG_RATIO = 3
_CORE, _RING = RADII < 0.7, RADII > 1.2
# Differences of a few HU are noise in any scan.
_NOISE_HU = 10.0
_BINS = 48

Floats = NDArray[np.float64]


def grid(chart: Chart) -> Floats:
    """Pixels (x, y) of the chart's nodes, shape (rays, radii, 2)."""
    turn, radius = np.broadcast_arrays(TURN[:, None], RADII[None, :])
    return chart.points(turn, radius)


def features(key_slice: KeySlice, chart: Chart) -> NDArray[np.float32]:
    """Features of every node, shape (rays, radii, channels).

    Channels: HU against the core in units of its spread, sharp and smoothed; HU against core
    and ring beside each other; log ratio of both tissues' histograms; change along the ray;
    radius; nearness to an end point; long or short arm; length of the arm; spread.
    """
    at = np.moveaxis(grid(chart), 2, 0)
    arm = np.hypot(*(at[:, :, -1] - chart.centre[:, None])) / RADII[-1]
    step = float(arm.mean() * (RADII[1] - RADII[0]))
    hu = key_slice.hu.astype(np.float64)
    sharp_map = ndimage.gaussian_filter(hu, max(0.4, 0.4 * step), mode="nearest")
    smooth_map = ndimage.gaussian_filter(hu, max(1.0, 0.8 * step), mode="nearest")
    sharp = ndimage.map_coordinates(sharp_map, at, order=1, mode="nearest")
    smooth = ndimage.map_coordinates(smooth_map, at, order=1, mode="nearest")
    core, ring = sharp[:, _CORE], sharp[:, _RING]
    middle = float(np.median(core))
    spread = 1.4826 * float(np.median(np.abs(core - middle))) + _NOISE_HU
    beside = ndimage.uniform_filter1d(np.median(ring, axis=1), 7, mode="wrap")
    gap = beside - middle
    floor = 2 * _NOISE_HU
    gap = np.where(np.abs(gap) < floor, np.where(gap < 0, -floor, floor), gap)
    slope = np.gradient(smooth, axis=1)
    nodes = np.ones_like(sharp)
    channels = [
        np.clip((sharp - middle) / spread, -6, 6) / 3,
        np.clip((smooth - middle) / spread, -6, 6) / 3,
        np.clip((smooth - middle) / gap[:, None], -2, 3),
        _log_ratio(smooth),
        np.clip(np.abs(slope) / spread, 0, 4),
        nodes * (RADII - 1),
        nodes * np.cos(2 * np.pi * TURN)[:, None],
        nodes * np.cos(np.pi * TURN)[:, None],
        nodes * (np.log(arm)[:, None] / 2 - 1.3),
        nodes * (np.log(spread) / 2 - 1.8),
    ]
    return np.stack(channels, axis=-1).astype(np.float32)


def _log_ratio(smooth: Floats) -> Floats:
    """Log ratio of how common a value is in the core and in the ring, +-2."""
    low, high = np.quantile(smooth, [0.02, 0.98])
    index = ((np.clip(smooth, low, high) - low) / (high - low + 1e-6) * (_BINS - 1)).astype(int)
    counts = []
    for part in (_CORE, _RING):
        # Nodes further out stand for more pixels.
        weight = np.broadcast_to(RADII[part], (RAYS, int(part.sum())))
        count = np.bincount(index[:, part].ravel(), weight.ravel(), _BINS)
        count = ndimage.gaussian_filter1d(count, 1.5, mode="nearest")
        counts.append(count / count.sum() + 0.5 / _BINS)
    ratio: Floats = np.clip(np.log(counts[0] / counts[1]), -2, 2)[index]
    return ratio
