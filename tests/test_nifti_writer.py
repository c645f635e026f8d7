"""The written file, as two other libraries read it."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from uls_data.geometry import LPS_TO_RAS
from uls_data.nifti_writer import nifti_gz, stored_affine
from uls_data.volumes.nifti_header import room_for, scanner_header

SHAPE = (7, 5, 4)
STRAIGHT = np.array([[0.7, 0, 0, -180.5], [0, 0.8, 0, -97.25], [0, 0, 2.5, 1203.1], [0, 0, 0, 1]])
OBLIQUE = STRAIGHT.copy()
OBLIQUE[:3, :3] = Rotation.from_euler("xyz", [17, -8, 5], degrees=True).as_matrix() @ np.diag(
    [0.7, 0.8, 2.5]
)
# A lost z direction: the axes form a left-handed system, which needs qfac = -1.
LEFT_HANDED = STRAIGHT @ np.diag([1.0, 1.0, -1.0, 1.0])
AFFINES = pytest.mark.parametrize("affine", [STRAIGHT, OBLIQUE, LEFT_HANDED])


def voxels_of(dtype: Any) -> NDArray[np.integer]:
    info = np.iinfo(dtype)
    voxels = np.random.default_rng(3).integers(info.min, info.max, SHAPE, dtype, endpoint=True)
    voxels[0, 0, 0], voxels[-1, -1, -1] = info.min, info.max
    return voxels


def written(tmp_path: Path, data: bytes) -> Path:
    path = tmp_path / "voi.nii.gz"
    path.write_bytes(data)
    return path


@AFFINES
@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.int32])
@pytest.mark.parametrize("order", ["C", "F"])
def test_nibabel_reads_what_was_written(
    tmp_path: Path, affine: NDArray[np.float64], dtype: Any, order: Any
) -> None:
    voxels = np.asarray(voxels_of(dtype), order=order)
    image = nibabel.load(written(tmp_path, nifti_gz(voxels, affine)))
    header = image.header
    assert image.get_data_dtype() == dtype
    np.testing.assert_array_equal(np.asanyarray(image.dataobj), voxels)
    for matrix, code in (header.get_sform(coded=True), header.get_qform(coded=True)):
        assert code == 1
        np.testing.assert_allclose(matrix, affine, atol=1e-4)
    np.testing.assert_array_equal(image.affine, stored_affine(affine))
    assert header.get_xyzt_units() == ("mm", "unknown")
    assert header.get_slope_inter() in [(1.0, 0.0), (None, None)]
    assert bytes(header["magic"].tobytes()) == b"n+1\0"


@AFFINES
@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.int32])
def test_itk_reads_what_was_written(
    tmp_path: Path, affine: NDArray[np.float64], dtype: Any
) -> None:
    voxels = voxels_of(dtype)
    image = sitk.ReadImage(str(written(tmp_path, nifti_gz(voxels, affine))))
    array = sitk.GetArrayFromImage(image).T
    assert array.dtype == dtype
    np.testing.assert_array_equal(array, voxels)
    found = np.eye(4)
    found[:3, :3] = np.reshape(image.GetDirection(), (3, 3)) * image.GetSpacing()
    found[:3, 3] = image.GetOrigin()
    np.testing.assert_allclose(LPS_TO_RAS @ found, affine, atol=1e-4)


def test_no_text_and_no_time_reach_the_file() -> None:
    data = nifti_gz(voxels_of(np.int16), STRAIGHT)
    assert data[:2] == b"\x1f\x8b"
    assert data[3] == 0  # no name, no comment, no extra field
    assert data[4:8] == bytes(4)  # no time
    header = nibabel.Nifti1Header(gzip.decompress(data)[:348])
    for field in ("descrip", "aux_file", "intent_name", "db_name", "data_type"):
        assert header[field].tobytes().strip(b"\0") == b"", field
    assert gzip.decompress(data)[348:352] == bytes(4)  # no extension


def test_one_gzip_member_of_exactly_header_and_voxels() -> None:
    voxels = voxels_of(np.int16)
    plain = gzip.decompress(nifti_gz(voxels, STRAIGHT))
    assert len(plain) == 352 + voxels.nbytes
    assert plain[352:] == voxels.astype("<i2").tobytes(order="F")


@AFFINES
def test_same_voxels_and_affine_same_bytes(affine: NDArray[np.float64]) -> None:
    voxels = voxels_of(np.int16)
    data = nifti_gz(voxels, affine)
    assert nifti_gz(np.asfortranarray(voxels), affine.copy()) == data
    assert nifti_gz(voxels.astype(">i2"), affine) == data
    other = voxels.copy()
    other[1, 2, 3] ^= 1
    assert nifti_gz(other, affine) != data
    assert nifti_gz(voxels, affine + np.eye(4) * [0.01, 0, 0, 0]) != data


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.int32])
def test_voxels_in_a_files_memory_are_encoded_there_and_stay_as_they_are(dtype: type) -> None:
    voxels = voxels_of(dtype)
    placed = room_for(voxels.shape, dtype)
    placed[...] = voxels
    assert nifti_gz(placed, STRAIGHT) == nifti_gz(voxels, STRAIGHT)
    np.testing.assert_array_equal(placed, voxels)
    memory = placed.base
    assert isinstance(memory, np.ndarray)
    assert memory.tobytes() == gzip.decompress(nifti_gz(voxels, STRAIGHT))
    # Parts of it, and other views of it, are not such a file.
    for view in (placed[:, :, 1:], placed[::-1], placed.T):
        assert nifti_gz(view, STRAIGHT) == nifti_gz(view.copy(), STRAIGHT)
    np.testing.assert_array_equal(placed, voxels)


def test_a_sheared_affine_survives_in_the_sform(tmp_path: Path) -> None:
    sheared = STRAIGHT.copy()
    sheared[1, 2] = 0.4
    header = nibabel.load(written(tmp_path, nifti_gz(voxels_of(np.uint8), sheared))).header
    np.testing.assert_allclose(header.get_sform(), sheared, atol=1e-4)
    nearest = header.get_qform()
    # The qform keeps origin and voxel size, on axes that are square to each other.
    np.testing.assert_allclose(nearest[:3, 3], sheared[:3, 3], atol=1e-4)
    columns = nearest[:3, :3] / np.linalg.norm(sheared[:3, :3], axis=0)
    np.testing.assert_allclose(columns.T @ columns, np.eye(3), atol=1e-5)


def test_the_stored_affine_is_a_fixed_point() -> None:
    once = stored_affine(OBLIQUE)
    assert once.dtype == np.float64
    np.testing.assert_array_equal(stored_affine(once), once)
    np.testing.assert_allclose(once, OBLIQUE, atol=1e-4)


def test_header_is_nibabel_s_to_the_byte(rng: np.random.Generator) -> None:
    for number in range(200):
        affine = np.eye(4)
        turned = rng.normal(size=(3, 3))
        if number % 3:  # the others are sheared
            turned = np.linalg.qr(turned)[0] @ np.diag(rng.uniform(0.3, 6, 3))
        affine[:3] = np.column_stack([turned, rng.normal(size=3) * 300])
        dtype = np.dtype(rng.choice(["u1", "i2", "i4"]))
        header = nibabel.Nifti1Header(endianness="<")
        header.set_data_shape(SHAPE)
        header.set_data_dtype(dtype)
        header.set_xyzt_units("mm")
        header.set_qform(affine, code=1, strip_shears=True)
        header.set_sform(affine, code=1)
        header.set_slope_inter(1.0, 0.0)
        header["vox_offset"] = 352
        assert bytes(scanner_header(SHAPE, dtype, affine)) == header.binaryblock
