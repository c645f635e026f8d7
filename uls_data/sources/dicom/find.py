"""Cases of DICOM series: those with a mask volume, and those that objects refer to."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace
from pathlib import Path

from uls_data.dicom.inventory import SeriesFiles
from uls_data.errors import CaseError
from uls_data.ids import readable
from uls_data.outcome import Flag, Reason
from uls_data.recipe.reader import DicomMasks, DicomObjects
from uls_data.sources.case_files import CaseFiles
from uls_data.sources.dicom.resolving import Resolver
from uls_data.sources.format import Search
from uls_data.sources.patterns import matching
from uls_data.sources.scans import (
    Scans,
    Strays,
    case_of,
    free_name,
    name_of,
    named_by_folder,
    overlooked,
)

_SHOWN = 3


def find_masked(search: Search, reader: DicomMasks) -> list[CaseFiles]:
    """Find series, and the mask volume of the same name."""
    raw, scans = search.raw, Scans.below(search, reader.case)
    masks: dict[str, list[Path]] = {}
    unread: dict[str, list[Path]] = {}
    converted: set[Path] = set()
    for it in matching(reader.mask, reader.case, sorted(raw.walk())):
        (unread if it.spare else masks).setdefault(readable(it.match["case"]), []).append(it.path)
        if it.other_format:
            converted.add(it.path)
    search.selected.update(*masks.values(), *unread.values())
    images: dict[str, list[SeriesFiles]] = {}
    nameless: list[SeriesFiles] = []
    for series in scans.ct:
        case_id = name_of(series, reader.case)
        if case_id is None:
            nameless.append(series)
        else:
            images.setdefault(case_id, []).append(series)
    cases = [
        case_of(raw.path, case_id, images.get(case_id, []), masks.get(case_id, []), as_mask=True)
        for case_id in masks.keys() | images.keys()
    ]
    cases = [
        replace(
            case,
            beside=(*case.beside, *unread.get(case.case_id, ())),
            flags=(*case.flags, *([Flag.OTHER_VOLUME_FORMAT] if case.mask in converted else [])),
        )
        for case in cases
    ]
    if nameless:
        cases.append(_nameless(search.recipe.source, nameless))
    return scans.checked(search, cases + overlooked(scans.ct, reader.case, masks.keys() | images))


def _nameless(source: str, series: list[SeriesFiles]) -> CaseFiles:
    """Return the case that stands for all series whose name fits no case of the source."""
    uids = ", ".join(one.series_instance_uid for one in series[:_SHOWN])
    detail = (
        f"{len(series)} CT series, such as {uids}: neither a folder above them nor their PatientID "
        "fits reader.case, so they have no mask"
    )
    files = tuple(path for one in series for path in one.files + one.copies)
    return CaseFiles(f"{source}_unplaced", beside=files, problem=(Reason.NOT_ANNOTATED, detail))


def find_referred(search: Search, reader: DicomObjects) -> list[CaseFiles]:
    """Find series, and the RT structure sets or segmentations of each.

    An object that cannot be read or belongs to no single series is a failed case, named by its
    folder; so is a series that no object belongs to, which is skipped.
    """
    root, scans = search.raw.path, Scans.below(search, reader.case)
    resolver = Resolver(
        scans.ct,
        {one.series_instance_uid: one.modality for one in scans.every if one.modality != "CT"},
    )
    ours = [re.compile(one) for one in (reader.objects, reader.clicks) if one is not None]
    of_series: dict[str, list[tuple[Path, bool]]] = {}
    lost: Strays = {}
    kinds = {kind.upper(): kind for kind in reader.kinds}
    for one in (one for one in scans.every if one.modality in kinds):
        for path in one.files:
            name = readable(path.as_posix())
            try:
                refers = resolver.references_of(root / path, kinds[one.modality])
                if not any(refers.description.matching(it) is not None for it in ours):
                    continue
                series, inferred = resolver.series_of(refers, name)
                of_series.setdefault(series.series_instance_uid, []).append((path, inferred))
            except CaseError as error:
                lost[path] = error.reason, error.detail
            except OSError as error:
                lost[path] = Reason.IO_ERROR, f"{name}: {error.strerror or type(error).__name__}"
            search.selected.update((path, *one.copies))
    slices = {path.parent for series in scans.ct for path in series.files}
    lost |= {path: why for path, why in scans.strays.items() if path.parent not in slices}
    cases, alone = [], dict[str, list[CaseFiles]]()
    for series in scans.ct:
        objects = of_series.get(series.series_instance_uid, [])
        paths = [path for path, _ in objects]
        name = name_of(series, reader.case) or series.series_instance_uid
        case = case_of(root, name, [series], paths, as_mask=False)
        if objects:
            flags = (Flag.REFERENCE_INFERRED,) if any(inferred for _, inferred in objects) else ()
            cases.append(replace(case, flags=flags))
        else:
            wanted = " or ".join(kind.upper() for kind in reader.kinds)
            detail = f"series {series.series_instance_uid}: no {wanted} below the root is of it"
            case = replace(case, problem=(Reason.NOT_ANNOTATED, detail))
            alone.setdefault(name, []).append(case)
    # Several series of one folder: each is named by its own UID.
    names = Counter([case.case_id for case in cases] + [n for n, of in alone.items() for _ in of])
    lone = {name for name, count in names.items() if count == 1}
    if reader.name_by == "series":
        names.update(list(names))  # as if each shared its folder
    cases = [_apart(case, names) for case in cases]
    taken = {case.case_id for case in cases}
    for path, problem in sorted(lost.items()):
        name = named_by_folder(path, reader.case) or readable(path.parent.as_posix())
        scan = alone.get(name, [])
        if len(scan) == 1 and name in lone:
            # What ought to annotate the only series there.
            case = _apart(alone.pop(name)[0], names)
            taken.add(case.case_id)
            cases.append(replace(case, annotations=(path,), problem=problem))
        else:
            case_id = free_name(name, path, taken)
            cases.append(CaseFiles(case_id, annotations=(path,), problem=problem))
    cases += [_apart(case, names) for of in alone.values() for case in of]
    cases += overlooked(scans.ct, reader.case, names.keys() | taken)
    return scans.checked(search, cases)


def _apart(case: CaseFiles, names: Counter[str]) -> CaseFiles:
    if names[case.case_id] == 1:
        return case
    return replace(case, case_id=f"{case.case_id}_{case.series_instance_uid}")
