"""The best outline that every ray of the chart meets once, by dynamic programming."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

_FINER = 3
_LARGEST_STEP = 3


def outline(evidence: Floats, radii: Floats, tightness: Floats, smoothness: float) -> Floats:
    """Radius of the outline on every ray, shape (rays,).

    Minimises, over closed outlines: minus the evidence inside, plus the squared distance of
    the log radius from 0 and the squared change of the log radius between rays, each by its
    weight. Exact but for where it closes: the outline is searched twice round, and the
    second round is kept.

    Parameters
    ----------
    evidence : ndarray, shape (rays, radii)
        For (above 0) or against lesion, per share of the chart's area.
    radii : ndarray, shape (radii,), at equal steps
    tightness : ndarray, shape (rays,)
        One over twice the variance of the log radius on each ray.
    smoothness : float
        One over twice the variance of the log radius between neighbouring rays.
    """
    rays = len(evidence)
    fine = np.linspace(radii[0], radii[-1], _FINER * (len(radii) - 1) + 1)
    between = np.stack([np.interp(fine, radii, ray) for ray in evidence])
    inside = np.cumsum(between * fine * (fine[1] - fine[0]) * 2 / rays, axis=1)
    log = np.log(fine)
    cost = tightness[:, None] * log**2 - inside
    # Steps of up to a few radii between rays: more is not an outline of a lesion.
    steps = np.arange(-_LARGEST_STEP, _LARGEST_STEP + 1)
    before = np.arange(len(fine))[:, None] + steps
    valid = (before >= 0) & (before < len(fine))
    before = np.clip(before, 0, len(fine) - 1)
    change = np.where(valid, smoothness * (log[:, None] - log[before]) ** 2, np.inf)
    total = cost[0]
    chosen = []
    for ray in np.arange(1, 3 * rays) % rays:
        options = total[before] + change
        best = options.argmin(axis=1)
        chosen.append(before[np.arange(len(fine)), best])
        total = options[np.arange(len(fine)), best] + cost[ray]
    at = int(total.argmin())
    path = [at]
    for back in reversed(chosen):
        at = int(back[at])
        path.append(at)
    middle = path[::-1][rays : 2 * rays]
    found: Floats = fine[middle]
    return found
