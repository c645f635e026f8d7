"""RT structure sets (PS3.3 A.19): contours in patient space, and the voxels they enclose."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.uid import RTStructureSetStorage

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
    whole_number,
)
from uls_data.errors import CaseError
from uls_data.geometry import Affine, Triple
from uls_data.outcome import Reason

_MAXIMUM_BYTES = 1 << 28
_FILLED_TYPES = ("CLOSED_PLANAR", "CLOSEDPLANAR_XOR")
_OTHER_TYPES = ("POINT", "OPEN_PLANAR", "OPEN_NONPLANAR")
# A voxel centre this near a contour lies on it: far more than the rounding errors of
# coordinates, far less than any distance that means something (1e-9 voxels).
_ON_CONTOUR_VOX = 2.0**-30
_FARTHEST_VOX = float(1 << 20)  # where double precision is still much finer than that
_MAXIMUM_CROSSINGS = 1 << 26
_MAXIMUM_FILLED_VOXELS = 1 << 31
_CROSSINGS_AT_ONCE = 1 << 18


@dataclass(frozen=True)
class Contour:
    """One contour.

    Attributes
    ----------
    kind : str
        Contour Geometric Type; `OTHER` for what PS3.3 C.8.8.6 does not define.
    points_mm : ndarray, shape (n, 3), float64
        LPS, as stored.
    sop_uid : str or None
        SOP instance UID of the slice it was drawn on, where the file names it.
    """

    kind: str
    points_mm: NDArray[np.float64]
    sop_uid: str | None


@dataclass(frozen=True)
class Roi:
    """One region of interest: its number in the file, its name, its contours as stored."""

    number: int
    name: FreeText
    frame_of_reference_uid: str | None
    contours: tuple[Contour, ...]


@dataclass(frozen=True)
class Structures:
    """A structure set.

    Attributes
    ----------
    series_instance_uid : str or None
        The series that it refers to; None where that is none, or not one alone.
    rois : tuple of Roi, by number
    """

    series_instance_uid: str | None
    rois: tuple[Roi, ...]

    def matching(self, pattern: re.Pattern[str]) -> tuple[Roi, ...]:
        """ROIs whose whole name matches."""
        return tuple(roi for roi in self.rois if roi.name.matching(pattern) is not None)


@dataclass(frozen=True)
class Filled:
    """What contours enclose, and what became of each.

    Attributes
    ----------
    region : Region
    drawn : int
        Contours that were filled.
    off_slice : int
        Filled kinds left out: between slices, not parallel to them, or beyond the scan.
    skipped : mapping of str to int
        Contours that enclose nothing, by kind: points, open lines, less than three points.
    repeated : int
        Contours left out because the same points were drawn before on the slice.
    cut : int
        Drawn contours that reach beyond the field of the slices.
    crossing : int
        Drawn contours that lie partly in another one: what they share is no lesion by
        the even-odd rule, which its author may not have meant.
    on_other_slice : int
        Drawn contours that name another slice of the scan than the one they lie on.
    """

    region: Region
    drawn: int
    off_slice: int
    skipped: Mapping[str, int]
    repeated: int
    cut: int
    crossing: int
    on_other_slice: int


def read_rtstruct(path: Path) -> Structures:
    """Read an RT Structure Set.

    Raises
    ------
    CaseError
        `annotation_unreadable`, `unsupported_format`, `truncated_file`, `too_large`,
        `unreadable` or `io_error`.
    """
    name = path.name
    with parsing(name):
        ds = read_object(path, RTStructureSetStorage, _MAXIMUM_BYTES)
        if "ROIContourSequence" not in ds:
            raise unreadable(name, "holds no contours")
        contours: dict[int, tuple[Contour, ...]] = {}
        for item in items(ds, "ROIContourSequence", name):
            number = whole_number(item, "ReferencedROINumber", name)
            if number is None or number in contours:
                raise unreadable(name, f"ROI {number} has contours twice, or contours have no ROI")
            contours[number] = tuple(
                _contour(part, f"{name}: ROI {number}, contour {at}")
                for at, part in enumerate(items(item, "ContourSequence", name), 1)
            )
        rois: dict[int, Roi] = {}
        for item in items(ds, "StructureSetROISequence", name):
            number = whole_number(item, "ROINumber", name)
            if number is None or number in rois:
                raise unreadable(name, f"ROI {number} is described twice or has no number")
            frame = uid(item, "ReferencedFrameOfReferenceUID", name)
            text = free_text(item, "ROIName", name)
            rois[number] = Roi(number, text, frame, contours.pop(number, ()))
        if contours or not rois:
            raise unreadable(name, f"describes {len(rois)} ROIs, and {len(contours)} others not")
        series = {
            uid(one, "SeriesInstanceUID", name)
            for reference in items(ds, "ReferencedFrameOfReferenceSequence", name)
            for study in items(reference, "RTReferencedStudySequence", name)
            for one in items(study, "RTReferencedSeriesSequence", name)
        }
        return Structures(
            series_instance_uid=series.pop() if len(series) == 1 else None,
            rois=tuple(rois[number] for number in sorted(rois)),
        )


def _contour(item: Dataset, name: str) -> Contour:
    kind = raw_value(item, "ContourGeometricType", name).strip(b"\0 ").decode("ascii", "replace")
    values = numbers(item, "ContourData", name)
    count = whole_number(item, "NumberOfContourPoints", name)
    if np.abs(values).max(initial=0) > FARTHEST_MM:
        raise unreadable(name, f"a point is farther than {FARTHEST_MM:g} mm away")
    if values.size % 3 or (count is not None and 3 * count != values.size):
        raise unreadable(name, f"expected {count} points of 3 numbers, found {values.size} numbers")
    images = items(item, "ContourImageSequence", name)
    return Contour(
        kind=kind if kind in _FILLED_TYPES + _OTHER_TYPES else "OTHER",
        points_mm=values.reshape(-1, 3),
        sop_uid=uid(images[0], "ReferencedSOPInstanceUID", name) if len(images) == 1 else None,
    )


def rasterise(
    contours: Sequence[Contour], shape: Triple, affine: Affine, sop_uids: Sequence[str] = ()
) -> Filled:
    """Voxels that closed contours enclose on the slices of a scan.

    A voxel belongs if a ray from its centre along axis 0 crosses the contours of its
    slice an odd number of times: the inner of two contours is a hole, whether drawn as
    a contour of its own or joined to the outer one by a keyhole. A centre on a contour
    belongs if the inside is on the side of the higher index (along axis 0, or along
    axis 1 where the contour runs along axis 0): structures that share a border share no
    voxel, and none is lost between them. A contour is of the slice whose plane all its
    points are within `GRID_TOLERANCE_VOX` of; nothing is drawn between slices.

    Parameters
    ----------
    contours : sequence of Contour
        Of one ROI.
    shape, affine : tuple of 3 int, ndarray (4, 4)
        The scan's grid, slices along axis 2; the affine maps its indices to RAS mm.
    sop_uids : sequence of str, optional
        SOP instance UIDs of the slices in order; empty strings where they are not known.

    Raises
    ------
    CaseError
        `annotation_mismatch`: a contour lies too far from the scan to be of it.
        `too_large`: more contours than a structure can have.
    """
    slices = {uid: at for at, uid in enumerate(sop_uids) if uid}
    by_slice: dict[int, dict[bytes, NDArray[np.float64]]] = {}
    skipped: Counter[str] = Counter()
    off_slice = drawn = on_other_slice = 0
    for contour in contours:
        if contour.kind not in _FILLED_TYPES or len(contour.points_mm) < 3:
            skipped[contour.kind] += 1
            continue
        ras_mm = contour.points_mm * np.array([-1.0, -1.0, 1.0])
        points = geometry.to_vox(affine, ras_mm)
        farthest = float(np.abs(points).max())
        if not farthest < _FARTHEST_VOX:
            raise CaseError(
                Reason.ANNOTATION_MISMATCH,
                f"a contour lies {farthest:g} voxels from the scan's corner; it is of another scan",
            )
        at = round(float(np.median(points[:, 2])))
        if np.abs(points[:, 2] - at).max() > GRID_TOLERANCE_VOX or not 0 <= at < shape[2]:
            off_slice += 1
            continue
        drawn += 1
        on_other_slice += slices.get(contour.sop_uid or "", at) != at
        vertices = np.rint(points[:, :2] / _ON_CONTOUR_VOX) * _ON_CONTOUR_VOX
        by_slice.setdefault(at, {})[vertices.tobytes()] = vertices
    polygons = {at: list(one.values()) for at, one in by_slice.items()}
    kept = [polygon for one in polygons.values() for polygon in one]
    _check_work(kept, shape)
    filled = {at: _fill_slice(one, shape) for at, one in polygons.items()}
    field = np.array(shape[:2]) - 0.5
    return Filled(
        region=_stack({at: region for at, (region, _) in filled.items() if region.mask.size}),
        drawn=len(kept),
        off_slice=off_slice,
        skipped=dict(skipped),
        repeated=drawn - len(kept),
        cut=sum(bool((one < -0.5).any() or (one > field).any()) for one in kept),
        crossing=sum(crossing for _, crossing in filled.values()),
        on_other_slice=on_other_slice,
    )


def _span(
    vertices: NDArray[np.float64], shape: Triple
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """First voxel centres (column, row) that a polygon may hold, and one past the last."""
    ends = np.ceil([vertices.min(axis=0), vertices.max(axis=0)]).astype(np.int64)
    low, high = np.clip(ends, 0, shape[:2])
    return low, high


def _edges(
    vertices: NDArray[np.float64], low: int, high: int
) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.int64]]:
    """Edges (x0, y0, x1, y1) with y0 < y1, the first row each crosses, and how many.

    An edge crosses the rows from y0 on up to, and without, y1; those from `low` up to
    `high` count. Its ends are put in order, so that the structure on its other side,
    which stores them the other way round, finds the same crossings to the last bit.
    """
    following = np.roll(vertices, -1, axis=0)
    upward = vertices[:, 1] <= following[:, 1]
    edges = np.where(
        upward[:, None], np.hstack([vertices, following]), np.hstack([following, vertices])
    )
    first, end = np.clip(np.ceil(edges[:, 1::2].T), low, high).astype(np.int64)
    crosses = end > first
    return edges[crosses], first[crosses], (end - first)[crosses]


def _check_work(polygons: list[NDArray[np.float64]], shape: Triple) -> None:
    """Refuse what would fill a scan many times over."""
    voxels = crossings = 0
    for vertices in polygons:
        low, high = _span(vertices, shape)
        voxels += int((high - low).prod())
        crossings += int(_edges(vertices, 0, shape[1])[2].sum())
    if voxels > _MAXIMUM_FILLED_VOXELS or crossings > _MAXIMUM_CROSSINGS:
        raise CaseError(
            Reason.TOO_LARGE,
            f"{len(polygons):,} contours cover {voxels:,} voxels with {crossings:,} crossings; "
            f"at most {_MAXIMUM_FILLED_VOXELS:,} and {_MAXIMUM_CROSSINGS:,} are a structure's",
        )


def _fill_slice(polygons: list[NDArray[np.float64]], shape: Triple) -> tuple[Region, int]:
    """Region one slice thick that the polygons of a slice enclose, and how many cross others."""
    spans = [_span(vertices, shape) for vertices in polygons]
    low = np.min([span[0] for span in spans], axis=0)
    inside = np.zeros(np.max([span[1] for span in spans], axis=0) - low, dtype=bool)
    seen = np.zeros_like(inside)
    crossing = 0
    # Outer contours come before what lies in them, whatever order they are stored in.
    areas = [int((high - first).prod()) for first, high in spans]
    for at in sorted(range(len(polygons)), key=lambda at: -areas[at]):
        first, high = spans[at]
        if not areas[at]:
            continue
        own = _fill(polygons[at], first, high)
        part = tuple(slice(a, b) for a, b in zip(first - low, high - low, strict=True))
        shared = np.count_nonzero(own & seen[part])
        crossing += shared not in (0, np.count_nonzero(own))
        inside[part] ^= own
        seen[part] |= own
    return Region(inside[:, :, None], (int(low[0]), int(low[1]), 0)), crossing


def _fill(
    vertices: NDArray[np.float64], low: NDArray[np.int64], high: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """Voxel centres inside one polygon, in the box from `low` up to `high`."""
    width, height = (high - low).tolist()
    # Row `width` takes the crossings beyond the box. Sums may wrap: only their parity counts.
    crossed = np.zeros((width + 1, height), dtype=np.uint8)
    edges, first, counts = _edges(vertices, int(low[1]), int(high[1]))
    step = max(1, _CROSSINGS_AT_ONCE // max(height, 1))
    for start in range(0, len(edges), step):
        part = slice(start, start + step)
        which = np.repeat(np.arange(len(counts[part])), counts[part])
        before = np.cumsum(counts[part]) - counts[part]
        rows = first[part][which] + np.arange(len(which)) - before[which]
        x0, y0, x1, y1 = edges[part][which].T
        meets = x0 + (rows - y0) * ((x1 - x0) / (y1 - y0))
        columns = np.ceil(meets - _ON_CONTOUR_VOX).astype(np.int64)
        np.add.at(crossed, (np.clip(columns - low[0], 0, width), rows - low[1]), 1)
    inside: NDArray[np.bool_] = np.cumsum(crossed[:-1], axis=0, dtype=np.uint8) % 2 == 1
    return inside


def _stack(slices: Mapping[int, Region]) -> Region:
    """One region of the regions of slices."""
    if not slices:
        return Region(np.zeros((0, 0, 0), dtype=bool), (0, 0, 0))
    low = np.min([region.start[:2] for region in slices.values()], axis=0)
    ends = [np.add(region.start[:2], region.mask.shape[:2]) for region in slices.values()]
    bottom, top = min(slices), max(slices)
    mask = np.zeros((*(np.max(ends, axis=0) - low), top - bottom + 1), dtype=bool, order="F")
    for at, region in slices.items():
        x, y = np.subtract(region.start[:2], low)
        width, height = region.mask.shape[:2]
        mask[x : x + width, y : y + height, at - bottom] = region.mask[:, :, 0]
    box, start = geometry.bounding_box(mask)
    return Region(box, (int(low[0]) + start[0], int(low[1]) + start[1], bottom + start[2]))
