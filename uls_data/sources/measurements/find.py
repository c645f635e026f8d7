"""Cases of Crowds Cure Cancer: the CT series that its table names, wherever they lie.

A case is one series. The challenge's running numbers (`ccc18_0000`) can be matched to no
series, so a case is called `ccc18_` and the first 12 hexadecimal digits of the SHA-256 of its
SeriesInstanceUID. The patient is not known: series come from several collections, whose
patients may stand in other sources too.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from uls_data.dicom.elements import Header, Tag
from uls_data.dicom.header import read_header
from uls_data.dicom.inventory import SeriesFiles
from uls_data.errors import CaseError, SourceError
from uls_data.ids import readable
from uls_data.io import sha256_bytes, sha256_file
from uls_data.outcome import Reason
from uls_data.recipe.reader import Ccc18
from uls_data.sources.case_files import CaseFiles, natural_key
from uls_data.sources.format import Search
from uls_data.sources.measurement import Measurement
from uls_data.sources.measurements.table import CrowdRow, read_table
from uls_data.sources.scans import Scans, folder_of, with_strays
from uls_data.volumes.raw_root import RawRoot

_WINDOW_CENTRE, _WINDOW_WIDTH = 0x00281050, 0x00281051
_WANTED = frozenset((int(Tag.SOP_INSTANCE_UID), _WINDOW_CENTRE, _WINDOW_WIDTH))
_NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_FARTHEST_HU = 1e5
_DIGITS = 12


@dataclass(frozen=True)
class CrowdMeasurement(Measurement):
    """A row of the table as a measurement of its series.

    `number` is the row's among those of its series, and `reader` its annotator's: which rows are
    of one lesion can only be told beside the slices (`uls_data.sources.measurements.lesions`).

    Attributes
    ----------
    length_mm : tuple of 2 float or None
        Long and short axis as the table states them.
    """

    length_mm: tuple[float | None, float | None] = (None, None)


def case_of(series_instance_uid: str) -> str:
    """Name of a series' case."""
    return f"ccc18_{sha256_bytes(series_instance_uid.encode())[:_DIGITS]}"


def find_measured(search: Search, reader: Ccc18) -> list[CaseFiles]:
    """Cases of all series that the table names, sorted by name.

    Other series below the root are passed over. Rows that name no series make one case,
    `ccc18_unplaced`, that says so.

    Raises
    ------
    SourceError
        There is no table, it cannot be read, or none of its series is there.
    """
    recipe, raw, root = search.recipe, search.raw, search.raw.path
    table = _table(reader, raw)
    rows = read_table(root / table, root, reader)
    # No PatientID fits the pattern of a case: none is looked at.
    scans = Scans.below(search, reader.case)
    by_uid = {one.series_instance_uid: one for one in scans.every if one.series_instance_uid}
    by_series: dict[str, list[CrowdRow]] = {}
    for row in rows:
        by_series.setdefault(row.series_instance_uid, []).append(row)
    unplaced = by_series.pop("", [])
    if not by_uid.keys() & by_series.keys():
        raise SourceError(
            f"--raw {root}: none of the {len(by_series)} series of {table.name} is there; "
            f"{len(by_uid)} other DICOM series are.\n"
            f"  `uls-data recipe show {recipe.source}` tells how to get the data, and where to "
            "put it."
        )
    cases = [
        with_strays(_case(reader, table, uid, members, by_uid.get(uid)), scans.strays)
        for uid, members in by_series.items()
    ]
    if unplaced:
        numbers = ", ".join(str(row.number) for row in unplaced[:10])
        detail = f"{len(unplaced)} rows of {table.name} name no series, such as rows {numbers}"
        problem = (Reason.ANNOTATION_UNREADABLE, detail)
        cases.append(CaseFiles("ccc18_unplaced", annotations=(table,), problem=problem))
    return sorted(cases, key=lambda case: natural_key(case.case_id))


def windows_of(files: Sequence[Path], root: Path) -> dict[str, tuple[float, float] | None]:
    """Display windows of slices by SOPInstanceUID: low and high HU.

    Parameters
    ----------
    files : sequence of Path
        Relative to the root, and known to lie inside it. What cannot be read is left out.
    """
    windows = {}
    for file in files:
        try:
            header, _ = read_header(root / file, readable(file.as_posix()), _WANTED)
        except (CaseError, OSError):
            continue
        texts = _first(header, _WINDOW_CENTRE), _first(header, _WINDOW_WIDTH)
        windows[header.uid(Tag.SOP_INSTANCE_UID)] = window_hu(*texts)
    return windows


def window_hu(centre: str, width: str) -> tuple[float, float] | None:
    """Low and high HU of a window by its centre and width; None where they are none.

    Low is centre - width / 2 and high is centre + width / 2 (PS3.3 C.11.2.1.3.2). The linear
    function of C.11.2.1.2.1 ends half and one and a half HU lower, which no mask can tell.
    """
    if not (_NUMBER.fullmatch(centre) and _NUMBER.fullmatch(width)):
        return None
    middle, whole = float(centre), float(width)
    # The standard wants a width of at least 1.
    if abs(middle) > _FARTHEST_HU or not 1 <= whole <= _FARTHEST_HU:
        return None
    return middle - whole / 2, middle + whole / 2


def _first(header: Header, tag: int) -> str:
    """First value of an element that may have several, a window each."""
    text = header.values.get(tag, b"").decode("latin-1")
    return text.split("\\")[0].strip(" \0")


def _table(reader: Ccc18, raw: RawRoot) -> Path:
    root, pattern = raw.path, reader.table.lower()
    found = [
        path
        for path in sorted(raw.walk())
        if fnmatchcase(path.name.lower(), pattern) and (root / path).is_file()
    ]
    for path in found:
        if not (root / path).resolve().is_relative_to(root.resolve()):
            name = readable(path.as_posix())
            raise SourceError(f"--raw {root}: {name} is a link that leads out of the raw root")
    try:
        distinct = {sha256_file(root / path): path for path in reversed(found)}
    except OSError as error:
        raise SourceError(f"--raw {root}: {reader.table}: {error.strerror}") from error
    if len(distinct) == 1:
        return next(iter(distinct.values()))
    names = ", ".join(readable(path.as_posix()) for path in sorted(distinct.values())[:3])
    what = f"found {len(distinct)} that differ: {names}" if distinct else "found none"
    raise SourceError(
        f"--raw {root}: expected one table called {reader.table}, {what}.\n"
        "  Put the table of measurements below the root, or name it in the recipe's reader.table."
    )


def _case(
    reader: Ccc18, table: Path, uid: str, rows: list[CrowdRow], series: SeriesFiles | None
) -> CaseFiles:
    names = sorted({row.annotator for row in rows})
    annotators = {name: number for number, name in enumerate(names, start=1)}
    shift = reader.coordinates.shift_vox
    measurements = tuple(
        CrowdMeasurement(
            number=number,
            source_lesion_id=f"row-{row.number}",
            slice_name=row.slice_name,
            lines=row.lines.moved(shift, shift),
            reader=annotators[row.annotator],
            skipped=row.skipped,
            length_mm=row.length_mm,
        )
        for number, row in enumerate(rows, start=1)
    )
    return CaseFiles(
        case_of(uid),
        image=folder_of(series.files) if series else None,
        slices=series.files if series else (),
        annotations=(table,),
        measurements=measurements,
        series_instance_uid=uid,
        study_instance_uid=(series.study_instance_uid or None) if series else None,
        problem=_problem(uid, rows, series),
    )


def _problem(
    uid: str, rows: list[CrowdRow], series: SeriesFiles | None
) -> tuple[Reason, str] | None:
    why = Counter(row.skipped[0] for row in rows if row.skipped is not None)
    if sum(why.values()) == len(rows):
        # Nothing would come of it: such a series need not be there, and is not read.
        counts = ", ".join(f"{count} {reason}" for reason, count in sorted(why.items()))
        return max(why, key=lambda reason: (why[reason], reason)), f"no row counts: {counts}"
    if series is None:
        return Reason.IMAGE_MISSING, f"series {uid} of {len(rows)} rows is not below the raw root"
    if series.modality != "CT":
        found = series.modality or "none that DICOM defines"
        return Reason.NOT_CT, f"series {uid}: expected modality CT, found {found}"
    return None
