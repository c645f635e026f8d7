"""RT structure sets: what is read from them, and which voxels their contours enclose."""

from __future__ import annotations

import os
import re
import struct
import tracemalloc
import warnings
import zlib
from collections.abc import Callable
from fractions import Fraction
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from pydicom import dcmread
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import (
    CTImageStorage,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    RTStructureSetStorage,
)

from uls_data import geometry
from uls_data.errors import CaseError
from uls_data.outcome import Reason
from uls_data.readers import dicom_object, rtstruct
from uls_data.readers.rtstruct import Contour, Filled, Structures, rasterise, read_rtstruct

MARK = "Muster^Geheim"
SERIES = "1.2.826.0.1.3680043.8.498.7"
SLICES = [f"{SERIES}.{number}" for number in range(5)]
# x and y run against RAS, as in most CT; steps that binary fractions cannot all hold.
AFFINE = np.array(
    [[-0.7, 0, 0, 31.3], [0, -0.6, 0, -12.9], [0, 0, 2.5, -804.25], [0, 0, 0, 1]], dtype=np.float64
)
SHAPE = (17, 13, 5)
SQUARE = [(2, 3), (9, 3), (9, 8), (2, 8)]
TEXTS = (
    *("AccessionNumber", "Manufacturer", "InstitutionName", "InstitutionAddress"),
    *("ReferringPhysicianName", "StationName", "StudyDescription", "SeriesDescription"),
    *("OperatorsName", "PatientName", "PatientID", "PatientComments", "StudyID", "ReviewerName"),
    *("StructureSetLabel", "StructureSetName", "StructureSetDescription"),
)
SYNTAXES = [ImplicitVRLittleEndian, ExplicitVRLittleEndian, DeflatedExplicitVRLittleEndian]


def contour(
    vertices: Any,
    at: float = 2,
    kind: str = "CLOSED_PLANAR",
    affine: NDArray[np.float64] = AFFINE,
    sop_uid: str | None = None,
) -> Contour:
    """A contour through voxel coordinates (column, row) of a slice, or (column, row, slice)."""
    points = np.array([(*point, at)[:3] for point in vertices], dtype=np.float64)
    return Contour(kind, geometry.to_mm(affine, points) * (-1, -1, 1), sop_uid)


def fill(*polygons: Any, **options: Any) -> NDArray[np.bool_]:
    """Slice 2 of what polygons enclose."""
    return mask_of(rasterise([contour(one, **options) for one in polygons], SHAPE, AFFINE))[..., 2]


def mask_of(filled: Filled, shape: tuple[int, ...] = SHAPE) -> NDArray[np.bool_]:
    mask = np.zeros(shape, dtype=bool)
    mask[tuple(filled.region.voxels.T)] = True
    assert np.count_nonzero(mask) == len(filled.region.voxels)
    return mask


def structure_set(rois: dict[int, tuple[str, list[Contour]]]) -> Dataset:
    """A structure set with private text in every text element that it may have."""
    ds = Dataset()
    ds.SOPClassUID = RTStructureSetStorage
    ds.SOPInstanceUID = f"{SERIES}.900"
    for keyword in TEXTS:
        setattr(ds, keyword, MARK)
    ds.PatientBirthDate = "19010203"
    image = Dataset()
    image.ReferencedSOPClassUID = CTImageStorage
    image.ReferencedSOPInstanceUID = SLICES[0]
    series = Dataset()
    series.SeriesInstanceUID = SERIES
    series.ContourImageSequence = [image]
    study = Dataset()
    study.RTReferencedSeriesSequence = [series]
    frame = Dataset()
    frame.FrameOfReferenceUID = f"{SERIES}.800"
    frame.RTReferencedStudySequence = [study]
    ds.ReferencedFrameOfReferenceSequence = [frame]
    ds.StructureSetROISequence, ds.ROIContourSequence, ds.RTROIObservationsSequence = [], [], []
    for number, (name, contours) in rois.items():
        roi = Dataset()
        roi.ROINumber = number
        roi.ReferencedFrameOfReferenceUID = f"{SERIES}.800"
        roi.ROIName = name
        roi.ROIDescription = MARK
        roi.ROIGenerationAlgorithm = "MANUAL"
        ds.StructureSetROISequence.append(roi)
        drawn = Dataset()
        drawn.ReferencedROINumber = number
        drawn.ContourSequence = [_item(one) for one in contours]
        ds.ROIContourSequence.append(drawn)
        observation = Dataset()
        observation.ReferencedROINumber = number
        observation.ROIObservationLabel = MARK
        observation.ROIInterpreter = MARK
        ds.RTROIObservationsSequence.append(observation)
    return ds


def _item(one: Contour) -> Dataset:
    item = Dataset()
    if one.sop_uid is not None:
        image = Dataset()
        image.ReferencedSOPClassUID = CTImageStorage
        image.ReferencedSOPInstanceUID = one.sop_uid
        item.ContourImageSequence = [image]
    item.ContourGeometricType = one.kind
    item.NumberOfContourPoints = len(one.points_mm)
    item.ContourData = [f"{value:.8g}" for value in one.points_mm.ravel()]
    return item


TWO = {
    1: ("GTV-1", [contour(SQUARE, at, sop_uid=SLICES[at]) for at in (1, 2)]),
    7: (MARK, [contour([(1, 1)], 3, "POINT"), contour(SQUARE[:3], 3)]),
}


def encoded(ds: Dataset, syntax: str = ExplicitVRLittleEndian, undefined: bool = False) -> bytes:
    """Bytes of a file, its sequences of undefined length if so wished."""
    if undefined:
        _undefine(ds)
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = syntax
    buffer = BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ds.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def _undefine(ds: Dataset) -> None:
    for element in ds:
        if element.VR == "SQ":
            element.is_undefined_length = True
            for item in element.value:
                item.is_undefined_length_sequence_item = True
                _undefine(item)


def read(folder: Path, data: bytes) -> Structures:
    path = folder / "RS.dcm"
    path.write_bytes(data)
    return read_rtstruct(path)


def refusal(folder: Path, data: bytes) -> CaseError:
    with pytest.raises(CaseError) as caught:
        read(folder, data)
    assert "RS.dcm" in caught.value.detail
    assert str(folder) not in caught.value.detail
    assert MARK[:6] not in caught.value.detail
    return caught.value


@pytest.mark.parametrize("undefined", [False, True])
@pytest.mark.parametrize("syntax", SYNTAXES)
def test_what_is_read(tmp_path: Path, syntax: str, undefined: bool) -> None:
    found = read(tmp_path, encoded(structure_set(TWO), syntax, undefined))
    assert found.series_instance_uid == SERIES
    assert [roi.number for roi in found.rois] == [1, 7]
    first, second = found.rois
    assert first.frame_of_reference_uid == f"{SERIES}.800"
    assert [one.sop_uid for one in first.contours] == SLICES[1:3]
    assert [one.kind for one in second.contours] == ["POINT", "CLOSED_PLANAR"]
    for roi in found.rois:
        for one, expected in zip(roi.contours, TWO[roi.number][1], strict=True):
            np.testing.assert_allclose(one.points_mm, expected.points_mm, atol=1e-5)


def test_names_leave_only_by_a_pattern_that_matches_all(tmp_path: Path) -> None:
    rois = {1: ("GTV-1", []), 2: (f"GTV-2 {MARK}", []), 3: ("Läsion\x00\u200b ", [])}
    ds = structure_set(rois)
    ds.SpecificCharacterSet = "ISO_IR 192"
    found = read(tmp_path, encoded(ds))
    assert [roi.number for roi in found.matching(re.compile(r"GTV-\d+"))] == [1]
    names = [roi.name.matching(re.compile(r"GTV-\d+|L\w+")) for roi in found.rois]
    assert names == ["GTV-1", None, "Läsion"]
    assert "GTV" not in repr(found) and MARK not in repr(found)


def test_several_series_are_none(tmp_path: Path) -> None:
    ds = structure_set(TWO)
    study = ds.ReferencedFrameOfReferenceSequence[0].RTReferencedStudySequence[0]
    other = Dataset()
    other.SeriesInstanceUID = f"{SERIES}.1"
    study.RTReferencedSeriesSequence.append(other)
    assert read(tmp_path, encoded(ds)).series_instance_uid is None


def _points(ds: Dataset) -> Dataset:
    found: Dataset = ds.ROIContourSequence[0].ContourSequence[1]
    return found


DAMAGES: dict[str, tuple[Callable[[Dataset], Any], Reason, str]] = {
    "other class": (
        lambda ds: setattr(ds, "SOPClassUID", CTImageStorage),
        Reason.ANNOTATION_UNREADABLE,
        "expected RT Structure Set Storage, found CT Image Storage",
    ),
    "text for class": (
        lambda ds: setattr(ds, "SOPClassUID", MARK),
        Reason.ANNOTATION_UNREADABLE,
        "found no SOP class",
    ),
    "points missing": (
        lambda ds: setattr(_points(ds), "NumberOfContourPoints", 5),
        Reason.ANNOTATION_UNREADABLE,
        "ROI 1, contour 2: expected 5 points",
    ),
    "number missing": (
        lambda ds: setattr(_points(ds), "ContourData", ["1"] * 11),
        Reason.ANNOTATION_UNREADABLE,
        "found 11 numbers",
    ),
    "not finite": (
        lambda ds: setattr(_points(ds), "ContourData", ["1", "2", "1e999"]),
        Reason.ANNOTATION_UNREADABLE,
        "finite",
    ),
    "beyond the room": (
        lambda ds: setattr(_points(ds), "ContourData", ["1", "2", "1e9"] * 4),
        Reason.ANNOTATION_UNREADABLE,
        "farther than",
    ),
    "no contours": (
        lambda ds: ds.pop("ROIContourSequence"),
        Reason.ANNOTATION_UNREADABLE,
        "no contours",
    ),
    "two of a number": (
        lambda ds: setattr(ds.StructureSetROISequence[1], "ROINumber", 1),
        Reason.ANNOTATION_UNREADABLE,
        "ROI 1 is described twice",
    ),
    "not described": (
        lambda ds: ds.StructureSetROISequence.pop(1),
        Reason.ANNOTATION_UNREADABLE,
        "describes 1 ROIs, and 1 others not",
    ),
    "half a number": (
        lambda ds: ds.StructureSetROISequence[0].add_new("ROINumber", "DS", "1.5"),
        Reason.ANNOTATION_UNREADABLE,
        "one whole number",
    ),
    "contours not a sequence": (
        lambda ds: ds.add_new("ROIContourSequence", "LO", MARK),
        Reason.ANNOTATION_UNREADABLE,
        "no sequence",
    ),
    "text for numbers": (
        lambda ds: _points(ds).add_new("ContourData", "LO", MARK),
        Reason.ANNOTATION_UNREADABLE,
        "something else than numbers",
    ),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_objects_that_cannot_be_used(tmp_path: Path, name: str) -> None:
    damage, reason, words = DAMAGES[name]
    ds = structure_set(TWO)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        damage(ds)
    error = refusal(tmp_path, encoded(ds))
    assert error.reason is reason
    assert words in error.detail


def test_files_that_are_no_structure_set(tmp_path: Path) -> None:
    good = encoded(structure_set(TWO))
    assert refusal(tmp_path, b"").reason is Reason.ANNOTATION_UNREADABLE
    assert refusal(tmp_path, good[132:]).reason is Reason.ANNOTATION_UNREADABLE
    for syntax in (ExplicitVRBigEndian, JPEG2000Lossless):
        ds = structure_set(TWO)
        ds.remove_private_tags()
        error = refusal(tmp_path, _declared(good, syntax))
        assert error.reason is Reason.UNSUPPORTED_FORMAT
        assert syntax.name in error.detail
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "fifo")
    for name in ("folder", "fifo", "absent"):
        with pytest.raises(CaseError) as caught:
            read_rtstruct(tmp_path / name)
        assert caught.value.reason is Reason.UNREADABLE


def _declared(data: bytes, syntax: str) -> bytes:
    """The same file with another transfer syntax written into its meta information."""
    old = ExplicitVRLittleEndian.encode() + b"\0"
    new = syntax.encode() + b"\0" * (len(syntax) % 2)
    at = data.index(old)
    return data[: at - 2] + struct.pack("<H", len(new)) + new + data[at + len(old) :]


@pytest.mark.parametrize("undefined", [False, True])
def test_a_file_cut_short_loses_no_contour_unnoticed(tmp_path: Path, undefined: bool) -> None:
    data = encoded(structure_set(TWO), undefined=undefined)
    whole = read(tmp_path, data)
    refused = 0
    items = [found.start() for found in re.finditer(rb"\xfe\xff\x00\xe0", data)]
    for end in [*items, *range(132, len(data), 7), *range(len(data) - 60, len(data))]:
        try:
            found = read(tmp_path, data[:end])
        except CaseError as error:
            assert "RS.dcm" in error.detail
            refused += 1
        else:
            assert repr(found) == repr(whole)
    assert refused > 100


def test_a_sequence_that_ends_early_is_no_shorter_sequence(tmp_path: Path) -> None:
    data = encoded(structure_set(TWO))
    second = data.rindex(b"\xfe\xff\x00\xe0", 0, data.index(SLICES[2].encode()) - 60)
    assert data.count(b"CLOSED_PLANAR", 0, second) == 1
    ended = data[:second] + b"\xfe\xff\xdd\xe0\0\0\0\0" + data[second + 8 :]
    assert "before its last byte" in refusal(tmp_path, ended).detail


def test_a_sequence_of_unknown_representation(tmp_path: Path) -> None:
    implicit = BytesIO(encoded(structure_set(TWO), ImplicitVRLittleEndian))
    value = dcmread(implicit).get_item("ROIContourSequence").value
    data = encoded(structure_set(TWO))
    head = b"\x06\x30\x39\x00SQ\0\0"
    at = data.index(head)
    (length,) = struct.unpack_from("<L", data, at + 8)
    unknown = head.replace(b"SQ", b"UN") + struct.pack("<L", len(value)) + value
    found = read(tmp_path, data[:at] + unknown + data[at + 12 + length :])
    assert [len(roi.contours) for roi in found.rois] == [2, 2]


# --- which voxels ---


def inside_exactly(polygons: list[Any], shape: tuple[int, ...] = SHAPE) -> NDArray[np.bool_]:
    """Even-odd rule, one voxel and one edge at a time, in rational numbers."""
    mask = np.zeros(shape[:2], dtype=bool)
    for vertices in polygons:
        exact = [(Fraction(x), Fraction(y)) for x, y in vertices]
        for (ax, ay), (bx, by) in zip(exact, exact[1:] + exact[:1], strict=True):
            for row in range(shape[1]):
                if (ay <= row) == (by <= row):
                    continue
                meets = ax + (row - ay) * (bx - ax) / (by - ay)
                for column in range(shape[0]):
                    mask[column, row] ^= meets <= column
    return mask


# Halves and quarters, so that corners and edges often run through voxel centres.
_COORDINATE = st.integers(-12, 80).map(lambda n: n / 4)
_POLYGON = st.lists(st.tuples(_COORDINATE, _COORDINATE), min_size=3, max_size=9)
_POLYGONS = st.lists(_POLYGON, min_size=1, max_size=3, unique_by=str)


@given(_POLYGONS)
def test_same_voxels_as_by_rational_numbers(polygons: list[Any]) -> None:
    filled = rasterise([contour(one) for one in polygons], SHAPE, AFFINE)
    expected = inside_exactly(polygons)
    mask = mask_of(filled)
    assert np.array_equal(mask[..., 2], expected)
    assert not mask[..., [0, 1, 3, 4]].any()
    assert filled.region.voxels.dtype == np.int32
    assert np.array_equal(filled.region.voxels, np.argwhere(mask))  # C order


@given(_POLYGON, st.integers(0, 8), st.booleans(), st.booleans())
def test_where_a_contour_starts_and_which_way_it_runs(
    polygon: list[Any], start: int, backwards: bool, closed: bool
) -> None:
    start %= len(polygon)
    other = polygon[start:] + polygon[:start]
    other = other[::-1] if backwards else other
    other = [*other, other[0]] if closed else other
    assert np.array_equal(fill(polygon), fill(other))


@given(
    st.lists(st.floats(0, 2 * np.pi), min_size=4, max_size=12, unique=True).map(sorted),
    st.floats(0.5, 8),
    st.integers(0, 11),
    st.integers(2, 10),
)
def test_parts_share_no_voxel_and_lose_none(
    angles: list[float], radius: float, first: int, apart: int
) -> None:
    corners = [(8 + radius * np.cos(a), 6 + radius * np.sin(a)) for a in angles]
    first %= len(corners)
    corners = corners[first:] + corners[:first]
    at = 1 + apart % (len(corners) - 2)
    one, other = corners[: at + 1], [corners[0], *corners[at:]]
    parts = [fill(part) if len(part) > 2 else np.zeros(SHAPE[:2], bool) for part in (one, other)]
    assert not (parts[0] & parts[1]).any()
    assert np.array_equal(parts[0] | parts[1], fill(corners))


def test_a_centre_on_the_contour_belongs_to_the_side_of_the_higher_index() -> None:
    square = fill(SQUARE)
    columns, rows = np.nonzero(square)
    assert (columns.min(), columns.max(), rows.min(), rows.max()) == (2, 8, 3, 7)
    right = fill([(9, 3), (12, 3), (12, 8), (9, 8)])
    assert not (square & right).any() and right[9, 3:8].all()
    # To the last bit: a rounding error is not allowed to choose the side.
    for angle in (0.1, 0.2, 0.7):
        affine = AFFINE.copy()
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        affine[:2, :2] = turn @ affine[:2, :2]
        turned = rasterise([contour(SQUARE, affine=affine)], SHAPE, affine)
        assert np.array_equal(mask_of(turned)[..., 2], square)


def test_a_centre_on_a_slanted_contour() -> None:
    # 7 * (29 / 7) is more than 29 in double precision.
    shape = (64, 16, 5)
    triangle = [(0, 0), (58, 14), (60, 0)]
    mask = mask_of(rasterise([contour(triangle)], shape, AFFINE), shape)[..., 2]
    assert np.array_equal(mask, inside_exactly([triangle], shape))
    assert mask[29, 7]


def test_holes_drawn_as_contours_or_by_keyholes() -> None:
    inner = [(4, 4), (7, 4), (7, 7), (4, 7)]
    ring = fill(SQUARE, inner)
    assert np.array_equal(ring, fill(SQUARE) & ~fill(inner))
    assert np.array_equal(ring, fill(inner, SQUARE))
    keyhole = [*SQUARE, SQUARE[0], inner[0], *inner[:0:-1], inner[0]]
    assert np.array_equal(ring, fill(keyhole))
    assert np.array_equal(ring, fill(SQUARE, inner, kind="CLOSEDPLANAR_XOR"))
    island = [(5, 5), (6, 5), (6, 6), (5, 6)]
    assert fill(SQUARE, island, inner)[5, 5]


def counts(*contours: Contour, sop_uids: list[str] | None = None) -> dict[str, Any]:
    filled = rasterise(contours, SHAPE, AFFINE, sop_uids or [])
    found = {key: value for key, value in vars(filled).items() if key != "region" and value}
    return {**found, "voxels": len(filled.region.voxels)}


def test_what_becomes_of_each_contour() -> None:
    assert counts() == {"voxels": 0}
    assert counts(contour(SQUARE)) == {"drawn": 1, "voxels": 35}
    assert counts(contour(SQUARE, 2.09)) == {"drawn": 1, "voxels": 35}
    assert counts(contour(SQUARE, 2.11)) == {"off_slice": 1, "voxels": 0}
    tilted = [(x, y, 2 + 0.05 * x) for x, y in SQUARE]
    assert counts(contour(tilted)) == {"off_slice": 1, "voxels": 0}
    assert counts(contour(SQUARE, 5), contour(SQUARE, -1)) == {"off_slice": 2, "voxels": 0}
    assert counts(contour(SQUARE), contour(SQUARE)) == {"drawn": 1, "repeated": 1, "voxels": 35}
    across = [(x + 3, y) for x, y in SQUARE]
    assert counts(contour(SQUARE), contour(across)) == {"drawn": 2, "crossing": 1, "voxels": 30}
    hole = [(4, 4), (7, 4), (7, 7), (4, 7)]
    assert counts(contour(hole), contour(SQUARE)) == {"drawn": 2, "voxels": 26}
    beside = [(x - 5, y) for x, y in SQUARE]
    assert counts(contour(beside)) == {"drawn": 1, "cut": 1, "voxels": 20}
    beyond = [(x + 30, y) for x, y in SQUARE]
    assert counts(contour(beyond)) == {"drawn": 1, "cut": 1, "voxels": 0}
    kinds = ("POINT", "OPEN_PLANAR", "OTHER")
    others = [contour(SQUARE, kind=kind) for kind in kinds] + [contour(SQUARE[:2])]
    skipped = {"POINT": 1, "OPEN_PLANAR": 1, "OTHER": 1, "CLOSED_PLANAR": 1}
    assert counts(*others) == {"skipped": skipped, "voxels": 0}
    named = [contour(SQUARE, 2, sop_uid=uid) for uid in (SLICES[2], f"{SERIES}.77")]
    assert "on_other_slice" not in counts(*named, sop_uids=SLICES)
    assert "on_other_slice" not in counts(contour(SQUARE), sop_uids=["", "", "x"])
    wrong = contour(SQUARE, 2, sop_uid=SLICES[3])
    assert counts(wrong, sop_uids=SLICES)["on_other_slice"] == 1


def test_the_box_is_the_smallest() -> None:
    region = rasterise([contour(SQUARE, 1), contour(SQUARE[:3], 3)], SHAPE, AFFINE).region
    assert region.start == (2, 3, 1)
    assert region.mask.shape == (7, 5, 3)


def test_contours_of_another_scan_or_beyond_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(CaseError, match="another scan") as caught:
        rasterise([contour([(x * 1e6, y) for x, y in SQUARE])], SHAPE, AFFINE)
    assert caught.value.reason is Reason.ANNOTATION_MISMATCH
    for limit, most in (("_MAXIMUM_CROSSINGS", 9), ("_MAXIMUM_FILLED_VOXELS", 34)):
        with monkeypatch.context() as patch:
            patch.setattr(rtstruct, limit, most)
            with pytest.raises(CaseError) as caught:
                rasterise([contour(SQUARE)], SHAPE, AFFINE)
            assert caught.value.reason is Reason.TOO_LARGE


@given(_POLYGON)
def test_large_contours_are_filled_in_parts(polygon: list[Any]) -> None:
    whole = fill(polygon)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rtstruct, "_CROSSINGS_AT_ONCE", 1)
        assert np.array_equal(fill(polygon), whole)


# --- files that mean harm ---


def damaged(data: bytes, seed: int) -> bytes:
    """A file with a few of its bytes changed, cut out, put in twice, or other lengths."""
    rng = np.random.default_rng(seed)
    changed = bytearray(data)
    for _ in range(int(rng.integers(1, 5))):
        at = int(rng.integers(132, len(changed) - 8))
        kind = rng.integers(6)
        if kind == 0:
            changed[at] = rng.integers(256)
        elif kind == 1:
            changed[at : at + 4] = rng.choice(
                [b"\xff\xff\xff\xff", b"\0\0\0\0", b"\xf0\xff\xff\x7f"]
            )
        elif kind == 2:
            del changed[at : at + int(rng.integers(1, 40))]
        elif kind == 3:
            changed[at:at] = changed[at : at + int(rng.integers(1, 400))]
        elif kind == 4:
            changed[at : at + 8] = rng.bytes(8)
        else:
            del changed[at + int(rng.integers(len(changed) - at)) :]
        if len(changed) < 200:
            break
    return bytes(changed)


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRLittleEndian])
@pytest.mark.parametrize("undefined", [False, True])
def test_damaged_files(tmp_path: Path, syntax: str, undefined: bool) -> None:
    data = encoded(structure_set(TWO), syntax, undefined)
    outcomes: dict[str, int] = {}
    tracemalloc.start()
    try:
        for seed in range(25):
            try:
                found = read(tmp_path, damaged(data, seed))
                said = repr(found)
                said += repr([rasterise(roi.contours, SHAPE, AFFINE) for roi in found.rois])
                outcomes["read"] = outcomes.get("read", 0) + 1
            except CaseError as error:
                said = error.detail
                outcomes[error.reason] = outcomes.get(error.reason, 0) + 1
            assert MARK[:6] not in said and MARK[-6:] not in said
        assert tracemalloc.get_traced_memory()[1] < 1 << 23
    finally:
        tracemalloc.stop()
    assert len(outcomes) > 1


def test_files_that_would_grow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rtstruct, "_MAXIMUM_BYTES", 1 << 20)
    monkeypatch.setattr(dicom_object, "_MAXIMUM_READS", 1 << 12)
    monkeypatch.setattr(dicom_object, "_MAXIMUM_NUMBERS_BYTES", 1 << 12)
    good = encoded(structure_set(TWO))
    assert refusal(tmp_path, good + bytes(1 << 20)).reason is Reason.TOO_LARGE
    # A megabyte of deflate holds a gigabyte of zeros.
    deflated = encoded(structure_set(TWO), DeflatedExplicitVRLittleEndian)
    start = deflated.index(b"1.2.840.10008.1.2.1.99") + 22
    start += 8 + struct.unpack_from("<H", deflated, start + 6)[0]  # implementation class
    start += 8 + struct.unpack_from("<H", deflated, start + 6)[0]  # implementation version
    packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    zeros = packer.compress(bytes(1 << 24)) + packer.flush()
    tracemalloc.start()
    assert refusal(tmp_path, deflated[:start] + zeros).reason is Reason.TRUNCATED_FILE
    items = (
        struct.pack("<HH2sHL", 0x3006, 0x39, b"SQ", 0, 80_000) + 10_000 * b"\xfe\xff\0\xe0\0\0\0\0"
    )
    meta = good[: good.index(b"\x08\0\x16\0UI")]
    known = good[len(meta) : good.index(b"\x08\0\x50\0SH")]
    assert refusal(tmp_path, meta + known + items).reason is Reason.TOO_LARGE
    elements = b"".join(struct.pack("<HH2sH", 0x3006, n, b"LO", 0) for n in range(10_000))
    assert refusal(tmp_path, meta + known + elements).reason is Reason.TOO_LARGE
    assert tracemalloc.get_traced_memory()[1] < 1 << 25
    tracemalloc.stop()
    ds = structure_set(TWO)
    _points(ds).ContourData = ["1"] * 6000
    assert refusal(tmp_path, encoded(ds)).reason is Reason.TOO_LARGE


def test_pydicom_says_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    ds = structure_set(TWO)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ds.SpecificCharacterSet = MARK
        data = encoded(ds)
        caplog.clear()
    found = read(tmp_path, data)  # a warning would fail the test
    assert len(found.rois) == 2
    assert caplog.records == []
