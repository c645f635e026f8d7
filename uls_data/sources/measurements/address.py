"""Which scan a statement belongs to, by whatever its source says about the place."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TypeVar

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
Key = TypeVar("Key", bound=Hashable)


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
    def _ct_by_number(self) -> dict[int, set[str]]:
        """UIDs of the CT series that have a SeriesNumber, by that."""
        wanted = frozenset((_SERIES_NUMBER,))

        def number_of(one: SeriesFiles) -> Iterator[int]:
            with suppress(CaseError, OSError, ValueError):
                file = one.files[0]
                header, _ = read_header(self.root / file, readable(file.as_posix()), wanted)
                yield int(header.text(_SERIES_NUMBER))

        return self._ct_by(number_of)

    @cached_property
    def _ct_by_study(self) -> dict[str, set[str]]:
        return self._ct_by(lambda one: (one.study_instance_uid,))

    @cached_property
    def _ct_by_frame(self) -> dict[str, set[str]]:
        return self._ct_by(lambda one: (one.frame_of_reference_uid,))

    @cached_property
    def _ct_by_name(self) -> dict[str, set[str]]:
        """UIDs of CT series by the names of the folders that they lie in: the names of cases."""
        return self._ct_by(lambda one: {name for file in one.files[:1] for name in file.parts[:-1]})

    @cached_property
    def _ct_below(self) -> dict[Path, set[str]]:
        return self._ct_by(lambda one: {above for file in one.files[:1] for above in file.parents})

    def _ct_by(self, keys_of: Callable[[SeriesFiles], Iterable[Key]]) -> dict[Key, set[str]]:
        found: dict[Key, set[str]] = {}
        for one in self.scans.ct:
            for key in keys_of(one):
                found.setdefault(key, set()).add(one.series_instance_uid)
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
        told = []
        if place.series_number is not None:
            told.append(self._ct_by_number.get(place.series_number, set()))
        if place.study:
            told.append(self._ct_by_study.get(place.study, set()))
        if place.case:
            told.append(self._ct_by_name.get(place.case, set()))
        if place.frame:
            told.append(self._ct_by_frame.get(place.frame, set()))
        if not told and place.folder is not None:
            told.append(self._beside(place.folder))
        found = set.intersection(*told) if told else set()
        for name in place.names if len(found) > 1 else ():
            found = found & self._ct_by_name.get(name, set()) or found
        return found

    def _beside(self, folder: Path) -> set[str]:
        """CT series below the nearest folder, at or above this one, that holds any."""
        for above in (folder, *folder.parents):
            if found := self._ct_below.get(above):
                return found
        return set()

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

    def _said(self, place: Place) -> str:
        """Say what a row tells of its scan; a name that no folder of a scan has stays untold."""
        said = [f"case {place.case}"] if place.case in self._ct_by_name else []
        said += [f"series {place.series_number}"] if place.series_number is not None else []
        return f" ({', '.join(said)})" if said else ""

    def _instead(self, place: Place) -> str:
        """Say what there is in the place of a scan that is not there."""
        if not place.case:
            return ""
        uids = self._ct_by_name.get(place.case, set())
        if not uids:
            return ": no folder of a CT series has the name of its case"
        numbers = sorted(number for number, some in self._ct_by_number.items() if uids & some)
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
