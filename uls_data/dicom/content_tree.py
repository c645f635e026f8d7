"""Content trees of structured reports (PS3.3 C.17.3): values, coordinates and their meaning."""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from pydicom.dataset import Dataset
from pydicom.uid import (
    BasicTextSRStorage,
    Comprehensive3DSRStorage,
    ComprehensiveSRStorage,
    EnhancedSRStorage,
    ExtensibleSRStorage,
)

from uls_data.dicom.objects import (
    free_text,
    items,
    numbers,
    parsing,
    raw_value,
    read_object,
    uid,
    unreadable,
    word,
)
from uls_data.errors import CaseError
from uls_data.outcome import Reason

SR_CLASSES = (
    BasicTextSRStorage,
    EnhancedSRStorage,
    ComprehensiveSRStorage,
    Comprehensive3DSRStorage,
    ExtensibleSRStorage,
)
MAXIMUM_BYTES = 1 << 25
_MOST_ITEMS = 50_000
_DEEPEST = 32
_MOST_POINTS = 1 << 16
_FARTHEST = 1e6
_CODE = re.compile(r"[A-Za-z0-9._\-\[\]'{}/%*()^]{1,64}")


@dataclass(frozen=True)
class Item:
    """One content item. No text of it is kept but codes.

    Attributes
    ----------
    kind : str
        Value Type: `CONTAINER`, `NUM`, `SCOORD`, `SCOORD3D`, `IMAGE`, ...
    relation : str
        To the item above it: `CONTAINS`, `INFERRED FROM`, ...
    concept, code, unit : str
        Concept name, value of a CODE, unit of a NUM: `scheme:code`; empty where there is none.
    number : float or None
        Of a NUM.
    graphic : str
        Graphic Type of coordinates.
    points : tuple of tuple of float
        (column, row) from the corner of the first pixel, or (x, y, z) in LPS mm.
    uid : str
        Of a UIDREF; frame of reference of 3D coordinates.
    images : tuple of (SOP class UID, SOP instance UID)
    text_hash : str
        Of a TEXT or PNAME, to tell texts apart; empty for an empty one.
    refers : tuple of int
        Place in the tree of the item that stands for this one, counted from 1.
    items : tuple of Item
    """

    kind: str = ""
    relation: str = ""
    concept: str = ""
    code: str = ""
    unit: str = ""
    number: float | None = None
    graphic: str = ""
    points: tuple[tuple[float, ...], ...] = ()
    uid: str = ""
    images: tuple[tuple[str, str], ...] = ()
    text_hash: str = field(default="", repr=False)
    refers: tuple[int, ...] = ()
    items: tuple[Item, ...] = ()

    def at(self, place: tuple[int, ...]) -> Item | None:
        """Item at a place of this tree, of which this is the root (1)."""
        found = self
        for number in place[1:]:
            if not 1 <= number <= len(found.items):
                return None
            found = found.items[number - 1]
        return found


def read_content(path: Path) -> Item:
    """Root of the content tree of a structured report.

    Raises
    ------
    CaseError
        `annotation_unreadable`, `unsupported_format`, `truncated_file`, `too_large`,
        `unreadable` or `io_error`.
    """
    name = path.name
    with parsing(name):
        ds, *_ = read_object(path, SR_CLASSES, MAXIMUM_BYTES)
        return _Tree(name).item(ds, 0)


class _Tree:
    """Content items of one file, while they are counted."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.items = self.points = 0

    def item(self, ds: Dataset, depth: int) -> Item:
        """Content item with all below it."""
        self.items += 1
        if self.items > _MOST_ITEMS or depth > _DEEPEST:
            raise CaseError(
                Reason.TOO_LARGE,
                f"{self.name}: more than {_MOST_ITEMS:,} content items or {_DEEPEST} levels",
            )
        name = self.name
        kind = word(ds, "ValueType", name)
        made: dict[str, Any] = {
            "kind": kind,
            "relation": word(ds, "RelationshipType", name),
            "concept": self._code(ds, "ConceptNameCodeSequence"),
        }
        if kind == "NUM":
            for value in items(ds, "MeasuredValueSequence", name)[:1]:
                with suppress(CaseError):
                    found = numbers(value, "NumericValue", name)
                    made["number"] = float(found[0]) if len(found) == 1 else None
                made["unit"] = self._code(value, "MeasurementUnitsCodeSequence")
        elif kind == "CODE":
            made["code"] = self._code(ds, "ConceptCodeSequence")
        elif kind in ("SCOORD", "SCOORD3D"):
            made["graphic"] = word(ds, "GraphicType", name)
            made["points"] = self._points(ds, 2 if kind == "SCOORD" else 3)
            made["uid"] = uid(ds, "ReferencedFrameOfReferenceUID", name) or ""
        elif kind in ("IMAGE", "COMPOSITE"):
            made["images"] = tuple(
                (uid(one, "ReferencedSOPClassUID", name) or "", found_uid)
                for one in items(ds, "ReferencedSOPSequence", name)
                if (found_uid := uid(one, "ReferencedSOPInstanceUID", name))
            )
        elif kind == "UIDREF":
            made["uid"] = uid(ds, "UID", name) or ""
        elif kind in ("TEXT", "PNAME"):
            keyword = "TextValue" if kind == "TEXT" else "PersonName"
            made["text_hash"] = free_text(ds, keyword, name).hashed()
        refers = raw_value(ds, "ReferencedContentItemIdentifier", name)
        made["refers"] = tuple(np.frombuffer(refers[: len(refers) // 4 * 4], "<u4").tolist())
        made["items"] = tuple(
            self.item(one, depth + 1) for one in items(ds, "ContentSequence", name)
        )
        return Item(**made)

    def _points(self, ds: Dataset, size: int) -> tuple[tuple[float, ...], ...]:
        data = raw_value(ds, "GraphicData", self.name)
        self.points += len(data) // 4
        if self.points > _MOST_POINTS:
            detail = f"{self.name}: more than {_MOST_POINTS:,} numbers of coordinates"
            raise CaseError(Reason.TOO_LARGE, detail)
        found = np.frombuffer(data[: len(data) // 4 * 4], "<f4").astype(np.float64)
        if len(found) % size or not (np.abs(found) <= _FARTHEST).all():
            raise unreadable(self.name, "coordinates that are not points of a scan")
        return tuple(tuple(point) for point in found.reshape(-1, size).tolist())

    def _code(self, ds: Dataset, keyword: str) -> str:
        """First code of a sequence, as `scheme:code`; empty for text that is none."""
        for one in items(ds, keyword, self.name)[:1]:
            scheme = word(one, "CodingSchemeDesignator", self.name)
            value = word(one, "CodeValue", self.name) or word(one, "LongCodeValue", self.name)
            if _CODE.fullmatch(scheme) and _CODE.fullmatch(value):
                return f"{scheme}:{value}"
        return ""
