"""Thumbnails with the numbers measured on the same voxels: made at build time, or caught up."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from uls_data.geometry import Triple, bounding_box
from uls_data.manifest.row import Column, Row
from uls_data.measure.shape import Numbers, measure_hu, measure_mask
from uls_data.pictures.thumbnail import Planes, draw_thumbnail, encode_thumbnail
from uls_data.voi import CENTRE, VOI_SHAPE

# Columns of the manifest that a thumbnail needs.
THUMBNAIL_COLUMNS: tuple[Column, ...] = (
    *("spacing_x_mm", "spacing_y_mm", "spacing_z_mm", "lesion_type"),
    *("recist_points_vox", "key_slice_voi"),
)


@dataclass(frozen=True)
class Subject:
    """What a thumbnail shows of a row: few bytes, so that it may wait while a VOI is encoded.

    Attributes
    ----------
    mask : ndarray, bool
        The part of the label that just holds the mask.
    start : tuple of 3 int
        VOI index of its first voxel.
    planes : Planes
        Of the label.
    """

    mask: NDArray[np.bool_]
    start: Triple
    planes: Planes

    @staticmethod
    def of(label: NDArray[Any], within: tuple[Triple, Triple] = ((0, 0, 0), VOI_SHAPE)) -> Subject:
        """Take what is needed of a label.

        Parameters
        ----------
        label : ndarray, shape (256, 256, 128), RAS; non-zero is lesion, at least one voxel
        within : tuple of 2 tuples of 3 int
            First index, and one past the last, where it is known that all else is 0.
        """
        low, high = within
        x, y, z = low
        part = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
        inside = label[part]
        box, (i, j, k) = bounding_box(inside if inside.dtype == bool else inside != 0)
        return Subject(box.copy(), (x + i, y + j, z + k), Planes.of(label))


def make_thumbnail(
    subject: Subject, row: Row, image: NDArray[Any] | None, pad_value_hu: int | None
) -> tuple[bytes, Numbers]:
    """Draw and measure one mask of one VOI.

    Parameters
    ----------
    row : dict
        With `THUMBNAIL_COLUMNS`, as far as known.
    image : ndarray, shape (256, 256, 128), or None
        HU, RAS.

    Returns
    -------
    bytes
        A JPEG that carries the numbers.
    dict of str to float
        See `uls_data.measure.shape`.
    """
    mask, start = subject.mask, subject.start
    sides = row.get("spacing_x_mm"), row.get("spacing_y_mm"), row.get("spacing_z_mm")
    known = [side for side in sides if side is not None]
    spacing_mm = known if len(known) == 3 else None
    numbers = measure_mask(mask, start, spacing_mm)
    hu = None
    if image is not None:
        numbers |= measure_hu(mask, start, image, pad_value_hu)
        hu = Planes.of(image)
    picture = draw_thumbnail(
        subject.planes,
        (start, [a + n for a, n in zip(start, mask.shape, strict=True)]),
        spacing_mm,
        hu=hu,
        pad_value_hu=pad_value_hu,
        lesion_type=row.get("lesion_type") or "unknown",
        points=row.get("recist_points_vox") if row.get("key_slice_voi") == CENTRE[2] else None,
    )
    return encode_thumbnail(picture, numbers), numbers


def thumbnail_later(
    label: NDArray[Any],
    within: tuple[Triple, Triple],
    row: Row,
    image: NDArray[Any],
    pad_value_hu: int,
) -> Callable[[], bytes]:
    """Take what a thumbnail needs of a label, and return what makes it.

    Parameters
    ----------
    within : tuple of 2 tuples of 3 int
        As for `Subject.of`.
    label, row, image, pad_value_hu
        As for `make_thumbnail`; the label and the row may change afterwards.
    """
    subject = Subject.of(label, within)
    shown = cast(Row, {name: row.get(name) for name in THUMBNAIL_COLUMNS})
    return lambda: make_thumbnail(subject, shown, image, pad_value_hu)[0]
