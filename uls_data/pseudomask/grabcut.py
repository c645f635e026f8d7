"""GrabCut under several windows, or the ellipse: whichever agrees best with both lines.

The paper's method (section 3.1.2), on a crop: four regions of seeds from the lines, one run a
window, and a choice by what the two axes of each mask measure. OpenCV's own random draws are
seeded from the identity of the key slice before every run, so a mask depends on nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from uls_data.ids import draw
from uls_data.measure.lines import Lines
from uls_data.pseudomask.bounds import end_point_vox
from uls_data.pseudomask.key_slice import KeySlice, PseudoMask
from uls_data.pseudomask.prior import quarter_ellipses, sound

_MARGINS_HU = (50.0, 100.0)
_ITERATIONS = 25
# Seeds, as shares of half the short axis: how deep in the ellipse the sure foreground lies, and
# how far around ellipse and box what is probable reaches (never less than a pixel).
_CORE, _AROUND_ELLIPSE, _AROUND_BOX = 0.15, 0.1, 0.1
# OpenCV models each side by five Gaussians, and fails with fewer pixels than those.
_FEWEST_PIXELS = 5
# An axis that differs by less is as good as equal: another reader differs by more.
_SAME_SHARE, _SAME_VOX = 0.05, 1.0
_EMPTY = 1e3


@dataclass(frozen=True)
class Window:
    """Grey values from `low` to `high` HU are told apart."""

    low: float
    high: float

    def grey(self, hu: NDArray[np.number]) -> NDArray[np.uint8]:
        """Scale to 0..255, same shape; all 0 where the window has no width."""
        if not self.high > self.low:
            return np.zeros(hu.shape, dtype=np.uint8)
        share = (hu.astype(np.float64) - self.low) / (self.high - self.low)
        grey: NDArray[np.uint8] = np.rint(np.clip(share, 0, 1) * 255).astype(np.uint8)
        return grey


def grabcut(key_slice: KeySlice) -> PseudoMask:
    """Mask by GrabCut, or the ellipse (of four quarters) where no run agrees as well.

    It is one 4-connected component without holes around the quadrilateral. `scores` hold, for
    the ellipse and every run, the error of both axes and the distance of the end points from
    the boundary, in pixels, and which one won.
    """
    small, (x, y) = key_slice.crop(reach=0.25)
    prior = quarter_ellipses(small).mask
    regions = seeds(small, prior)
    candidates = {"ellipse": prior}
    for name, window in windows(small, regions).items():
        found = cut(window.grey(small.hu), regions, seed_of(key_slice, name))
        if found is not None:
            candidates[name] = sound(found, small)
    errors = {name: _errors(mask, small) for name, mask in candidates.items()}
    winner = min(errors, key=lambda name: _rank(errors[name], small.lines))
    scores = [
        (name, measure, value)
        for name, found in errors.items()
        for measure, value in zip(
            ("long_error_vox", "short_error_vox", "end_point_vox"), found, strict=True
        )
    ]
    mask = np.zeros(key_slice.hu.shape, dtype=bool)
    mask[x : x + prior.shape[0], y : y + prior.shape[1]] = candidates[winner]
    return PseudoMask(mask, (*scores, (winner, "winner", 1.0)))


def seeds(key_slice: KeySlice, ellipse: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Seeds of GrabCut, in OpenCV's numbers, same shape as the ellipse.

    Sure background outside the dilated box of the end points, probable background in it,
    probable foreground in the dilated ellipse, sure foreground in the eroded ellipse.
    """
    half = min(key_slice.lines.short_vox, key_slice.lines.long_vox) / 2
    points = key_slice.lines.points
    room = max(2.0, _AROUND_BOX * half)
    low, high = points.min(axis=0) - room, points.max(axis=0) + room
    x, y = np.arange(ellipse.shape[0])[:, None], np.arange(ellipse.shape[1])[None, :]
    depth = ndimage.distance_transform_edt(np.pad(ellipse, 1))[1:-1, 1:-1]
    distance = ndimage.distance_transform_edt(~ellipse)
    regions = np.full(ellipse.shape, cv2.GC_BGD, dtype=np.uint8)
    regions[(x >= low[0]) & (x <= high[0]) & (y >= low[1]) & (y <= high[1])] = cv2.GC_PR_BGD
    regions[distance <= max(1.0, _AROUND_ELLIPSE * half)] = cv2.GC_PR_FGD
    regions[depth > min(max(1.0, _CORE * half), depth.max() - 0.5)] = cv2.GC_FGD
    return regions


def windows(key_slice: KeySlice, regions: NDArray[np.uint8]) -> dict[str, Window]:
    """Windows of the runs: the display's if it is known, the core's mean -+50 and -+100 HU."""
    found = {}
    if key_slice.window_hu is not None:
        found["display"] = Window(*key_slice.window_hu)
    mean = float(key_slice.hu[regions == cv2.GC_FGD].mean())
    for margin in _MARGINS_HU:
        found[f"core_{margin:.0f}"] = Window(mean - margin, mean + margin)
    return found


def cut(grey: NDArray[np.uint8], regions: NDArray[np.uint8], seed: int) -> NDArray[np.bool_] | None:
    """One GrabCut run until it stands still, at most 25 iterations; None where it cannot be."""
    sure = (regions == cv2.GC_FGD) | (regions == cv2.GC_PR_FGD)
    if grey.min() == grey.max() or min(sure.sum(), (~sure).sum()) < _FEWEST_PIXELS:
        return None
    image, models = cv2.cvtColor(grey, cv2.COLOR_GRAY2BGR), np.zeros((2, 1, 65))
    state = regions.copy()
    mode = cv2.GC_INIT_WITH_MASK
    cv2.setRNGSeed(seed)
    for _ in range(_ITERATIONS):
        before = state.copy()
        try:
            cv2.grabCut(image, state, None, models[0], models[1], 1, mode)
        except cv2.error:  # a side without pixels, on some versions
            return None
        mode = cv2.GC_EVAL
        if np.array_equal(state, before):
            break
    mask: NDArray[np.bool_] = (state == cv2.GC_FGD) | (state == cv2.GC_PR_FGD)
    return mask


def seed_of(key_slice: KeySlice, run: str) -> int:
    """Seed of one run, a function of the identity of the key slice and the name of the run."""
    return draw(1 << 31, *key_slice.identity, run)


def _errors(mask: NDArray[np.bool_], key_slice: KeySlice) -> tuple[float, float, float]:
    lines, measured = key_slice.lines, Lines.from_mask(mask)
    if measured is None:
        return _EMPTY, _EMPTY, _EMPTY
    reach = 2 * key_slice.outward_vox
    return (
        abs(measured.long_vox - lines.long_vox - reach),
        abs(measured.short_vox - lines.short_vox - reach),
        float(end_point_vox(mask, lines.points).mean()),
    )


def _rank(errors: tuple[float, float, float], lines: Lines) -> tuple[float, float]:
    """Sum of what both axes are off beyond what is as good as equal, then the end points."""
    beyond = (
        max(0.0, error - max(_SAME_VOX, _SAME_SHARE * axis)) / axis
        for error, axis in zip(errors[:2], (lines.long_vox, lines.short_vox), strict=True)
    )
    return sum(beyond), errors[2]
