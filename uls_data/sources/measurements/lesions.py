"""Lesions of Crowds Cure Cancer: which of many annotators' measurements are of one lesion.

The rule: two measurements are of one lesion where they lie on one slice, or on slices at
most `slices_apart` from each other, and the hulls of their four end points share a point: so they
do wherever two lines cross, and where one measurement lies inside the other. What is
of one lesion with a third is of one lesion with each other. Every reader's measurement of a
lesion is kept.

Lesions are numbered by their lowest slice, then by the first end point there; readers of
a lesion by the hash of their name, then by slice and end points. Neither hangs on the order of
the table's rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from uls_data import geometry
from uls_data.errors import CaseError
from uls_data.lesions.instances import Lesion, Mark
from uls_data.measure.lines import Lines
from uls_data.outcome import Reason
from uls_data.profile import Profile
from uls_data.recipe.reader import Ccc18
from uls_data.sources.case_files import CaseFiles
from uls_data.sources.measured import measured_lesions
from uls_data.sources.measurement import Measurement
from uls_data.sources.measurements.find import CrowdMeasurement, windows_of
from uls_data.sources.opening import Opened, Opening

if TYPE_CHECKING:
    from uls_data.dicom.series import Series

MAXIMUM_MEASUREMENTS = 2_000
# The viewer showed lengths with one decimal, and end points may be rounded to a tenth.
_LENGTH_MM, _LENGTH_SHARE = 0.15, 0.01


@dataclass(frozen=True)
class _Placed:
    """A measurement and the slice that it lies on, counted from the feet."""

    measurement: Measurement
    slice_vox: int

    @property
    def place(self) -> tuple[float, ...]:
        """What tells two measurements of one reader apart."""
        return (float(self.slice_vox), *self.measurement.lines.points.ravel().tolist())


def open_measured(opening: Opening, reader: Ccc18) -> Opened:
    """Open one series with its rows of the table; see `crowd_lesions`."""
    series = opening.series(reader.policy)
    lesions, marks = crowd_lesions(opening.case, opening.raw, reader, series, opening.profile)
    return opening.of_series(series, lesions, marks)


def crowd_lesions(
    case: CaseFiles, raw: Path, reader: Ccc18, series: Series, profile: Profile
) -> tuple[list[Lesion], list[Mark]]:
    """Lesions of a series, each with the measurements of its readers, and the rows that are none.

    Raises
    ------
    CaseError
        `too_many_instances`; `unexpected_axis_order`: the slices are not axial.
    """
    measurements, marks = crowd_measurements(case, raw, reader, series)
    own = replace(case, measurements=measurements)
    slices = slices_of(series)
    lesions = measured_lesions(own, series.volume, slices, reader.coordinates, profile)
    names: dict[int, list[str]] = {}
    for one in measurements:
        names.setdefault(one.number, []).append(one.source_lesion_id)
    return [replace(it, source_lesion_id="+".join(names[it.index])) for it in lesions], marks


def crowd_measurements(
    case: CaseFiles, raw: Path, reader: Ccc18, series: Series
) -> tuple[tuple[Measurement, ...], list[Mark]]:
    """Rows of a series as readers' measurements of numbered lesions, and the rows that are none.

    Raises
    ------
    CaseError
        `too_many_instances`.
    """
    if len(case.measurements) > MAXIMUM_MEASUREMENTS:
        raise CaseError(
            Reason.TOO_MANY_INSTANCES,
            f"{len(case.measurements):,} rows for one series, at most "
            f"{MAXIMUM_MEASUREMENTS:,} expected",
        )
    slices, windows = slices_of(series), windows_of(case.slices, raw)
    spacing_mm = geometry.spacing_mm(series.volume.stored_affine)
    columns, rows, count = series.volume.stored.shape
    placed: list[_Placed] = []
    marks: list[Mark] = []
    for one in case.measurements:
        try:
            if one.skipped is not None:
                raise CaseError(*one.skipped)
            if one.slice_name not in slices:
                detail = f"none of the {count} slices of the series is {one.slice_name}"
                raise CaseError(Reason.KEY_SLICE_MISSING, detail)
            checked = _checked(one, spacing_mm, (columns, rows))
        except CaseError as error:
            marks.append(Mark(error.reason, error.detail, one.source_lesion_id))
            continue
        at = slices[one.slice_name]
        window = windows.get(series.sop_instance_uids[at])
        placed.append(_Placed(replace(checked, window_hu=window), at))
    placed, repeats = _without_repeats(placed)
    return _numbered(placed, reader.slices_apart), marks + repeats


def groups_of(
    lines: Sequence[Lines], slices_vox: Sequence[int], slices_apart: int
) -> list[list[int]]:
    """Part measurements into lesions by the rule above: their indices, ascending in each.

    Parameters
    ----------
    lines : sequence of Lines
        In one frame of columns and rows.
    slices_vox : sequence of int
        Slice of each.
    slices_apart : int
    """
    if not lines:
        return []
    points = np.stack([one.points for one in lines])
    low, high, at = points.min(axis=1), points.max(axis=1), np.array(slices_vox)
    owner = list(range(len(lines)))

    def first(number: int) -> int:
        while owner[number] != number:
            owner[number] = owner[owner[number]]
            number = owner[number]
        return number

    for number in range(len(lines)):
        near = np.abs(at[:number] - at[number]) <= slices_apart
        near &= ((low[:number] <= high[number]) & (low[number] <= high[:number])).all(axis=1)
        for other in np.flatnonzero(near).tolist():
            if hulls_meet(points[number], points[other]):
                a, b = sorted((first(number), first(other)))
                owner[b] = a
    groups: dict[int, list[int]] = {}
    for number in range(len(lines)):
        groups.setdefault(first(number), []).append(number)
    return list(groups.values())


def hulls_meet(one: NDArray[np.float64], other: NDArray[np.float64]) -> bool:
    """Whether the convex hulls of two sets of points, each of shape (n, 2), share a point.

    They do not if, and only if, a line along some side of one of them parts them (separating
    axis). All connections of two points are tried: the sides are among them.
    """
    sides = [b - a for points in (one, other) for a, b in combinations(points, 2)]
    along = np.array(sides)
    # Across every side; and along the axes, which part points, and segments of one line.
    normals = np.concatenate([along[:, ::-1] * [1.0, -1.0], np.eye(2)])
    a, b = normals @ one.T, normals @ other.T
    apart = (a.max(axis=1) < b.min(axis=1)) | (b.max(axis=1) < a.min(axis=1))
    return not bool(apart.any())


def slices_of(series: Series) -> dict[str, int]:
    """Find the stored index of a slice by its SOPInstanceUID, or by its number from the feet."""
    count = series.volume.stored.shape[2]
    down = series.volume.orientation.flips[2]
    numbers = {str(count - 1 - at if down else at): at for at in range(count)}
    return numbers | {uid: at for at, uid in enumerate(series.sop_instance_uids) if uid}


def _checked(
    one: Measurement, spacing_mm: tuple[float, ...], shape: tuple[int, int]
) -> Measurement:
    """Return a measurement whose long axis is the longer one, with lengths as the table says."""
    found = one.lines.length_mm(spacing_mm)
    if isinstance(one, CrowdMeasurement):
        _check_lengths(one, found)
    if problem := one.lines.problem(shape):
        raise CaseError(Reason.DEGENERATE_LINES, problem)
    if found[0] < found[1]:
        return replace(one, lines=Lines(one.lines.short, one.lines.long))
    return one


def _check_lengths(one: CrowdMeasurement, found: tuple[float, float]) -> None:
    """Refuse end points that are not as far apart as the table says.

    Such a row is of another slice than it names, or of an image of another size: its lines
    cannot be trusted, and a wrong mask would be worse than none.
    """
    for axis, stated, mm in zip(("long", "short"), one.length_mm, found, strict=True):
        if stated is None or abs(stated - mm) <= max(_LENGTH_MM, _LENGTH_SHARE * mm):
            continue
        vox = one.lines.long_vox if axis == "long" else one.lines.short_vox
        unit = abs(stated - vox) <= max(_LENGTH_MM, _LENGTH_SHARE * vox)
        raise CaseError(
            Reason.ANNOTATION_MISMATCH,
            f"the table says {stated:.2f} mm for the {axis} axis, its end points lie "
            f"{mm:.2f} mm apart on the slice"
            + (
                f"; the length is that in pixels: set the recipe's columns.{axis}_length_mm to null"
                if unit
                else ""
            ),
        )


def _without_repeats(placed: list[_Placed]) -> tuple[list[_Placed], list[Mark]]:
    """Leave out what one reader drew twice, to the last digit."""
    seen: dict[tuple[int, tuple[float, ...]], str] = {}
    kept, marks = [], []
    for one in placed:
        name = one.measurement.source_lesion_id
        first = seen.setdefault((one.measurement.reader, one.place), name)
        if first == name:
            kept.append(one)
        else:
            detail = f"the same end points by the same annotator as {first}"
            marks.append(Mark(Reason.DUPLICATE, detail, name))
    return kept, marks


def _numbered(placed: list[_Placed], slices_apart: int) -> tuple[Measurement, ...]:
    """Measurements by number of their lesion and of their reader in it."""
    lines = [one.measurement.lines for one in placed]
    groups = groups_of(lines, [one.slice_vox for one in placed], slices_apart)
    lesions = sorted(
        ([placed[at] for at in group] for group in groups),
        key=lambda members: min((one.place, one.measurement.reader) for one in members),
    )
    return tuple(
        replace(one.measurement, number=number, reader=reader)
        for number, members in enumerate(lesions, start=1)
        for reader, one in enumerate(
            sorted(members, key=lambda one: (one.measurement.reader, one.place)), start=1
        )
    )
