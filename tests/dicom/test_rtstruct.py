"""RT structure sets: what is read from them, and which voxels their contours enclose."""

from __future__ import annotations

import os
import re
import struct
import warnings
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from makers.rtstruct import (
    MARK,
    SERIES,
    SLICES,
    SYNTAXES,
    TWO,
    encoded,
    points_of,
    read,
    refusal,
    structure_set,
)
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.uid import (
    CTImageStorage,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
)

from uls_data.dicom.referred import references_of
from uls_data.dicom.rtstruct import read_rtstruct
from uls_data.errors import CaseError
from uls_data.outcome import Reason


@pytest.mark.parametrize("undefined", [False, True])
@pytest.mark.parametrize("syntax", SYNTAXES)
def test_what_is_read(tmp_path: Path, syntax: str, undefined: bool) -> None:
    found = read(tmp_path, encoded(structure_set(TWO), syntax, undefined))
    refers = references_of(tmp_path / "RS.dcm", "rtstruct")
    assert refers.series == {SERIES} and refers.frames == {f"{SERIES}.800"}
    assert refers.slices == {SLICES[0], *SLICES[1:3]}
    assert [roi.number for roi in found.rois] == [1, 7]
    first, second = found.rois
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


def test_several_series(tmp_path: Path) -> None:
    ds = structure_set(TWO)
    study = ds.ReferencedFrameOfReferenceSequence[0].RTReferencedStudySequence[0]
    other = Dataset()
    other.SeriesInstanceUID = f"{SERIES}.1"
    study.RTReferencedSeriesSequence.append(other)
    read(tmp_path, encoded(ds))
    assert references_of(tmp_path / "RS.dcm", "rtstruct").series == {SERIES, f"{SERIES}.1"}


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
        lambda ds: setattr(points_of(ds), "NumberOfContourPoints", 5),
        Reason.ANNOTATION_UNREADABLE,
        "ROI 1 of 2, contour 2: expected 5 points",
    ),
    "number missing": (
        lambda ds: setattr(points_of(ds), "ContourData", ["1"] * 11),
        Reason.ANNOTATION_UNREADABLE,
        "found 11 numbers",
    ),
    "not finite": (
        lambda ds: setattr(points_of(ds), "ContourData", ["1", "2", "1e999"]),
        Reason.ANNOTATION_UNREADABLE,
        "finite",
    ),
    "beyond the room": (
        lambda ds: setattr(points_of(ds), "ContourData", ["1", "2", "1e9"] * 4),
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
    "none described": (
        lambda ds: ds.pop("StructureSetROISequence"),
        Reason.ANNOTATION_UNREADABLE,
        "describes 0 ROIs",
    ),
    "contours twice": (
        lambda ds: setattr(ds.ROIContourSequence[1], "ReferencedROINumber", 1),
        Reason.ANNOTATION_UNREADABLE,
        "ROI 1 has contours twice",
    ),
    "half a number": (
        lambda ds: ds.StructureSetROISequence[0].add_new("ROINumber", "DS", "1.5"),
        Reason.ANNOTATION_UNREADABLE,
        "it has no number",
    ),
    "contours not a sequence": (
        lambda ds: ds.add_new("ROIContourSequence", "LO", MARK),
        Reason.ANNOTATION_UNREADABLE,
        "not a sequence",
    ),
    "text for numbers": (
        lambda ds: points_of(ds).add_new("ContourData", "LO", MARK),
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
    assert refusal(tmp_path, b"no DICOM" * 20).reason is Reason.ANNOTATION_UNREADABLE
    bare = read(tmp_path, good[132:])  # without preamble
    assert not bare.has_preamble and bare.rois[0].contours
    assert read(tmp_path, good).has_preamble
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


def test_a_fault_in_another_roi_is_none_of_the_wanted_one(tmp_path: Path) -> None:
    for damage, _, _ in (
        DAMAGES[name] for name in ("points missing", "not finite", "text for numbers")
    ):
        ds = structure_set({**TWO, 2: ("GTV-2", TWO[1][1])})
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            damage(ds)  # of the first
        (tmp_path / "RS.dcm").write_bytes(encoded(ds))
        other = read_rtstruct(tmp_path / "RS.dcm", re.compile("GTV-2"))
        assert [roi.problem for roi in other.rois] == [None] * 3
        assert [len(roi.contours) for roi in other.rois] == [0, 2, 0]
        both = read_rtstruct(tmp_path / "RS.dcm", re.compile("GTV-.")).rois
        assert [roi.problem is None for roi in both] == [False, True, True]


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRLittleEndian])
def test_a_bare_data_set_shows_its_encoding(tmp_path: Path, syntax: str) -> None:
    data = encoded(structure_set(TWO), syntax)
    found = read(tmp_path, data[data.index(b"\x08\0\x16\0") :])
    assert not found.has_preamble and len(found.rois[0].contours) == 2
