"""Real DICOM with its real annotations, from folders to VOIs."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest

import uls_data
from demo.clinical import OWN_DICOM_RECIPE
from uls_data.volumes.raw_root import RawRoot

pytestmark = pytest.mark.real


def build(base: Path, raw: Path, kind: str, structures: str) -> Any:
    recipe = base / "real.yaml"
    text = OWN_DICOM_RECIPE.replace("source: own_dicom", "source: real")
    text = text.replace("kind: rtstruct", f"kind: {kind}").replace("'GTV.*'", f"'{structures}'")
    recipe.write_text(text.replace("'p\\d{2}'", "'case'"), encoding="utf-8")
    return uls_data.build(recipe, raw, base / "out")


def placed(volume: Any, row: dict[str, Any], shape: tuple[int, ...]) -> Any:
    """Voxels of a VOI at their places in the scan."""
    inside, there = [], []
    for axis, size in zip("xyz", shape, strict=True):
        start = row[f"voi_origin_{axis}_vox"]
        low, high = max(0, start), min(size, start + volume.shape["xyz".index(axis)])
        inside.append(slice(low - start, high - start))
        there.append(slice(low, high))
    return np.asarray(volume.dataobj)[tuple(inside)], tuple(there)


def test_rtstruct_build_is_the_nifti_form(real_data: Path, tmp_path: Path) -> None:
    """IBSI: the DICOM with its structure set, and the NIfTI of the same patient."""
    source = real_data / "ibsi-ct-phantom"
    if not source.is_dir():
        pytest.skip(f"no ibsi-ct-phantom in {real_data}")
    shutil.copytree(source / "dicom", tmp_path / "raw" / "case")
    report = build(tmp_path, tmp_path / "raw", "rtstruct", "GTV-1")
    (row,) = report.rows
    assert row["status"] == "ok" and row["case_id"] == "case", row["detail"]
    image, mask = (
        nibabel.as_closest_canonical(nibabel.load(source / "nifti" / name))
        for name in ("image/phantom.nii.gz", "mask/mask.nii.gz")
    )
    scan, truth = np.asarray(image.dataobj), np.asarray(mask.dataobj)
    label, there = placed(nibabel.load(tmp_path / "out" / row["label_path"]), row, truth.shape)
    assert row["mask_voxels"] == 125_256 == truth.sum()
    assert np.array_equal(label, truth[there])
    voi, there = placed(nibabel.load(tmp_path / "out" / row["image_path"]), row, scan.shape)
    assert np.array_equal(voi, scan[there])
    shift = [row[f"voi_origin_{axis}_vox"] for axis in "xyz"]
    expected = image.affine @ np.array([*shift, 1])
    assert np.allclose(np.reshape(row["affine"], (4, 4))[:3, 3], expected[:3], atol=1e-3)


def test_seg_build(real_data: Path, tmp_path: Path) -> None:
    """dcmqi: a liver on three slices, 1.0 mm apart though SliceThickness says 1.25."""
    source = real_data / "dcmqi-liver"
    if not source.is_dir():
        pytest.skip(f"no dcmqi-liver in {real_data}")
    shutil.copytree(source, tmp_path / "raw" / "case")
    report = build(tmp_path, tmp_path / "raw", "seg", ".*")
    (row,) = report.rows
    assert row["status"] == "ok", row["detail"]
    assert row["spacing_z_mm"] == pytest.approx(1.0, abs=1e-6)
    assert row["mask_voxels"] <= 107_098
    whole = row["mask_voxels"] / (1 - row["fraction_outside_voi"])
    assert round(whole) == 107_098


@pytest.mark.parametrize(
    ("series", "reason", "words"),
    [
        ("gantrytilting/001", "gantry_tilt", "degrees"),
        ("sliceincrement/002", "missing_slices", "mm"),
    ],
)
def test_series_that_are_no_stack_are_failed_rows(
    real_data: Path, tmp_path: Path, series: str, reason: str, words: str
) -> None:
    from uls_data.dicom.inventory import find_series
    from uls_data.dicom.series import read_series
    from uls_data.errors import CaseError

    folder = real_data / "dicom2nifti-failing" / series
    if not folder.is_dir():
        pytest.skip(f"no {series} in {real_data}")
    (found,) = find_series(RawRoot(folder))
    with pytest.raises(CaseError) as caught:
        read_series(found.files, folder)
    assert caught.value.reason == reason
    assert words in caught.value.detail
