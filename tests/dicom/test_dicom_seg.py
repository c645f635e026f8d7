"""DICOM Segmentations: what is read from them, and what is refused."""

from __future__ import annotations

import copy
import io
import re
import tracemalloc
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from makers.seg import (
    MARK,
    RAS,
    SERIES,
    SHAPE,
    encoded,
    grid,
    masks_of,
    placed,
    read,
    refusal,
    segmentation,
)
from pydicom.dataset import Dataset
from pydicom.uid import (
    CTImageStorage,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    RLELossless,
)

from demo.phantom import store
from uls_data.dicom import objects as dicom_object
from uls_data.dicom import seg as dicom_seg
from uls_data.dicom.placement import place_segment
from uls_data.dicom.referred import references_of
from uls_data.dicom.seg import Code, read_seg
from uls_data.errors import CaseError
from uls_data.outcome import Reason

SYNTAXES = [ImplicitVRLittleEndian, ExplicitVRLittleEndian, DeflatedExplicitVRLittleEndian]


@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("syntax", SYNTAXES)
def test_what_is_read(tmp_path: Path, syntax: str, shared: bool) -> None:
    stored, affine = store(masks_of(1)[1], RAS, "LPS")
    data = encoded(segmentation({3: stored, 1: ~stored}, affine, shared), syntax)
    seg = read(tmp_path, data)
    refers = references_of(tmp_path / "SEG.dcm", "seg")
    assert (refers.series, refers.frames) == ({SERIES}, {f"{SERIES}.800"})
    assert refers.slices <= {f"{SERIES}.{number}" for number in range(1, 5)} and refers.slices
    assert [one.number for one in seg.segments] == [1, 3]
    assert {one.property_type for one in seg.segments} == {Code("M-03010", "SRT")}
    assert {one.category for one in seg.segments} == {Code("49755003", "SCT")}
    assert {one.algorithm for one in seg.segments} == {"MANUAL"}
    assert [one.number for one in seg.matching(re.compile(r"\w+ 3"))] == [3]
    assert seg.matching(re.compile("Les")) == ()
    assert seg.segments[0].description.matching(re.compile(MARK[:6])) is None
    assert seg.slice_step_mm == pytest.approx(2.5)  # not 8.5 and not 9.75
    assert "Les" not in repr(seg) and MARK not in repr(seg)


def test_same_pixels_as_pydicom(tmp_path: Path) -> None:
    stored, affine = store(masks_of(4)[1], RAS, "LPS")
    seg = read(tmp_path, encoded(segmentation({1: stored, 2: ~stored}, affine)))
    expected = pydicom.dcmread(tmp_path / "SEG.dcm").pixel_array
    for number in range(len(seg.frames)):
        assert np.array_equal(seg.pixels(number), expected[number])


def _group(ds: Dataset, keyword: str) -> Dataset:
    found: Dataset = ds.PerFrameFunctionalGroupsSequence[1][keyword].value[0]
    return found


DAMAGES: dict[str, tuple[Callable[[Dataset], Any], Reason, str]] = {
    "other class": (
        lambda ds: setattr(ds, "SOPClassUID", CTImageStorage),
        Reason.ANNOTATION_UNREADABLE,
        "found CT Image Storage",
    ),
    "pixels missing": (
        lambda ds: setattr(ds, "PixelData", ds.PixelData[:-4]),
        Reason.TRUNCATED_FILE,
        "need",
    ),
    "pixels too many": (
        lambda ds: setattr(ds, "PixelData", ds.PixelData + bytes(len(ds.PixelData) + 4)),
        Reason.ANNOTATION_UNREADABLE,
        "bytes of pixels",
    ),
    "size that no file holds": (
        lambda ds: [setattr(ds, word, 65535) for word in ("Rows", "Columns")],
        Reason.TOO_LARGE,
        "header claims 17,179,344,900 voxels",
    ),
    "no frames": (
        lambda ds: setattr(ds, "NumberOfFrames", 0),
        Reason.ANNOTATION_UNREADABLE,
        "0 frames",
    ),
    "frames not described": (
        lambda ds: ds.PerFrameFunctionalGroupsSequence.pop(),
        Reason.ANNOTATION_UNREADABLE,
        "describes 3",
    ),
    "position missing": (
        lambda ds: _group(ds, "PlanePositionSequence").pop("ImagePositionPatient"),
        Reason.ANNOTATION_UNREADABLE,
        "frame 2: ImagePositionPatient: expected 3 numbers",
    ),
    "position no number": (
        lambda ds: _group(ds, "PlanePositionSequence").add_new(
            "ImagePositionPatient", "LO", [MARK] * 3
        ),
        Reason.ANNOTATION_UNREADABLE,
        "something else than numbers",
    ),
    "position beyond the room": (
        lambda ds: setattr(
            _group(ds, "PlanePositionSequence"), "ImagePositionPatient", ["0", "0", "1e300"]
        ),
        Reason.ANNOTATION_UNREADABLE,
        "is not valid",
    ),
    "no orientation": (
        lambda ds: ds.SharedFunctionalGroupsSequence[0].pop("PlaneOrientationSequence"),
        Reason.ANNOTATION_UNREADABLE,
        "has no PlaneOrientationSequence",
    ),
    "orientation askew": (
        lambda ds: setattr(
            ds.SharedFunctionalGroupsSequence[0].PlaneOrientationSequence[0],
            "ImageOrientationPatient",
            ["1e300", "1e300", "0", "1e300", "-1e300", "0"],
        ),
        Reason.ANNOTATION_UNREADABLE,
        "is not valid",
    ),
    "segment not described": (
        lambda ds: setattr(
            _group(ds, "SegmentIdentificationSequence"), "ReferencedSegmentNumber", 9
        ),
        Reason.ANNOTATION_UNREADABLE,
        "shows segment 9",
    ),
    "two segments of a number": (
        lambda ds: ds.SegmentSequence.append(ds.SegmentSequence[0]),
        Reason.ANNOTATION_UNREADABLE,
        "number 1",
    ),
    "other bits": (
        lambda ds: setattr(ds, "BitsAllocated", 8),
        Reason.ANNOTATION_UNREADABLE,
        "BINARY with 1 bit",
    ),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_objects_that_cannot_be_used(tmp_path: Path, name: str) -> None:
    damage, reason, words = DAMAGES[name]
    stored, affine = grid()
    ds = segmentation({1: stored | True}, affine)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        damage(ds)
    error = refusal(tmp_path, encoded(ds))
    assert error.reason is reason
    assert words in error.detail


def test_compressed_frames_are_refused_by_name(tmp_path: Path) -> None:
    ds = segmentation({1: grid()[0]}, RAS)
    ds.PixelData = pydicom.encaps.encapsulate([bytes(8)] * ds.NumberOfFrames)
    ds["PixelData"].is_undefined_length = True
    error = refusal(tmp_path, encoded(ds, RLELossless))
    assert error.reason is Reason.UNSUPPORTED_FORMAT
    assert "of 1 bits as RLE Lossless" in error.detail


def as_labelmap(ds: Dataset, masks: dict[int, Any], dtype: str = "u1") -> Dataset:
    """The same masks, which share no voxel, as a label map: one frame a slice."""
    slices = next(iter(masks.values())).shape[2]
    kept, pixels = [], []
    for at in range(slices):
        frame = next(
            (
                one
                for one in ds.PerFrameFunctionalGroupsSequence
                if one.DerivationImageSequence[0].SourceImageSequence[0].ReferencedSOPInstanceUID
                == f"{SERIES}.{at + 1}"
            ),
            None,
        )
        if frame is None:
            continue
        frame = copy.deepcopy(frame)
        del frame.SegmentIdentificationSequence
        kept.append(frame)
        pixels.append(sum(mask[..., at].T.astype(dtype) * number for number, mask in masks.items()))
    ds.PerFrameFunctionalGroupsSequence = kept
    ds.SOPClassUID, ds.SegmentationType = "1.2.840.10008.5.1.4.1.1.66.7", "LABELMAP"
    bits = 8 * np.dtype(dtype).itemsize
    ds.NumberOfFrames, ds.BitsAllocated, ds.BitsStored, ds.HighBit = len(kept), bits, bits, bits - 1
    data = np.stack(pixels).astype(f"<{dtype}").tobytes()
    ds.PixelData = data + b"\0" * (len(data) % 2)
    ds["PixelData"].VR = "OB" if bits == 8 else "OW"
    return ds


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("dtype", ["u1", "u2"])
def test_label_maps(tmp_path: Path, dtype: str, packed: bool) -> None:
    one, affine = grid()
    masks = {1: one, 3: ~one & (np.indices(one.shape)[0] % 2 == 0)}
    ds = as_labelmap(segmentation(masks, affine, empty=True), masks, dtype)
    data = encoded(ds)
    if packed:
        ds = pydicom.dcmread(io.BytesIO(data))
        ds.compress(RLELossless, generate_instance_uid=False)
        data = encoded(ds, RLELossless)
    seg = read(tmp_path, data)
    for number, mask in masks.items():
        assert np.array_equal(placed(seg, number, mask.shape, affine), mask)


def test_fractional_frames_packed_by_runs(tmp_path: Path) -> None:
    stored, affine = grid()
    ds = segmentation({1: stored, 2: ~stored}, affine, fraction=255)
    ds = pydicom.dcmread(io.BytesIO(encoded(ds)))
    ds.compress(RLELossless, generate_instance_uid=False)
    seg = read(tmp_path, encoded(ds, RLELossless))
    assert np.array_equal(placed(seg, 1, stored.shape, affine), stored)


def test_a_fault_of_another_segment_is_none_of_the_wanted_one(tmp_path: Path) -> None:
    stored, affine = grid()
    ds = segmentation({1: stored, 2: ~stored}, affine)
    for frame in ds.PerFrameFunctionalGroupsSequence:
        if frame.SegmentIdentificationSequence[0].ReferencedSegmentNumber == 2:
            frame.PlanePositionSequence[0].ImagePositionPatient = ["0", "0", "1e300"]
    (tmp_path / "SEG.dcm").write_bytes(encoded(ds))
    seg = read_seg(tmp_path / "SEG.dcm", re.compile("Lesion 1"))
    assert np.array_equal(placed(seg, 1, stored.shape, affine), stored)
    with pytest.raises(CaseError):
        read_seg(tmp_path / "SEG.dcm")


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
            length = [b"\xff\xff\xff\xff", b"\0\0\0\0", b"\xf0\xff\xff\x7f"][int(rng.integers(3))]
            changed[at : at + 4] = length
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
def test_damaged_files(tmp_path: Path, syntax: str) -> None:
    stored, affine = grid()
    data = encoded(segmentation({1: stored, 2: ~stored}, affine), syntax)
    outcomes: dict[str, int] = {}
    tracemalloc.start()
    try:
        for seed in range(50):
            try:
                seg = read(tmp_path, damaged(data, seed))
                said = repr(seg)
                for segment in seg.segments:
                    said += repr(place_segment(seg, segment.number, SHAPE, affine))
                outcomes["read"] = outcomes.get("read", 0) + 1
            except CaseError as error:
                said = error.detail
                outcomes[error.reason] = outcomes.get(error.reason, 0) + 1
            assert MARK[:6] not in said and MARK[-6:] not in said and "Lesion" not in said
        assert tracemalloc.get_traced_memory()[1] < 1 << 23
    finally:
        tracemalloc.stop()
    assert len(outcomes) > 2


def test_only_so_much_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = encoded(segmentation({1: grid()[0]}, RAS))
    with monkeypatch.context() as patch:
        patch.setattr(dicom_seg, "MAXIMUM_BYTES", len(data) - 1)
        assert refusal(tmp_path, data).reason is Reason.TOO_LARGE
    with monkeypatch.context() as patch:
        patch.setattr(dicom_object, "_MAXIMUM_READS", 50)
        assert refusal(tmp_path, data).reason is Reason.TOO_LARGE
