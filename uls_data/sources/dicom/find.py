"""Cases whose images are DICOM series: which series goes with which mask, reading or object.

A case's name comes from a folder, from a mask's name or from a recipe's crosswalk. Of a
header only the PatientID is looked at, and used only where it fits the recipe's pattern
of a public collection's own ids as a whole: no other id of a header reaches an output.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace
from os.path import commonpath
from pathlib import Path

from uls_data.dicom.inventory import SeriesFiles, find_series
from uls_data.errors import CaseError, SourceError
from uls_data.ids import readable
from uls_data.io import sha256_file
from uls_data.outcome import Reason
from uls_data.recipe.model import Recipe
from uls_data.recipe.reader import DicomMasks, DicomObjects, LidcXml
from uls_data.sources.case_files import CaseFiles, natural_key
from uls_data.sources.pairs.find import pattern_regex
from uls_data.volumes.raw_root import RawRoot

_HEAD_BYTES = 1 << 16
_LIDC_SERIES = re.compile(rb"<SeriesInstanceU[iI][dD]>\s*([0-9.]{1,64})\s*</")


def find_dicom_cases(
    recipe: Recipe,
    reader: DicomMasks | DicomObjects | LidcXml,
    raw: RawRoot,
    cache: Path | None,
) -> list[CaseFiles]:
    """Cases below a raw root, sorted by name; see `uls_data.sources.find`."""
    pattern = None if isinstance(reader, LidcXml) else reader.case
    every = find_series(raw, cache=cache, patient_pattern=pattern)
    scans = [series for series in every if series.modality == "CT"]
    # DICOM that names no series: a damaged slice, where it lies among slices of one.
    stray = {path.parent: path for series in every if not series.modality for path in series.files}
    if isinstance(reader, DicomMasks):
        cases = _with_masks(reader, raw, scans)
    elif isinstance(reader, LidcXml):
        cases = _with_readings(reader, raw, scans)
    else:
        cases = _with_objects(reader, raw.path, scans, every)
    if not cases:
        raise SourceError(
            f"--raw {raw.path}: no case of {recipe.source} found: {len(scans)} CT series, and "
            f"nothing that says where lesions are in one of them.\n"
            f"  `uls-data recipe show {recipe.source}` tells how to get the data, and where to "
            "put it."
        )
    cases = [with_strays(case, stray) for case in cases]
    return sorted(cases, key=lambda case: natural_key(case.case_id))


def with_strays(case: CaseFiles, stray: dict[Path, Path]) -> CaseFiles:
    """Refuse a series among whose slices lies a file that cannot be read as one."""
    if case.problem is not None:
        return case
    for folder in sorted({path.parent for path in case.slices} & stray.keys()):
        name = readable(stray[folder].as_posix())
        detail = f"{name}, among the slices of the series, cannot be read as one; get it again"
        return replace(case, problem=(Reason.UNREADABLE, detail))
    return case


def _with_masks(reader: DicomMasks, raw: RawRoot, scans: list[SeriesFiles]) -> list[CaseFiles]:
    pattern = pattern_regex(reader.mask, reader.case)
    masks: dict[str, list[Path]] = {}
    for path in sorted(raw.walk()):
        if match := pattern.fullmatch(path.as_posix()):
            masks.setdefault(readable(match["case"]), []).append(path)
    images: dict[str, list[SeriesFiles]] = {}
    for series in scans:
        case_id = _named(series, reader.case)
        if case_id is not None:
            images.setdefault(case_id, []).append(series)
    return [
        _case(raw.path, case_id, images.get(case_id, []), masks.get(case_id, []), as_mask=True)
        for case_id in masks.keys() | images.keys()
    ]


def _with_readings(reader: LidcXml, raw: RawRoot, scans: list[SeriesFiles]) -> list[CaseFiles]:
    names = {row.series_instance_uid: row.case for row in reader.crosswalk}
    readings: dict[str, list[Path]] = {}
    for path in sorted(raw.walk()):
        uid = _series_of_reading(raw.path / path) if path.suffix.lower() == ".xml" else None
        if uid is not None:
            readings.setdefault(uid, []).append(path)
    by_uid = {series.series_instance_uid: series for series in scans}
    cases = []
    for uid in readings.keys() | by_uid.keys():
        found = [by_uid[uid]] if uid in by_uid else []
        once = _without_copies(raw.path, readings.get(uid, []))
        cases.append(_case(raw.path, names.get(uid, uid), found, once, as_mask=False, uid=uid))
    return cases


def _with_objects(
    reader: DicomObjects, root: Path, scans: list[SeriesFiles], every: list[SeriesFiles]
) -> list[CaseFiles]:
    modality = {"rtstruct": "RTSTRUCT", "seg": "SEG"}[reader.kind]
    by_uid = {series.series_instance_uid: series for series in scans}
    objects: dict[str, list[Path]] = {}
    for series in every:
        if series.modality == modality:
            for path in series.files:
                objects.setdefault(_referred(root / path, reader), []).append(path)
    cases = []
    for uid, paths in objects.items():
        found = [by_uid[uid]] if uid in by_uid else []
        named = _named(found[0], reader.case) if found else None
        cases.append(_case(root, named or uid or "unknown", found, paths, as_mask=False, uid=uid))
    names = [case.case_id for case in cases]
    # Several series of one folder: each is told by its own UID.
    return [
        replace(case, case_id=f"{case.case_id}_{case.series_instance_uid}")
        if names.count(case.case_id) > 1 and case.series_instance_uid
        else case
        for case in cases
    ]


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


def _named(series: SeriesFiles, case: str) -> str | None:
    """Case that a folder of the series, or its fitting PatientID, names."""
    pattern = re.compile(case)
    folders = series.files[0].parts[:-1] if series.files else ()
    for part in reversed(folders):
        if pattern.fullmatch(part):
            return readable(part)
    if series.patient_key is not None and pattern.fullmatch(series.patient_key):
        return series.patient_key
    return None


def _case(
    root: Path,
    case_id: str,
    scans: list[SeriesFiles],
    annotations: list[Path],
    *,
    as_mask: bool,
    uid: str | None = None,
) -> CaseFiles:
    series = scans[0] if scans else None
    problem = None
    if len(scans) > 1:
        uids = ", ".join(scan.series_instance_uid for scan in scans[:3])
        problem = (
            Reason.AMBIGUOUS_FILES,
            f"expected one CT series, found {len(scans)}: {uids}; move the others away",
        )
    elif series is None:
        named = ", ".join(readable(path.as_posix()) for path in annotations[:3])
        problem = (Reason.IMAGE_MISSING, f"there is {named} but no CT series for it")
    elif not annotations:
        problem = (Reason.MASK_MISSING, "there is a CT series but no annotation of it")
    elif len(annotations) > 1 and as_mask:
        names = ", ".join(readable(path.as_posix()) for path in annotations[:3])
        problem = (Reason.AMBIGUOUS_FILES, f"expected one mask, found {len(annotations)}: {names}")
    for path in annotations:
        if not (root / path).resolve().is_relative_to(root.resolve()):
            name = readable(path.as_posix())
            detail = f"{name} is a link that leads out of the raw root"
            problem = (Reason.PATH_LEAVES_ROOT, detail)
    return CaseFiles(
        case_id,
        image=folder_of(series.files) if series else None,
        mask=annotations[0] if as_mask and annotations else None,
        slices=series.files if series else (),
        annotations=() if as_mask else tuple(annotations),
        series_instance_uid=series.series_instance_uid if series else uid,
        study_instance_uid=series.study_instance_uid if series else None,
        problem=problem,
    )


def folder_of(files: Iterable[Path]) -> Path:
    """Deepest folder that holds all files."""
    return Path(commonpath([path.parent.as_posix() or "." for path in files]))


def _series_of_reading(path: Path) -> str | None:
    """Series of a LIDC reading, from the first bytes of its file."""
    try:
        if not path.is_file():
            return None
        with path.open("rb") as file:
            match = _LIDC_SERIES.search(file.read(_HEAD_BYTES))
    except OSError:
        return None
    return match[1].decode("ascii") if match else None


def _without_copies(root: Path, paths: list[Path]) -> list[Path]:
    """Paths whose content no earlier path has: the XML may lie in two places of a download."""
    if len(paths) < 2:
        return paths
    seen: dict[str, Path] = {}
    for path in paths:
        try:
            seen.setdefault(sha256_file(root / path), path)
        except OSError:
            seen.setdefault(path.as_posix(), path)
    return list(seen.values())
