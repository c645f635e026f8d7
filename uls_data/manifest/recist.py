"""A reader's lines, as a row holds them."""

from __future__ import annotations

from uls_data.manifest.row import Row
from uls_data.measure.lines import Lines
from uls_data.voi import VOI_SHAPE


def recist_of(row: Row) -> tuple[Lines, int] | None:
    """Lines in indices (x, y) of the row's VOI, and the slice that they lie on.

    None where there are none, or their slice lies beyond the VOI.
    """
    points, at = row["recist_points_vox"], row["key_slice_voi"]
    if at is None or not 0 <= at < VOI_SHAPE[2] or len(points or ()) != 8:
        return None
    return Lines.of(points), int(at)


def outward_of(row: Row) -> float:
    """How far the lesion reaches beyond the end points of a row's lines, in pixels.

    0 where the row does not say: of masks, and of manifests before there was the column.
    """
    return row.get("recist_outward_vox") or 0.0
