"""Cases of LIDC-IDRI: a series and the XML of its readers, wherever they lie."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

from uls_data.io import sha256_file
from uls_data.recipe.reader import LidcXml
from uls_data.sources.case_files import CaseFiles
from uls_data.sources.format import Search
from uls_data.sources.scans import Scans, case_of

_HEAD_BYTES = 1 << 16
_LIDC_SERIES = re.compile(rb"<SeriesInstanceU[iI][dD]>\s*([0-9.]{1,64})\s*</")


def find_readings(search: Search, reader: LidcXml) -> list[CaseFiles]:
    """Find series, and the XML of their readers; one without the other is a failed case."""
    raw, scans = search.raw, Scans.below(search, None)
    names = {row.series_instance_uid: row.case for row in reader.crosswalk}
    readings: dict[str, list[Path]] = {}
    for path in sorted(raw.walk()):
        uid = _series_of_reading(raw.path / path) if path.suffix.lower() == ".xml" else None
        if uid is not None:
            readings.setdefault(uid, []).append(path)
    by_uid = scans.by_uid()
    cases = []
    for uid in readings.keys() | by_uid.keys():
        found = [by_uid[uid]] if uid in by_uid else []
        once = _without_copies(raw.path, readings.get(uid, []))
        case = case_of(raw.path, names.get(uid, uid), found, once, as_mask=False, uid=uid)
        copies = tuple(path for path in readings.get(uid, []) if path not in once)
        cases.append(replace(case, beside=copies))
        search.selected.update(*(one.files for one in found), readings.get(uid, []))
    return scans.checked(search, cases)


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
