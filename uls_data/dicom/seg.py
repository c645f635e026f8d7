"""DICOM Segmentation (PS3.3 A.51): what is read of one; `placement` puts it on a scan's grid.

Where a frame lies is told by its Plane Position, Plane Orientation and Pixel Measures
alone; SliceThickness and SpacingBetweenSlices are not read. Frames without a set voxel
may be left out, and segments may overlap, so each segment is placed on its own.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.uid import SegmentationStorage

from uls_data import geometry
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
from uls_data.errors import CaseError
from uls_data.outcome import Reason
from uls_data.volumes.volume import check_size

_MAXIMUM_SEG_BYTES = 1 << 30
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
    algorithm : str or None
        `MANUAL`, `SEMIAUTOMATIC` or `AUTOMATIC`.
    label, description : FreeText
    """

    number: int
    category: Code | None
    property_type: Code | None
    algorithm: str | None
    label: FreeText
    description: FreeText


@dataclass(frozen=True)
class Frame:
    """Where one frame lies.

    Attributes
    ----------
    segment : int
    position_mm : ndarray, shape (3,)
        RAS, of the centre of the pixel in row 0 and column 0.
    column_step_mm, row_step_mm : ndarray, shape (3,)
        RAS, from one column (or row) to the next.
    source_sop_uid : str or None
        The image it was drawn on, where it names exactly one.
    """

    segment: int
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
    series_instance_uid : str or None
        The series that it refers to; None where that is none, or not one alone.
    frame_of_reference_uid : str or None
    rows, columns : int
    segments : tuple of Segment, by number
    frames : tuple of Frame, as stored
    maximum_fraction : int or None
        Stored value that stands for 1 in a FRACTIONAL object; None in a BINARY one.
    """

    name: str
    series_instance_uid: str | None
    frame_of_reference_uid: str | None
    rows: int
    columns: int
    segments: tuple[Segment, ...]
    frames: tuple[Frame, ...]
    maximum_fraction: int | None
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

    def pixels(self, number: int) -> NDArray[np.bool_]:
        """Pixels of frame `number` (0-based), shape (rows, columns).

        Raises
        ------
        CaseError
            `mask_not_integer`: a FRACTIONAL object holds shares other than none and
            all. From which share on a voxel is lesion is not ours to choose.
        """
        size = self.rows * self.columns
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


def read_seg(path: Path) -> Segmentation:
    """Read a Segmentation object (Segmentation Storage), uncompressed or deflated.

    Raises
    ------
    CaseError
        `annotation_unreadable`, `unsupported_format`, `truncated_file`, `too_large`,
        `unreadable` or `io_error`.
    """
    with parsing(path.name):
        ds = read_object(path, SegmentationStorage, _MAXIMUM_SEG_BYTES)
        return _segmentation(ds, path.name)


def _segmentation(ds: Dataset, name: str) -> Segmentation:
    kind = raw_value(ds, "SegmentationType", name).strip(b"\0 ")
    bits = {b"BINARY": 1, b"FRACTIONAL": 8}.get(kind)
    if bits is None or unsigned(ds, "BitsAllocated", name) != bits:
        raise unreadable(
            name, "expected BINARY with 1 bit or FRACTIONAL with 8 bits a pixel, found neither"
        )
    rows, columns = unsigned(ds, "Rows", name), unsigned(ds, "Columns", name)
    count = whole_number(ds, "NumberOfFrames", name)
    if not (rows and columns and count and count > 0):
        raise unreadable(name, f"{count} frames of {rows} x {columns} pixels hold nothing")
    check_size(rows * columns * count, name)
    pixels = raw_value(ds, "PixelData", name)
    expected = -(-rows * columns * count * bits // 8)
    if len(pixels) < expected:
        raise CaseError(
            Reason.TRUNCATED_FILE,
            f"{name}: {count} frames of {rows} x {columns} pixels need {expected:,} bytes, found "
            f"{len(pixels):,}",
        )
    if len(pixels) > expected + 1:  # padded to an even length
        raise unreadable(name, f"expected {expected:,} bytes of pixels, found {len(pixels):,}")
    segments: dict[int, Segment] = {}
    for item in items(ds, "SegmentSequence", name):
        segment = _segment(item, name)
        if segments.setdefault(segment.number, segment) is not segment:
            raise unreadable(name, f"two segments have the number {segment.number}")
    shared = items(ds, "SharedFunctionalGroupsSequence", name)
    groups = items(ds, "PerFrameFunctionalGroupsSequence", name)
    if len(groups) != count:
        raise unreadable(name, f"says {count} frames, describes {len(groups)}")
    frames = tuple(
        _frame([group, *shared[:1]], f"{name}: frame {index}", segments)
        for index, group in enumerate(groups, 1)
    )
    series = [
        uid(item, "SeriesInstanceUID", name) for item in items(ds, "ReferencedSeriesSequence", name)
    ]
    return Segmentation(
        name=name,
        series_instance_uid=series[0] if len(set(series)) == 1 else None,
        frame_of_reference_uid=uid(ds, "FrameOfReferenceUID", name),
        rows=rows,
        columns=columns,
        segments=tuple(segments[number] for number in sorted(segments)),
        frames=frames,
        maximum_fraction=None if bits == 1 else unsigned(ds, "MaximumFractionalValue", name) or 255,
        _pixels=pixels,
    )


def _segment(item: Dataset, name: str) -> Segment:
    number = unsigned(item, "SegmentNumber", name)
    if not number:
        raise unreadable(name, "a segment has no number")
    algorithm = raw_value(item, "SegmentAlgorithmType", name).strip(b"\0 ")
    known = algorithm in (b"MANUAL", b"SEMIAUTOMATIC", b"AUTOMATIC")
    return Segment(
        number=number,
        category=_code(item, "SegmentedPropertyCategoryCodeSequence", name),
        property_type=_code(item, "SegmentedPropertyTypeCodeSequence", name),
        algorithm=algorithm.decode() if known else None,
        label=free_text(item, "SegmentLabel", name),
        description=free_text(item, "SegmentDescription", name),
    )


def _code(ds: Dataset, keyword: str, name: str) -> Code | None:
    for item in items(ds, keyword, name)[:1]:
        value = raw_value(item, "CodeValue", name).strip(b"\0 ")
        scheme = raw_value(item, "CodingSchemeDesignator", name).strip(b"\0 ")
        if _CODE_VALUE.fullmatch(value) and _CODE_SCHEME.fullmatch(scheme):
            return Code(value.decode("ascii"), scheme.decode("ascii"))
    return None


def _frame(groups: list[Dataset], name: str, segments: dict[int, Segment]) -> Frame:
    """Describe one frame by its own functional groups, then the shared ones."""

    def group(keyword: str) -> Dataset:
        for source in groups:
            for item in items(source, keyword, name):
                return item
        raise unreadable(name, f"has no {keyword}")

    number = unsigned(group("SegmentIdentificationSequence"), "ReferencedSegmentNumber", name)
    if number is None or number not in segments:
        raise unreadable(name, f"shows segment {number}, which is not described")
    position = numbers(group("PlanePositionSequence"), "ImagePositionPatient", name, 3)
    cosines = numbers(group("PlaneOrientationSequence"), "ImageOrientationPatient", name, 6)
    between_rows, between_columns = numbers(group("PixelMeasuresSequence"), "PixelSpacing", name, 2)
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
        raise unreadable(name, "its position, orientation or pixel spacing is no image's")
    lps_to_ras = geometry.LPS_TO_RAS[:3, :3]
    sources = [
        uid(image, "ReferencedSOPInstanceUID", name)
        for derivation in items(groups[0], "DerivationImageSequence", name)
        for image in items(derivation, "SourceImageSequence", name)
    ]
    return Frame(
        segment=number,
        position_mm=lps_to_ras @ position,
        column_step_mm=lps_to_ras @ along_row * between_columns,
        row_step_mm=lps_to_ras @ along_column * between_rows,
        source_sop_uid=sources[0] if len(sources) == 1 else None,
    )
