"""A small picture of one VOI: three planes through the click, with the mask's outline."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from uls_data.pictures.window import window_of
from uls_data.voi import CENTRE

# The library is loaded to draw: who only asks where a thumbnail lies does not wait for it.
if TYPE_CHECKING:
    from PIL import Image

PANEL = 160
_GAP = 2
SIZE = (3 * PANEL + 2 * _GAP, PANEL)
SUFFIX = ".jpg"
_QUALITY = 66
LONGEST_BYTES = 1 << 20
_MARGIN = 1.7
_LEAST_MM = 36.0
_LEAST_VOX = 24
# Files may state any spacing; a picture needs one that a screen can show.
_WIDEST_RATIO = 20.0
# Pictures are drawn as numbers of a palette: grey up to 249, then these colours.
_GREYS = 249
_COLOURS = (
    (18, 18, 20),  # beyond the VOI
    (70, 40, 70),  # padding, hatched
    (108, 66, 108),
    (86, 180, 233),  # outline
    (73, 120, 146),  # mask without an image
    (255, 220, 60),  # the reader's lines
)
_BEYOND, _PADDING, _HATCH, _OUTLINE, _COVERED, _LINES = range(250, 256)
_CLICK = (255, 92, 92)
_PALETTE = bytes(
    value
    for colour in (*((round(n * 255 / _GREYS),) * 3 for n in range(_GREYS + 1)), *_COLOURS)
    for value in colour
)
_NO_IMAGE = 60
_STRIPES = np.add.outer(np.arange(PANEL), np.arange(PANEL)) % 8 < 2
# Each plane as (axis to the right, axis downwards), both against their direction in RAS:
# the patient's right on the left, front on top or on the left, head on top.
_PLANES = ((0, 1), (0, 2), (1, 2))


@dataclass(frozen=True)
class Planes:
    """Three slices of a volume through the click: axial (x, y), coronal (x, z), sagittal (y, z)."""

    axial: NDArray[Any]
    coronal: NDArray[Any]
    sagittal: NDArray[Any]

    @staticmethod
    def of(voxels: NDArray[Any]) -> Planes:
        """Copy the slices of a VOI, shape (256, 256, 128), through index (128, 128, 64)."""
        x, y, z = CENTRE
        return Planes(voxels[:, :, z].copy(), voxels[:, y, :].copy(), voxels[x, :, :].copy())

    def __iter__(self) -> Any:
        return iter((self.axial, self.coronal, self.sagittal))


def thumbnail_path(label_path: str) -> str:
    """Where the thumbnail of a label lies: `a/labels/b/c.nii.gz` gives `a/thumbnails/b/c.jpg`."""
    path = PurePosixPath(label_path)
    name = path.name
    for suffix in (".zip", ".gz", ".nii"):
        name = name.removesuffix(suffix)
    parts = list(path.parts[:-1])
    at = max((number for number, part in enumerate(parts) if part == "labels"), default=None)
    if at is None:
        parts.append("thumbnails")
    else:
        parts[at] = "thumbnails"
    return PurePosixPath(*parts, name + SUFFIX).as_posix()


def draw_thumbnail(
    mask: Planes,
    box: tuple[Sequence[int], Sequence[int]],
    spacing_mm: Sequence[float] | None,
    *,
    hu: Planes | None = None,
    pad_value_hu: int | None = None,
    lesion_type: str = "unknown",
    points: Sequence[float] | None = None,
) -> Image.Image:
    """Draw a lesion.

    Parameters
    ----------
    mask : Planes
        Non-zero is lesion.
    box : (low, high)
        First index and one past the last index of the whole mask, by axis.
    spacing_mm : sequence of 3 float, or None
        None shows voxels as cubes.
    hu : Planes, optional
        Without an image the mask is drawn on plain grey.
    pad_value_hu : int, optional
        Sentinel; shown hatched, in a colour that no tissue has.
    lesion_type : str
        Chooses the window, see `uls_data.pictures.window.window_of`.
    points : sequence of 8 float, optional
        x, y of the end points of the two lines, where they lie on the axial slice shown.

    Returns
    -------
    Image, RGB, `SIZE` pixels
    """
    mask = Planes(*(plane != 0 for plane in mask))
    spacing = _shown_spacing(spacing_mm)
    low, high = (np.asarray(edge, np.float64) for edge in box)
    centre = (low + high) / 2
    side = max(_MARGIN * float(((high - low) * spacing).max()), _LEAST_MM)
    side = max(side, _LEAST_VOX * float(spacing.min()))
    window = (0.0, 1.0)
    if hu is not None:
        window = window_of(lesion_type, hu.axial, mask.axial)
    drawn = np.full((PANEL, SIZE[0]), _BEYOND, np.uint8)
    views = []
    from PIL import Image, ImageDraw

    greys: Any = hu or (None, None, None)
    for number, (axes, grey, inside) in enumerate(zip(_PLANES, greys, mask, strict=True)):
        own = list(axes)
        view = _View(inside.shape, centre[own], spacing[own], side, number * (PANEL + _GAP))
        views.append(view)
        panel = drawn[:, view.left : view.left + PANEL]
        _draw_panel(panel, view, grey, inside, window, pad_value_hu)
    picture = Image.frombytes("P", SIZE, drawn.tobytes())
    picture.putpalette(_PALETTE)
    if points is not None:
        pen = ImageDraw.Draw(picture)
        ends = [views[0].at(point) for point in np.asarray(points, np.float64).reshape(4, 2)]
        for start, end in (ends[:2], ends[2:]):
            # A line that leaves its panel would cross the others.
            if all(0 <= at < PANEL for point in (start, end) for at in point):
                pen.line([*start, *end], fill=_LINES, width=1)
    picture = picture.convert("RGB")
    pen = ImageDraw.Draw(picture)
    for axes, view in zip(_PLANES, views, strict=True):
        x, y = view.at([CENTRE[axis] for axis in axes])
        if 3 <= x < PANEL - 3:
            x += view.left
            pen.line([x - 3, y, x + 3, y], fill=_CLICK)
            pen.line([x, y - 3, x, y + 3], fill=_CLICK)
    return picture


def _shown_spacing(spacing_mm: Sequence[float] | None) -> NDArray[np.float64]:
    spacing = np.ones(3) if spacing_mm is None else np.asarray(spacing_mm, np.float64)
    if not np.isfinite(spacing).all() or (spacing <= 0).any():
        return np.ones(3)
    least = float(np.clip(spacing.min(), 1e-3, 1e3))
    return np.clip(spacing, least, least * _WIDEST_RATIO)


@dataclass(frozen=True)
class _View:
    """Which part of a plane a panel shows; a panel's pixels run against both axes."""

    shape: tuple[int, ...]
    centre: NDArray[np.float64]
    spacing: NDArray[np.float64]
    side_mm: float
    left: int

    def sampled(self, axis: int) -> NDArray[np.int64]:
        """Voxel behind every pixel along an axis; -1 beyond the VOI."""
        offset = (0.5 - (np.arange(PANEL) + 0.5) / PANEL) * self.side_mm / self.spacing[axis]
        found = np.floor(self.centre[axis] + offset).astype(np.int64)
        return np.where((found >= 0) & (found < self.shape[axis]), found, -1)

    def at(self, index: Sequence[float] | NDArray[Any]) -> tuple[float, float]:
        """Pixel of a voxel's centre."""
        x, y = (
            PANEL
            * (0.5 - (float(index[a]) + 0.5 - self.centre[a]) * self.spacing[a] / self.side_mm)
            for a in (0, 1)
        )
        return x, y


def _draw_panel(
    panel: NDArray[np.uint8],
    view: _View,
    hu: NDArray[Any] | None,
    mask: NDArray[np.bool_],
    window: tuple[float, float],
    pad_value_hu: int | None,
) -> None:
    columns, rows = view.sampled(0), view.sampled(1)
    within = _block(rows), _block(columns)
    covered = np.zeros(panel.shape, bool)
    covered[within] = _seen(mask, columns[within[1]], rows[within[0]])
    if hu is None:
        panel[within] = _NO_IMAGE
        panel[covered] = _COVERED
    else:
        _draw_grey(panel, view, hu, window)
        padded = _seen(hu, columns[within[1]], rows[within[0]]) == pad_value_hu
        if padded.any():
            part = panel[within]
            part[padded] = _PADDING
            part[padded & _STRIPES[within]] = _HATCH
    from uls_data.measure.shape import core_of

    panel[covered & ~core_of(covered)] = _OUTLINE


def _block(sampled: NDArray[np.int64]) -> slice:
    """Pixels along an axis behind which there are voxels: they lie together."""
    inside = np.flatnonzero(sampled >= 0)
    return slice(int(inside[0]), int(inside[-1]) + 1) if len(inside) else slice(0, 0)


def _seen(plane: NDArray[Any], columns: NDArray[Any], rows: NDArray[Any]) -> NDArray[Any]:
    """Voxels behind the pixels of a panel, shape (rows, columns)."""
    seen: NDArray[Any] = plane.T[rows][:, columns]
    return seen


def _draw_grey(
    panel: NDArray[np.uint8], view: _View, hu: NDArray[Any], window: tuple[float, float]
) -> None:
    """Draw windowed values, interpolated between voxels, where the VOI reaches."""
    low, high = window
    half = view.side_mm / view.spacing / 2
    first = np.clip(view.centre - half, 0, view.shape)
    last = np.clip(view.centre + half, 0, view.shape)
    ends = [view.at(edge - 0.5) for edge in (last, first)]
    (left, top), (right, bottom) = ((round(x), round(y)) for x, y in ends)
    if right <= left or bottom <= top:
        return
    start, stop = np.floor(first).astype(int), np.ceil(last).astype(int)
    part = hu[start[0] : stop[0], start[1] : stop[1]].astype(np.float32)
    grey = (np.clip((part - low) / (high - low), 0, 1) * _GREYS).astype(np.uint8)
    from PIL import Image

    turned = Image.fromarray(np.ascontiguousarray(grey.T[::-1, ::-1]))
    # In the turned part's pixels: its corner is the far end of both axes.
    box = (*(stop - last).tolist(), *(stop - first).tolist())
    fitted = turned.resize((right - left, bottom - top), Image.Resampling.BILINEAR, box)
    panel[top:bottom, left:right] = np.array(fitted)


def encode_thumbnail(picture: Image.Image, numbers: Mapping[str, float]) -> bytes:
    """Bytes of a picture, with numbers that were measured on the same voxels inside."""
    file = io.BytesIO()
    note = json.dumps(dict(sorted(numbers.items())), separators=(",", ":"), allow_nan=False)
    # JPEG: a third of WebP's time for twice its bytes; full colour, or outlines blur.
    picture.save(file, format="JPEG", quality=_QUALITY, subsampling=0, comment=note.encode())
    return file.getvalue()


def thumbnail_numbers(data: bytes) -> dict[str, float] | None:
    """Return the numbers inside a thumbnail; None where the bytes are not one of our thumbnails."""
    from PIL import Image

    if len(data) > LONGEST_BYTES:
        return None
    try:
        with Image.open(io.BytesIO(data), formats=["JPEG"]) as picture:
            if picture.size != SIZE:
                return None
            found = json.loads(picture.info.get("comment", b""))
    except (OSError, ValueError, RecursionError):
        return None
    if not isinstance(found, dict):
        return None
    kept = {
        name: float(value)
        for name, value in found.items()
        if isinstance(value, int | float) and abs(value) < 1e12
    }
    return kept if len(kept) == len(found) else None
