"""Lesions that readers are asked to draw lines for, and the scans that they are in."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
import pyarrow.compute as pc

from uls_data.dicom.inventory import find_series
from uls_data.dicom.series import Series, read_series
from uls_data.dicom.stack import ACCEPTED
from uls_data.errors import CaseError, ManifestError, SourceError
from uls_data.geometry import axis_codes, spacing_mm
from uls_data.ids import REQUEST
from uls_data.io.links import real_path
from uls_data.manifest.parquet import manifest_files
from uls_data.manifest.query import query_pieces
from uls_data.manifest.row import Row
from uls_data.outcome import LesionType, Reason
from uls_data.triage.png import slice_png
from uls_data.triage.vois import WINDOWS_HU
from uls_data.volumes.raw_root import RawRoot

_COLUMNS = (
    *("source", "case_id", "lesion_index", "source_lesion_id", "series_instance_uid"),
    *("image_source", "lesion_type", "detail", "status", "reason"),
    *("key_slice_uid", "stated_long_mm", "stated_short_mm"),
)
# A series is some hundred MB; the one shown, and the next one.
_KEPT = 2
_OPPOSITE = dict(zip("RLAPIS", "LRPASI", strict=True))


@dataclass(frozen=True)
class Asked:
    """A lesion that readers are asked for.

    Attributes
    ----------
    name : str
        As the table of drawn lines has it.
    row : dict
        Of the manifest, `_COLUMNS` alone.
    """

    name: str
    row: Row

    @property
    def stated_mm(self) -> tuple[float | None, float | None]:
        """Long and short axis as the report states them."""
        return self.row["stated_long_mm"], self.row["stated_short_mm"]

    @property
    def window(self) -> str:
        """Of `WINDOWS_HU`, by lesion type."""
        kinds = {LesionType.LUNG.value: "lung", LesionType.BONE.value: "bone"}
        return kinds.get(self.row["lesion_type"] or "", "soft")


@dataclass(frozen=True)
class Scan:
    """A decoded series, shown as it is stored.

    Attributes
    ----------
    series : Series
    """

    series: Series

    @property
    def shape(self) -> tuple[int, int, int]:
        """Columns, rows and slices."""
        columns, rows, slices = self.series.volume.stored.shape
        return columns, rows, slices

    @cached_property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Of columns, rows and slices."""
        return spacing_mm(self.series.volume.stored_affine)

    @cached_property
    def letters(self) -> str:
        """What lies left, right, above and below on a slice."""
        codes = axis_codes(self.series.volume.stored_affine)
        right, down = codes[0], codes[1]
        return "".join((_OPPOSITE[right], right, _OPPOSITE[down], down))

    def index(self, sop_instance_uid: str) -> int | None:
        """Find a slice by its UID; None where the series does not have it."""
        uids = self.series.sop_instance_uids
        return uids.index(sop_instance_uid) if sop_instance_uid in uids else None

    def png(self, index: int, window: str) -> bytes:
        """Slice as it is stored: columns to the right, rows downwards."""
        volume = self.series.volume
        stored: Any = volume.stored[::-1, ::-1, index]
        hu = stored.astype(np.float32) * volume.slope + volume.intercept
        return slice_png(hu, WINDOWS_HU[window], None)


class AskedLesions:
    """Lesions of a build that readers are asked for, in the order of the manifest.

    Lesions that another reader has drawn are included: readers work without knowing of each other.

    Parameters
    ----------
    out : Path
        OUT folder, or one manifest of it.
    raw : Path
        Folder that the build read; nothing outside of it is read.
    where : str
        As `query` takes it.

    Raises
    ------
    ManifestError
        No lesion waits for lines there.
    SourceError
        There is no such folder.
    """

    def __init__(self, out: Path, raw: Path, where: str = "") -> None:
        if not raw.is_dir():
            raise SourceError(f"--draw {raw}: no such folder; expected the one that build read")
        self.raw = raw.resolve()
        found: dict[tuple[str, str], Asked] = {}
        for piece in query_pieces(manifest_files(out), where, _COLUMNS):
            for row in piece.filter(pc.is_valid(piece["key_slice_uid"])).to_pylist():
                # Lines of a lesion may be joined by others that were drawn on it.
                parts = (row["source_lesion_id"] or "").split("+")
                for name in (part for part in parts if REQUEST.fullmatch(part)):
                    found.setdefault((row["source"], name), Asked(name, row))
        self._lesions = list(found.values())
        if not self._lesions:
            also = f" that meets {where!r}" if where.strip() else ""
            raise ManifestError(
                f"{out}: no lesion{also} waits for lines (awaiting_lines): nothing to draw. Rows "
                "of reports do if the recipe says reader.drawn (docs/reports.md)"
            )
        self._scans: OrderedDict[tuple[str, str], Scan | CaseError] = OrderedDict()
        self._lock, self._reading = Lock(), Lock()

    def __len__(self) -> int:
        return len(self._lesions)

    def __getitem__(self, number: int) -> Asked:
        return self._lesions[number]

    def number(self, name: str) -> int | None:
        """Find a lesion by its name; None where it is not among them."""
        names = [one.name for one in self._lesions]
        return names.index(name) if name in names else None

    def scan(self, number: int) -> Scan:
        """Decode the scan of a lesion, once while it is kept.

        Raises
        ------
        CaseError
            It cannot be read, or is not there.
        """
        row = self._lesions[number].row
        key = str(row["image_source"]), str(row["series_instance_uid"])
        if (kept := self._kept(key)) is None:
            with self._reading:
                if (kept := self._kept(key)) is None:
                    try:
                        kept = self._read(row["image_source"], key[1])
                    except CaseError as error:
                        kept = error
                    with self._lock:
                        self._scans[key] = kept
                        while len(self._scans) > _KEPT:
                            self._scans.popitem(last=False)
        if isinstance(kept, CaseError):
            raise kept
        return kept

    def _kept(self, key: tuple[str, str]) -> Scan | CaseError | None:
        with self._lock:
            if key in self._scans:
                self._scans.move_to_end(key)
            return self._scans.get(key)

    def _read(self, image_source: str | None, uid: str) -> Scan:
        if image_source is None:
            detail = "the build did not look at the image (--labels-only); build without that"
            raise CaseError(Reason.IMAGE_MISSING, detail)
        try:
            folder = real_path(self.raw / image_source)
            inside, there = folder.is_relative_to(self.raw), folder.is_dir()
        except (OSError, ValueError):
            inside = there = False
        if not (inside and there):
            detail = f"{image_source}: no such folder below --draw; was the build of another one?"
            raise CaseError(Reason.IMAGE_MISSING, detail)
        series = [
            one
            for one in find_series(RawRoot(folder))
            if one.series_instance_uid == uid and one.modality == "CT"
        ]
        if not series:
            detail = f"{image_source}: the series {uid} is no longer there"
            raise CaseError(Reason.IMAGE_MISSING, detail)
        return Scan(read_series(series[0].files, folder, ACCEPTED))
