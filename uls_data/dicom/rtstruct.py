"""RT structure sets (PS3.3 A.19): contours in patient space, and the voxels they enclose."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.uid import RTStructureSetStorage

from uls_data import geometry
from uls_data.dicom.objects import (
    FARTHEST_MM,
    GRID_TOLERANCE_VOX,
    NO_TEXT,
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
from uls_data.dicom.polygons import ON_CONTOUR_VOX, check_work, fill_slice, stack_slices
from uls_data.errors import CaseError
from uls_data.geometry import Affine, Triple
from uls_data.outcome import Reason

MAXIMUM_BYTES = 1 << 28
_EVERY = re.compile(r"(?s).*")
_FILLED_TYPES = ("CLOSED_PLANAR", "CLOSEDPLANAR_XOR")
_OTHER_TYPES = ("POINT", "OPEN_PLANAR", "OPEN_NONPLANAR")
_FARTHEST_VOX = float(1 << 20)  # where double precision is still much finer than that


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
    """One region of interest.

    Attributes
    ----------
    number : int
        In the file; -1 where it has none.
    name : FreeText
    contours : tuple of Contour
        As stored; none where its name was not wanted.
    problem : CaseError or None
        Why its contours cannot be read.
    """

    number: int
    name: FreeText
    contours: tuple[Contour, ...] = ()
    problem: CaseError | None = None


@dataclass(frozen=True)
class Structures:
    """A structure set.

    Attributes
    ----------
    rois : tuple of Roi, by number
    has_preamble : bool
        Whether the file starts as PS3.10 says.
    description : FreeText
        Of its series.
    series, frames : frozenset of str
        UIDs of the image series and of the frames of reference that it names.
    """

    rois: tuple[Roi, ...]
    has_preamble: bool = True
    description: FreeText = NO_TEXT
    series: frozenset[str] = frozenset()
    frames: frozenset[str] = frozenset()

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
        Drawn contours that lie partly in another one: what they share is not lesion by
        the even-odd rule, which its author may not have meant.
    on_other_slice : int
        Drawn contours that name another slice of the scan than the one they lie on.
    moved : int
        Drawn contours that lie off the slice that they name, by less than half a step.
    farthest_mm : float
        How far from the nearest slice the contours `off_slice` lie, at most.
    """

    region: Region
    drawn: int
    off_slice: int
    skipped: Mapping[str, int]
    repeated: int
    cut: int
    crossing: int
    on_other_slice: int
    moved: int = 0
    farthest_mm: float = 0.0


def read_rtstruct(path: Path, pattern: re.Pattern[str] = _EVERY) -> Structures:
    """Read an RT Structure Set.

    Parameters
    ----------
    pattern : re.Pattern
        Contours are read of ROIs whose whole name matches; nothing that is wrong with another
        is a fault of these.

    Raises
    ------
    CaseError
        `annotation_unreadable`, `unsupported_format`, `truncated_file`, `too_large`,
        `unreadable` or `io_error`. What is wrong with a single ROI is its `problem`.
    """
    name = path.name
    with parsing(name):
        ds, _, has_preamble = read_object(path, (RTStructureSetStorage,), MAXIMUM_BYTES)
        drawn: dict[int | None, list[Dataset]] = {}
        for item in items(ds, "ROIContourSequence", name):
            drawn.setdefault(_number(item, "ReferencedROINumber", name), []).append(item)
        described = items(ds, "StructureSetROISequence", name)
        if not described or "ROIContourSequence" not in ds:
            raise unreadable(name, f"describes {len(described)} ROIs, and holds no contours")
        rois = [
            _roi(item, drawn, pattern, f"{name}: ROI {at} of {len(described)}")
            for at, item in enumerate(described, 1)
        ]
        numbers = [roi.number for roi in rois]
        for at, roi in enumerate(rois):
            if numbers.count(roi.number) > 1 and roi.name.matching(pattern) is not None:
                fault = unreadable(name, f"ROI {roi.number} is described twice")
                rois[at] = replace(roi, contours=(), problem=roi.problem or fault)
        return Structures(
            rois=tuple(sorted(rois, key=lambda roi: roi.number)),
            has_preamble=has_preamble,
            description=free_text(ds, "SeriesDescription", name),
            series=series_of(referred_series(ds, name), name),
            frames=frames_of(ds, name),
        )


def referred_series(ds: Dataset, name: str) -> list[Dataset]:
    """Items of a structure set that name the image series it was drawn on."""
    return [
        series
        for frame in items(ds, "ReferencedFrameOfReferenceSequence", name)
        for study in items(frame, "RTReferencedStudySequence", name)
        for series in items(study, "RTReferencedSeriesSequence", name)
    ]


def series_of(referred: Sequence[Dataset], name: str) -> frozenset[str]:
    """UIDs of those series."""
    return frozenset(one for it in referred if (one := uid(it, "SeriesInstanceUID", name)))


def frames_of(ds: Dataset, name: str) -> frozenset[str]:
    """UIDs of all frames of reference that a structure set names."""
    frames = [uid(ds, "FrameOfReferenceUID", name)]
    for frame in items(ds, "ReferencedFrameOfReferenceSequence", name):
        frames.append(uid(frame, "FrameOfReferenceUID", name))
    for roi in items(ds, "StructureSetROISequence", name):
        frames.append(uid(roi, "ReferencedFrameOfReferenceUID", name))
    return frozenset(one for one in frames if one)


def _number(item: Dataset, keyword: str, name: str) -> int | None:
    """Return the number of a ROI; None where it has none, which is no other's fault."""
    with suppress(CaseError):
        return whole_number(item, keyword, name)
    return None


def _roi(
    item: Dataset, drawn: Mapping[int | None, list[Dataset]], pattern: re.Pattern[str], name: str
) -> Roi:
    """One ROI, with its contours if its name matches."""
    number = _number(item, "ROINumber", name)
    roi = Roi(-1 if number is None else number, free_text(item, "ROIName", name))
    if roi.name.matching(pattern) is None:
        return roi
    try:
        # pydicom raises what it likes on damaged bytes.
        with parsing(name):
            if number is None:
                raise unreadable(name, "it has no number")
            parts = drawn.get(number, [])
            if len(parts) > 1:
                raise unreadable(name, f"ROI {number} has contours twice")
            contours = tuple(
                _contour(part, f"{name}, contour {at}")
                for one in parts
                for at, part in enumerate(items(one, "ContourSequence", name), 1)
            )
    except CaseError as error:
        return replace(roi, problem=error)
    return replace(roi, contours=contours)


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
    voxel, and none is lost between them. A contour belongs to the slice whose plane all its
    points are within `GRID_TOLERANCE_VOX` of, or of the slice that it names by UID, if all its
    points are less than half a step from that; nothing else is drawn between slices.

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
    off_slice = drawn = on_other_slice = moved = 0
    farthest_mm, step_mm = 0.0, geometry.spacing_mm(affine)[2]
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
                f"a contour lies {farthest:g} voxels from the scan's corner: it belongs to another "
                "scan",
            )
        at = round(float(np.median(points[:, 2])))
        named = slices.get(contour.sop_uid or "", at)
        on_plane = np.abs(points[:, 2] - at).max() <= GRID_TOLERANCE_VOX and 0 <= at < shape[2]
        if not on_plane and np.abs(points[:, 2] - named).max() < 0.5 and 0 <= named < shape[2]:
            at = named
            moved += contour.sop_uid in slices
            on_plane = contour.sop_uid in slices
        if not on_plane:
            off_slice += 1
            farthest = float(np.abs(points[:, 2] - np.clip(at, 0, shape[2] - 1)).max())
            farthest_mm = max(farthest_mm, farthest * step_mm)
            continue
        drawn += 1
        on_other_slice += named != at
        vertices = np.rint(points[:, :2] / ON_CONTOUR_VOX) * ON_CONTOUR_VOX
        by_slice.setdefault(at, {})[vertices.tobytes()] = vertices
    polygons = {at: list(one.values()) for at, one in by_slice.items()}
    kept = [polygon for one in polygons.values() for polygon in one]
    check_work(kept, shape)
    filled = {at: fill_slice(one, shape) for at, one in polygons.items()}
    field = np.array(shape[:2]) - 0.5
    return Filled(
        region=stack_slices({at: region for at, (region, _) in filled.items() if region.mask.size}),
        drawn=len(kept),
        off_slice=off_slice,
        skipped=dict(skipped),
        repeated=drawn - len(kept),
        cut=sum(bool((one < -0.5).any() or (one > field).any()) for one in kept),
        crossing=sum(crossing for _, crossing in filled.values()),
        on_other_slice=on_other_slice,
        moved=moved,
        farthest_mm=farthest_mm,
    )
