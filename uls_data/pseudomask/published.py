"""The engine that made the challenge's released weak masks, with its faults, for replay.

Read from what it does, and checked against its results: the ellipse half equals the released
mask pixel for pixel on 1,485 of the 4,755 key slices checked, where the engine kept its ellipse.
Its GrabCut half sees the key slice alone; the original scales grey values by the extremes of
the windowed volume, which are the window's own wherever the slice reaches both.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.draw import ellipse as filled_ellipse
from skimage.measure import regionprops

from uls_data.errors import CaseError
from uls_data.measure.lines import Lines
from uls_data.outcome import Reason
from uls_data.pseudomask.grabcut import seed_of
from uls_data.pseudomask.key_slice import KeySlice, PseudoMask

_ITERATIONS = 25
_ELLIPSE_PENALTY_PERCENT = 2.5
_BOX_MARGIN_VOX = 5
_CORE_SHARE = 5  # erosion and dilation by the short axis divided by this
_FAILED = 9999.0
# Tables give at most 6 significant digits: more are rounding errors of the frame's changes.
_TABLE_SHIFT_VOX = 0.5
_TABLE_DECIMALS = 6


@dataclass(frozen=True)
class Faults:
    """What the released engine does wrong; every switch can be turned off alone.

    Attributes
    ----------
    truncated : bool
        Coordinates are cut to whole pixels instead of rounded.
    long_for_short : bool
        The error of the short axis is measured against the long axis.
    window_from_ring : bool
        The second and third window span the values of the ring around the core and the zeros
        outside it, +-50 and +-100, instead of the core's mean +-50 and +-100.
    floor_erased : bool
        Foreground pixels at the window's floor become background.
    centre_as_low : bool
        A display window's centre and width are used as its low and high value (CCC18).
    """

    truncated: bool = True
    long_for_short: bool = True
    window_from_ring: bool = True
    floor_erased: bool = True
    centre_as_low: bool = False


RELEASED = Faults()
# Of CCC18 it read centre and width, and took them for low and high.
RELEASED_CCC18 = Faults(centre_as_low=True)


def published(key_slice: KeySlice, faults: Faults = RELEASED) -> PseudoMask:
    """Mask as the released engine makes it: of GrabCut under some window, or its ellipse.

    Raises
    ------
    CaseError
        `degenerate_lines`: the released engine loses this lesion.
    """
    lines = table_lines(key_slice)
    columns, rows = key_slice.hu.shape
    png = published_ellipse(lines, (columns, rows), faults)
    if png is None:
        raise CaseError(Reason.DEGENERATE_LINES, "the released engine loses it: no ellipse fits")
    # Rows are y and columns x of the RAS slice from here on, as in the original.
    ellipse, box = png[::-1, ::-1], _box(lines, (columns, rows))[::-1, ::-1]
    image = key_slice.hu.T.astype(np.float64)
    seeds = _seeds(ellipse, box)
    candidates = {"ellipse": ellipse}
    for name, window in _windows(key_slice, image, seeds, faults).items():
        candidates[name] = _grabcut(image, seeds, window, faults, seed_of(key_slice, name))
    long, short = lines.long_vox, lines.long_vox if faults.long_for_short else lines.short_vox
    errors = {name: _error_percent(mask, long, short) for name, mask in candidates.items()}
    errors["ellipse"] += _ELLIPSE_PENALTY_PERCENT
    winner = min(errors, key=lambda name: errors[name])
    scores = [(name, "axis_error_percent", error) for name, error in errors.items()]
    return PseudoMask(candidates[winner].T.copy(), (*scores, (winner, "winner", 1.0)))


def published_ellipse(
    lines: Lines, shape: tuple[int, int], faults: Faults = RELEASED
) -> NDArray[np.bool_] | None:
    """Ellipse half of the engine.

    Parameters
    ----------
    lines : Lines
        In columns and rows of the PNG, as the table writes them.
    shape : tuple of 2 int
        Columns and rows.

    Returns
    -------
    ndarray, shape (row, column), bool; None where the engine loses the lesion
        (no ellipse fits the line pixels, or it or its box leaves the slice).
    """
    columns, rows = shape
    whole = lines.points.astype(int) if faults.truncated else np.rint(lines.points).astype(int)
    drawn: NDArray[np.uint8] = np.zeros((rows, columns), dtype=np.uint8)
    for start, end in (whole[:2], whole[2:]):
        cv2.line(drawn, start.tolist(), end.tolist(), 1)
    line = drawn > 0
    fitted = _fit(np.argwhere(line).astype(np.float64))
    if fitted is None:
        return None
    row, column, a, b, angle = fitted
    inside = np.stack(filled_ellipse(row, column, 2 * a, 2 * b, rotation=angle), axis=1)
    if len(inside) == 0 or (inside >= (rows, columns)).any() or (inside < (-rows, -columns)).any():
        return None
    ellipse = np.zeros((rows, columns), dtype=bool)
    # Negative indices count from the far side, as they did in the original.
    ellipse[inside[:, 0], inside[:, 1]] = True
    near = np.s_[:, :]
    if inside.min() >= 0:
        (top, left), (bottom, right) = inside.min(axis=0), inside.max(axis=0)
        near = np.s_[max(0, top - 2) : bottom + 3, max(0, left - 2) : right + 3]
    part = ellipse[near]
    while part[line[near]].all() and not (line & ~ellipse).any():
        part[...] = ndimage.binary_erosion(part)
    part[...] = ndimage.binary_dilation(part)
    result: NDArray[np.bool_] = (ellipse | line) & _box(lines, shape)
    return result if result.any() else None


def table_lines(key_slice: KeySlice) -> Lines:
    """Lines in columns and rows of the PNG, as the table writes them.

    Undoes the flip into RAS and the half pixel between corners and centres of pixels, which
    the recipes of both sources that the engine worked on take off.
    """
    last = np.array(key_slice.hu.shape) - 1
    points = last - key_slice.lines.points + _TABLE_SHIFT_VOX
    return Lines.of(np.round(points, _TABLE_DECIMALS))


def _box(lines: Lines, shape: tuple[int, int]) -> NDArray[np.bool_]:
    """Annotated bounding box, (row, column); one that starts outside the slice is lost."""
    low = np.trunc(np.round(lines.points.min(axis=0) - _BOX_MARGIN_VOX, _TABLE_DECIMALS))
    high = np.trunc(np.round(lines.points.max(axis=0) + _BOX_MARGIN_VOX, _TABLE_DECIMALS)) + 1
    box = np.zeros(shape[::-1], dtype=bool)
    box[int(low[1]) : int(high[1]), int(low[0]) : int(high[0])] = True
    return box


def _fit(points: NDArray[np.float64]) -> tuple[float, float, float, float, float] | None:
    """Least-squares ellipse (Halir and Flusser): centre, half-axes (longer first), angle."""
    if len(points) < 5:
        return None
    origin = points.mean(axis=0)
    scale = (points - origin).std()
    x, y = ((points - origin) / scale).T
    quadratic = np.stack([x * x, x * y, y * y], axis=1)
    linear = np.stack([x, y, np.ones_like(x)], axis=1)
    try:
        reduce = -np.linalg.inv(linear.T @ linear) @ (quadratic.T @ linear).T
        scatter = quadratic.T @ quadratic + quadratic.T @ linear @ reduce
        vectors = np.linalg.eig(np.array([[0, 0, 0.5], [0, -1, 0], [0.5, 0, 0]]) @ scatter)[1]
    except np.linalg.LinAlgError:
        return None
    # Two of the three may be a complex pair, where the lines are symmetric; never the ellipse.
    fits = np.flatnonzero((4 * vectors[0] * vectors[2] - vectors[1] ** 2).real > 0)
    if len(fits) != 1:
        return None
    a, b, c = conic = vectors[:, fits[0]].real
    d, e, f = reduce @ conic
    # Conic a x^2 + b x y + c y^2 + d x + e y + f = 0 about its centre.
    centre = np.linalg.solve([[2 * a, b], [b, 2 * c]], [-d, -e])
    level = -(f + (d * centre[0] + e * centre[1]) / 2)
    values, axes = np.linalg.eigh(np.array([[a, b / 2], [b / 2, c]]) / level)
    if not (values > 0).all():
        return None
    half_long, half_short = 1 / np.sqrt(values)
    row, column = centre * scale + origin
    angle = float(np.arctan2(axes[1, 0], axes[0, 0]) % np.pi)
    return float(row), float(column), float(half_long * scale), float(half_short * scale), angle


def _seeds(ellipse: NDArray[np.bool_], box: NDArray[np.bool_]) -> NDArray[np.uint8]:
    # A short axis below 5 px gives 0 iterations, by which SciPy means "until nothing changes":
    # the core is eroded away, the box grows over the slice, and no GrabCut is run.
    steps = int(regionprops(ellipse.astype(np.uint8))[0].axis_minor_length // _CORE_SHARE)
    seeds = np.full(ellipse.shape, cv2.GC_BGD, dtype=np.uint8)
    seeds[ndimage.binary_dilation(box & ~ellipse, iterations=steps)] = cv2.GC_PR_BGD
    seeds[ndimage.binary_dilation(ellipse)] = cv2.GC_PR_FGD
    seeds[ndimage.binary_erosion(ellipse, iterations=steps)] = cv2.GC_FGD
    return seeds


def _windows(
    key_slice: KeySlice, image: NDArray[np.float64], seeds: NDArray[np.uint8], faults: Faults
) -> dict[str, tuple[float, float]]:
    windows = {}
    if key_slice.window_hu is not None:
        low, high = key_slice.window_hu
        if faults.centre_as_low:
            low, high = (low + high) / 2, high - low
        windows["display"] = float(low), float(high)
    if faults.window_from_ring:
        ring = np.where(seeds == cv2.GC_PR_FGD, image, 0)
        low, high = float(ring.min()), float(ring.max())
    else:
        core = image[seeds == cv2.GC_FGD]
        low = high = float(core.mean()) if core.size else 0.0
    for margin in (50, 100):
        windows[f"ellipse_{margin}"] = low - margin, high + margin
    return windows


def _grabcut(
    image: NDArray[np.float64],
    seeds: NDArray[np.uint8],
    window: tuple[float, float],
    faults: Faults,
    seed: int,
) -> NDArray[np.bool_]:
    """One run on the whole slice; an empty mask where it cannot be done."""
    low, high = window
    # As the original clips: high first, then low, which matters where they are swapped.
    grey = np.maximum(np.minimum(image, high), low)
    none = np.zeros(image.shape, dtype=bool)
    if not (seeds == cv2.GC_FGD).any() or grey.max() == grey.min():
        return none
    grey = ((grey - grey.min()) * 255 / (grey.max() - grey.min())).astype(np.uint8)
    cv2.setRNGSeed(seed)
    models = np.zeros((2, 1, 65))
    try:
        found = cv2.grabCut(
            cv2.cvtColor(grey, cv2.COLOR_GRAY2BGR),
            np.ascontiguousarray(seeds),
            None,
            models[0],
            models[1],
            _ITERATIONS,
            cv2.GC_INIT_WITH_MASK,
        )[0]
    except cv2.error:
        return none
    mask = (found == cv2.GC_FGD) | (found == cv2.GC_PR_FGD)
    if faults.floor_erased:
        mask &= grey > 0
    labels, count = ndimage.label(ndimage.binary_closing(mask))
    if count == 0:
        return none
    largest: NDArray[np.bool_] = labels == 1 + np.bincount(labels.ravel())[1:].argmax()
    return largest


def _error_percent(mask: NDArray[np.bool_], long: float, short: float) -> float:
    """Mean difference of both axes (of the ellipse of equal moments) from the lines'."""
    found: list[Any] = regionprops(mask.astype(np.uint8))
    if not found or found[0].axis_minor_length == 0:
        return _FAILED
    measured = found[0].axis_major_length, found[0].axis_minor_length
    errors = (
        abs(100 - 100 * line / axis) for line, axis in zip((long, short), measured, strict=True)
    )
    return float(sum(errors)) / 2
