"""What the standards and all common readers take: read, and flagged."""

from __future__ import annotations

import gzip
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from makers.volumes import AFFINE, ARRAY, nifti_bytes, patched, put, read

from uls_data.outcome import Flag

_QFORM = np.diag([-0.75, -0.5, 2.5, 1.0])


def _by_qform(qfac: float) -> bytes:
    image = nib.Nifti1Image(ARRAY, None)
    image.set_qform(_QFORM, 1)
    image.set_sform(None, 0)
    return patched(image.to_bytes(), 76, "f", qfac)


@pytest.mark.parametrize("qfac", [0.0, 2.0, float("nan")])
def test_a_qfac_that_is_none_counts_as_one(tmp_path: Path, qfac: float) -> None:
    volume = read(put(tmp_path, "a.nii", _by_qform(qfac)))
    assert Flag.QFAC_INVALID in volume.flags
    right = read(put(tmp_path, "right.nii", _by_qform(1.0)))
    assert Flag.QFAC_INVALID not in right.flags
    np.testing.assert_array_equal(volume.affine, right.affine)
    np.testing.assert_allclose(right.stored_affine[:3, :3], _QFORM[:3, :3], atol=1e-6)


def test_a_negative_qfac_mirrors(tmp_path: Path) -> None:
    volume = read(put(tmp_path, "a.nii", _by_qform(-3.0)))
    right = read(put(tmp_path, "right.nii", _by_qform(-1.0)))
    np.testing.assert_array_equal(volume.stored_affine, right.stored_affine)


def test_qfac_says_nothing_where_an_sform_counts(tmp_path: Path) -> None:
    volume = read(put(tmp_path, "a.nii", patched(nifti_bytes(), 76, "f", 0.0)))
    assert Flag.QFAC_INVALID not in volume.flags
    np.testing.assert_allclose(volume.stored_affine, AFFINE)


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_bytes_behind_the_voxels(tmp_path: Path, suffix: str) -> None:
    data = nifti_bytes() + b"\x07" * 60_000
    path = put(tmp_path, f"a{suffix}", gzip.compress(data) if suffix == ".nii.gz" else data)
    volume = read(path)
    np.testing.assert_array_equal(volume.ras, ARRAY)
    assert volume.flags == (Flag.TRAILING_BYTES,)


def test_a_second_member_of_gzip_is_bytes_behind_the_voxels(tmp_path: Path) -> None:
    path = put(tmp_path, "a.nii.gz", gzip.compress(nifti_bytes()) + gzip.compress(b"more"))
    assert read(path).flags == (Flag.TRAILING_BYTES,)
