"""Cases of LIDC-IDRI: a series and the XML of its readers, wherever they lie."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

from uls_data.errors import CaseError
from uls_data.ids import readable
from uls_data.io import sha256_file
from uls_data.outcome import Reason
from uls_data.recipe.reader import LidcXml
from uls_data.sources.case_files import CaseFiles
from uls_data.sources.format import Search
from uls_data.sources.scans import Scans, Strays, case_of, free_name

_HEAD_BYTES = 1 << 16
# The first element, behind declaration and comments.
_ROOT = re.compile(rb"(?:[^<]|<[?!][^>]*>)*+<([A-Za-z_][\w.:-]*)")
_LIDC_SERIES = re.compile(rb"<SeriesInstanceU[iI][dD]>\s*([0-9.]{1,64})\s*</")


def find_readings(search: Search, reader: LidcXml) -> list[CaseFiles]:
    """Find series, and the XML of their readers; one without the other is a failed case."""
    raw, scans = search.raw, Scans.below(search, None)
    names = {row.series_instance_uid: row.case for row in reader.crosswalk}
    readings: dict[str, list[Path]] = {}
    lost: Strays = {}
    for path in sorted(raw.walk()):
        if path.suffix.lower() != ".xml":
            continue
        try:
            uid = _series_of_reading(raw.path / path, readable(path.as_posix()))
        except CaseError as error:
            lost[path] = error.reason, error.detail
            continue
        if uid is not None:
            readings.setdefault(uid, []).append(path)
    search.selected.update(lost, *readings.values())
    by_uid = scans.by_uid()
    cases: list[CaseFiles] = []
    beside: dict[Path, list[int]] = {}
    for uid in readings.keys() | by_uid.keys():
        found = [by_uid[uid]] if uid in by_uid else []
        once = _without_copies(raw.path, readings.get(uid, []))
        case = case_of(raw.path, names.get(uid, uid), found, once, as_mask=False, uid=uid)
        copies = [path for path in readings.get(uid, []) if path not in once]
        if not once:
            for folder in {path.parent for path in case.slices}:
                beside.setdefault(folder, []).append(len(cases))
        cases.append(replace(case, beside=(*case.beside, *copies)))
    taken = {case.case_id for case in cases}
    for path, problem in sorted(lost.items()):
        match beside.pop(path.parent, []):
            case [at]:  # what ought to annotate the only series there
                cases[at] = replace(cases[at], annotations=(path,), problem=problem)
            case _:
                name = free_name(readable(path.as_posix()), path, taken)
                cases.append(CaseFiles(name, annotations=(path,), problem=problem))
    return scans.checked(search, cases)


def _series_of_reading(path: Path, name: str) -> str | None:
    """Series of a LIDC reading, from the first bytes of its file; None of any other XML.

    Raises
    ------
    CaseError
        The file cannot be read, is cut before its first element, or is a reading of no series.
    """
    try:
        if not path.is_file():
            return None
        with path.open("rb") as file:
            head = file.read(_HEAD_BYTES).replace(b"\0", b"")  # of UTF-16
    except OSError as error:
        raise CaseError(
            Reason.IO_ERROR, f"{name}: {error.strerror or type(error).__name__}"
        ) from error
    if match := _LIDC_SERIES.search(head):
        return match[1].decode("ascii")
    root = _ROOT.match(head)
    if root is not None and not root[1].endswith(b"ReadMessage"):
        return None
    found = "names no series" if root else f"{path.stat().st_size} bytes without an XML element"
    raise CaseError(Reason.ANNOTATION_UNREADABLE, f"{name}: {found}; get the file again")


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
