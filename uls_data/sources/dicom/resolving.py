"""Which CT series an object belongs to, by what it names; and names for those without one."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from uls_data.dicom.inventory import SeriesFiles
from uls_data.errors import CaseError
from uls_data.outcome import Reason

if TYPE_CHECKING:
    from uls_data.dicom.referred import Kind, References

_SHOWN = 3


@dataclass(frozen=True)
class Resolver:
    """CT series below a raw root, by whatever an object may name them.

    Attributes
    ----------
    ct : list of SeriesFiles
    other : dict of str to str
        Modality of the other series, by UID.
    """

    ct: list[SeriesFiles]
    other: dict[str, str]

    @cached_property
    def _by_uid(self) -> dict[str, SeriesFiles]:
        return {series.series_instance_uid: series for series in self.ct}

    @cached_property
    def _by_slice(self) -> dict[str, set[str]]:
        found: dict[str, set[str]] = {}
        for series in self.ct:
            for uid in series.sop_instance_uids:
                found.setdefault(uid, set()).add(series.series_instance_uid)
        return found

    def references_of(self, path: Path, kind: Kind) -> References:
        """Return what an object names.

        Raises
        ------
        CaseError
            It cannot be read.
        """
        # pydicom is large, and without objects nobody needs it.
        from uls_data.dicom.referred import references_of

        return references_of(path, kind, self._by_uid)

    def series_of(self, refers: References, name: str) -> tuple[SeriesFiles, bool]:
        """CT series that an object belongs to, and whether that had to be inferred.

        The one that it names; else the one that holds the slices that it names; else, where it
        names no series, the only one in its frame of reference.

        Raises
        ------
        CaseError
            The object belongs to none or to several.
        """
        named = refers.series & self._by_uid.keys()
        if len(named) == 1:
            return self._by_uid[next(iter(named))], False
        found = {uid for one in refers.slices for uid in self._by_slice.get(one, ())}
        found = found & named if named else found
        if not found and (named or not refers.series):
            found = {
                series.series_instance_uid
                for series in self.ct
                if series.frame_of_reference_uid in refers.frames
                and (not named or series.series_instance_uid in named)
            }
        if len(found) == 1:
            return self._by_uid[next(iter(found))], True
        raise self._unresolved(refers, found, name)

    def _unresolved(self, refers: References, found: Iterable[str], name: str) -> CaseError:
        several = sorted(found)
        if several:
            return CaseError(
                Reason.AMBIGUOUS_FILES,
                f"{name}: what it refers to fits {len(several)} CT series, "
                f"{', '.join(several[:_SHOWN])}; move the others away",
            )
        if not refers.series:
            return CaseError(
                Reason.IMAGE_MISSING,
                f"{name}: refers to no series, and neither the {len(refers.slices)} slices nor the "
                "frame of reference that it names are those of a CT series below the raw root",
            )
        shown = ", ".join(
            f"{uid} ({self.other.get(uid) or 'not there'})"
            for uid in sorted(refers.series)[:_SHOWN]
        )
        return CaseError(
            Reason.IMAGE_MISSING, f"{name}: refers to series {shown}; there is no CT series for it"
        )
