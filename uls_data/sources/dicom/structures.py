"""Structures of one object: the voxels of each, or why it has none; and points that are clicks."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from uls_data import geometry
from uls_data.dicom.objects import NOTHING, FreeText, Region
from uls_data.dicom.placement import place_segment
from uls_data.dicom.referred import kind_of
from uls_data.dicom.rtstruct import Filled, Roi, rasterise, read_rtstruct
from uls_data.dicom.seg import Code, Segment, Segmentation, read_seg
from uls_data.dicom.series import Series
from uls_data.errors import CaseError
from uls_data.geometry import Affine, Triple
from uls_data.ids import track_id
from uls_data.outcome import AnnotationScope, Flag, LesionType, Reason
from uls_data.recipe.model import Recipe
from uls_data.recipe.reader import DicomObjects, Readers

_EVERY = re.compile(r"(?s).*")
_Grid = tuple[Triple, Affine, Sequence[str]]


@dataclass(frozen=True)
class Structure:
    """A structure whose name fits the recipe: its voxels, or why there are none.

    Attributes
    ----------
    name : str
        `roi-N` or `segment-N`.
    region : Region
        Stored voxels of the scan.
    flags : tuple of Flag
    problem : (Reason, str) or None
    path : Path
        Of its object, relative to the raw root.
    columns : tuple of (column, value)
        What the recipe tells of it by names.
    reader : int or None
        Who marked it, where several readers are told apart.
    """

    name: str
    region: Region
    flags: tuple[Flag, ...] = ()
    problem: tuple[Reason, str] | None = None
    path: Path = Path()
    columns: tuple[tuple[str, str], ...] = ()
    reader: int | None = None


@dataclass(frozen=True)
class Click:
    """A point that somebody set.

    Attributes
    ----------
    name : str
        `roi-N`.
    voxel : tuple of 3 int, or None
        RAS index in the scan of the voxel that holds it; may lie outside. None: there is no point.
    detail : str
        Why there is none.
    """

    name: str
    voxel: Triple | None = None
    detail: str = ""


@dataclass(frozen=True)
class Drawn:
    """What is drawn in one object.

    Attributes
    ----------
    structures : tuple of Structure
    clicks : tuple of Click
    others : int
        Structures that the recipe does not select.
    flags : frozenset of Flag
        Of the object.
    """

    structures: tuple[Structure, ...]
    clicks: tuple[Click, ...]
    others: int
    flags: frozenset[Flag]


def read_object(
    path: Path, case_id: str, reader: DicomObjects, recipe: Recipe, series: Series
) -> Drawn:
    """Read the structures of one object that the recipe selects.

    Raises
    ------
    CaseError
        The object cannot be read.
    """
    volume = series.volume
    grid = (volume.stored.shape, volume.stored_affine, series.sop_instance_uids)
    patient = recipe.patient_of(case_id)
    if _is_structure_set(path, reader):
        return _structure_set(path, patient, reader, recipe, series, grid)
    pattern = re.compile(reader.structures)
    segmentation = read_seg(path, pattern)
    segments = segmentation.matching(pattern)
    found = [
        replace(
            _of_segment(segmentation, one, grid),
            columns=_columns(
                recipe, segmentation.description, one.label, (one.anatomy, one.property_type)
            )
            + _track(recipe, patient, segmentation.description, one.label, one.tracking_uid),
            reader=_reader_of(one.label, reader.readers),
        )
        for one in segments
    ]
    flags = frozenset() if segmentation.has_preamble else frozenset({Flag.NO_PREAMBLE})
    return Drawn(tuple(found), (), len(segmentation.segments) - len(segments), flags)


def _is_structure_set(path: Path, reader: DicomObjects) -> bool:
    kind = reader.kinds[0] if len(reader.kinds) == 1 else kind_of(path)
    return kind == "rtstruct"


def _structure_set(
    path: Path,
    patient: str | None,
    reader: DicomObjects,
    recipe: Recipe,
    series: Series,
    grid: _Grid,
) -> Drawn:
    pattern = re.compile(reader.structures)
    structure_set = read_rtstruct(path, pattern if reader.clicks is None else _EVERY)
    flags = set() if structure_set.has_preamble else {Flag.NO_PREAMBLE}
    structures, clicks, others = list[Structure](), list[Click](), 0
    for roi in structure_set.rois:
        if _is_click(reader, structure_set.description, roi.name):
            clicks.append(_click(roi, series))
        elif roi.name.matching(pattern) is not None:
            columns = _columns(recipe, structure_set.description, roi.name)
            columns += _track(recipe, patient, structure_set.description, roi.name)
            whose = _reader_of(roi.name, reader.readers)
            structures.append(replace(_of_roi(roi, grid, flags), columns=columns, reader=whose))
        else:
            others += 1
    return Drawn(tuple(structures), tuple(clicks), others, frozenset(flags))


def _is_click(reader: DicomObjects, description: FreeText, name: FreeText) -> bool:
    if reader.clicks is None:
        return False
    pattern = re.compile(reader.clicks)
    return any(text.matching(pattern) is not None for text in (description, name))


def _click(roi: Roi, series: Series) -> Click:
    name = f"roi-{roi.number}"
    if roi.problem is not None:
        return Click(name, detail=roi.problem.detail)
    points = [one.points_mm for one in roi.contours if one.kind == "POINT"]
    if len(points) != 1 or len(points[0]) != 1 or len(roi.contours) != 1:
        found = f"{len(roi.contours)} contours, {len(points)} of them points"
        return Click(name, detail=f"structure {roi.number}: expected one point, found {found}")
    ras_mm = points[0] * np.array([-1.0, -1.0, 1.0])
    x, y, z = np.rint(geometry.to_vox(series.volume.affine, ras_mm))[0].astype(int).tolist()
    return Click(name, (x, y, z))


def _columns(
    recipe: Recipe, description: FreeText, name: FreeText, codes: Sequence[Code | None] = ()
) -> tuple[tuple[str, str], ...]:
    """Columns that the recipe tells by the names of a structure and of its object."""
    found = []
    kind = _type_of(recipe, description, name, codes)
    if kind is not None:
        found.append(("lesion_type", kind.value))
    scope = _scope_of(recipe, description)
    if scope is not None:
        found.append(("annotation_scope", scope.value))
    return tuple(found)


def _track(
    recipe: Recipe,
    patient: str | None,
    description: FreeText,
    name: FreeText,
    tracking_uid: str | None = None,
) -> tuple[tuple[str, str], ...]:
    """Column of what follows a structure: the recipe's rule on names, else its Tracking UID."""
    timeline = recipe.timeline
    if timeline.track is None and timeline.series is None:
        track = track_id("uid", tracking_uid) if tracking_uid is not None else None
    else:
        pattern = re.compile(timeline.track or timeline.series or "")
        text = (name if timeline.track is not None else description).matching(pattern)
        match = pattern.fullmatch(text) if text is not None else None
        track = None
        if match is not None and match[1] and patient is not None:
            track = track_id("name", recipe.source, patient, match[1].lower())
    return () if track is None else (("lesion_track_id", track),)


def _type_of(
    recipe: Recipe, description: FreeText, name: FreeText, codes: Sequence[Code | None]
) -> LesionType | None:
    """Type by the first of the recipe's `lesion_types` that fits."""
    known = {f"{code.scheme}:{code.value}" for code in codes if code is not None}
    for one in recipe.lesion_types:
        if one.code in known:
            return one.type
        for pattern, text in ((one.name, name), (one.series, description)):
            if pattern is not None and text.matching(re.compile(pattern)) is not None:
                return one.type
    return None


def _scope_of(recipe: Recipe, description: FreeText) -> AnnotationScope | None:
    for one in recipe.annotation_scopes:
        if description.matching(re.compile(one.series)) is not None:
            return one.scope
    return None


def _reader_of(name: FreeText, readers: Readers | None) -> int | None:
    """Find the reader whose expression a structure's name fits."""
    if readers is None or readers.by != "structure":
        return None
    for number, pattern in enumerate(readers.names, 1):
        if name.matching(re.compile(pattern)) is not None:
            return number
    return None


def _of_roi(roi: Roi, grid: _Grid, flags: set[Flag]) -> Structure:
    name = f"roi-{roi.number}"
    if roi.problem is not None:
        return Structure(name, NOTHING, problem=(roi.problem.reason, roi.problem.detail))
    try:
        filled = rasterise(roi.contours, *grid)
    except CaseError as error:
        return Structure(name, NOTHING, problem=(error.reason, error.detail))
    if filled.off_slice:
        flags.add(Flag.CONTOUR_OFF_SLICE)
    if filled.crossing:
        flags.add(Flag.CONTOURS_OVERLAP)
    seen = {
        Flag.CONTOUR_MOVED_TO_SLICE: filled.moved,
        Flag.CONTOUR_ON_OTHER_SLICE: filled.on_other_slice,
        Flag.CONTOUR_CUT: filled.cut,
        Flag.STRUCTURE_EMPTY: not filled.region.mask.size,
    }
    problem = None
    if not filled.region.mask.size:
        problem = _why_empty(filled, f"structure {roi.number}", len(roi.contours))
    raised = tuple(flag for flag, count in seen.items() if count)
    return Structure(name, filled.region, raised, problem)


def _why_empty(filled: Filled, name: str, count: int) -> tuple[Reason, str]:
    """Reason and detail of a structure that encloses no voxel, with its contours by kind."""
    kinds = [f"{number} {kind}" for kind, number in sorted(filled.skipped.items())]
    if kinds:
        kinds[-1] += " of too few points to enclose anything, or open"
    if filled.off_slice:
        kinds.append(
            f"{filled.off_slice} on no slice, at most {filled.farthest_mm:.3g} mm from the nearest"
        )
    if filled.drawn:
        kinds.append(f"{filled.drawn} closed, around no voxel centre")
    detail = f"{name} encloses no voxel: {count} contours" + (
        f" ({', '.join(kinds)})" * bool(kinds)
    )
    if filled.drawn or filled.off_slice:
        return Reason.EMPTY_MASK, detail
    points = set(filled.skipped) == {"POINT"}
    return (Reason.POINT_MARK if points else Reason.NO_LESION), detail


def _of_segment(segmentation: Segmentation, segment: Segment, grid: _Grid) -> Structure:
    name = f"segment-{segment.number}"
    try:
        region = place_segment(segmentation, segment.number, *grid)
    except CaseError as error:
        return Structure(name, NOTHING, problem=(error.reason, error.detail))
    if region.mask.size:
        return Structure(name, region)
    frames = len(segmentation.frames_of(segment.number))
    detail = f"segment {segment.number} has no voxel: {frames} frames"
    return Structure(name, region, (Flag.STRUCTURE_EMPTY,), (Reason.NO_LESION, detail))
