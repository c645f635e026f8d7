"""What the boundary network sees: a slice in the chart of its lines, as numbers near 1.

Rays leave the centre at equal turns, one through every end point; along them radii run from
well inside the lesion to well outside. Everything is relative to the tissue inside and
around the lines, so that neither the organ nor the size of a lesion matters.
"""

from __future__ import annotations

from dataclasses import dataclass

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


@dataclass(frozen=True)
class Nodes:
    """Where the nodes of a chart lie on a slice.

    Attributes
    ----------
    at : ndarray, shape (2, rays, radii)
        Pixels x and y.
    arm : ndarray, shape (rays,)
        Pixels from the centre to radius 1.
    """

    at: Floats
    arm: Floats

    @staticmethod
    def of(chart: Chart) -> Nodes:
        """Nodes of a chart."""
        at = np.moveaxis(grid(chart), 2, 0)
        return Nodes(at, np.hypot(*(at[:, :, -1] - chart.centre[:, None])) / RADII[-1])

    def seen(self, hu: NDArray[np.number]) -> tuple[Floats, Floats]:
        """HU of a slice at the nodes, sharp and smoothed, both of shape (rays, radii)."""
        step = float(self.arm.mean() * (RADII[1] - RADII[0]))
        hu = hu.astype(np.float64)
        sharp, smooth = (
            ndimage.map_coordinates(
                ndimage.gaussian_filter(hu, width, mode="nearest"),
                self.at,
                order=1,
                mode="nearest",
            )
            for width in (max(0.4, 0.4 * step), max(1.0, 0.8 * step))
        )
        return sharp, smooth


@dataclass(frozen=True)
class Tissue:
    """How the lesion differs from its surroundings, on the slice of the lines.

    Attributes
    ----------
    middle, spread : float
        Median HU of the core, and how far its values lie from it.
    gap : ndarray, shape (rays,)
        HU of the ring beside each ray, less the core's; nowhere near 0.
    low, high : float
        Range of the histograms, HU.
    ratio : ndarray
        Log of how common each bin is in the core over how common it is in the ring, +-2.
    """

    middle: float
    spread: float
    gap: Floats
    low: float
    high: float
    ratio: Floats

    @staticmethod
    def of(sharp: Floats, smooth: Floats) -> Tissue:
        """Tissue of the measured slice, by its HU at the nodes (`Nodes.seen`)."""
        core, ring = sharp[:, _CORE], sharp[:, _RING]
        middle = float(np.median(core))
        spread = 1.4826 * float(np.median(np.abs(core - middle))) + _NOISE_HU
        beside = ndimage.uniform_filter1d(np.median(ring, axis=1), 7, mode="wrap")
        gap = beside - middle
        floor = 2 * _NOISE_HU
        gap = np.where(np.abs(gap) < floor, np.where(gap < 0, -floor, floor), gap)
        low, high = np.quantile(smooth, [0.02, 0.98])
        bins = _bins(smooth, low, high)
        counts = []
        for part in (_CORE, _RING):
            # Nodes further out stand for more pixels.
            weight = np.broadcast_to(RADII[part], (RAYS, int(part.sum())))
            count = np.bincount(bins[:, part].ravel(), weight.ravel(), _BINS)
            count = ndimage.gaussian_filter1d(count, 1.5, mode="nearest")
            counts.append(count / count.sum() + 0.5 / _BINS)
        ratio = np.clip(np.log(counts[0] / counts[1]), -2, 2)
        return Tissue(middle, spread, gap, low, high, ratio)

    def log_ratio(self, smooth: Floats) -> Floats:
        """Log ratio of how common a value is in the core and in the ring, +-2."""
        found: Floats = self.ratio[_bins(smooth, self.low, self.high)]
        return found

    def channels(self, sharp: Floats, smooth: Floats) -> list[Floats]:
        """First five channels of a slice; see `features`."""
        slope = np.gradient(smooth, axis=1)
        return [
            np.clip((sharp - self.middle) / self.spread, -6, 6) / 3,
            np.clip((smooth - self.middle) / self.spread, -6, 6) / 3,
            np.clip((smooth - self.middle) / self.gap[:, None], -2, 3),
            self.log_ratio(smooth),
            np.clip(np.abs(slope) / self.spread, 0, 4),
        ]

    def places(self, arm: Floats) -> list[Floats]:
        """Last five channels: they are the same on every slice."""
        nodes = np.ones((RAYS, len(RADII)))
        return [
            nodes * (RADII - 1),
            nodes * np.cos(2 * np.pi * TURN)[:, None],
            nodes * np.cos(np.pi * TURN)[:, None],
            nodes * (np.log(arm)[:, None] / 2 - 1.3),
            nodes * (np.log(self.spread) / 2 - 1.8),
        ]


def features(key_slice: KeySlice, chart: Chart) -> NDArray[np.float32]:
    """Features of every node, shape (rays, radii, channels).

    Channels: HU against the core in units of its spread, sharp and smoothed; HU against core
    and ring beside each other; log ratio of both tissues' histograms; change along the ray;
    radius; nearness to an end point; long or short arm; length of the arm; spread.
    """
    nodes = Nodes.of(chart)
    seen = nodes.seen(key_slice.hu)
    tissue = Tissue.of(*seen)
    channels = [*tissue.channels(*seen), *tissue.places(nodes.arm)]
    return np.stack(channels, axis=-1).astype(np.float32)


def _bins(smooth: Floats, low: float, high: float) -> NDArray[np.intp]:
    share = (np.clip(smooth, low, high) - low) / (high - low + 1e-6)
    return (share * (_BINS - 1)).astype(int)
