"""Lesions of DICOM objects that refer to a series: RT structure sets and segmentations."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from uls_data.dicom.objects import NOTHING, FreeText, Region
from uls_data.dicom.placement import place_segment
from uls_data.dicom.rtstruct import Filled, Roi, rasterise, read_rtstruct
from uls_data.dicom.seg import Code, Segment, Segmentation, read_seg
from uls_data.dicom.series import Series
from uls_data.dicom.written import written_at
from uls_data.errors import CaseError
from uls_data.geometry import Affine, Triple
from uls_data.ids import readable
from uls_data.io import sha256_file
from uls_data.lesions.instances import Lesion, Mark, find_lesions, ras_voxels
from uls_data.outcome import Flag, LesionType, Reason
from uls_data.recipe.model import Given, Recipe
from uls_data.recipe.reader import DicomMasks, DicomObjects
from uls_data.sources.case_files import CaseFiles
from uls_data.sources.masks import open_masks
from uls_data.sources.opening import Opened, Opening
from uls_data.sources.scans import folder_of, naming_all
from uls_data.volumes.volume import Volume

_Grid = tuple[Triple, Affine, Sequence[str]]


def open_masked(opening: Opening, reader: DicomMasks) -> Opened:
    """Open one series and the mask volume of its name."""
    scan = None if opening.labels_only else opening.series(reader.policy).volume
    return open_masks(opening, scan, reader.segments)


def open_referred(opening: Opening, reader: DicomObjects) -> Opened:
    """Open one series and the objects that refer to it; see `object_lesions`."""
    objects = opening.case.annotations
    try:
        series = opening.series(reader.policy)
        found = object_lesions(opening.case, opening.raw, reader, opening.recipe, series)
    except CaseError as error:
        raise CaseError(error.reason, naming_all(error.detail, objects)) from error
    opening.flags |= found.flags
    opening.selected |= found.selected
    return opening.of_series(series, found.lesions, found.marks)


@dataclass
class ObjectLesions:
    """What the objects of a series hold.

    Attributes
    ----------
    lesions : list of Lesion
    marks : list of Mark
        What is selected there and is no lesion.
    flags : set of Flag
    selected : set of str
        Names of the structures that the recipe selects.
    """

    lesions: list[Lesion]
    marks: list[Mark]
    flags: set[Flag]
    selected: set[str]


@dataclass(frozen=True)
class _Structure:
    """A structure whose name fits the recipe: its voxels, or why there are none."""

    name: str
    region: Region
    flags: tuple[Flag, ...] = ()
    problem: tuple[Reason, str] | None = None
    path: Path = Path()
    lesion_type: LesionType | None = None


def object_lesions(
    case: CaseFiles, raw: Path, reader: DicomObjects, recipe: Recipe, series: Series
) -> ObjectLesions:
    """Lesions of the objects of a case, and what is selected there and is none.

    With `rule: given` each structure whose name fits the recipe is a lesion, numbered
    in the order of objects and structures; with `rule: components` their union is
    split as a mask of value 1, and each part bears the names of all structures in it. A
    structure without voxels is a lesion that says why, or with `components` a mark, as is an
    object without a fitting structure.

    Raises
    ------
    CaseError
        No object of the case can be read, or no structure's name fits.
    """
    flags: set[Flag] = set()
    structures: list[_Structure] = []
    marks: list[Mark] = []
    known, faults = 0, list[CaseError]()
    paths = _chosen(case.annotations, raw, reader)
    common = folder_of(paths)
    for path in sorted(set(case.annotations) - set(paths)):
        detail = f"{readable(path.as_posix())}: another object of this series was written later"
        marks.append(Mark(Reason.DUPLICATE, detail))
    for path in paths:
        name = readable(path.as_posix())
        try:
            found, others = _structures(raw / path, reader, recipe, series, flags)
        except CaseError as error:
            faults.append(error)
            # Objects of several folders may have one name.
            detail = error.detail.replace(path.name, name, 1)
            marks.append(Mark(error.reason, detail))
            continue
        known += others
        own = f"{readable(path.relative_to(common).as_posix())}/" if len(paths) > 1 else ""
        structures += [replace(one, name=f"{own}{one.name}", path=path) for one in found]
        if not found:
            detail = f"{name}: none of its {others} structures fits {reader.structures!r}"
            marks.append(Mark(Reason.NO_LESION, detail))
    if faults and not structures:
        raise faults[0]
    if not structures:
        raise CaseError(
            Reason.ANNOTATION_MISMATCH,
            f"expected a structure whose name fits {reader.structures!r}, found {known} others; "
            "change reader.structures in the recipe",
        )
    volume = series.volume
    selected = {one.name for one in structures}
    if not isinstance(recipe.instances, Given):
        mask = np.zeros(volume.stored.shape, dtype=np.uint8, order="F")
        for one in structures:
            mask[tuple(one.region.voxels.T)] = 1
            flags.update(one.flags if one.problem is None else ())
        joined = replace(volume, stored=mask, slope=1.0, intercept=0.0)
        marks += [Mark(*one.problem, one.name) for one in structures if one.problem is not None]
        parts = find_lesions(joined, recipe, case.annotations[0].name)
        return ObjectLesions(_named(parts, structures, volume), marks, flags, selected)
    lesions = []
    hashes = {path: sha256_file(raw / path) for path in paths} if len(case.annotations) > 1 else {}
    for index, one in enumerate(structures, start=1):
        columns = {"label_source": readable(one.path.as_posix())}
        if one.path in hashes:
            columns["label_source_sha256"] = hashes[one.path]
        if one.lesion_type is not None:
            columns["lesion_type"] = one.lesion_type.value
        lesions.append(
            Lesion(
                index,
                ras_voxels(one.region.voxels, volume),
                one.name,
                skipped=one.problem,
                columns=tuple(columns.items()),
                flags=one.flags,
            )
        )
    return ObjectLesions(lesions, marks, flags, selected)


def _named(parts: list[Lesion], structures: Sequence[_Structure], volume: Volume) -> list[Lesion]:
    """Parts of a union, with the names of the structures that have voxels in each."""
    if not parts:
        return []
    shape = volume.ras.shape
    owner = np.concatenate([np.full(len(part.voxels), at) for at, part in enumerate(parts)])
    flat = np.concatenate([np.ravel_multi_index(tuple(part.voxels.T), shape) for part in parts])
    order = np.argsort(flat)
    flat, owner = flat[order], owner[order]
    owners: list[list[_Structure]] = [[] for _ in parts]
    for one in structures:
        own = np.ravel_multi_index(tuple(ras_voxels(one.region.voxels, volume).T), shape)
        for at in np.unique(owner[np.searchsorted(flat, own)]).tolist():
            owners[at].append(one)
    return [
        replace(
            part,
            source_lesion_id="+".join(one.name for one in its),
            columns=(*part.columns, *_common_type(its)),
        )
        for part, its in zip(parts, owners, strict=True)
    ]


def _common_type(structures: Sequence[_Structure]) -> tuple[tuple[str, str], ...]:
    """Column of the type that all structures of a lesion have by the recipe's `lesion_types`."""
    found = {one.lesion_type for one in structures}
    if len(found) > 1 or None in found:
        return ()
    return tuple(("lesion_type", kind.value) for kind in found if kind is not None)


def _type_of(
    recipe: Recipe, name: FreeText, codes: Sequence[Code | None] = ()
) -> LesionType | None:
    """Type by the first of the recipe's `lesion_types` that fits."""
    known = {f"{code.scheme}:{code.value}" for code in codes if code is not None}
    for one in recipe.lesion_types:
        if one.name is not None and name.matching(re.compile(one.name)) is not None:
            return one.type
        if one.code in known:
            return one.type
    return None


def _chosen(paths: tuple[Path, ...], raw: Path, reader: DicomObjects) -> tuple[Path, ...]:
    """Objects of a series that the recipe reads, where there are several."""
    if len(paths) == 1 or reader.several == "all":
        return paths
    names = ", ".join(readable(path.as_posix()) for path in paths[:3])
    if reader.several == "fail":
        raise CaseError(
            Reason.AMBIGUOUS_FILES,
            f"expected one object of this series, found {len(paths)}: {names}; move the others "
            "away, or say `several: all` or `latest` in the recipe",
        )
    written = {path: written_at(raw / path, path.name) for path in paths}
    latest = max(written.values(), key=lambda at: at or "")
    found = [path for path, at in written.items() if at == latest]
    if None in written.values() or len(found) > 1:
        raise CaseError(
            Reason.AMBIGUOUS_FILES,
            f"which of {len(paths)} objects of this series was written last cannot be told by "
            f"their headers: {names}; move the others away",
        )
    return tuple(found)


def _structures(
    path: Path, reader: DicomObjects, recipe: Recipe, series: Series, flags: set[Flag]
) -> tuple[list[_Structure], int]:
    """Structures of one object whose names fit, and the number of the others."""
    pattern = re.compile(reader.structures)
    volume = series.volume
    grid = (volume.stored.shape, volume.stored_affine, series.sop_instance_uids)
    if reader.kind == "rtstruct":
        structure_set = read_rtstruct(path, pattern)
        if not structure_set.has_preamble:
            flags.add(Flag.NO_PREAMBLE)
        rois = structure_set.matching(pattern)
        named = [
            replace(_of_roi(roi, grid, flags), lesion_type=_type_of(recipe, roi.name))
            for roi in rois
        ]
        return named, len(structure_set.rois) - len(rois)
    segmentation = read_seg(path, pattern)
    if not segmentation.has_preamble:
        flags.add(Flag.NO_PREAMBLE)
    segments = segmentation.matching(pattern)
    typed = [
        replace(
            _of_segment(segmentation, one, grid),
            lesion_type=_type_of(recipe, one.label, (one.anatomy, one.property_type)),
        )
        for one in segments
    ]
    return typed, len(segmentation.segments) - len(segments)


def _of_roi(roi: Roi, grid: _Grid, flags: set[Flag]) -> _Structure:
    name = f"roi-{roi.number}"
    if roi.problem is not None:
        return _Structure(name, NOTHING, problem=(roi.problem.reason, roi.problem.detail))
    try:
        filled = rasterise(roi.contours, *grid)
    except CaseError as error:
        return _Structure(name, NOTHING, problem=(error.reason, error.detail))
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
    return _Structure(name, filled.region, raised, problem)


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


def _of_segment(segmentation: Segmentation, segment: Segment, grid: _Grid) -> _Structure:
    name = f"segment-{segment.number}"
    try:
        region = place_segment(segmentation, segment.number, *grid)
    except CaseError as error:
        return _Structure(name, NOTHING, problem=(error.reason, error.detail))
    if region.mask.size:
        return _Structure(name, region)
    frames = len(segmentation.frames_of(segment.number))
    detail = f"segment {segment.number} has no voxel: {frames} frames"
    return _Structure(name, region, (Flag.STRUCTURE_EMPTY,), (Reason.NO_LESION, detail))
