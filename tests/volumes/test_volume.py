"""Volumes of every format: the same scan, or the reason why not."""

from __future__ import annotations

import gzip
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
from makers.volumes import (
    AFFINE,
    ARRAY,
    FORMS,
    SHAPE,
    nifti_bytes,
    patched,
    put,
    read,
    reason_of,
    write_as,
)

from demo.files import write_itk
from demo.phantom import store, tilted
from uls_data.outcome import Flag, Reason
from uls_data.recipe import Quirk


@pytest.mark.parametrize("codes", ["RAS", "LPS", "IPL"])
@pytest.mark.parametrize("form", FORMS)
def test_every_format_gives_the_same_ras_scan(tmp_path: Path, form: str, codes: str) -> None:
    stored, affine = store(ARRAY, AFFINE, codes)
    volume = read(write_as(tmp_path, form, stored, affine))
    np.testing.assert_array_equal(volume.ras, ARRAY)
    assert volume.ras.dtype.itemsize == 2 and volume.ras.dtype.kind == "i"
    np.testing.assert_allclose(volume.affine, AFFINE, atol=1e-4)
    assert (volume.slope, volume.intercept, volume.flags) == (1.0, 0.0, ())


@pytest.mark.parametrize("form", ["nii.gz", "mha", "nrrd"])
def test_tilted_scans_keep_their_tilt(tmp_path: Path, form: str) -> None:
    affine = tilted(AFFINE, 12.0)
    volume = read(write_as(tmp_path, form, *store(ARRAY, affine, "PIR")))
    np.testing.assert_array_equal(volume.ras, ARRAY)
    np.testing.assert_allclose(volume.affine, affine, atol=1e-3)


@pytest.mark.parametrize("dtype", ["u1", "i1", "u2", "i4", "f4", "f8", "i8"])
@pytest.mark.parametrize("form", ["nii.gz", "nrrd"])
def test_stored_types_are_kept(tmp_path: Path, form: str, dtype: str) -> None:
    array = (ARRAY + 30).astype(dtype)
    path = tmp_path / f"scan.{form}"
    if form == "nrrd":
        write_itk(path, array, AFFINE)
    else:
        nib.save(nib.Nifti1Image(array, AFFINE, dtype=array.dtype), path)
    volume = read(path)
    assert volume.stored.dtype == array.dtype
    np.testing.assert_array_equal(volume.ras, array)


def test_scale_of_the_header(tmp_path: Path) -> None:
    scaled = patched(nifti_bytes(), 112, "2f", 2.0, -1024.0)
    volume = read(put(tmp_path, "scaled.nii", scaled))
    assert (volume.slope, volume.intercept) == (2.0, -1024.0)
    np.testing.assert_array_equal(volume.ras, ARRAY)  # as stored: who needs HU applies the scale
    for slope in (0.0, float("nan")):
        unscaled = put(tmp_path, "unscaled.nii", patched(nifti_bytes(), 112, "2f", slope, 7.0))
        volume = read(unscaled)
        # A slope of 0 (or none) means "no scaling", in which the intercept counts no more.
        assert volume.slope == 1.0


def test_no_orientation_in_the_header_is_flagged(tmp_path: Path) -> None:
    data = patched(nifti_bytes(), 252, "2h", 0, 0)  # qform_code, sform_code
    assert Flag.ORIENTATION_ASSUMED in read(put(tmp_path, "codeless.nii", data)).flags


@pytest.mark.parametrize("name", ["four.nii", "four.nii.gz"])
def test_trailing_axis_of_one(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    nib.save(nib.Nifti1Image(ARRAY[..., None, None], AFFINE), path)
    volume = read(path)
    np.testing.assert_array_equal(volume.ras, ARRAY)
    assert volume.flags == (Flag.TRAILING_AXIS_DROPPED,)
    assert reason_of(path, quirks=set(Quirk) - {Quirk.TRAILING_AXIS}) is Reason.NOT_3D


def test_trailing_axis_of_one_in_nrrd(tmp_path: Path) -> None:
    path = tmp_path / "four.nrrd"
    image = sitk.JoinSeries([sitk.GetImageFromArray(np.ascontiguousarray(ARRAY.T))])
    assert image.GetDimension() == 4
    sitk.WriteImage(image, str(path))
    volume = read(path)
    assert volume.ras.shape == SHAPE
    assert volume.flags == (Flag.TRAILING_AXIS_DROPPED,)


def test_not_three_axes(tmp_path: Path) -> None:
    two_phases = np.stack([ARRAY, ARRAY], axis=-1)
    assert reason_of(put(tmp_path, "phases.nii", nifti_bytes(two_phases))) is Reason.NOT_3D
    assert reason_of(put(tmp_path, "flat.nii", nifti_bytes(ARRAY[:, :, 0]))) is Reason.NOT_3D
    series = tmp_path / "phases.nrrd"
    phase = sitk.GetImageFromArray(np.ascontiguousarray(ARRAY.T))
    sitk.WriteImage(sitk.JoinSeries([phase, phase]), str(series))
    assert reason_of(series) is Reason.NOT_3D
    no_voxels = patched(nifti_bytes(), 46, "h", 0)  # dim[3]
    assert reason_of(put(tmp_path, "none.nii", no_voxels)) is Reason.NOT_3D


def test_colours_and_complex_numbers_are_no_ct(tmp_path: Path) -> None:
    colours = np.zeros(SHAPE, dtype=[("R", "u1"), ("G", "u1"), ("B", "u1")])
    complex_ = ARRAY.astype(np.complex64)
    for name, array in (("rgb.nii", colours), ("complex.nii", complex_)):
        assert reason_of(put(tmp_path, name, nifti_bytes(array))) is Reason.UNSUPPORTED_FORMAT
        packed = put(tmp_path, name + ".gz", gzip.compress(nifti_bytes(array)))
        assert reason_of(packed) is Reason.UNSUPPORTED_FORMAT
    vectors = sitk.GetImageFromArray(np.zeros((3, 4, 5, 3), dtype=np.uint8), isVector=True)
    sitk.WriteImage(vectors, str(tmp_path / "rgb.mha"))
    assert reason_of(tmp_path / "rgb.mha") in (Reason.NOT_3D, Reason.UNSUPPORTED_FORMAT)
