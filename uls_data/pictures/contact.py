"""Contact sheets: many lesions on one picture, each with its lines and masks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from uls_data.errors import CaseError, ManifestError
from uls_data.io import atomic_write, writing_to
from uls_data.manifest.choice import COLUMNS as CHOICE_COLUMNS
from uls_data.manifest.choice import Choice, is_reader, rank, voi_of
from uls_data.manifest.example import Example, read_examples, with_images
from uls_data.manifest.query import query, unknown_words
from uls_data.manifest.schema import arrow_schema
from uls_data.manifest.sorting import order, sorting
from uls_data.pictures.window import window_of
from uls_data.voi import CENTRE
from uls_data.volumes import read_volume

_PANEL = 220
_CAPTION = 46
_GAP = 6
_MARGIN = 1.6
_SMALLEST_VOX = 40
_BACKGROUND = (24, 24, 24)
_LINES = (255, 220, 60)
_PADDING = (70, 40, 70)
# Distinguishable with every common colour blindness (Okabe and Ito); the chosen mask is first.
_COLOURS = (
    (86, 180, 233),
    (230, 159, 0),
    (0, 158, 115),
    (204, 121, 167),
    (213, 94, 0),
    (240, 228, 66),
    (255, 255, 255),
)
# What some readers marked and others did not, inside the majority's mask and outside of it.
_DISPUTED_INSIDE, _DISPUTED_OUTSIDE, _OPACITY = (0, 158, 115), (213, 94, 0), 150
_COLUMNS = (
    *CHOICE_COLUMNS,
    *("voi_id", "image_path", "label_path", "image_voxels_sha256", "pad_value_hu"),
    *("recist_points_vox",),
    *("key_slice_voi", "long_axis_slice_voi", "predicted_dice", "recist_long_vox"),
    "uncertainty",
    *("key_slice_long_error_vox", "key_slice_short_error_vox"),
)


@dataclass(frozen=True)
class Tile:
    """One lesion of a sheet.

    Attributes
    ----------
    hu : ndarray, shape (x, y)
        Slice of the VOI.
    padded : ndarray, shape (x, y), bool
    masks : mapping of str to ndarray, shape (x, y), bool
        By layer; the first one is drawn alone as well.
    points : ndarray, shape (4, 2), or None
        End points of the lines.
    votes : ndarray, shape (x, y), or None
        How many of `readers` marked each pixel, where several did.
    readers : int
    window_hu : tuple of 2 float
    caption : tuple of str
        Two lines.
    """

    hu: NDArray[Any]
    padded: NDArray[np.bool_]
    masks: Mapping[str, NDArray[np.bool_]]
    points: NDArray[np.float64] | None
    window_hu: tuple[float, float]
    caption: tuple[str, str]
    votes: NDArray[np.integer] | None = None
    readers: int = 0


def contact_sheet(
    manifests: str | Path | Sequence[str | Path],
    to: str | Path,
    expression: str = "",
    *,
    limit: int = 48,
    columns: int = 2,
    sort: str | None = None,
) -> int:
    """Draw the lesions that meet an expression: slice with lines, all masks, and the chosen one.

    Where several readers outlined a lesion in 3D, the slice is the one on which they differ most,
    and the third panel colours the pixels that some of them marked and others did not.

    Parameters
    ----------
    manifests : path or sequence of paths
        Of builds with images.
    to : path
        PNG to write.
    expression : str
        As `query` takes it, over the rows of the layer that is to be judged.
    limit : int
        Lesions at most.
    columns : int
        Lesions side by side.
    sort : str, optional
        Manifest column; the smallest values come first (`-column`: the largest).

    Returns
    -------
    int
        Lesions drawn.

    Raises
    ------
    ManifestError
        No row with an image and a label meets the expression.
    """
    tiles = _tiles(manifests, expression, limit, sort)
    if not tiles:
        hints = "".join(f"\n  {hint}" for hint in unknown_words(expression))
        meets = f" meets {expression!r}" if expression else ""
        raise ManifestError(f"no VOI with an image{meets}: nothing to draw{hints}")
    with writing_to(to), atomic_write(Path(to)) as temporary:
        draw_sheet(tiles, columns).save(temporary, format="PNG", optimize=True)
    return len(tiles)


def _tiles(
    manifests: str | Path | Sequence[str | Path], expression: str, limit: int, sort: str | None
) -> list[Tile]:
    column, largest_first = sorting(sort) if sort is not None else ("", False)
    extra = [column] if column and column not in _COLUMNS else []
    rows = list(read_examples(manifests, [*_COLUMNS, *extra]))
    choice = Choice(example.row for example in rows)
    met = {int(at) for at in query(manifests, expression, ["status"]).index}
    vois: dict[tuple[Any, ...], list[Example]] = {}
    judged: dict[tuple[Any, ...], list[Example]] = {}
    for number, example in enumerate(with_images(rows)):
        if not choice.counts(example.row) or example.row["label_path"] is None:
            continue
        vois.setdefault(voi_of(example.row), []).append(example)
        if number in met and example.row["image_path"] is not None:
            judged.setdefault(voi_of(example.row), []).append(example)
    # Of the layers that meet the expression the preferred one is judged.
    chosen = [max(masks, key=lambda mask: rank(mask.row)) for masks in judged.values()]
    if column:
        kind = arrow_schema().field(column).type
        values = pa.array([_value(example.row, column) for example in chosen], kind)
        chosen = [chosen[at] for at in order(values, largest_first)]
    return [_tile(example, vois[voi_of(example.row)]) for example in chosen[:limit]]


def _value(row: Mapping[str, Any], column: str) -> Any:
    return row[column]


def _tile(example: Example, layers: Sequence[Example]) -> Tile:
    row = example.row
    z = row["long_axis_slice_voi"] if row["key_slice_voi"] is None else row["key_slice_voi"]
    if z is None:  # a mask of one voxel has no axes
        z = CENTRE[2]
    votes = None
    try:
        solid = {
            one.row["layer"]: read_volume(one.label, one.label.parent).ras != 0
            for one in [example, *(one for one in layers if one is not example)]
        }
        read = [one.row["layer"] for one in layers if is_reader(one.row)]
        if len(read) > 1 and row["key_slice_voi"] is None:
            counts: NDArray[np.uint8] = np.stack([solid[name] for name in read]).sum(
                axis=0, dtype=np.uint8
            )
            disputed = ((counts > 0) & (counts < len(read))).sum(axis=(0, 1))
            z = int(disputed.argmax()) if disputed.any() else z
            votes = counts[:, :, z]
        hu = np.asarray(read_volume(example.image, example.image.parent).ras[:, :, z])
        masks = {name: mask[:, :, z] for name, mask in solid.items()}
    except CaseError as error:
        raise ManifestError(f"{row['voi_id']}: {error.detail}") from error
    points = row["recist_points_vox"]
    facts = [f"{row['layer']}"]
    if row["predicted_dice"] is not None:
        facts.append(f"predicted Dice {row['predicted_dice']:.2f}")
    if votes is not None and row["uncertainty"] is not None:
        facts.append(f"mean Dice of its readers {1 - row['uncertainty']:.2f}")
    errors = row["key_slice_long_error_vox"], row["key_slice_short_error_vox"]
    if row["recist_long_vox"] is not None and None not in errors:
        facts.append(f"{row['recist_long_vox']:.0f} px, errors {errors[0]:+.1f} {errors[1]:+.1f}")
    return Tile(
        hu=hu,
        padded=hu == row["pad_value_hu"],
        masks=masks,
        points=None if points is None else np.asarray(points, np.float64).reshape(4, 2),
        window_hu=window_of(row["lesion_type"] or "unknown", hu, next(iter(masks.values()))),
        caption=(f"{row['voi_id']}  {row['lesion_type']}", ", ".join(facts)),
        votes=votes,
        readers=len(read),
    )


def draw_sheet(tiles: Sequence[Tile], columns: int = 2) -> Image.Image:
    """Draw tiles as one picture.

    Parameters
    ----------
    tiles : sequence of Tile
    columns : int
        Tiles side by side.
    """
    width, height = 3 * _PANEL + 2 * _GAP, _PANEL + _CAPTION
    columns = min(columns, len(tiles))
    rows = -(-len(tiles) // columns)
    size = (columns * (width + 3 * _GAP) + _GAP, rows * (height + _GAP) + _GAP)
    sheet = Image.new("RGB", size, _BACKGROUND)
    for number, tile in enumerate(tiles):
        row, column = divmod(number, columns)
        at = (_GAP + column * (width + 3 * _GAP), _GAP + row * (height + _GAP))
        sheet.paste(draw_tile(tile), at)
    return sheet


def draw_tile(tile: Tile) -> Image.Image:
    """Draw one lesion as three panels: slice and lines, all masks, the chosen one and the votes."""
    (x0, y0), side = _view(tile)
    scale = _PANEL / side
    grey = _grey(tile, x0, y0, side)
    panels = [grey.copy() for _ in range(3)]
    if tile.votes is not None:
        panels[2] = _disputed(panels[2], tile, x0, y0, side)
    if tile.points is not None:
        for panel in panels[:1]:
            pen = ImageDraw.Draw(panel)
            for a, b in (tile.points[:2], tile.points[2:]):
                ends = [_at(point, x0, y0, side, scale) for point in (a, b)]
                pen.line([*ends[0], *ends[1]], fill=_LINES, width=2)
    for number, mask in reversed(list(enumerate(tile.masks.values()))):
        colour = _COLOURS[min(number, len(_COLOURS) - 1)]
        _outline(panels[1], mask, x0, y0, side, scale, colour)
        if number == 0:
            _outline(panels[2], mask, x0, y0, side, scale, colour)
    picture = Image.new("RGB", (3 * _PANEL + 2 * _GAP, _PANEL + _CAPTION), _BACKGROUND)
    for number, panel in enumerate(panels):
        picture.paste(panel, (number * (_PANEL + _GAP), 0))
    pen = ImageDraw.Draw(picture)
    font = ImageFont.load_default(12)
    pen.text((2, _PANEL + 2), tile.caption[0], fill=(230, 230, 230), font=font)
    pen.text((2, _PANEL + 17), tile.caption[1], fill=(180, 180, 180), font=font)
    at = 2.0
    for number, name in enumerate(tile.masks):
        colour = _COLOURS[min(number, len(_COLOURS) - 1)]
        pen.text((at, _PANEL + 32), name, fill=colour, font=font)
        at += pen.textlength(name, font=font) + 10
    return picture


def _view(tile: Tile) -> tuple[tuple[int, int], int]:
    """Square part of the slice to show: its low corner and its side, in pixels."""
    spots: list[NDArray[Any]] = [np.argwhere(mask) for mask in tile.masks.values()]
    if tile.points is not None:
        spots.append(tile.points)
    where = np.concatenate([spot for spot in spots if len(spot)])
    low, high = where.min(axis=0), where.max(axis=0)
    side = int(max(_SMALLEST_VOX, _MARGIN * (high - low).max()))
    side = min(side, *tile.hu.shape)
    corner = np.clip(np.rint((low + high - side) / 2), 0, np.array(tile.hu.shape) - side)
    return (int(corner[0]), int(corner[1])), side


def _grey(tile: Tile, x0: int, y0: int, side: int) -> Image.Image:
    """Slice as radiologists see it: patient right on the left, front on top."""
    low, high = tile.window_hu
    part = (slice(x0, x0 + side), slice(y0, y0 + side))
    share = np.clip((tile.hu[part].astype(np.float64) - low) / (high - low), 0, 1)
    values = np.repeat((share * 255).astype(np.uint8)[:, :, None], 3, axis=2)
    values[tile.padded[part]] = _PADDING
    # x grows to the patient's right, which is the picture's left; y to the front, its top.
    turned = np.ascontiguousarray(values.transpose(1, 0, 2)[::-1, ::-1])
    return Image.fromarray(turned).resize((_PANEL, _PANEL), Image.Resampling.BICUBIC)


def _disputed(panel: Image.Image, tile: Tile, x0: int, y0: int, side: int) -> Image.Image:
    """Colour what only some readers marked: by more than half of them, or by fewer."""
    assert tile.votes is not None
    votes = tile.votes[x0 : x0 + side, y0 : y0 + side]
    values = np.zeros((*votes.shape, 4), np.uint8)
    some = (votes > 0) & (votes < tile.readers)
    values[some & (2 * votes > tile.readers)] = (*_DISPUTED_INSIDE, _OPACITY)
    values[some & (2 * votes <= tile.readers)] = (*_DISPUTED_OUTSIDE, _OPACITY)
    turned = np.ascontiguousarray(values.transpose(1, 0, 2)[::-1, ::-1])
    over = Image.fromarray(turned).resize(panel.size, Image.Resampling.NEAREST)
    return Image.alpha_composite(panel.convert("RGBA"), over).convert("RGB")


def _at(
    point: NDArray[np.float64], x0: int, y0: int, side: int, scale: float
) -> tuple[float, float]:
    x, y = float(point[0]) - x0 + 0.5, float(point[1]) - y0 + 0.5
    return (side - x) * scale, (side - y) * scale


def _outline(
    panel: Image.Image,
    mask: NDArray[np.bool_],
    x0: int,
    y0: int,
    side: int,
    scale: float,
    colour: tuple[int, int, int],
) -> None:
    """Draw the edges between a mask's pixels and what lies outside it."""
    part = np.pad(mask[x0 : x0 + side, y0 : y0 + side], 1)
    pen = ImageDraw.Draw(panel)
    for x, y in np.argwhere(part[1:, :] != part[:-1, :]):
        column = (side - x) * scale
        pen.line([column, (side - y) * scale, column, (side - y + 1) * scale], fill=colour, width=2)
    for x, y in np.argwhere(part[:, 1:] != part[:, :-1]):
        row = (side - y) * scale
        pen.line([(side - x) * scale, row, (side - x + 1) * scale, row], fill=colour, width=2)
