"""Cases whose images are DICOM series: which series goes with which annotation.

A case's name comes from a folder, from a mask's name or from a recipe's crosswalk. Of a
header only the PatientID is looked at, and used only where it fits the recipe's pattern
of a public collection's own ids as a whole: no other id of a header reaches an output.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from os.path import commonpath
from pathlib import Path

from uls_data.dicom.inventory import SeriesFiles, find_series
from uls_data.errors import SourceError
from uls_data.ids import readable
from uls_data.outcome import Reason
from uls_data.sources.case_files import CaseFiles, natural_key
from uls_data.sources.format import Search


@dataclass(frozen=True)
class Scans:
    """DICOM series below a raw root.

    Attributes
    ----------
    every : list of SeriesFiles
    ct : list of SeriesFiles
        Those of CT.
    strays : dict of Path to Path
        DICOM that names no series, by its folder: a damaged slice, where it lies among slices.
    """

    every: list[SeriesFiles]
    ct: list[SeriesFiles]
    strays: dict[Path, Path]

    @classmethod
    def below(cls, search: Search, patient_pattern: str | None) -> Scans:
        """Look at every file below the raw root; see `find_series`."""
        every = find_series(search.raw, cache=search.cache, patient_pattern=patient_pattern)
        return cls(
            every,
            [series for series in every if series.modality == "CT"],
            {path.parent: path for series in every if not series.modality for path in series.files},
        )

    def by_uid(self) -> dict[str, SeriesFiles]:
        """CT series by their UID."""
        return {series.series_instance_uid: series for series in self.ct}

    def checked(self, search: Search, cases: list[CaseFiles]) -> list[CaseFiles]:
        """Cases in order of their names; those with a stray file among their slices fail.

        Raises
        ------
        SourceError
            There is no case.
        """
        source = search.recipe.source
        if not cases:
            raise SourceError(
                f"--raw {search.raw.path}: no case of {source} found: {len(self.ct)} CT series, "
                f"and nothing that says where lesions are in one of them.\n"
                f"  `uls-data recipe show {source}` tells how to get the data, and where to "
                "put it."
            )
        cases = [with_strays(case, self.strays) for case in cases]
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


def name_of(series: SeriesFiles, case: str) -> str | None:
    """Case that a folder of the series, or its fitting PatientID, names."""
    pattern = re.compile(case)
    folders = series.files[0].parts[:-1] if series.files else ()
    for part in reversed(folders):
        if pattern.fullmatch(part):
            return readable(part)
    if series.patient_key is not None and pattern.fullmatch(series.patient_key):
        return series.patient_key
    return None


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
