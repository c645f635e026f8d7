"""Cases whose images are DICOM series: which series goes with which annotation.

A case's name comes from a folder, from a mask's name or from a recipe's crosswalk. Of a
header only the PatientID is looked at, and used only where it fits the recipe's pattern
of a public collection's own ids as a whole: no other id of a header reaches an output.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain, count
from os.path import commonpath, dirname
from pathlib import Path

from uls_data.dicom.inventory import SeriesFiles, find_series
from uls_data.errors import CaseError, SourceError
from uls_data.ids import readable
from uls_data.outcome import Reason
from uls_data.sources.case_files import CaseFiles, natural_key
from uls_data.sources.format import Search
from uls_data.volumes.raw_root import check_inside

Strays = dict[Path, tuple[Reason, str]]
_MOST_NAMES = 20


@dataclass(frozen=True)
class Scans:
    """DICOM series below a raw root.

    Attributes
    ----------
    every : list of SeriesFiles
    ct : list of SeriesFiles
        Those of CT.
    strays : dict of Path to (Reason, str)
        Files that name no series or cannot be read, and why: damaged slices, where they lie among
        slices.
    """

    every: list[SeriesFiles]
    ct: list[SeriesFiles]
    strays: Strays

    @classmethod
    def below(cls, search: Search, patient_pattern: str | None) -> Scans:
        """Look at every file below the raw root; see `find_series`.

        Every file of a CT series, and every one that cannot be read, is selected.
        """
        every = find_series(search.raw, cache=search.cache, patient_pattern=patient_pattern)
        ct = [series for series in every if series.modality == "CT"]
        strays = {
            path: problem
            for series in every
            for path, problem in zip(series.files, series.problems, strict=False)
        }
        search.selected.update(strays, *(one.files + one.copies for one in ct))
        return cls(every, ct, strays)

    def by_uid(self) -> dict[str, SeriesFiles]:
        """CT series by their UID."""
        return {series.series_instance_uid: series for series in self.ct}

    def checked(self, search: Search, cases: list[CaseFiles]) -> list[CaseFiles]:
        """Cases in order of their names; those with a stray file among their slices fail.

        A stray file elsewhere is a failed case, named by its folder. A case that fails names
        all objects that annotate it.

        Raises
        ------
        SourceError
            There is no case.
        """
        source = search.recipe.source
        if not any(case.annotations or case.mask for case in cases) and not self.strays:
            raise SourceError(
                f"--raw {search.raw.path}: no case of {source} found: {len(self.ct)} CT series, "
                f"and nothing that says where lesions are in one of them.\n"
                f"  `uls-data recipe show {source}` tells how to get the data, and where to "
                "put it."
            )
        copies = {path: one.copies for one in self.every if one.copies for path in one.files}
        cases = [_with_copies(with_strays(case, self.strays), copies) for case in cases]
        held = {path for case in cases for path in case.beside}
        names = {case.case_id for case in cases}
        for path in sorted(self.strays.keys() - held):
            case_id = free_name(readable(path.parent.as_posix()), path, names)
            cases.append(CaseFiles(case_id, beside=(path,), problem=self.strays[path]))
        cases = [_naming_all(case) for case in cases]
        return sorted(cases, key=lambda case: natural_key(case.case_id))


def _with_copies(case: CaseFiles, copies: Mapping[Path, tuple[Path, ...]]) -> CaseFiles:
    found = [path for one in case.annotations for path in copies.get(one, ())]
    return replace(case, beside=tuple(dict.fromkeys((*case.beside, *found)))) if found else case


def _naming_all(case: CaseFiles) -> CaseFiles:
    if case.problem is None:
        return case
    reason, detail = case.problem
    return replace(case, problem=(reason, naming_all(detail, case.annotations)))


def naming_all(detail: str, objects: Sequence[Path]) -> str:
    """Why a case fails, with the names of the objects that fail with it if these are several."""
    names = [readable(path.as_posix()) for path in objects]
    left = [name for name in names if name not in detail]
    if len(names) < 2 or not left:
        return detail
    more = f" and {len(left) - _MOST_NAMES} more" if len(left) > _MOST_NAMES else ""
    return f"{detail}; it has {len(names)} objects, {', '.join(left[:_MOST_NAMES])}{more}"


def with_strays(case: CaseFiles, strays: Strays) -> CaseFiles:
    """Refuse a series among whose slices lie files that cannot be read as one."""
    folders = {path.parent for path in case.slices} if strays else set()
    beside = tuple(sorted(path for path in strays if path.parent in folders))
    if not beside:
        return case
    if case.problem is not None:
        return case  # whose words are of something else: each stray is a case of its own
    case = replace(case, beside=(*case.beside, *beside))
    name = readable(beside[0].as_posix())
    more = f", as {len(beside) - 1} others" if len(beside) > 1 else ""
    reason, why = strays[beside[0]]
    why = why.removeprefix(f"{name}: ")
    detail = f"{name}, among the slices of the series, cannot be read as one{more}: {why}"
    return replace(case, problem=(reason, detail))


def free_name(name: str, path: Path, taken: set[str]) -> str:
    """Name of a case that a file makes: `name` or, where it is taken, with what tells it apart."""
    whole = readable(path.as_posix())
    name = name if name not in ("", ".") else whole
    told = (name, f"{name}_{readable(path.stem)}", whole, f"{whole} (file)")
    numbered = (f"{whole} (file {number})" for number in count(2))
    found = next(one for one in chain(told, numbered) if one not in taken)
    taken.add(found)
    return found


def named_by_folder(path: Path, case: str) -> str | None:
    """Case that the deepest folder above a file names whose name fits."""
    pattern = re.compile(case)
    return next(
        (readable(one) for one in reversed(path.parts[:-1]) if pattern.fullmatch(one)), None
    )


def name_of(series: SeriesFiles, case: str) -> str | None:
    """Case that the folder of most slices of the series, or its fitting PatientID, names."""
    if names := _names_of(series, case):
        return names[0]
    pattern = re.compile(case)
    if series.patient_key is not None and pattern.fullmatch(series.patient_key):
        return series.patient_key
    return None


def _names_of(series: SeriesFiles, case: str) -> list[str]:
    """Cases that folders of slices and of their copies name, the one with most files first."""
    slices: Counter[str] = Counter()
    folders = Counter(dirname(path) for path in series.files + series.copies)  # noqa: PTH120
    for folder, number in folders.items():
        if (name := named_by_folder(Path(folder, "slice"), case)) is not None:
            slices[name] += number
    return [name for name, _ in slices.most_common()]


def overlooked(ct: Iterable[SeriesFiles], case: str, names: Container[str]) -> list[CaseFiles]:
    """Cases of the names that folders of slices give and no case has.

    Their slices say that they belong to a series that another case has; or are copies of its own.
    """
    found: dict[str, CaseFiles] = {}
    for series in ct:
        first, *others = _names_of(series, case) or [""]
        for name in (name for name in others if name not in names):
            copied = {named_by_folder(path, case) for path in series.copies}
            read = {named_by_folder(path, case) for path in series.files}
            # Which of two is called the copy is a matter of their names.
            if name in copied - read or first in copied - read:
                problem = Reason.DUPLICATE, f"slices of it are copies of those of {first}"
            else:
                problem = (
                    Reason.AMBIGUOUS_FILES,
                    f"slices of it name the series {series.series_instance_uid}, as those of "
                    f"{first} do; get them again, with UIDs of their own",
                )
            found[name] = CaseFiles(name, problem=problem)
    return list(found.values())


def case_of(
    root: Path,
    case_id: str,
    scans: list[SeriesFiles],
    annotations: list[Path],
    *,
    as_mask: bool,
    uid: str | None = None,
) -> CaseFiles:
    """Case of one CT series and what annotates it; its problem says what is missing or too many.

    Parameters
    ----------
    root : Path
        Raw root.
    scans : list of SeriesFiles
        CT series of that name; there should be one.
    annotations : list of Path
        Relative to the root.
    as_mask : bool
        Whether the annotation is a mask volume.
    uid : str, optional
        Series instance UID, where there is no series.
    """
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
        try:
            check_inside(path, root)
        except CaseError as error:
            problem = (error.reason, error.detail)
    return CaseFiles(
        case_id,
        image=folder_of(series.files) if series else None,
        mask=annotations[0] if as_mask and annotations else None,
        slices=series.files if series else (),
        annotations=() if as_mask else tuple(annotations),
        beside=tuple(
            [path for one in scans for path in one.copies]
            + [path for other in scans[1:] for path in other.files]
            + (annotations[1:] if as_mask else [])
        ),
        series_instance_uid=series.series_instance_uid if series else uid,
        study_instance_uid=series.study_instance_uid if series else None,
        problem=problem,
    )


def folder_of(files: Iterable[Path]) -> Path:
    """Deepest folder that holds all files."""
    return Path(commonpath({dirname(path) or "." for path in files}))  # noqa: PTH120 - of every file
