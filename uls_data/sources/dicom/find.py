"""Cases of DICOM series: those with a mask volume, and those that objects refer to."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from uls_data.dicom.inventory import SeriesFiles
from uls_data.errors import CaseError
from uls_data.ids import readable
from uls_data.recipe.reader import DicomMasks, DicomObjects
from uls_data.sources.case_files import CaseFiles
from uls_data.sources.format import Search
from uls_data.sources.patterns import matching
from uls_data.sources.scans import Scans, case_of, name_of


def find_masked(search: Search, reader: DicomMasks) -> list[CaseFiles]:
    """Find series, and the mask volume of the same name."""
    raw, scans = search.raw, Scans.below(search, reader.case)
    masks: dict[str, list[Path]] = {}
    for path, match in matching(reader.mask, reader.case, sorted(raw.walk())):
        masks.setdefault(readable(match["case"]), []).append(path)
    images: dict[str, list[SeriesFiles]] = {}
    for series in scans.ct:
        case_id = name_of(series, reader.case)
        if case_id is not None:
            images.setdefault(case_id, []).append(series)
    cases = [
        case_of(raw.path, case_id, images.get(case_id, []), masks.get(case_id, []), as_mask=True)
        for case_id in masks.keys() | images.keys()
    ]
    return scans.checked(search, cases)


def find_referred(search: Search, reader: DicomObjects) -> list[CaseFiles]:
    """Find series that RT structure sets or segmentations refer to."""
    root, scans = search.raw.path, Scans.below(search, reader.case)
    modality = {"rtstruct": "RTSTRUCT", "seg": "SEG"}[reader.kind]
    by_uid = scans.by_uid()
    objects: dict[str, list[Path]] = {}
    for series in scans.every:
        if series.modality == modality:
            for path in series.files:
                objects.setdefault(_referred(root / path, reader), []).append(path)
    cases = []
    for uid, paths in objects.items():
        found = [by_uid[uid]] if uid in by_uid else []
        named = name_of(found[0], reader.case) if found else None
        cases.append(case_of(root, named or uid or "unknown", found, paths, as_mask=False, uid=uid))
    names = [case.case_id for case in cases]
    # Several series of one folder: each is told by its own UID.
    cases = [
        replace(case, case_id=f"{case.case_id}_{case.series_instance_uid}")
        if names.count(case.case_id) > 1 and case.series_instance_uid
        else case
        for case in cases
    ]
    return scans.checked(search, cases)


def _referred(path: Path, reader: DicomObjects) -> str:
    """Series that an object refers to; empty where it cannot be told, which the case says."""
    try:
        if reader.kind == "rtstruct":
            from uls_data.dicom.rtstruct import read_rtstruct

            return read_rtstruct(path).series_instance_uid or ""
        from uls_data.dicom.seg import read_seg

        return read_seg(path).series_instance_uid or ""
    except CaseError:
        return ""
