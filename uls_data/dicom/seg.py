"""DICOM Segmentation (PS3.3 A.51): what is read of one; `placement` puts it on a scan's grid.

The place of a frame is given by its Plane Position, Plane Orientation and Pixel Measures
alone; SliceThickness and SpacingBetweenSlices are not read. Frames without a set voxel
may be left out, and segments may overlap, so each segment is placed on its own.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.encaps import generate_frames
from pydicom.uid import UID, SegmentationStorage

from uls_data import geometry
from uls_data.dicom.codestream import COMPRESSED, decode_frame
from uls_data.dicom.objects import (
    FARTHEST_MM,
    FreeText,
    free_text,
    items,
    numbers,
    parsing,
    raw_value,
    read_object,
    uid,
    unreadable,
    unsigned,
    whole_number,
)
from uls_data.dicom.pixel_format import PixelFormat
from uls_data.errors import CaseError
from uls_data.outcome import Reason
from uls_data.volumes.volume import check_size

MAXIMUM_BYTES = 1 << 30
_LABELMAP = UID("1.2.840.10008.5.1.4.1.1.66.7")  # PS3.3 A.51, since 2024d
SEG_CLASSES = (SegmentationStorage, _LABELMAP)
ENCAPSULATED = tuple(UID(syntax) for syntax in COMPRESSED)
_EVERY = re.compile(r"(?s).*")
_CODE_VALUE = re.compile(rb"(?=.*[0-9])[A-Z0-9._:-]{1,16}")
_CODE_SCHEME = re.compile(rb"[A-Za-z0-9._-]{1,16}")


@dataclass(frozen=True)
class Code:
    """A coded concept (PS3.3 8.8) by its value and scheme, such as 4147007 of SCT (mass).

    Its meaning is left out: text for display, which a writer may fill as it likes.
    """

    value: str
    scheme: str


@dataclass(frozen=True)
class Segment:
    """One segment as the file describes it.

    Attributes
    ----------
    number : int
        1-based, as frames refer to it.
    category, property_type : Code or None
        Segmented Property Category and Type.
    anatomy : Code or None
        First Anatomic Region.
    algorithm : str or None
        `MANUAL`, `SEMIAUTOMATIC` or `AUTOMATIC`.
    label, description : FreeText
    tracking_uid : str or None
        What follows it over time (PS3.3 C.8.20.2).
    """

    number: int
    category: Code | None
    property_type: Code | None
    anatomy: Code | None
    algorithm: str | None
    label: FreeText
    description: FreeText
    tracking_uid: str | None = None


@dataclass(frozen=True)
class Frame:
    """Where one frame lies.

    Attributes
    ----------
    index : int
        0-based, as stored.
    segment : int or None
        The segment that it shows; None where its pixels tell it (LABELMAP).
    position_mm : ndarray, shape (3,)
        RAS, of the centre of the pixel in row 0 and column 0.
    column_step_mm, row_step_mm : ndarray, shape (3,)
        RAS, from one column (or row) to the next.
    source_sop_uid : str or None
        The image it was drawn on, where it names exactly one.
    """

    index: int
    segment: int | None
    position_mm: NDArray[np.float64]
    column_step_mm: NDArray[np.float64]
    row_step_mm: NDArray[np.float64]
    source_sop_uid: str | None


@dataclass(frozen=True)
class Segmentation:
    """A segmentation object.

    Attributes
    ----------
    name : str
        File name, for messages.
    rows, columns : int
    segments : tuple of Segment, by number
    frames : tuple of Frame
        Those of the segments that were wanted, as stored.
    maximum_fraction : int or None
        Stored value that stands for 1 in a FRACTIONAL object.
    labels : dtype or None
        Of the pixels of a LABELMAP, which are numbers of segments.
    has_preamble : bool
        Whether the file starts as PS3.10 says.
    description : FreeText
        Of its series.
    """

    name: str
    rows: int
    columns: int
    segments: tuple[Segment, ...]
    frames: tuple[Frame, ...]
    maximum_fraction: int | None
    labels: np.dtype[Any] | None
    has_preamble: bool
    description: FreeText
    _pixels: bytes = field(repr=False)

    def matching(self, pattern: re.Pattern[str]) -> tuple[Segment, ...]:
        """Segments whose whole label matches."""
        return tuple(one for one in self.segments if one.label.matching(pattern) is not None)

    @property
    def slice_step_mm(self) -> float | None:
        """Smallest step between two planes that frames lie on; None where there is one plane."""
        first = self.frames[0]
        normal = np.cross(first.column_step_mm, first.row_step_mm)
        planes = np.sort([frame.position_mm @ normal for frame in self.frames])
        steps = np.diff(planes) / np.linalg.norm(normal)
        steps = steps[steps > geometry.AFFINE_TOLERANCE_MM]
        return float(steps.min()) if steps.size else None

    def frames_of(self, segment: int) -> list[Frame]:
        """Frames that show a segment, or may."""
        return [frame for frame in self.frames if frame.segment in (segment, None)]

    def pixels(self, number: int, segment: int | None = None) -> NDArray[np.bool_]:
        """Pixels of frame `number` (0-based), shape (rows, columns).

        Parameters
        ----------
        segment : int, optional
            Which segment's, in a LABELMAP.

        Raises
        ------
        CaseError
            `mask_not_integer`: a FRACTIONAL object holds shares other than none and
            all. From which share on a voxel is lesion is not ours to choose.
        """
        size = self.rows * self.columns
        if self.labels is not None:
            start = number * size * self.labels.itemsize
            shown = np.frombuffer(self._pixels, self.labels, size, start) == segment
            found: NDArray[np.bool_] = shown.reshape(self.rows, self.columns)
            return found
        if self.maximum_fraction is None:
            first, last = number * size, (number + 1) * size
            packed = np.frombuffer(self._pixels, np.uint8)[first // 8 : -(-last // 8)]
            # Frames follow each other bit by bit: one may start within a byte (PS3.5 8.1.1).
            bits = np.unpackbits(packed, bitorder="little")[first % 8 :][:size]
            return bits.astype(bool).reshape(self.rows, self.columns)
        values = np.frombuffer(self._pixels, np.uint8, size, number * size)
        marked = values == self.maximum_fraction
        between = int(np.count_nonzero(values)) - int(np.count_nonzero(marked))
        if between:
            raise CaseError(
                Reason.MASK_NOT_INTEGER,
                f"{self.name}: frame {number + 1} has {between} pixels that are neither 0 nor "
                f"{self.maximum_fraction}; store it as a binary segmentation",
            )
        frame: NDArray[np.bool_] = marked.reshape(self.rows, self.columns)
        return frame


def read_seg(path: Path, pattern: re.Pattern[str] = _EVERY) -> Segmentation:
    """Read a Segmentation object: BINARY, FRACTIONAL or LABELMAP, in any transfer syntax.

    Parameters
    ----------
    pattern : re.Pattern
        Frames are read of segments whose whole label matches; nothing that is wrong with
        another is a fault of these.

    Raises
    ------
    CaseError
        `annotation_unreadable`, `unsupported_format`, `truncated_file`, `too_large`,
        `unreadable` or `io_error`.
    """
    with parsing(path.name):
        ds, syntax, has_preamble = read_object(path, SEG_CLASSES, MAXIMUM_BYTES, ENCAPSULATED)
        return _segmentation(ds, path.name, syntax, has_preamble, pattern)


def _segmentation(
    ds: Dataset, name: str, syntax: UID, has_preamble: bool, pattern: re.Pattern[str]
) -> Segmentation:
    kind = raw_value(ds, "SegmentationType", name).strip(b"\0 ")
    bits = unsigned(ds, "BitsAllocated", name)
    if bits not in {b"BINARY": (1,), b"FRACTIONAL": (8,), b"LABELMAP": (8, 16)}.get(kind, ()):
        raise unreadable(
            name,
            "expected BINARY with 1 bit, FRACTIONAL with 8 or LABELMAP with 8 or 16 bits a pixel, "
            "found none of them",
        )
    assert bits is not None
    rows, columns = unsigned(ds, "Rows", name), unsigned(ds, "Columns", name)
    count = whole_number(ds, "NumberOfFrames", name)
    if not (rows and columns and count and count > 0):
        raise unreadable(name, f"{count} frames of {rows} x {columns} pixels hold nothing")
    check_size(rows * columns * count, name)
    pixels = raw_value(ds, "PixelData", name)
    if syntax in ENCAPSULATED:
        pixels = _decoded(pixels, syntax, (count, rows, columns, bits), name)
    expected = -(-rows * columns * count * bits // 8)
    if len(pixels) < expected:
        raise CaseError(
            Reason.TRUNCATED_FILE,
            f"{name}: {count} frames of {rows} x {columns} pixels need {expected:,} bytes, found "
            f"{len(pixels):,}",
        )
    # What pads them is passed over (PS3.5 8.1.1); as much again is another object's.
    if len(pixels) >= 2 * expected + 2:
        raise unreadable(name, f"expected {expected:,} bytes of pixels, found {len(pixels):,}")
    segments: dict[int, Segment] = {}
    for item in items(ds, "SegmentSequence", name):
        segment = _segment(item, name)
        other = segments.setdefault(segment.number, segment)
        wanted = [one for one in (segment, other) if one.label.matching(pattern) is not None]
        if other is not segment and wanted:
            raise unreadable(name, f"two segments have the number {segment.number}")
    shared = items(ds, "SharedFunctionalGroupsSequence", name)
    groups = items(ds, "PerFrameFunctionalGroupsSequence", name)
    if len(groups) != count:
        raise unreadable(name, f"says {count} frames, describes {len(groups)}")
    wanted_ones = {
        number for number, one in segments.items() if one.label.matching(pattern) is not None
    }
    frames = []
    for index, group in enumerate(groups):
        sources = [group, *shared[:1]]
        shown = None
        if kind != b"LABELMAP":
            shown = _segment_of(sources, f"{name}: frame {index + 1}", segments)
            if shown not in wanted_ones:
                continue
        frames.append(_frame(sources, f"{name}: frame {index + 1}", index, shown))
    return Segmentation(
        name=name,
        rows=rows,
        columns=columns,
        segments=tuple(segments[number] for number in sorted(segments)),
        frames=tuple(frames),
        maximum_fraction=(unsigned(ds, "MaximumFractionalValue", name) or 255)
        if kind == b"FRACTIONAL"
        else None,
        labels=np.dtype(f"<u{bits // 8}") if kind == b"LABELMAP" else None,
        has_preamble=has_preamble,
        description=free_text(ds, "SeriesDescription", name),
        _pixels=pixels,
    )


def _decoded(value: bytes, syntax: UID, layout: tuple[int, int, int, int], name: str) -> bytes:
    """Decode the frames of encapsulated pixel data, one after the other."""
    count, rows, columns, bits = layout
    if bits == 1 or rows * columns * count * bits // 8 > MAXIMUM_BYTES:
        raise CaseError(
            Reason.UNSUPPORTED_FORMAT if bits == 1 else Reason.TOO_LARGE,
            f"{name}: {count} frames of {rows} x {columns} pixels of {bits} bits as {syntax.name}; "
            "store them uncompressed",
        )
    form = PixelFormat(rows, columns, bits, bits, bits - 1, signed=False)
    frames = []
    for at, frame in enumerate(generate_frames(value, number_of_frames=count), 1):
        if at <= count:
            one = decode_frame(frame, syntax, form, f"{name}: frame {at}")
            frames.append(one.astype(one.dtype.newbyteorder("<")).tobytes())
    return b"".join(frames)


def _segment(item: Dataset, name: str) -> Segment:
    number = unsigned(item, "SegmentNumber", name)
    # A LABELMAP may describe its background as segment 0.
    if number is None:
        raise unreadable(name, "a segment has no number")
    algorithm = raw_value(item, "SegmentAlgorithmType", name).strip(b"\0 ")
    known = algorithm in (b"MANUAL", b"SEMIAUTOMATIC", b"AUTOMATIC")
    return Segment(
        number=number,
        category=_code(item, "SegmentedPropertyCategoryCodeSequence", name),
        property_type=_code(item, "SegmentedPropertyTypeCodeSequence", name),
        anatomy=_code(item, "AnatomicRegionSequence", name),
        algorithm=algorithm.decode() if known else None,
        label=free_text(item, "SegmentLabel", name),
        description=free_text(item, "SegmentDescription", name),
        tracking_uid=uid(item, "TrackingUID", name),
    )


def _code(ds: Dataset, keyword: str, name: str) -> Code | None:
    for item in items(ds, keyword, name)[:1]:
        value = raw_value(item, "CodeValue", name).strip(b"\0 ")
        scheme = raw_value(item, "CodingSchemeDesignator", name).strip(b"\0 ")
        if _CODE_VALUE.fullmatch(value) and _CODE_SCHEME.fullmatch(scheme):
            return Code(value.decode("ascii"), scheme.decode("ascii"))
    return None


def _group(groups: list[Dataset], keyword: str, name: str) -> Dataset:
    """Functional group of a frame: its own, or the one that all share."""
    for source in groups:
        for item in items(source, keyword, name):
            return item
    raise unreadable(name, f"has no {keyword}")


def _segment_of(groups: list[Dataset], name: str, segments: dict[int, Segment]) -> int:
    found = _group(groups, "SegmentIdentificationSequence", name)
    number = unsigned(found, "ReferencedSegmentNumber", name)
    if number is None or number not in segments:
        raise unreadable(name, f"shows segment {number}, which is not described")
    return number


def _frame(groups: list[Dataset], name: str, index: int, segment: int | None) -> Frame:
    """Describe one frame by its own functional groups, then the shared ones."""
    plane = _group(groups, "PlanePositionSequence", name)
    position = numbers(plane, "ImagePositionPatient", name, 3)
    turn = _group(groups, "PlaneOrientationSequence", name)
    cosines = numbers(turn, "ImageOrientationPatient", name, 6)
    measures = _group(groups, "PixelMeasuresSequence", name)
    between_rows, between_columns = numbers(measures, "PixelSpacing", name, 2)
    along_row, along_column = cosines[:3], cosines[3:]
    products = [
        along_row @ along_row - 1,
        along_column @ along_column - 1,
        along_row @ along_column,
    ]
    spacings = (between_rows, between_columns)
    if (
        not np.abs(products).max() <= 1e-3
        or not 1e-6 < min(spacings) <= max(spacings) < FARTHEST_MM
        or np.abs(position).max() > FARTHEST_MM
    ):
        raise unreadable(name, "its position, orientation or pixel spacing is not valid")
    lps_to_ras = geometry.LPS_TO_RAS[:3, :3]
    sources = [
        uid(image, "ReferencedSOPInstanceUID", name)
        for derivation in items(groups[0], "DerivationImageSequence", name)
        for image in items(derivation, "SourceImageSequence", name)
    ]
    return Frame(
        index=index,
        segment=segment,
        position_mm=lps_to_ras @ position,
        column_step_mm=lps_to_ras @ along_row * between_columns,
        row_step_mm=lps_to_ras @ along_column * between_rows,
        source_sop_uid=sources[0] if len(sources) == 1 else None,
    )
