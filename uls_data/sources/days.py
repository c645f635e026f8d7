"""When the studies of a patient were: days since the first of them, and never a date."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import date
from pathlib import Path

from uls_data.errors import CaseError
from uls_data.ids import readable
from uls_data.recipe.model import Recipe
from uls_data.recipe.part import DicomReader
from uls_data.sources.case_files import CaseFiles

_DATE = re.compile(r"([12][0-9]{3})([-.]?)([01][0-9])\2([0-3][0-9])")
# Dates may be moved by decades (EAY131's to 1959), but not before this; more days than a life has.
_EARLIEST, _LONGEST = date(1901, 1, 1).toordinal(), 40_000


def with_days(cases: list[CaseFiles], recipe: Recipe, root: Path) -> list[CaseFiles]:
    """Cases with `study_day`, where patient and day of all of the patient's studies are known.

    The day is given by the recipe's `timeline`, by the table that a measurement is from, or by the
    headers of DICOM series. One study that cannot be dated may have been the first: then no day of
    its patient is known.
    """
    timeline = recipe.timeline
    by_name = timeline.day is not None or timeline.date is not None
    in_headers = isinstance(recipe.reader, DicomReader) and not by_name
    studies: dict[str, list[int]] = defaultdict(list)
    for at, case in enumerate(cases):
        patient = recipe.patient_of(case.case_id)
        there = case.slices if in_headers and not case.measurements else case.files()
        if patient is not None and there:
            studies[patient].append(at)
    found = list(cases)
    for members in studies.values():
        days = _days([cases[at] for at in members], recipe, root, in_headers)
        known = [day for day in days if day is not None]
        if len(known) < len(days) or max(known) - min(known) > _LONGEST:
            continue
        for at, day in zip(members, known, strict=True):
            found[at] = replace(cases[at], study_day=day - min(known))
    return found


def _days(cases: list[CaseFiles], recipe: Recipe, root: Path, headers: bool) -> list[int | None]:
    """Days of a patient's cases, counted from anything; series of one study share theirs."""
    if not headers:
        return [_by_name(case, recipe) for case in cases]
    told = [_by_table(case) for case in cases]
    if None not in told:
        return told
    uids = [case.study_instance_uid or case.case_id for case in cases]
    if len(set(uids)) == 1 and all(case.slices for case in cases):
        return [0] * len(cases)  # one study is its patient's first, whatever its date
    read: dict[str, int | None] = {}
    for uid, case in zip(uids, cases, strict=True):
        if read.get(uid) is None:
            read[uid] = _by_header(case, root)
    return [read[uid] for uid in uids]


def _by_name(case: CaseFiles, recipe: Recipe) -> int | None:
    ways: tuple[tuple[str | None, Callable[[str], int | None]], ...] = (
        (recipe.timeline.day, _whole),
        (recipe.timeline.date, day_of),
    )
    for pattern, read in ways:
        match = re.fullmatch(pattern, case.case_id) if pattern is not None else None
        if match is not None and match[1] is not None:
            return read(match[1])
    return _by_table(case)


def _whole(text: str) -> int | None:
    return int(text) if re.fullmatch(r"-?[0-9]{1,6}", text) else None


def _by_table(case: CaseFiles) -> int | None:
    """Day that all rows of a case agree on."""
    days = {one.day for one in case.measurements}
    return days.pop() if len(days) == 1 else None


def _by_header(case: CaseFiles, root: Path) -> int | None:
    """Day by the StudyDate of the first slice that can be read."""
    from uls_data.dicom.elements import Tag
    from uls_data.dicom.header import read_header

    for path in case.slices[:1]:
        with suppress(CaseError, OSError):
            header, _ = read_header(
                root / path, readable(path.as_posix()), frozenset((Tag.STUDY_DATE,))
            )
            text = header.text(Tag.STUDY_DATE)
            # A first of January is what de-identification writes for all dates: LIDC's are in 2000.
            return None if text.strip().endswith(("0101", ".01.01")) else day_of(text)
    return None


def day_of(text: str) -> int | None:
    """Day as a number, of a date like 20210304, 2021-03-04 or 2021.03.04; None of all else."""
    match = _DATE.fullmatch(text.strip())
    if match is None:
        return None
    with suppress(ValueError):
        day = date(int(match[1]), int(match[3]), int(match[4])).toordinal()
        return day if day > _EARLIEST else None
    return None
