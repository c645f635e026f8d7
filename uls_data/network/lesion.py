"""The lesion that was clicked, of a network's answer, and how sure the network is of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cc3d
import numpy as np
from numpy.typing import NDArray

from uls_data.geometry import Triple, bounding_box
from uls_data.network.inference import Answer

# Where the click itself is no lesion, a component is still taken that is as near as this.
REACH_MM = 5.0
# What a mask could have been: voxels of this probability or more that hang together with it.
_POSSIBLE = 0.1
_HALO_VOX = 12
Box = tuple[slice, slice, slice]


@dataclass(frozen=True)
class Found:
    """A lesion in the plan's crop.

    Attributes
    ----------
    box : tuple of 3 slice
        z, y, x: where it lies in the crop.
    mask : ndarray of bool
        The lesion in its box.
    mean_probability : float
        Of lesion, over the mask.
    entropy_bits : float
        Mean binary entropy over the mask, 0 to 1.
    soft_dice : float
        Dice of the mask with the probabilities, over all that the mask could have been: the Dice
        to expect if the probabilities were right.
    view_disagreement : float or None
        1 - Dice of the mask with the votes of the mirrored views; None without them.
    """

    box: Box
    mask: NDArray[np.bool_]
    mean_probability: float
    entropy_bits: float
    soft_dice: float
    view_disagreement: float | None

    def whole(self, shape: Triple) -> NDArray[np.bool_]:
        """Mask on the whole crop of a shape (z, y, x)."""
        full = np.zeros(shape, bool)
        full[self.box] = self.mask
        return full


def clicked(
    lesion: NDArray[np.bool_], click: Triple, spacing_mm: Sequence[float]
) -> tuple[Box, NDArray[np.bool_]] | None:
    """Find the 6-connected component at the click, else the nearest one within 5 mm.

    Parameters
    ----------
    lesion : ndarray, shape (z, y, x), bool
    click : tuple of 3 int
        z, y, x.
    spacing_mm : sequence of 3 float
        z, y, x.

    Returns
    -------
    (box, mask), or None
        Where the component lies, and the component there; None: there is none. Of two at equal
        distance the one is taken whose nearest voxel comes first in C order.
    """
    part, start = bounding_box(lesion)
    if part.size == 0:
        return None
    labels = cc3d.connected_components(np.ascontiguousarray(part), connectivity=6)
    at = tuple(c - s for c, s in zip(click, start, strict=True))
    inside = all(0 <= i < n for i, n in zip(at, part.shape, strict=True))
    number = int(labels[at]) if inside else 0
    if number == 0:
        near = _nearest(labels, at, spacing_mm)
        if near is None:
            return None
        number = near
    mask, offset = bounding_box(labels == number)
    box = tuple(slice(s + o, s + o + n) for s, o, n in zip(start, offset, mask.shape, strict=True))
    return box, mask  # type: ignore[return-value]


def _nearest(
    labels: NDArray[np.integer], at: Sequence[int], spacing: Sequence[float]
) -> int | None:
    reach = [int(REACH_MM / step) for step in spacing]
    low = [max(0, i - r) for i, r in zip(at, reach, strict=True)]
    high = [max(0, i + r + 1) for i, r in zip(at, reach, strict=True)]
    near = labels[low[0] : high[0], low[1] : high[1], low[2] : high[2]]
    places = np.argwhere(near)
    if len(places) == 0:
        return None
    away = ((places + low - np.asarray(at)) * np.asarray(spacing)) ** 2
    square = away.sum(axis=1)
    best = int(square.argmin())
    return int(near[tuple(places[best])]) if square[best] <= REACH_MM**2 else None


def find_lesion(answer: Answer, click: Triple, spacing_mm: Sequence[float]) -> Found | None:
    """Lesion at the click (see `clicked`) and what the network thinks of it.

    Parameters
    ----------
    answer : Answer
    click : tuple of 3 int
        z, y, x in the answer.
    spacing_mm : sequence of 3 float
        z, y, x.
    """
    at_click = clicked(answer.margin > 0, click, spacing_mm)
    if at_click is None:
        return None
    box, mask = at_click
    halo = tuple(slice(max(0, part.start - _HALO_VOX), part.stop + _HALO_VOX) for part in box)
    inner = tuple(
        slice(part.start - wide.start, part.stop - wide.start)
        for part, wide in zip(box, halo, strict=True)
    )
    margin = answer.margin[halo]
    probability = 1 / (1 + np.exp(-np.clip(margin, -80, 80).astype(np.float64)))
    whole = np.zeros(margin.shape, bool)
    whole[inner] = mask
    possible = _around(whole, probability >= _POSSIBLE)
    inside = probability[whole]
    size = int(mask.sum())
    disagreement = None
    if answer.votes is not None:
        votes = answer.votes[halo]
        voted = _around(whole, votes > 0)
        share = votes[voted].sum() / answer.views
        disagreement = float(1 - 2 * votes[whole].sum() / answer.views / (size + share))
    return Found(
        box=box,
        mask=mask,
        mean_probability=float(inside.mean()),
        entropy_bits=float(_entropy(inside).mean()),
        soft_dice=float(2 * inside.sum() / (size + probability[possible].sum())),
        view_disagreement=disagreement,
    )


def _around(mask: NDArray[np.bool_], possible: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Component of `possible` about a mask."""
    labels = cc3d.connected_components(possible | mask, connectivity=6)
    found: NDArray[np.bool_] = labels == labels[tuple(np.argwhere(mask)[0])]
    return found


def _entropy(p: NDArray[np.float64]) -> NDArray[np.float64]:
    q = np.clip(p, 1e-12, 1 - 1e-12)
    bits: NDArray[np.float64] = -(q * np.log2(q) + (1 - q) * np.log2(1 - q))
    return bits
