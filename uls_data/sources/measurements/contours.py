"""Lines and points of RT structure sets: a structure that encloses nothing is what was measured.

A contour of two points is a line, whether it is called open or closed; so is an open one that is
nearly straight. A POINT is a click. Closed contours are outlines in 3D, which the reader
`dicom_objects` makes masks of.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from uls_data.dicom.rtstruct import Contour, Roi, read_rtstruct
from uls_data.outcome import Reason
from uls_data.recipe.measurements import Measurements
from uls_data.sources.measurements.statement import Kind, Place, Shape, Statement

# How far an open contour may lie off the straight line between its ends, by its length.
_STRAIGHT = 0.02


def read_structures(path: Path, root: Path, reader: Measurements) -> list[Statement]:
    """Statements of a structure set's structures whose name fits the recipe.

    Raises
    ------
    CaseError
        As `read_rtstruct`.
    """
    pattern = re.compile(reader.structures)
    found = read_rtstruct(root / path, pattern)
    series = next(iter(found.series)) if len(found.series) == 1 else ""
    frame = next(iter(found.frames)) if len(found.frames) == 1 else ""
    return [_statement(roi, path, series, frame) for roi in found.matching(pattern)]


def _statement(roi: Roi, path: Path, series: str, frame: str) -> Statement:
    shapes = [shape for contour in roi.contours if (shape := _shape(contour)) is not None]
    named = any(shape.slice_name for shape in shapes)
    skipped = None
    if roi.problem is not None:
        skipped = roi.problem.reason, roi.problem.detail
    elif not shapes:
        detail = (
            f"structure {roi.number}: {len(roi.contours)} contours, none of them a line or a point"
        )
        if roi.contours:
            detail += "; a recipe with `dicom_objects` makes masks of outlines"
        skipped = Reason.NOT_MEASURED, detail
    return Statement(
        source_lesion_id=f"roi-{roi.number}",
        source=path,
        # Its slices tell more surely; a frame of reference is the last resort.
        place=Place(series="" if named else series, frame="" if named or series else frame),
        shapes=tuple(shapes),
        skipped=skipped,
    )


def _shape(contour: Contour) -> Shape | None:
    """Return what a contour draws; None for an outline, and for an open curve."""
    points = contour.points_mm * np.array([-1.0, -1.0, 1.0])
    kind = Kind.LINE
    if contour.kind == "POINT" and len(points) == 1:
        kind = Kind.POINT
    elif contour.kind.startswith("OPEN") and len(points) > 2 and _is_straight(points):
        points = points[[0, -1]]
    elif len(points) != 2 or contour.kind == "POINT" or np.array_equal(points[0], points[1]):
        return None
    ends = tuple(tuple(point) for point in points.tolist())
    return Shape(kind, ends, slice_name=contour.sop_uid or "")


def _is_straight(points: NDArray[np.float64]) -> bool:
    along = points[-1] - points[0]
    length = float(np.linalg.norm(along))
    if length == 0:
        return False
    off = np.linalg.norm(np.cross(points - points[0], along / length), axis=1)
    return float(off.max()) <= _STRAIGHT * length
