"""Lesions of DICOM objects that refer to a series: RT structure sets and segmentations."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from uls_data.dicom.objects import Region
from uls_data.dicom.placement import place_segment
from uls_data.dicom.rtstruct import rasterise, read_rtstruct
from uls_data.dicom.seg import read_seg
from uls_data.dicom.series import Series
from uls_data.dicom.written import written_at
from uls_data.errors import CaseError
from uls_data.ids import readable
from uls_data.io import sha256_file
from uls_data.lesions.instances import Lesion, find_lesions, ras_voxels
from uls_data.outcome import Flag, Reason
from uls_data.recipe.model import Given, Recipe
from uls_data.recipe.reader import DicomMasks, DicomObjects
from uls_data.sources.case_files import CaseFiles
from uls_data.sources.masks import open_masks
from uls_data.sources.opening import Opened, Opening
from uls_data.sources.scans import folder_of


def open_masked(opening: Opening, reader: DicomMasks) -> Opened:
    """Open one series and the mask volume of its name."""
    scan = None if opening.labels_only else opening.series(reader.policy).volume
    return open_masks(opening, scan)


def open_referred(opening: Opening, reader: DicomObjects) -> Opened:
    """Open one series and the objects that refer to it; see `object_lesions`."""
    series = opening.series(reader.policy)
    lesions, seen = object_lesions(opening.case, opening.raw, reader, opening.recipe, series)
    opening.flags |= seen
    return opening.of_series(series, lesions)


def object_lesions(
    case: CaseFiles, raw: Path, reader: DicomObjects, recipe: Recipe, series: Series
) -> tuple[list[Lesion], set[Flag]]:
    """Lesions of the objects of a case.

    With `rule: given` each structure whose name fits the recipe is a lesion, numbered
    in the order of objects and structures; with `rule: components` their union is
    split as a mask of value 1.

    Raises
    ------
    CaseError
        An object cannot be read, belongs elsewhere, or no structure's name fits.
    """
    flags: set[Flag] = set()
    paths = _chosen(case.annotations, raw, reader)
    common = folder_of(paths)
    regions: list[tuple[str, Path, Region]] = []
    known = 0
    for path in paths:
        for number, named, region in _structures(raw / path, reader, series, flags):
            known += 1
            if named:
                own = readable(path.relative_to(common).as_posix())
                regions.append((f"{own}/{number}" if len(paths) > 1 else number, path, region))
    if not regions:
        raise CaseError(
            Reason.ANNOTATION_MISMATCH,
            f"expected a structure whose name fits {reader.structures!r}, found {known} others; "
            "change reader.structures in the recipe",
        )
    volume = series.volume
    if not isinstance(recipe.instances, Given):
        mask = np.zeros(volume.stored.shape, dtype=np.uint8, order="F")
        for *_, region in regions:
            mask[tuple(region.voxels.T)] = 1
        joined = replace(volume, stored=mask, slope=1.0, intercept=0.0)
        return find_lesions(joined, recipe, case.annotations[0].name), flags
    lesions = []
    hashes = {path: sha256_file(raw / path) for path in paths} if len(case.annotations) > 1 else {}
    for index, (name, path, region) in enumerate(regions, start=1):
        voxels = ras_voxels(region.voxels, volume)
        if len(voxels):
            columns = {"label_source": readable(path.as_posix())}
            if path in hashes:
                columns["label_source_sha256"] = hashes[path]
            lesions.append(Lesion(index, voxels, name, columns=tuple(columns.items())))
    return lesions, flags


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
    path: Path, reader: DicomObjects, series: Series, flags: set[Flag]
) -> Iterator[tuple[str, bool, Region]]:
    """Structures of one object: its number as text, whether its name fits, and its voxels."""
    pattern = re.compile(reader.structures)
    volume = series.volume
    grid = (volume.stored.shape, volume.stored_affine, series.sop_instance_uids)
    nothing = Region(np.zeros((0, 0, 0), dtype=bool), (0, 0, 0))
    if reader.kind == "rtstruct":
        for roi in read_rtstruct(path).rois:
            if roi.name.matching(pattern) is None:
                yield f"roi-{roi.number}", False, nothing
                continue
            filled = rasterise(roi.contours, *grid)
            if filled.off_slice:
                flags.add(Flag.CONTOUR_OFF_SLICE)
            if filled.crossing:
                flags.add(Flag.CONTOURS_OVERLAP)
            yield f"roi-{roi.number}", True, filled.region
        return
    segmentation = read_seg(path)
    for segment in segmentation.segments:
        if segment.label.matching(pattern) is None:
            yield f"segment-{segment.number}", False, nothing
        else:
            region = place_segment(segmentation, segment.number, *grid)
            yield f"segment-{segment.number}", True, region
