"""DICOM Segmentation (PS3.3 A.51): frames of segments, placed on a scan's grid by position.

Where a frame lies is told by its Plane Position, Plane Orientation and Pixel Measures
alone; SliceThickness and SpacingBetweenSlices are not read. Frames without a set voxel
may be left out, and segments may overlap, so each segment is placed on its own.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.uid import (
    SegmentationStorage,
)

from uls_data import geometry
from uls_data.dicom.objects import (
    FARTHEST_MM,
    GRID_TOLERANCE_VOX,
    FreeText,
    Region,
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
from uls_data.geometry import Affine, Triple
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


def place_segment(
    seg: Segmentation, number: int, shape: Triple, affine: Affine, sop_uids: Sequence[str] = ()
) -> Region:
    """Voxels of one segment on the grid of its scan; no frame is resampled.

    Parameters
    ----------
    number : int
        Of the segment.
    shape, affine : tuple of 3 int, ndarray (4, 4)
        The scan's grid; the affine maps its indices to RAS mm.
    sop_uids : sequence of str, optional
        SOP instance UIDs of its slices, along axis 2; empty strings where they are not known.

    Raises
    ------
    CaseError
        `grid_mismatch`: a frame lies more than `GRID_TOLERANCE_VOX` off the voxel
        centres, or reaches beyond the grid. `annotation_mismatch`: a frame names
        another slice than the one it lies on, or two lie on the same.
        `mask_not_integer`: see `Segmentation.pixels`.
    """
    slices = {uid: at for at, uid in enumerate(sop_uids) if uid}
    found: list[tuple[int, NDArray[np.int64]]] = []
    planes: dict[tuple[int, int], int] = {}
    low, high = np.array(shape), np.zeros(3, dtype=np.int64)
    for index, frame in enumerate(seg.frames):
        if frame.segment != number:
            continue
        lattice = _lattice(seg, index, shape, affine)
        axis = int(np.flatnonzero(~lattice[:, :2].any(axis=1))[0])
        at = int(lattice[axis, 2])
        other = planes.setdefault((axis, at), index)
        if other != index:
            raise CaseError(
                Reason.ANNOTATION_MISMATCH,
                f"{seg.name}: frames {other + 1} and {index + 1} both show segment {number} on "
                f"slice {at}; expected one",
            )
        named = slices.get(frame.source_sop_uid or "", at)
        if axis == 2 and named != at:
            raise CaseError(
                Reason.ANNOTATION_MISMATCH,
                f"{seg.name}: frame {index + 1} lies on slice {at} of the scan but names "
                f"slice {named}",
            )
        box, start = _box(seg, index, lattice)
        if box.size:
            found.append((index, lattice))
            low, high = np.minimum(low, start), np.maximum(high, start + box.shape)
    if not found:
        return Region(np.zeros((0, 0, 0), dtype=bool), (0, 0, 0))
    # Unpacked twice, so that never more than the mask and one frame are in memory.
    mask = np.zeros(high - low, dtype=bool, order="F")
    for index, lattice in found:
        box, start = _box(seg, index, lattice)
        mask[tuple(slice(a, a + n) for a, n in zip(start - low, box.shape, strict=True))] |= box
    return Region(mask, (int(low[0]), int(low[1]), int(low[2])))


def _box(
    seg: Segmentation, index: int, lattice: NDArray[np.int64]
) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
    """Smallest box of the grid that holds a frame's voxels, one voxel thick, and its start."""
    along_row, along_column = np.argmax(np.abs(lattice[:, :2]), axis=0).tolist()
    pixels = seg.pixels(index).T[:: lattice[along_row, 0], :: lattice[along_column, 1]]
    if along_row > along_column:
        pixels = pixels.T
    corners = lattice @ [[0, seg.columns - 1], [0, seg.rows - 1], [1, 1]]
    box, start = geometry.bounding_box(np.expand_dims(pixels, 3 - along_row - along_column))
    return box, corners.min(axis=1) + start


def _lattice(seg: Segmentation, index: int, shape: Triple, affine: Affine) -> NDArray[np.int64]:
    """Whole-number matrix from (column, row, 1) of a frame to grid indices, shape (3, 3)."""
    frame = seg.frames[index]
    steps = np.stack([frame.column_step_mm, frame.row_step_mm], axis=1)
    exact = np.linalg.solve(
        affine[:3, :3], np.column_stack([steps, frame.position_mm - affine[:3, 3]])
    )
    rounded = np.rint(exact)
    ends = np.array([(c, r, 1) for c in (0, seg.columns - 1) for r in (0, seg.rows - 1)])
    off = float(np.abs((exact - rounded) @ ends.T).max())
    corners = rounded @ ends.T
    unit = np.abs(rounded[:, :2])
    along_axes = (unit.sum(axis=0) == 1).all() and (unit.sum(axis=1) <= 1).all()
    if not off <= GRID_TOLERANCE_VOX or not along_axes:
        found = " x ".join(f"{length:g}" for length in np.linalg.norm(steps, axis=0))
        expected = " x ".join(f"{length:g}" for length in geometry.spacing_mm(affine))
        raise CaseError(
            Reason.GRID_MISMATCH,
            f"{seg.name}: frame {index + 1} lies up to {off:.3g} voxels off the scan's voxels, at "
            f"most {GRID_TOLERANCE_VOX:g} is allowed; pixels of {found} mm, the scan's voxels "
            f"{expected} mm; was it drawn on another scan?",
        )
    if (corners < 0).any() or (corners >= np.array(shape)[:, None]).any():
        ends_at = [
            f"({x:g}, {y:g}, {z:g})" for x, y, z in (corners.min(axis=1), corners.max(axis=1))
        ]
        raise CaseError(
            Reason.GRID_MISMATCH,
            f"{seg.name}: frame {index + 1} covers voxels {' to '.join(ends_at)}, the scan has "
            f"shape {shape}; was it drawn on another scan?",
        )
    lattice: NDArray[np.int64] = rounded.astype(np.int64)
    return lattice


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
