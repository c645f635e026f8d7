"""DICOM Segmentations: what is read from them, and where their frames lie in a scan."""

from __future__ import annotations

import re
import tracemalloc
import warnings
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import (
    CTImageStorage,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    RLELossless,
    SegmentationStorage,
)

from demo.phantom import store, tilted
from uls_data import geometry
from uls_data.dicom import objects as dicom_object
from uls_data.dicom import seg as dicom_seg
from uls_data.dicom.seg import Code, Segmentation, place_segment, read_seg
from uls_data.errors import CaseError
from uls_data.outcome import Reason

MARK = "Muster^Geheim"
TEXTS = (
    *("AccessionNumber", "Manufacturer", "InstitutionName", "InstitutionAddress"),
    *("ReferringPhysicianName", "StationName", "StudyDescription", "SeriesDescription"),
    *("OperatorsName", "PatientName", "PatientID", "PatientComments", "StudyID"),
    *("ContentDescription", "ContentCreatorName", "DeviceSerialNumber"),
)
SERIES = "1.2.826.0.1.3680043.8.498.7"
RAS = np.array(
    [[0.7, 0, 0, 31.3], [0, 0.6, 0, -12.9], [0, 0, 2.5, -804.25], [0, 0, 0, 1]], dtype=np.float64
)
SHAPE = (7, 5, 4)  # 35 pixels a frame: no frame but the first starts at a byte
SYNTAXES = [ImplicitVRLittleEndian, ExplicitVRLittleEndian, DeflatedExplicitVRLittleEndian]


def masks_of(seed: int, number: int = 2, shape: tuple[int, ...] = SHAPE) -> dict[int, Any]:
    """Masks of segments that overlap and leave slices empty, by number."""
    rng = np.random.default_rng(seed)
    found = {}
    for segment in range(1, number + 1):
        mask = rng.random(shape) < 0.4
        mask[..., rng.random(shape[2]) < 0.3] = False
        mask[0, 0, -1] = True
        found[segment] = mask
    return found


def uid_of(at: int) -> str:
    return f"{SERIES}.{at + 1}"


def item(**values: Any) -> Dataset:
    ds = Dataset()
    for keyword, value in values.items():
        setattr(ds, keyword, value)
    return ds


def segmentation(
    masks: dict[int, Any],
    affine: NDArray[np.float64],
    shared: bool = True,
    empty: bool = False,
    fraction: int | None = None,
    shuffle: int | None = None,
) -> Dataset:
    """A Segmentation of masks whose axes are (column, row, slice) on the grid of an affine."""
    lps = geometry.LPS_TO_RAS @ affine
    columns, rows, slices = next(iter(masks.values())).shape
    steps = np.linalg.norm(lps[:3, :3], axis=0)
    cosines = lps[:3, :3] / steps
    orientation = item(ImageOrientationPatient=[f"{v:.10g}" for v in cosines[:, :2].T.ravel()])
    # Thickness and spacing are wrong on purpose: positions tell where slices lie.
    measures = item(
        PixelSpacing=[f"{steps[1]:.10g}", f"{steps[0]:.10g}"],
        SliceThickness="9.75",
        SpacingBetweenSlices="8.5",
    )
    planes = {"PlaneOrientationSequence": [orientation], "PixelMeasuresSequence": [measures]}
    frames, pixels = [], []
    for segment, mask in masks.items():
        for at in range(slices):
            if not empty and not mask[..., at].any():
                continue
            position = (lps @ [0, 0, at, 1])[:3]
            source = item(ReferencedSOPClassUID=CTImageStorage, ReferencedSOPInstanceUID=uid_of(at))
            frame = item(
                PlanePositionSequence=[item(ImagePositionPatient=[f"{v:.10g}" for v in position])],
                SegmentIdentificationSequence=[item(ReferencedSegmentNumber=segment)],
                DerivationImageSequence=[item(SourceImageSequence=[source])],
                FrameContentSequence=[item(FrameLabel=MARK, FrameComments=MARK)],
                **({} if shared else planes),
            )
            frames.append(frame)
            pixels.append(mask[..., at].T)
    if shuffle is not None:
        order = np.random.default_rng(shuffle).permutation(len(frames))
        frames, pixels = [frames[n] for n in order], [pixels[n] for n in order]
    flat = np.concatenate([frame.ravel() for frame in pixels])
    ds = item(
        SOPClassUID=SegmentationStorage,
        SOPInstanceUID=f"{SERIES}.900",
        **dict.fromkeys(TEXTS, MARK),
        Modality="SEG",
        FrameOfReferenceUID=f"{SERIES}.800",
        ReferencedSeriesSequence=[item(SeriesInstanceUID=SERIES)],
        Rows=rows,
        Columns=columns,
        NumberOfFrames=len(frames),
        SamplesPerPixel=1,
        PhotometricInterpretation="MONOCHROME2",
        PixelRepresentation=0,
        SharedFunctionalGroupsSequence=[item(**(planes if shared else {}))],
        PerFrameFunctionalGroupsSequence=frames,
        SegmentSequence=[
            item(
                SegmentNumber=segment,
                SegmentLabel=f"Lesion {segment}",
                SegmentDescription=MARK,
                SegmentAlgorithmType="MANUAL",
                SegmentAlgorithmName=MARK,
                SegmentedPropertyCategoryCodeSequence=[
                    item(CodeValue="49755003", CodingSchemeDesignator="SCT", CodeMeaning=MARK)
                ],
                SegmentedPropertyTypeCodeSequence=[
                    item(CodeValue="M-03010", CodingSchemeDesignator="SRT", CodeMeaning=MARK)
                ],
            )
            for segment in masks
        ],
    )
    bits = 1 if fraction is None else 8
    ds.BitsAllocated, ds.BitsStored, ds.HighBit = bits, bits, bits - 1
    if fraction is None:
        ds.SegmentationType = "BINARY"
        data = np.packbits(flat, bitorder="little").tobytes()
    else:
        ds.SegmentationType, ds.SegmentationFractionalType = "FRACTIONAL", "OCCUPANCY"
        ds.MaximumFractionalValue = fraction
        data = (flat.astype(np.uint8) * fraction).tobytes()
    ds.add_new("PixelData", "OB", data + b"\0" * (len(data) % 2))
    return ds


def encoded(ds: Dataset, syntax: str = ExplicitVRLittleEndian) -> bytes:
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = syntax
    buffer = BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ds.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def read(folder: Path, data: bytes) -> Segmentation:
    path = folder / "SEG.dcm"
    path.write_bytes(data)
    return read_seg(path)


def refusal(folder: Path, data: bytes) -> CaseError:
    with pytest.raises(CaseError) as caught:
        read(folder, data)
    assert "SEG.dcm" in caught.value.detail
    assert str(folder) not in caught.value.detail
    assert MARK[:6] not in caught.value.detail
    return caught.value


def placed(
    seg: Segmentation, number: int, shape: Any, affine: NDArray[np.float64], **options: Any
) -> NDArray[np.bool_]:
    region = place_segment(seg, number, shape, affine, **options)
    mask = np.zeros(shape, dtype=bool)
    mask[tuple(region.voxels.T)] = True
    assert np.array_equal(region.voxels, np.argwhere(mask))  # C order
    box, start = geometry.bounding_box(mask)
    assert region.mask.shape == box.shape and region.start == start
    return mask


@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("syntax", SYNTAXES)
def test_what_is_read(tmp_path: Path, syntax: str, shared: bool) -> None:
    stored, affine = store(masks_of(1)[1], RAS, "LPS")
    data = encoded(segmentation({3: stored, 1: ~stored}, affine, shared), syntax)
    seg = read(tmp_path, data)
    assert (seg.series_instance_uid, seg.frame_of_reference_uid) == (SERIES, f"{SERIES}.800")
    assert [one.number for one in seg.segments] == [1, 3]
    assert {one.property_type for one in seg.segments} == {Code("M-03010", "SRT")}
    assert {one.category for one in seg.segments} == {Code("49755003", "SCT")}
    assert {one.algorithm for one in seg.segments} == {"MANUAL"}
    assert [one.number for one in seg.matching(re.compile(r"\w+ 3"))] == [3]
    assert seg.matching(re.compile("Les")) == ()
    assert seg.segments[0].description.matching(re.compile(MARK[:6])) is None
    assert seg.slice_step_mm == pytest.approx(2.5)  # not 8.5 and not 9.75
    assert "Les" not in repr(seg) and MARK not in repr(seg)


@given(
    seed=st.integers(0, 1000),
    shape=st.tuples(*[st.integers(1, 9)] * 3),
    codes=st.sampled_from(["LPS", "RAS", "LPI", "PIR", "SAL"]),
    tilt=st.sampled_from([0.0, 12.0]),
    empty=st.booleans(),
    fraction=st.sampled_from([None, 1, 255]),
)
def test_segments_come_back(
    tmp_path: Path,
    seed: int,
    shape: tuple[int, ...],
    codes: str,
    tilt: float,
    empty: bool,
    fraction: int | None,
) -> None:
    truth = masks_of(seed, 3, shape)
    grid = tilted(RAS, tilt)
    turned = {number: store(mask, grid, codes) for number, mask in truth.items()}
    drawn = {number: stored for number, (stored, _) in turned.items()}
    ds = segmentation(drawn, turned[1][1], bool(seed % 2), empty, fraction, shuffle=seed)
    seg = read(tmp_path, encoded(ds))
    for number, mask in truth.items():
        # On the grid that it was drawn on, and on the scan's RAS grid: nothing is resampled.
        stored, affine = turned[number]
        assert np.array_equal(placed(seg, number, stored.shape, affine), stored)
        assert np.array_equal(placed(seg, number, shape, grid), mask)


def test_same_pixels_as_pydicom(tmp_path: Path) -> None:
    stored, affine = store(masks_of(4)[1], RAS, "LPS")
    seg = read(tmp_path, encoded(segmentation({1: stored, 2: ~stored}, affine)))
    expected = pydicom.dcmread(tmp_path / "SEG.dcm").pixel_array
    for number in range(len(seg.frames)):
        assert np.array_equal(seg.pixels(number), expected[number])


def grid() -> tuple[Any, NDArray[np.float64]]:
    return store(masks_of(2)[1], RAS, "LPS")


def test_an_empty_segment_is_no_error(tmp_path: Path) -> None:
    stored, affine = grid()
    seg = read(tmp_path, encoded(segmentation({1: stored, 2: stored & False}, affine)))
    assert not placed(seg, 2, SHAPE, affine).any()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda a: a @ np.diag([1, 1.3, 1, 1]), "voxels off"),
        (lambda a: a @ np.diag([2, 2, 1, 1]), "voxels off"),
        (lambda a: a @ np.diag([0.5, 0.5, 1, 1]), "voxels off"),
        (lambda a: tilted(a, 5.0), "voxels off"),
        (lambda a: geometry.shifted(a, (0, 0, 1)), r"\(0, 0, -1\) to \(6, 4, -1\)"),
        (lambda a: geometry.shifted(a, (-1, 0, 0)), r"\(1, 0, 0\) to \(7, 4, 0\)"),
        (lambda a: a + np.pad([[0.2]], ((0, 3), (3, 0))), "0.286 voxels off"),
        (lambda a: a + np.pad([[0.3]], ((2, 1), (3, 0))), "0.12 voxels off"),
    ],
)
def test_another_grid(
    tmp_path: Path, change: Callable[[NDArray[np.float64]], NDArray[np.float64]], words: str
) -> None:
    stored, affine = grid()
    seg = read(tmp_path, encoded(segmentation({1: stored | True}, affine)))
    with pytest.raises(CaseError, match=words) as caught:
        place_segment(seg, 1, SHAPE, change(affine))
    assert caught.value.reason is Reason.GRID_MISMATCH
    assert "SEG.dcm" in caught.value.detail


def test_rounded_positions_are_the_same_grid(tmp_path: Path) -> None:
    stored, affine = grid()
    seg = read(tmp_path, encoded(segmentation({1: stored}, np.round(affine, 2))))
    assert np.array_equal(placed(seg, 1, SHAPE, affine), stored)


def test_frames_that_contradict_each_other_or_the_scan(tmp_path: Path) -> None:
    stored, affine = grid()
    uids = [uid_of(at) for at in range(SHAPE[2])]
    seg = read(tmp_path, encoded(segmentation({1: stored | True}, affine)))
    assert placed(seg, 1, SHAPE, affine, sop_uids=uids).all()
    assert placed(seg, 1, SHAPE, affine, sop_uids=["1.2.3", ""]).all()
    with pytest.raises(CaseError, match=r"frame 1 lies on slice 0 .* names slice 3") as caught:
        place_segment(seg, 1, SHAPE, affine, uids[::-1])
    assert caught.value.reason is Reason.ANNOTATION_MISMATCH
    ds = segmentation({1: stored | True}, affine)
    groups = ds.PerFrameFunctionalGroupsSequence
    groups[2].PlanePositionSequence = groups[0].PlanePositionSequence
    with pytest.raises(CaseError, match="frames 1 and 3 both show segment 1 on slice 0") as caught:
        place_segment(read(tmp_path, encoded(ds)), 1, SHAPE, affine)
    assert caught.value.reason is Reason.ANNOTATION_MISMATCH


def test_shares_of_a_voxel_are_not_guessed(tmp_path: Path) -> None:
    stored, affine = grid()
    ds = segmentation({1: stored}, affine, fraction=200)
    values = bytearray(ds.PixelData)
    values[values.index(200)] = 100
    ds.PixelData = bytes(values)
    with pytest.raises(CaseError, match="frame 1 has 1 pixels") as caught:
        place_segment(read(tmp_path, encoded(ds)), 1, SHAPE, affine)
    assert caught.value.reason is Reason.MASK_NOT_INTEGER


def _group(ds: Dataset, keyword: str) -> Dataset:
    found: Dataset = ds.PerFrameFunctionalGroupsSequence[1][keyword].value[0]
    return found


DAMAGES: dict[str, tuple[Callable[[Dataset], Any], Reason, str]] = {
    "other class": (
        lambda ds: setattr(ds, "SOPClassUID", CTImageStorage),
        Reason.ANNOTATION_UNREADABLE,
        "expected Segmentation Storage, found CT Image Storage",
    ),
    "pixels missing": (
        lambda ds: setattr(ds, "PixelData", ds.PixelData[:-4]),
        Reason.TRUNCATED_FILE,
        "need",
    ),
    "pixels too many": (
        lambda ds: setattr(ds, "PixelData", ds.PixelData + bytes(2)),
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
        "no image's",
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
        "no image's",
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
    assert "found RLE Lossless" in error.detail


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
        patch.setattr(dicom_seg, "_MAXIMUM_SEG_BYTES", len(data) - 1)
        assert refusal(tmp_path, data).reason is Reason.TOO_LARGE
    with monkeypatch.context() as patch:
        patch.setattr(dicom_object, "_MAXIMUM_READS", 50)
        assert refusal(tmp_path, data).reason is Reason.TOO_LARGE
