"""Which scan a statement belongs to, by whatever its source says about the place."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from uls_data.dicom.elements import Header, Tag
from uls_data.dicom.header import read_header
from uls_data.dicom.inventory import SeriesFiles
from uls_data.errors import CaseError
from uls_data.ids import readable
from uls_data.outcome import Reason
from uls_data.sources.measurements.statement import Place, Statement
from uls_data.sources.scans import Scans

_SERIES_NUMBER = 0x00200011
_SHOWN = 3


@dataclass(frozen=True)
class Directory:
    """Series below a raw root, by whatever a statement may name them.

    Attributes
    ----------
    scans : Scans
    root : Path
        Raw root.
    """

    scans: Scans
    root: Path

    @cached_property
    def by_uid(self) -> dict[str, SeriesFiles]:
        """All series that have a UID, images before objects that share one with them."""
        found: dict[str, SeriesFiles] = {}
        for one in self.scans.every:
            if one.series_instance_uid:
                other = found.setdefault(one.series_instance_uid, one)
                if other is not one and one.modality == "CT":
                    found[one.series_instance_uid] = one
        return found

    @cached_property
    def _by_slice(self) -> dict[str, set[str]]:
        found: dict[str, set[str]] = {}
        for one in self.scans.every:
            for uid in one.sop_instance_uids:
                found.setdefault(uid, set()).add(one.series_instance_uid)
        return found

    @cached_property
    def _numbers(self) -> dict[str, int]:
        """SeriesNumbers of the CT series that have one, by UID."""
        found: dict[str, int] = {}
        wanted = frozenset((_SERIES_NUMBER,))
        for one in self.scans.ct:
            with suppress(CaseError, OSError, ValueError):
                file = one.files[0]
                header, _ = read_header(self.root / file, readable(file.as_posix()), wanted)
                found[one.series_instance_uid] = int(header.text(_SERIES_NUMBER))
        return found

    def series_of(self, one: Statement) -> str:
        """UID of the series that a statement belongs to; it need not be there.

        By the series that is named, else by the slices, else by whatever tells a single CT series:
        its number, its frame of reference, its case, the folder of the file.

        Raises
        ------
        CaseError
            Nothing tells it.
        """
        place = one.place
        if place.series:
            return place.series
        names = {place.slice_name, *(shape.slice_name for shape in one.shapes)} - {""}
        found = {uid for name in names for uid in self._by_slice.get(name, ())}
        if len(found) > 1:
            found &= {series.series_instance_uid for series in self.scans.ct}
        if not found and not names:
            found = self._told(place)
        if len(found) == 1:
            return found.pop()
        raise self._unresolved(one, names, found)

    def _told(self, place: Place) -> set[str]:
        """CT series that fit all that is said about the place, where that is anything."""
        told: list[Iterable[SeriesFiles]] = []
        if (number := place.series_number) is not None:
            numbers = self._numbers
            told.append(
                one for one in self.scans.ct if numbers.get(one.series_instance_uid) == number
            )
        if place.study:
            told.append(one for one in self.scans.ct if one.study_instance_uid == place.study)
        if place.case:
            told.append(one for one in self.scans.ct if self._is_case(one, place.case))
        if place.frame:
            told.append(one for one in self.scans.ct if one.frame_of_reference_uid == place.frame)
        if not told and place.folder is not None:
            told.append(self._beside(place.folder))
        sets = [{one.series_instance_uid for one in some} for some in told]
        found = set.intersection(*sets) if sets else set()
        for name in place.names if len(found) > 1 else ():
            named = {one.series_instance_uid for one in self.scans.ct if self._is_case(one, name)}
            found = found & named or found
        return found

    def _is_case(self, series: SeriesFiles, case: str) -> bool:
        """Whether a series goes by this name, which is that of a folder that it lies in."""
        return any(case in file.parts[:-1] for file in series.files[:1])

    def _beside(self, folder: Path) -> list[SeriesFiles]:
        """CT series below the nearest folder, at or above this one, that holds any."""
        for above in (folder, *folder.parents):
            found = [
                one
                for one in self.scans.ct
                if any(file.is_relative_to(above) for file in one.files[:1])
            ]
            if found:
                return found
        return []

    def _unresolved(self, one: Statement, names: set[str], found: set[str]) -> CaseError:
        what = f"{readable(one.source.as_posix())}, {one.source_lesion_id}"
        if found:
            several = ", ".join(sorted(found)[:_SHOWN])
            studies = {
                series.study_instance_uid
                for series in self.scans.ct
                if series.series_instance_uid in found
            }
            of = f" of {len(studies)} studies" if len(studies) > 1 else ""
            return CaseError(
                Reason.AMBIGUOUS_FILES,
                f"{what}: what it names{self._said(one.place)} fits {len(found)} series{of}, "
                f"{several}; say which, or move the others away",
            )
        if names:
            shown = ", ".join(sorted(names)[:_SHOWN])
            detail = f"{what}: drawn on slice {shown}, which is not below the raw root"
        elif one.place == Place():
            detail = f"{what}: it names no image"
        else:
            detail = (
                f"{what}: no CT series below the raw root fits what it says about its scan"
                f"{self._said(one.place)}{self._instead(one.place)}"
            )
        return CaseError(Reason.IMAGE_MISSING, detail)

    def _of_case(self, place: Place) -> list[SeriesFiles]:
        return [one for one in self.scans.ct if place.case and self._is_case(one, place.case)]

    def _said(self, place: Place) -> str:
        """Say what a row tells of its scan; a name that no folder of a scan has stays untold."""
        said = [f"case {place.case}"] if self._of_case(place) else []
        said += [f"series {place.series_number}"] if place.series_number is not None else []
        return f" ({', '.join(said)})" if said else ""

    def _instead(self, place: Place) -> str:
        """Say what there is in the place of a scan that is not there."""
        if not place.case:
            return ""
        uids = [one.series_instance_uid for one in self._of_case(place)]
        if not uids:
            return ": no folder of a CT series has the name of its case"
        numbers = sorted({self._numbers[uid] for uid in uids if uid in self._numbers})
        shown = ", ".join(map(str, numbers)) or "none"
        return f": the case has {len(uids)} CT series, with the numbers {shown}"


def numbers_of(headers: Iterable[Header]) -> dict[int, list[str]]:
    """SOPInstanceUIDs of slices by their InstanceNumber; those without one are left out."""
    found: dict[int, list[str]] = {}
    for header in headers:
        with suppress(CaseError):
            number = header.numbers(Tag.INSTANCE_NUMBER, 1)
            if number is not None and number[0].is_integer():
                found.setdefault(int(number[0]), []).append(header.uid(Tag.SOP_INSTANCE_UID))
    return found
