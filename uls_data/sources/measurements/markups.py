"""Markups of 3D Slicer: lines, points and closed curves in patient space (.mrk.json, .acsv).

A file names no scan: it belongs to the only one in its folder, or in the nearest folder above.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from uls_data.errors import CaseError
from uls_data.ids import readable
from uls_data.outcome import Reason
from uls_data.recipe.measurements import Measurements
from uls_data.sources.measurements.statement import Kind, Place, Point, Shape, Statement
from uls_data.tables import read_bytes, real_of

MAXIMUM_BYTES = 8 << 20
_MOST_MARKUPS, _MOST_POINTS = 2_000, 50_000
_FARTHEST_MM = 1e6
_LONGEST_MM = 1e4
_SIGNS = {"LPS": (-1.0, -1.0, 1.0), "RAS": (1.0, 1.0, 1.0)}
_KINDS = {"Line": Kind.LINE, "ClosedCurve": Kind.OUTLINE, "Fiducial": Kind.POINT}


def read_markups(path: Path, root: Path, reader: Measurements) -> list[Statement]:
    """Statements of a file of markups; what is not a line, point or closed curve says so.

    Raises
    ------
    CaseError
        `annotation_unreadable`, `too_large`, `unreadable` or `io_error`.
    """
    data = read_bytes(root / path, root, MAXIMUM_BYTES)
    name = readable(path.as_posix())
    found = _of_acsv(data, name) if path.suffix.lower() == ".acsv" else _of_json(data, name)
    return [
        Statement(
            source_lesion_id=f"markup-{number}",
            source=path,
            place=Place(folder=path.parent),
            shapes=shapes,
            skipped=skipped,
        )
        for number, (shapes, skipped) in enumerate(found, start=1)
    ]


_Found = tuple[tuple[Shape, ...], tuple[Reason, str] | None]


def _of_json(data: bytes, name: str) -> Iterator[_Found]:
    try:
        said = json.loads(data)
    except (ValueError, RecursionError):
        raise _unreadable(name, "is not JSON") from None
    markups = said.get("markups") if isinstance(said, dict) else None
    if not isinstance(markups, list) or len(markups) > _MOST_MARKUPS:
        raise _unreadable(name, "holds no list of markups")
    for one in markups:
        try:
            yield _markup(one, name), None
        except CaseError as error:
            yield (), (error.reason, error.detail)


def _markup(one: Any, name: str) -> tuple[Shape, ...]:
    if not isinstance(one, dict):
        raise _unreadable(name, "holds a markup that is none")
    kind = _KINDS.get(str(one.get("type")))
    signs = _SIGNS.get(str(one.get("coordinateSystem")))
    units = one.get("coordinateUnits", "mm")
    units = units[0] if isinstance(units, list) and units else units
    if kind is None:
        raise CaseError(Reason.NOT_MEASURED, f"{name}: a markup of another type than line or point")
    if signs is None or units != "mm":
        raise _unreadable(name, "expected coordinateSystem LPS or RAS, and coordinateUnits mm")
    points = list(_points(one.get("controlPoints"), signs, name))
    if kind == Kind.POINT:
        return tuple(Shape(kind, (point,)) for point in points)
    if (kind == Kind.LINE and len(points) != 2) or len(points) < 2:
        detail = f"{name}: a {kind} of {len(points)} points that are set"
        raise CaseError(Reason.NOT_MEASURED, detail)
    if kind == Kind.OUTLINE and len(points) < 3:
        raise CaseError(Reason.NOT_MEASURED, f"{name}: an outline of {len(points)} points")
    return (Shape(kind, tuple(points), stated_mm=_length(one) if kind == Kind.LINE else None),)


def _points(said: Any, signs: Sequence[float], name: str) -> Iterator[Point]:
    """Points that somebody set, in RAS mm."""
    if not isinstance(said, list) or len(said) > _MOST_POINTS:
        raise _unreadable(name, "holds a markup without control points")
    for one in said:
        if not isinstance(one, dict):
            raise _unreadable(name, "holds a control point that is none")
        if one.get("positionStatus", "defined") == "defined":
            yield _point(one.get("position"), signs, name)


def _point(said: Any, signs: Sequence[float], name: str) -> Point:
    numbers = said if isinstance(said, list) and len(said) == 3 else []
    found = tuple(
        float(number) * sign
        for number, sign in zip(numbers, signs, strict=False)
        if isinstance(number, int | float) and abs(number) <= _FARTHEST_MM
    )
    if len(found) != 3:
        raise _unreadable(name, "holds a point that is not a place in a scan")
    return found


def _length(one: dict[str, Any]) -> float | None:
    """Length that is stated besides; None where there is none in mm."""
    said = one.get("measurements")
    for measurement in said if isinstance(said, list) else ():
        if not isinstance(measurement, dict) or measurement.get("name") != "length":
            continue
        value, units = measurement.get("value"), measurement.get("units")
        if isinstance(value, int | float) and units == "mm" and 0 <= value <= _LONGEST_MM:
            return float(value)
    return None


def _of_acsv(data: bytes, name: str) -> Iterator[_Found]:
    """Annotations of Slicer 4: a ruler has two points, a fiducial one; in RAS."""
    lines = data.decode("ascii", "replace").splitlines()
    if len(lines) > _MOST_POINTS:
        raise CaseError(Reason.TOO_LARGE, f"{name}: {len(lines):,} lines")
    points = [
        _point([real_of(cell.strip()) for cell in cells[1:4]], _SIGNS["RAS"], name)
        for cells in (line.split("|") for line in lines)
        if cells[0] == "point" and len(cells) >= 4
    ]
    kind = {1: Kind.POINT, 2: Kind.LINE}.get(len(points))
    if kind is None:
        raise CaseError(Reason.NOT_MEASURED, f"{name}: {len(points)} points, no ruler or fiducial")
    yield (Shape(kind, tuple(points)),), None


def _unreadable(name: str, what: str) -> CaseError:
    return CaseError(Reason.ANNOTATION_UNREADABLE, f"{name}: {what}; save it from Slicer again")
