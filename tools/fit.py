"""Fit the boundary network on slices with human masks and lines."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from uls_data.pseudomask.chart import Chart
from uls_data.pseudomask.features import RADII, RAYS, features, grid
from uls_data.pseudomask.key_slice import KeySlice
from uls_data.pseudomask.network import Network

WIDTH = 16
_BATCH = 24
_RATE, _WARM_UP = 4e-3, 50

Floats = NDArray[np.float32]


def nodes_of(
    lesions: Iterable[tuple[KeySlice, NDArray[Any]]],
) -> tuple[NDArray[np.float16], NDArray[np.float16]]:
    """Features and targets (share inside the human mask) of lesions, half precision.

    Returns
    -------
    x : ndarray, shape (lesions, rays, radii, channels)
    y : ndarray, shape (lesions, rays, radii)
    """
    x, y = [], []
    for key_slice, mask in lesions:
        chart = Chart.of(key_slice.lines, key_slice.outward_vox)
        at = np.moveaxis(grid(chart), 2, 0)
        x.append(features(key_slice, chart).astype(np.float16))
        inside = ndimage.map_coordinates(np.asarray(mask, dtype=np.float32), at, order=1)
        y.append(inside.astype(np.float16))
    return np.stack(x), np.stack(y)


def fit(
    x: NDArray[Any], y: NDArray[Any], share: NDArray[Any], steps: int, seed: int = 0
) -> Network:
    """Train a network by Adam on the cross entropy of nodes, weighted by their area.

    Parameters
    ----------
    x, y : ndarray
        From `nodes_of`.
    share : ndarray, shape (lesions,)
        How often a lesion is drawn, relative to the others: one over the number of slices
        and draws of its case lets every case count alike.
    """
    random = np.random.default_rng(seed)
    network = Network.random(x.shape[-1], WIDTH, random)
    first = [np.zeros_like(w) for w in network.weights]
    second = [np.zeros_like(w) for w in network.weights]
    area = (RADII / RADII.sum() * (40 / (RAYS * _BATCH))).astype(np.float32)
    share = np.asarray(share) / np.sum(share)
    for step in range(1, steps + 1):
        drawn = random.choice(len(x), _BATCH, p=share)
        some, target = _turned(x[drawn], y[drawn], random)
        slope = partial(_slope, target=target, area=area)
        rate = (
            _RATE
            * min(1.0, step / min(_WARM_UP, steps / 4))
            * 0.5
            * (1 + np.cos(np.pi * step / (steps + 1)))
        )
        for w, m, v, g in zip(
            network.weights, first, second, network.gradient(some, slope), strict=True
        ):
            m += 0.1 * (g - m)
            v += 0.01 * (g * g - v)
            top = m / (1 - 0.9**step)
            w -= (rate * top / (np.sqrt(v / (1 - 0.99**step)) + 1e-6)).astype(np.float32)
    return network


def _slope(logits: Floats, target: Floats, area: Floats) -> Floats:
    """Return the derivative of the cross entropy by the logits."""
    slope: Floats = ((1 / (1 + np.exp(-np.clip(logits, -30, 30))) - target) * area).astype(
        np.float32
    )
    return slope


def _turned(x: NDArray[Any], y: NDArray[Any], random: np.random.Generator) -> tuple[Floats, Floats]:
    """Mirror and turn the charts: the four ways in which the arms fall on themselves."""
    x, y = x.astype(np.float32), y.astype(np.float32)
    for i in range(len(x)):
        if random.random() < 0.5:
            x[i], y[i] = np.roll(x[i, ::-1], 1, axis=0), np.roll(y[i, ::-1], 1, axis=0)
        if random.random() < 0.5:
            x[i], y[i] = np.roll(x[i], RAYS // 2, axis=0), np.roll(y[i], RAYS // 2, axis=0)
    return x, y
