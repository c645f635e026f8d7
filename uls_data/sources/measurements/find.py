"""Cases of measurements: the scans that tables and files of measurements belong to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path

from uls_data.dicom.inventory import SeriesFiles
from uls_data.errors import CaseError, SourceError
from uls_data.ids import readable
from uls_data.io import sha256_bytes
from uls_data.outcome import Flag, Reason
from uls_data.recipe.measurements import Measurements
from uls_data.sources.case_files import CaseFiles, natural_key
from uls_data.sources.format import Search
from uls_data.sources.measurements.address import Directory
from uls_data.sources.measurements.readers import read_all
from uls_data.sources.measurements.statement import Place, Statement
from uls_data.sources.patterns import matching
from uls_data.sources.scans import Scans, Strays, folder_of, free_name, name_of, overlooked

_DIGITS = 12
_NOBODY = r"(?!)"
_SHOWN = 10
_Problem = tuple[Reason, str]


@dataclass
class _Sorted:
    """Statements by the scan that they belong to, and those that belong to none."""

    tables: list[Path]
    copies: list[Path]
    lost: Strays
    by_scan: dict[str, list[Statement]] = field(default_factory=dict)
    unplaced: dict[Path, list[tuple[Statement, _Problem]]] = field(default_factory=dict)

    def sort(self, statements: Iterable[Statement], scan_of: Callable[[Statement], str]) -> None:
        """Add statements; `scan_of` raises `CaseError` where nothing tells the scan."""
        for one in statements:
            try:
                self.by_scan.setdefault(scan_of(one), []).append(one)
            except CaseError as error:
                problem = one.skipped or (error.reason, error.detail)
                self.unplaced.setdefault(one.source, []).append((one, problem))

    def leftovers(self, source: str, taken: set[str]) -> list[CaseFiles]:
        """Case of each file that holds something without a scan, or nothing at all."""
        cases = []
        table = self.tables[0] if self.tables else None
        for path, members in sorted(self.unplaced.items()):
            # What readers would be asked for is a row each: somebody corrects them one by one.
            for one, why in (pair for pair in members if pair[0].asked is not None):
                name = free_name(f"{source}_{one.request}", path, taken)
                cases.append(CaseFiles(name, annotations=(path,), problem=why))
            members = [pair for pair in members if pair[0].asked is None]
            if not members:
                continue
            problem = _of_no_scan(path, members, path == table)
            name = f"{source}_unplaced" if path == table else _folder(path)
            cases.append(
                CaseFiles(free_name(name, path, taken), annotations=(path,), problem=problem)
            )
        for path, problem in sorted(self.lost.items()):
            name = free_name(_folder(path), path, taken)
            cases.append(CaseFiles(name, annotations=(path,), problem=problem))
        return cases


def find_measured(search: Search, reader: Measurements) -> list[CaseFiles]:
    """Cases of all scans that are measured, sorted by name.

    A table's rows, and an object's contents, that belong to no scan are a case that says so; so are
    objects that cannot be read, and CT series that nobody measured.

    Raises
    ------
    SourceError
        There is no table, it cannot be read, or nothing below the root is measured.
    """
    if reader.images is not None:
        return _of_volumes(search, reader)
    # A clinic's PatientID names a person, whatever pattern it fits: none is looked at.
    scans = Scans.below(search, _NOBODY)
    directory = Directory(scans, search.raw.path)
    statements, tables, copies, lost = read_all(search, reader, scans.every)
    sorted_ = _Sorted(tables, copies, lost)
    sorted_.sort(statements, directory.series_of)
    if tables and not reader.objects:
        _check_any(search, directory, tables[0], sorted_)
    cases = _measured_cases(search, reader, directory, sorted_)
    return scans.checked(search, cases)


def _check_any(search: Search, directory: Directory, table: Path, sorted_: _Sorted) -> None:
    """Refuse a table of other scans than those that are there."""
    if directory.by_uid.keys() & sorted_.by_scan.keys():
        return
    source = search.recipe.source
    if not sorted_.by_scan and (members := sorted_.unplaced.get(table)):
        (_, (_, first)), *_ = members
        raise SourceError(
            f"--raw {search.raw.path}: no row of {table.name} says which scan it belongs to; the "
            f"first: {first}"
        )
    raise SourceError(
        f"--raw {search.raw.path}: none of the {len(sorted_.by_scan)} series of {table.name} is "
        f"there; {len(directory.by_uid)} other DICOM series are.\n"
        f"  `uls-data recipe show {source}` tells how to get the data, and where to "
        "put it."
    )


def _measured_cases(
    search: Search, reader: Measurements, directory: Directory, sorted_: _Sorted
) -> list[CaseFiles]:
    source = search.recipe.source
    series = {uid: directory.by_uid.get(uid) for uid in sorted_.by_scan}
    series |= {one.series_instance_uid: one for one in directory.scans.ct}
    names = {uid: _name(uid, one, reader, source) for uid, one in series.items()}
    count = Counter(names.values())
    cases = []
    for uid, one in series.items():
        name = names[uid] if count[names[uid]] == 1 else f"{names[uid]}_{uid}"
        members = sorted_.by_scan.get(uid, [])
        case = _with(
            members, CaseFiles(name, series_instance_uid=uid, problem=_problem(uid, members, one))
        )
        if one is not None:
            case = replace(
                case,
                image=folder_of(one.files),
                slices=one.files,
                beside=one.copies,
                study_instance_uid=one.study_instance_uid or None,
            )
        cases.append(case)
    if reader.named_by != "series":
        cases += overlooked(directory.scans.ct, reader.case, count)
    cases += sorted_.leftovers(source, {case.case_id for case in cases})
    return _beside(sorted_.copies, cases)


def _beside(copies: list[Path], cases: list[CaseFiles]) -> list[CaseFiles]:
    """Cases, copies of the table beside the first."""
    if not copies or not cases:
        return cases
    return [replace(cases[0], beside=(*cases[0].beside, *copies)), *cases[1:]]


def _with(members: list[Statement], case: CaseFiles) -> CaseFiles:
    """Case with its statements, numbered, their readers by the hashes of their names."""
    readers = sorted({one.drawn_by for one in members})
    numbers = {name: number for number, name in enumerate(readers, start=1)}
    sources = tuple(sorted({one.source for one in members}))
    # Groups of several objects are told apart by the names of their files.
    common = folder_of(sources) if len(sources) > 1 else None

    def named(one: Statement) -> str:
        if common is None or one.source_lesion_id == one.request:
            return one.source_lesion_id
        return f"{readable(one.source.relative_to(common).as_posix())}/{one.source_lesion_id}"

    return replace(
        case,
        annotations=sources,
        measurements=tuple(
            replace(one, number=number, reader=numbers[one.drawn_by], source_lesion_id=named(one))
            for number, one in enumerate(members, start=1)
        ),
    )


def case_of(source: str, series_instance_uid: str) -> str:
    """Name of a series' case where it is called after nothing else."""
    return f"{source}_{sha256_bytes(series_instance_uid.encode())[:_DIGITS]}"


def _name(uid: str, series: SeriesFiles | None, reader: Measurements, source: str) -> str:
    if reader.named_by == "series":
        return case_of(source, uid)
    return (name_of(series, reader.case) if series is not None else None) or uid


def _problem(uid: str, members: list[Statement], series: SeriesFiles | None) -> _Problem | None:
    if not members:
        detail = f"series {uid}: nothing that the recipe reads was drawn on it"
        return Reason.NOT_ANNOTATED, detail
    if problem := _none_counts(members):
        return problem
    if series is None:
        detail = f"series {uid}, of {len(members)} measurements, is not below the raw root"
        return Reason.IMAGE_MISSING, detail
    if series.modality != "CT":
        found = series.modality or "none that DICOM defines"
        return Reason.NOT_CT, f"series {uid}: expected modality CT, found {found}"
    return None


def _none_counts(members: list[Statement]) -> _Problem | None:
    """Why nothing would come of a scan, which then need not be there and is not read."""
    why = Counter(one.skipped[0] for one in members if one.skipped and one.asked is None)
    if sum(why.values()) < len(members):
        return None
    counts = ", ".join(f"{count} {reason}" for reason, count in sorted(why.items()))
    reason = max(why, key=lambda reason: (why[reason], reason))
    first = next(one.skipped[1] for one in members if one.skipped and one.skipped[0] == reason)
    return reason, f"no measurement counts: {counts}; the first: {first}"


def _of_no_scan(path: Path, members: list[tuple[Statement, _Problem]], is_table: bool) -> _Problem:
    (_, (reason, first)), *_ = members
    if not is_table:
        more = f" ({len(members) - 1} others like it)" if len(members) > 1 else ""
        return reason, f"{first}{more}"
    nowhere = [one for one, _ in members if one.place == Place()]
    if len(nowhere) < len(members):
        return reason, f"{len(members)} rows of {path.name} belong to no scan; the first: {first}"
    numbers = ", ".join(one.source_lesion_id.removeprefix("row-") for one in nowhere[:_SHOWN])
    detail = f"{len(nowhere)} rows of {path.name} name no series, such as rows {numbers}"
    return Reason.ANNOTATION_UNREADABLE, detail


def _folder(path: Path) -> str:
    return readable(path.parent.as_posix())


def _of_volumes(search: Search, reader: Measurements) -> list[CaseFiles]:
    """Cases whose images are volumes, by the names that the pattern gives them."""
    assert reader.images is not None
    images: dict[str, list[Path]] = {}
    unread: dict[str, list[Path]] = {}
    converted: set[Path] = set()
    for it in matching(reader.images, reader.case, sorted(search.raw.walk())):
        converted.update([it.path] if it.other_format else [])
        (unread if it.spare else images).setdefault(readable(it.match["case"]), []).append(it.path)
        search.selected.add(it.path)
    statements, tables, copies, lost = read_all(search, reader, [])
    sorted_ = _Sorted(tables, copies, lost)
    sorted_.sort(statements, lambda one: _volume_of(one, images))
    if not images or not statements:
        raise SourceError(
            f"--raw {search.raw.path}: found {len(images)} volumes by {reader.images!r} and "
            f"{len(statements)} measurements; both are needed"
        )
    cases = []
    for name in dict.fromkeys([*images, *sorted_.by_scan]):
        paths, members = images.get(name, []), sorted_.by_scan.get(name, [])
        problem = None if members else (Reason.NOT_ANNOTATED, f"{name}: nobody measured it")
        problem = problem or _none_counts(members)
        if members and not paths:
            detail = f"no volume by {reader.images!r} for its {len(members)} measurements"
            problem = Reason.IMAGE_MISSING, detail
        if len(paths) > 1:
            shown = ", ".join(readable(path.as_posix()) for path in paths[:3])
            problem = Reason.AMBIGUOUS_FILES, f"expected one volume, found {len(paths)}: {shown}"
        case = CaseFiles(
            readable(name),
            image=paths[0] if paths else None,
            beside=(*paths[1:], *unread.get(name, ())),
            flags=(Flag.OTHER_VOLUME_FORMAT,) if converted.intersection(paths) else (),
            problem=problem,
        )
        cases.append(_with(members, case))
    cases += sorted_.leftovers(search.recipe.source, {case.case_id for case in cases})
    cases = _beside(sorted_.copies, cases)
    return sorted(cases, key=lambda case: natural_key(case.case_id))


def _volume_of(one: Statement, images: dict[str, list[Path]]) -> str:
    """Name of the case whose volume a statement belongs to."""
    if one.place.case:
        return one.place.case
    folder = one.place.folder
    for above in (folder, *folder.parents) if folder is not None else ():
        found = [name for name, paths in images.items() if paths[0].is_relative_to(above)]
        if len(found) == 1:
            return found[0]
        if found:
            detail = f"{one.source_lesion_id}: {len(found)} volumes beside it; which is its own?"
            raise CaseError(Reason.AMBIGUOUS_FILES, detail)
    raise CaseError(Reason.IMAGE_MISSING, f"{one.source_lesion_id}: it names no case")
