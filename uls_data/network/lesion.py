"""The lesion that was clicked, of a network's answer, and how sure the network is of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cc3d
import numpy as np
from numpy.typing import NDArray

from uls_data.geometry import Triple, bounding_box
from uls_data.network.inference import Answer

# Where the click itself is not lesion, a component is still taken that is as near as this.
REACH_MM = 5.0
# What a mask could have been: voxels of this probability or more that hang together with it.
_POSSIBLE = 0.1
_HALO_VOX = 12
# Half the side of the first box that is searched for a component.
_FIRST_VOX = 32
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
    seed = _seed(lesion, click, spacing_mm)
    if seed is None:
        return None
    # Labelling keeps Python's lock, and most lesions are small: a box is labelled, and a larger
    # one only where the component reaches its side.
    reach = _FIRST_VOX
    while True:
        low = [max(0, at - reach) for at in seed]
        high = [min(n, at + reach + 1) for at, n in zip(seed, lesion.shape, strict=True)]
        part = lesion[tuple(slice(a, b) for a, b in zip(low, high, strict=True))]
        labels = cc3d.connected_components(np.ascontiguousarray(part), connectivity=6)
        own = labels == labels[tuple(at - a for at, a in zip(seed, low, strict=True))]
        mask, offset = bounding_box(own)
        start = [a + o for a, o in zip(low, offset, strict=True)]
        stop = [s + n for s, n in zip(start, mask.shape, strict=True)]
        sides = zip(low, high, start, stop, lesion.shape, strict=True)
        if not any((s == a and a > 0) or (e == b and b < n) for a, b, s, e, n in sides):
            z, y, x = (slice(s, e) for s, e in zip(start, stop, strict=True))
            return (z, y, x), mask
        reach *= 2


def _seed(lesion: NDArray[np.bool_], click: Triple, spacing: Sequence[float]) -> Triple | None:
    """Return the click where it is lesion, else the nearest lesion voxel within 5 mm."""
    if lesion[click]:
        return click
    reach = [int(REACH_MM / step) for step in spacing]
    low = [max(0, i - r) for i, r in zip(click, reach, strict=True)]
    high = [i + r + 1 for i, r in zip(click, reach, strict=True)]
    places = np.argwhere(lesion[tuple(slice(a, b) for a, b in zip(low, high, strict=True))]) + low
    if len(places) == 0:
        return None
    square = (((places - np.asarray(click)) * np.asarray(spacing)) ** 2).sum(axis=1)
    best = int(square.argmin())
    z, y, x = (int(i) for i in places[best])
    return (z, y, x) if square[best] <= REACH_MM**2 else None


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


def moved_dice(
    found: Found, other: tuple[Box, NDArray[np.bool_]] | None, moved: Sequence[int]
) -> float:
    """Dice of a mask with one found from another click, `moved` voxels (z, y, x) away.

    What lies outside the other click's crop counts as missed.
    """
    if other is None:
        return 0.0
    box, mask = other
    low = [max(a.start, b.start + m) for a, b, m in zip(found.box, box, moved, strict=True)]
    high = [min(a.stop, b.stop + m) for a, b, m in zip(found.box, box, moved, strict=True)]
    shared = 0
    if all(a < b for a, b in zip(low, high, strict=True)):
        one = found.mask[
            tuple(
                slice(a - p.start, b - p.start)
                for a, b, p in zip(low, high, found.box, strict=True)
            )
        ]
        two = mask[
            tuple(
                slice(a - m - p.start, b - m - p.start)
                for a, b, m, p in zip(low, high, moved, box, strict=True)
            )
        ]
        shared = int((one & two).sum())
    return 2 * shared / (int(found.mask.sum()) + int(mask.sum()))


def _around(mask: NDArray[np.bool_], possible: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Component of `possible` about a mask."""
    labels = cc3d.connected_components(possible | mask, connectivity=6)
    found: NDArray[np.bool_] = labels == labels[np.unravel_index(mask.argmax(), mask.shape)]
    return found


def _entropy(p: NDArray[np.float64]) -> NDArray[np.float64]:
    q = np.clip(p, 1e-12, 1 - 1e-12)
    bits: NDArray[np.float64] = -(q * np.log2(q) + (1 - q) * np.log2(1 - q))
    return bits
