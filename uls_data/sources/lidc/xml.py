"""LIDC-IDRI readings of a CT series: the XML file of its readers' outlines and marks.

Layout as published with the images (doi 10.7937/K9/TCIA.2015.LO9QL9SX), checked on all 1,318
files: `LidcReadMessage` / `readingSession` / `unblindedReadNodule` / `roi` / `edgeMap`. Every
`readingSession` is one radiologist's; LIDC does not say which radiologist, nor which nodules
of two readers are the same. The 283 files of chest radiographs (`IdriReadMessage`) are not CT.

Six series come with two to six files that differ in their message number alone; `Readings.digest`
tells them to be the same.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from xml.etree.ElementTree import Element

import numpy as np
from numpy.typing import NDArray

from uls_data.errors import CaseError
from uls_data.ids import readable
from uls_data.outcome import Reason
from uls_data.sources.xml_tree import Bounds, read_tree
from uls_data.volumes.volume import check_file

# The largest of all published files has 2.2 MB and some 100,000 elements, 8 readers,
# 155 marks of one reader, 88 outlines of one nodule, 373 points in one outline.
MAXIMUM_BYTES = 16 << 20
BOUNDS = Bounds("LIDC reading", elements=600_000, depth=32, text=4096)
MAXIMUM_READERS = 64
MAXIMUM_MARKS = 10_000
MAXIMUM_CONTOURS = 50_000
MAXIMUM_POINTS = 4096
# No CT slice has more pixels a side, and no table moves farther.
LARGEST_INDEX = 1 << 14
FARTHEST_MM = 1e5

_NAMESPACE = "http://www.nih.gov"
_UID = re.compile(r"[0-9.]{1,64}")
_WHOLE = re.compile(r"[+-]?[0-9]{1,9}")
_REAL = re.compile(r"[+-]?(?:[0-9]{1,12}\.?[0-9]{0,24}|\.[0-9]{1,24})(?:[eE][+-]?[0-9]{1,3})?")
# What LIDC calls its marks. The field is free text, and only what looks like this is passed on.
_MARK_ID = re.compile(
    r"[0-9]{1,10}|_?(?:Nodule|Non-nodule) [0-9]{1,4}|[A-Z]{2,5}[0-9]{1,4}_[0-9]{1,9}"
)
_CHARACTERISTICS = (
    "subtlety", "internalStructure", "calcification", "sphericity", "margin", "lobulation",
    "spiculation", "texture", "malignancy",
)  # fmt: skip
_LARGEST_SCORE = 9


@dataclass(frozen=True)
class Contour:
    """One outline on one slice.

    Attributes
    ----------
    sop_instance_uid : str
        Of the slice it was drawn on.
    z_mm : float
        Image position of that slice along the patient's z (LPS and RAS agree there).
    inclusion : bool
        False where it outlines a hole.
    points : ndarray, shape (n, 2), int32
        Column and row of the pixels of the path, in drawing order; the last is mostly the
        first. Zero-based: with the pixel (0, 0) at the image position, the published label
        volumes put the origin of 133 of 750 series at a whole number of mm along x, and of
        4 with (1, 1) there.
    """

    sop_instance_uid: str
    z_mm: float
    inclusion: bool
    points: NDArray[np.int32]


@dataclass(frozen=True)
class Nodule:
    """What one reader outlined as a nodule of 3 mm or more.

    Attributes
    ----------
    nodule_id : str
        LIDC's, or `nodule-N` (Nth of this reader) where the file holds something else.
        Says nothing across readers.
    characteristics : mapping of str to int
        The nine scores; a score that the file lacks is left out.
    contours : tuple of Contour
        Outlines of two points or more, in document order, holes among them.
    """

    nodule_id: str
    characteristics: dict[str, int]
    contours: tuple[Contour, ...]


@dataclass(frozen=True)
class ReaderMark:
    """What one reader marked without outlining it.

    Attributes
    ----------
    mark_id : str
        As `Nodule.nodule_id`; of the nodule for a dot beside its outlines.
    reason : Reason
        `point_mark`: a nodule below 3 mm (no scores, or scores of 0), or a dot, an outline
        of one point, beside the outlines of a larger one. `not_a_nodule`: a nonNodule.
    contours : tuple of Contour
        Where; mostly one, of one point.
    """

    mark_id: str
    reason: Reason
    contours: tuple[Contour, ...]


@dataclass(frozen=True)
class Reader:
    """Marks of one reading session: `number` is its place in the file, 1-based."""

    number: int
    nodules: tuple[Nodule, ...]
    marks: tuple[ReaderMark, ...]


@dataclass(frozen=True)
class Readings:
    """One XML file.

    Who read is not kept, even where the file says it.

    Attributes
    ----------
    series_instance_uid : str
        Of the CT series.
    study_instance_uid : str or None
    readers : tuple of Reader
        In document order; four in all published files but two (three, and eight).
    """

    series_instance_uid: str
    study_instance_uid: str | None
    readers: tuple[Reader, ...]

    @cached_property
    def digest(self) -> str:
        """SHA-256 over all that was read: equal for two copies of one reading."""
        content = hashlib.sha256(f"{self.series_instance_uid} {self.study_instance_uid}".encode())
        for reader in self.readers:
            content.update(b"reader")
            named = [(f"{it.nodule_id} {it.characteristics}", it.contours) for it in reader.nodules]
            named += [(f"{it.mark_id} {it.reason}", it.contours) for it in reader.marks]
            for name, contours in named:
                content.update(name.encode())
                for it in contours:
                    place = (it.sop_instance_uid, it.z_mm, it.inclusion, it.points.tolist())
                    content.update(repr(place).encode())
        return content.hexdigest()


def read_readings(path: Path) -> Readings:
    """Read the XML file of one CT series.

    Raises
    ------
    CaseError
        `annotation_unreadable`: no well-formed XML, entities or a DTD in it, another root,
        or a value that is none; `not_ct`: a reading of a chest radiograph; `too_large`;
        `unreadable`: no file; `io_error`. Text of the file is never in the message.
    """
    name = readable(path.name)
    try:
        check_file(path)
        with path.open("rb") as file:
            data = file.read(MAXIMUM_BYTES + 1)
    except OSError as error:
        raise CaseError(
            Reason.IO_ERROR, f"{name}: {error.strerror or type(error).__name__}"
        ) from error
    if len(data) > MAXIMUM_BYTES:
        raise CaseError(Reason.TOO_LARGE, f"{name}: expected at most {MAXIMUM_BYTES:,} bytes")
    return _Document(name).readings(read_tree(data, name, BOUNDS))


class _Document:
    """Takes one tree apart; knows the file's name for messages."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._marks = self._contours = 0

    def readings(self, root: Element) -> Readings:
        tag = _tag(root)
        if tag == "IdriReadMessage":
            raise CaseError(
                Reason.NOT_CT,
                f"{self._name}: a reading of a chest radiograph (IdriReadMessage); only those of "
                "CT series (LidcReadMessage) give lesions",
            )
        if tag != "LidcReadMessage":
            raise self.wrong("expected LidcReadMessage as its root, found another")
        header = next(_all(root, "ResponseHeader"), None)
        series = self.uid(header, "SeriesInstanceUid", "SeriesInstanceUID")
        study = self.uid(header, "StudyInstanceUID", "StudyInstanceUid")
        if series is None:
            raise self.wrong("its ResponseHeader names no series (SeriesInstanceUid)")
        sessions = list(_all(root, "readingSession"))
        self.check_count(len(sessions), MAXIMUM_READERS, "reading sessions")
        readers = tuple(self.reader(number, it) for number, it in enumerate(sessions, start=1))
        return Readings(series, study, readers)

    def reader(self, number: int, session: Element) -> Reader:
        nodules: list[Nodule] = []
        marks: list[ReaderMark] = []
        for ordinal, read in enumerate(_all(session, "unblindedReadNodule"), start=1):
            mark_id = self.mark_id(_text(read, "noduleID"), f"nodule-{ordinal}")
            scores = self.scores(read)
            contours = tuple(self.contour(roi) for roi in _all(read, "roi"))
            outlines = tuple(contour for contour in contours if len(contour.points) > 1)
            if not scores or 0 in scores.values() or not outlines:
                marks.append(ReaderMark(mark_id, Reason.POINT_MARK, contours))
                continue
            nodules.append(Nodule(mark_id, scores, outlines))
            if dots := tuple(contour for contour in contours if len(contour.points) == 1):
                marks.append(ReaderMark(mark_id, Reason.POINT_MARK, dots))
        for ordinal, read in enumerate(_all(session, "nonNodule"), start=1):
            mark_id = self.mark_id(_text(read, "nonNoduleID"), f"non-nodule-{ordinal}")
            where = self.place(read, "TRUE", "locus")
            marks.append(ReaderMark(mark_id, Reason.NOT_A_NODULE, (where,)))
        return Reader(number, tuple(nodules), tuple(marks))

    def contour(self, roi: Element) -> Contour:
        return self.place(roi, _text(roi, "inclusion").upper(), "edgeMap")

    def place(self, drawn: Element, inclusion: str, points: str) -> Contour:
        self._contours += 1
        self.check_count(self._contours, MAXIMUM_CONTOURS, "outlines")
        sop_uid = self.uid(drawn, "imageSOP_UID")
        z_text = _text(drawn, "imageZposition")
        if not _REAL.fullmatch(z_text) or not abs(z_mm := float(z_text)) <= FARTHEST_MM:
            raise self.wrong(f"expected imageZposition in mm, within {FARTHEST_MM:g} of 0")
        if inclusion not in ("TRUE", "FALSE"):
            raise self.wrong("expected inclusion to be TRUE or FALSE")
        path = [(self.index(it, "xCoord"), self.index(it, "yCoord")) for it in _all(drawn, points)]
        self.check_count(len(path), MAXIMUM_POINTS, "points in an outline")
        if not path or sop_uid is None:
            raise self.wrong(f"a mark lacks its slice (imageSOP_UID) or its points ({points})")
        return Contour(sop_uid, z_mm, inclusion == "TRUE", np.array(path, dtype=np.int32))

    def scores(self, nodule: Element) -> dict[str, int]:
        """Characteristics that hold a number; none where the reader gave none."""
        given = next(_all(nodule, "characteristics"), None)
        scores = {}
        for name in _CHARACTERISTICS if given is not None else ():
            if not (text := _text(given, name)):
                continue
            if not _WHOLE.fullmatch(text) or not 0 <= int(text) <= _LARGEST_SCORE:
                raise self.wrong(f"expected {name} to be a score from 0 to {_LARGEST_SCORE}")
            scores[name] = int(text)
        return scores

    def index(self, point: Element, name: str) -> int:
        text = _text(point, name)
        if not _WHOLE.fullmatch(text) or not 0 <= int(text) <= LARGEST_INDEX:
            raise self.wrong(f"expected {name} to be a pixel index, 0 to {LARGEST_INDEX:,}")
        return int(text)

    def uid(self, parent: Element | None, *names: str) -> str | None:
        text = next((found for name in names if (found := _text(parent, name))), None)
        if text is not None and not _UID.fullmatch(text):
            raise self.wrong(f"expected {names[0]} to be digits and dots, at most 64")
        return text

    def mark_id(self, text: str, otherwise: str) -> str:
        self._marks += 1
        self.check_count(self._marks, MAXIMUM_MARKS, "marks")
        return text if _MARK_ID.fullmatch(text) else otherwise

    def check_count(self, found: int, most: int, what: str) -> None:
        if found > most:
            raise CaseError(
                Reason.TOO_LARGE, f"{self._name}: expected at most {most:,} {what}, found {found:,}"
            )

    def wrong(self, what: str) -> CaseError:
        return BOUNDS.unreadable(self._name, what)


def _tag(element: Element) -> str:
    """Name of an element in LIDC's namespace, or in none."""
    tag = str(element.tag)
    for prefix in (f"{{{_NAMESPACE}}}", f"{{{_NAMESPACE}/idri}}"):
        tag = tag.removeprefix(prefix)
    return tag


def _all(parent: Element, name: str) -> Iterator[Element]:
    return (child for child in parent if _tag(child) == name)


def _text(parent: Element | None, name: str) -> str:
    """Text of the first child of that name, without blanks around it; empty if there is none."""
    child = None if parent is None else next(_all(parent, name), None)
    return "" if child is None else (child.text or "").strip()
