"""Lesions of measurements: which readers' lines belong to one lesion, and what else was drawn.

`uls_data.sources.measurements.hulls` decides which belong to one lesion; every reader's
measurement of a lesion is kept. Lesions are numbered by their lowest slice, then by the first end
point there; readers of a lesion by the hash of their name, then by slice and end points. Neither
depends on the order of rows or files. Outlines on one slice follow, then lines that are alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from uls_data.errors import CaseError
from uls_data.ids import track_id
from uls_data.lesions.drawn_lines import differs_much
from uls_data.lesions.instances import Lesion, Mark, ras_voxels
from uls_data.measure.lines import Lines
from uls_data.outcome import Flag, Reason
from uls_data.profile import Profile
from uls_data.recipe.measurements import Measurements
from uls_data.recipe.model import Recipe
from uls_data.sources.case_files import CaseFiles
from uls_data.sources.measured import measured_lesions
from uls_data.sources.measurement import Measurement
from uls_data.sources.measurements.address import numbers_of
from uls_data.sources.measurements.completion import completed
from uls_data.sources.measurements.display import windows_of
from uls_data.sources.measurements.hulls import groups_of, hulls_meet
from uls_data.sources.measurements.lengths import lengths_differ
from uls_data.sources.measurements.pairing import Pair, pairs_of
from uls_data.sources.measurements.placing import Drawn, Grid, slices_of
from uls_data.sources.measurements.requests import Requests
from uls_data.sources.measurements.statement import Kind, Statement
from uls_data.sources.measurements.unpaired import Sources, line_alone, outlined, where
from uls_data.sources.opening import Opened, Opening

MAXIMUM_MEASUREMENTS = 2_000
_Numbered = list[tuple[int, Mark]]
_Windows = Mapping[int, tuple[float, float] | None]


def open_measured(opening: Opening, reader: Measurements) -> Opened:
    """Open one series or volume with what was drawn on it; see `lesions_of`."""
    case, raw = opening.case, opening.raw
    opening.selected.update(one.source_lesion_id for one in case.measurements)
    case = _followed(case, opening.recipe)
    said = [one for one in case.measurements if isinstance(one, Statement)]
    places = [place for one in said for place in (one.place, one.asked) if place is not None]
    if reader.images is None:
        series = opening.series(reader.policy)
        needed = any(place.image_number is not None for place in places)
        grid = Grid(
            series.volume,
            slices_of(series.volume, series.sop_instance_uids),
            numbers_of(series.headers) if needed else {},
            reader.nearest_vox,
            shared=series.shared_uids,
        )
        by_uid = windows_of(series.headers)
        windows = {at: by_uid.get(uid) for at, uid in enumerate(series.sop_instance_uids) if uid}
        requests = Requests(said, grid, series.sop_instance_uids)
        lesions, marks = lesions_of(case, raw, reader, grid, requests, windows, opening.profile)
        return opening.of_series(series, lesions, marks)
    assert case.image is not None
    volume = opening.read(case.image)
    own = volume
    as_stored = volume.orientation.axes[2] == 2
    if not as_stored:
        own = replace(volume, stored=volume.ras, stored_affine=volume.affine)
    grid = Grid(own, slices_of(own), {}, reader.nearest_vox, as_stored)
    requests = Requests(said, grid, ())
    lesions, marks = lesions_of(case, raw, reader, grid, requests, {}, opening.profile)
    return opening.annotated(volume, lesions, marks)


def _followed(case: CaseFiles, recipe: Recipe) -> CaseFiles:
    """Case whose statements say what follows their lesions, also by the table's own words."""
    patient = recipe.patient_of(case.case_id)
    if patient is None:
        return case
    said = [
        replace(one, follows=track_id("table", recipe.source, patient, one.named))
        if isinstance(one, Statement) and one.named
        else one
        for one in case.measurements
    ]
    return replace(case, measurements=tuple(said))


@dataclass(frozen=True)
class _Made:
    """A measurement that can be used, where it came from, and what is to be known of it."""

    measurement: Measurement
    pair: Pair
    differs: bool

    @property
    def place(self) -> tuple[float, ...]:
        """What tells two measurements of one reader apart."""
        points = self.measurement.lines.points.ravel().tolist()
        return (float(self.pair.long.slice_vox), *points)

    @property
    def statement(self) -> Statement:
        """What it was stated in, first."""
        return self.pair.long.statement


def lesions_of(
    case: CaseFiles,
    raw: Path,
    reader: Measurements,
    grid: Grid,
    requests: Requests,
    windows: _Windows,
    profile: Profile,
) -> tuple[list[Lesion], list[Mark]]:
    """Lesions of a scan, each with the measurements of its readers, and the rows that are none.

    Parameters
    ----------
    windows : mapping of int to (low, high) in HU, or None
        Display windows by stored slice.

    Raises
    ------
    CaseError
        `too_many_instances`; `unexpected_axis_order`: the slices are not axial.
    """
    waiting = requests.waiting()
    drawn, unplaced = _drawn(case, grid, frozenset(one.request for one in waiting))
    drawn, guessed = completed(drawn, grid, lone_lines=reader.lone_lines == "complete")
    made, alone, unusable, repeats = _made(drawn, reader, grid, windows)
    groups, asked = _numbered(made, reader.slices_apart, requests, waiting)
    own = replace(case, measurements=tuple(one.measurement for group in groups for one in group))
    outward_vox = reader.coordinates.outward_vox if reader.coordinates is not None else 0.0
    slices = {str(at): at for at in range(grid.volume.stored.shape[2])}
    lesions = measured_lesions(own, grid.volume, slices, outward_vox, profile)
    sources = Sources(raw, case.annotations)
    points = [one for one in drawn if one.shape.kind == Kind.POINT]
    found = [requests.lesion(one, number) for number, one in asked]
    for lesion, group in zip(lesions, groups, strict=True):
        click, points = _click(group, points, reader.slices_apart)
        names = dict.fromkeys(name for one in group for name in one.pair.name.split("+"))
        names |= {} if click is None else {click.name: None}
        seen = {
            Flag.STATED_LENGTH_DIFFERS: any(one.differs for one in group),
            Flag.AXIS_ASSUMED: any(one.statement.number in guessed for one in group),
        }
        found.append(
            replace(
                lesion,
                source_lesion_id="+".join(names),
                columns=lesion.columns
                + sources.columns(group[0].statement)
                + requests.columns(group[0].statement)
                + _track(one.statement for one in group),
                flags=lesion.flags + tuple(flag for flag, raised in seen.items() if raised),
                click=None if click is None else _voxel(click, grid),
            )
        )
    found.sort(key=lambda lesion: lesion.index)
    for one in drawn:
        if one.shape.kind == Kind.OUTLINE:
            found.append(outlined(one, len(found) + 1, grid, sources))
    for one in alone:
        found.append(line_alone(one, len(found) + 1, grid, sources))
    told = sorted([*unplaced, *unusable, *requests.marks], key=lambda pair: pair[0])
    marks = [mark for _, mark in told]
    marks += repeats
    marks += [Mark(Reason.POINT_MARK, where("a point", one), one.name) for one in points]
    return found, marks


def _track(group: Iterable[Statement]) -> tuple[tuple[str, str], ...]:
    """Column of what follows a lesion; none where its readers follow it by several."""
    found = {one.follows for one in group} - {""}
    return (("lesion_track_id", found.pop()),) if len(found) == 1 else ()


def _drawn(case: CaseFiles, grid: Grid, waiting: frozenset[str]) -> tuple[list[Drawn], _Numbered]:
    """All that was drawn, on its slices, and what cannot be placed, by number of the statement."""
    if len(case.measurements) > MAXIMUM_MEASUREMENTS:
        raise CaseError(
            Reason.TOO_MANY_INSTANCES,
            f"{len(case.measurements):,} rows for one series, at most "
            f"{MAXIMUM_MEASUREMENTS:,} expected",
        )
    drawn: list[Drawn] = []
    marks: _Numbered = []
    for one in case.measurements:
        assert isinstance(one, Statement)
        if one.asked is not None and one.request in waiting:
            continue
        try:
            if one.skipped is not None:
                raise CaseError(*one.skipped)
            drawn += grid.placed(one)
        except CaseError as error:
            marks.append((one.number, Mark(error.reason, error.detail, one.source_lesion_id)))
    return drawn, marks


def _made(
    drawn: Sequence[Drawn], reader: Measurements, grid: Grid, windows: _Windows
) -> tuple[list[_Made], list[Drawn], _Numbered, list[Mark]]:
    """Measurements of two lines, lines alone, pairs that cannot be used, and repetitions."""
    pairs, alone = pairs_of([one for one in drawn if one.shape.kind == Kind.LINE])
    made: list[_Made] = []
    marks: _Numbered = []
    for pair in pairs:
        try:
            made.append(_checked(pair, reader, grid, windows))
        except CaseError as error:
            mark = Mark(error.reason, error.detail, pair.name)
            marks.append((pair.long.statement.number, mark))
    repeats: list[Mark] = []
    seen: dict[tuple[object, ...], str] = {}
    kept = [one for one in made if not _repeats(one.statement, one.place, seen, repeats)]
    lone = []
    for line in alone:
        ends = sorted(tuple(point) for point in line.points.tolist())
        place = (float(line.slice_vox), *(number for end in ends for number in end))
        if not _repeats(line.statement, place, seen, repeats):
            lone.append(line)
    return kept, lone, marks, repeats


def _checked(pair: Pair, reader: Measurements, grid: Grid, windows: _Windows) -> _Made:
    """Return a measurement whose long axis is the longer one, with lengths as they are stated."""
    columns, rows, _ = grid.volume.stored.shape
    lines, statement = pair.lines, pair.long.statement
    found = lines.length_mm(grid.spacing_mm)
    stated = pair.long.shape.stated_mm, pair.short.shape.stated_mm
    wrong = lengths_differ(lines, stated, found)
    differs = bool(wrong)
    if statement.asked is not None:
        # A report's rounded sizes are another measurement, and no check of this one.
        pairs = zip(stated, sorted(found, reverse=True), strict=True)
        differs = any(differs_much(one, mm) for one, mm in pairs)
    elif wrong and reader.stated_lengths == "fail":
        raise CaseError(Reason.ANNOTATION_MISMATCH, wrong)
    if problem := lines.problem((columns, rows)):
        raise CaseError(Reason.DEGENERATE_LINES, problem)
    if found[0] < found[1]:
        lines = Lines(lines.short, lines.long)
        stated = stated if statement.asked is not None else stated[::-1]
    measurement = Measurement(
        number=0,
        source_lesion_id=pair.name,
        slice_name=str(pair.long.slice_vox),
        lines=lines,
        reader=statement.reader,
        window_hu=windows.get(pair.long.slice_vox),
        lesion_type=statement.lesion_type,
        stated_mm=stated,
    )
    return _Made(measurement, pair, differs)


def _repeats(
    statement: Statement,
    place: tuple[float, ...],
    seen: dict[tuple[object, ...], str],
    marks: list[Mark],
) -> bool:
    """Whether one reader drew something twice, to the last digit, or a file says it again."""
    name = statement.source_lesion_id
    keys = [("reader", statement.drawn_by, *place)]
    keys += [("track", statement.track, *place)] if statement.track else []
    first = next((seen[key] for key in keys if key in seen), None)
    if first is not None:
        detail = f"the same end points by the same annotator as {first}"
        marks.append(Mark(Reason.DUPLICATE, detail, name))
        return True
    seen.update(dict.fromkeys(keys, name))
    return False


def _numbered(
    made: Sequence[_Made], slices_apart: int, requests: Requests, waiting: Sequence[Statement]
) -> tuple[list[list[_Made]], list[tuple[int, Statement]]]:
    """Measurements by lesion, with numbers of their lesion and of their reader in it.

    Lesions that wait for lines have numbers among them, which they keep.
    """
    groups = groups_of(
        [one.measurement.lines for one in made],
        [one.pair.long.slice_vox for one in made],
        slices_apart,
        [one.statement.lesion for one in made],
        [one.statement.track for one in made],
    )
    keyed: list[tuple[tuple[Any, ...], list[_Made] | Statement]] = []
    for members in ([made[at] for at in group] for group in groups):
        places = [place for one in members if (place := requests.place(one.statement))]
        slice_vox, *points = min(one.place for one in members)
        keyed.append((places[0] if places else (slice_vox, 0, *points), members))
    keyed += [(requests.place(one) or (0.0, 1, one.request), one) for one in waiting]
    lesions: list[list[_Made]] = []
    asked: list[tuple[int, Statement]] = []
    for number, (_, it) in enumerate(sorted(keyed, key=lambda pair: pair[0]), start=1):
        if isinstance(it, Statement):
            asked.append((number, it))
            continue
        by_reader = sorted(it, key=lambda one: (one.measurement.reader, one.place))
        lesions.append(
            [
                replace(one, measurement=replace(one.measurement, number=number, reader=reader))
                for reader, one in enumerate(by_reader, start=1)
            ]
        )
    return lesions, asked


def _click(
    group: Sequence[_Made], points: list[Drawn], slices_apart: int
) -> tuple[Drawn | None, list[Drawn]]:
    """First point that somebody marked in a lesion, and the points that are none of it."""
    inside = [
        point
        for point in points
        if any(
            point.statement.number == one.statement.number
            or (
                abs(point.slice_vox - one.pair.long.slice_vox) <= slices_apart
                and hulls_meet(point.points, one.pair.lines.points)
            )
            for one in group
        )
    ]
    if not inside:
        return None, points
    return inside[0], [point for point in points if point is not inside[0]]


def _voxel(point: Drawn, grid: Grid) -> tuple[int, int, int] | None:
    """RAS index of the voxel that a point lies in; None outside the scan."""
    column, row = np.rint(point.points[0]).astype(np.int64).tolist()
    shape = grid.volume.stored.shape
    if not (0 <= column < shape[0] and 0 <= row < shape[1]):
        return None
    stored = np.array([[column, row, point.slice_vox]], np.int32)
    x, y, z = ras_voxels(stored, grid.volume)[0].tolist()
    return x, y, z
