"""The main job on real CT: VOIs that go back into their scans voxel for voxel."""

from __future__ import annotations

import csv
from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk
import yaml
from numpy.typing import NDArray

import uls_data
from uls_data.recipe import recipe_template

pytestmark = pytest.mark.real

SOURCES = {
    "lung1": ("pyradiomics-lung1", "{case}_image.nrrd", "{case}_label.nrrd"),
    "ibsi": ("ibsi-ct-phantom/nifti", "image/{case}.nii.gz", "mask/mask.nii.gz"),
    "sts": ("ibsi-sts", "{case}/CT_image.nii.gz", "{case}/CT_mask.nii.gz"),
}


@pytest.fixture(scope="module", params=SOURCES)
def built(
    request: pytest.FixtureRequest, real_data: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Path, uls_data.BuildReport]:
    folder, image, mask = SOURCES[request.param]
    out = tmp_path_factory.mktemp(request.param)
    recipe = yaml.safe_load(recipe_template(request.param))
    recipe["reader"]["layouts"] = [{"name": "real", "image": image, "mask": mask}]
    (out / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    report = uls_data.build(out / "recipe.yaml", real_data / folder, out / "vois", clicks=2)
    return real_data / folder, out / "vois", report


def ras_scan(path: Path) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """A scan in RAS as another library reads it: nibabel's own reorientation, or ITK's."""
    if path.suffix == ".nrrd":
        image = sitk.DICOMOrient(sitk.ReadImage(str(path)), "RAS")
        array = sitk.GetArrayFromImage(image).T
        affine = np.eye(4)
        direction = np.array(image.GetDirection()).reshape(3, 3)
        affine[:3, :3] = direction * np.array(image.GetSpacing())
        affine[:3, 3] = image.GetOrigin()
        return array.astype(np.float64), np.diag([-1, -1, 1, 1]) @ affine
    nifti = nibabel.as_closest_canonical(nibabel.load(path))
    return nifti.get_fdata(), nifti.affine


def test_vois_go_back_into_their_scans(
    built: tuple[Path, Path, uls_data.BuildReport],
) -> None:
    raw, out, report = built
    assert report.failed == 0
    assert report.ok >= 2
    for row in (row for row in report.rows if row["status"] == "ok"):
        scan, scan_affine = ras_scan(raw / row["image_source"])
        mask, _ = ras_scan(raw / row["label_source"])
        image = nibabel.load(out / row["image_path"])
        label = nibabel.load(out / row["label_path"])
        voi = np.asarray(image.dataobj)
        assert voi.shape == (256, 256, 128)
        assert voi.dtype == np.int16
        assert np.array_equal(image.affine, label.affine)
        # By its affine alone: nothing that the manifest says about offsets is used.
        start = np.linalg.solve(scan_affine, image.affine[:, 3])[:3]
        assert np.abs(start - np.rint(start)).max() < 1e-3
        indices = np.indices(voi.shape).reshape(3, -1) + np.rint(start).astype(int)[:, None]
        inside = ((indices >= 0) & (indices < np.array(scan.shape)[:, None])).all(axis=0)
        back = tuple(indices[:, inside])
        flat = voi.reshape(-1)
        assert np.array_equal(flat[inside], scan[back])
        assert np.array_equal(flat == row["pad_value_hu"], ~inside)
        assert row["pad_value_hu"] == scan[back].min() - 1
        lesion = np.asarray(label.dataobj).reshape(-1)
        assert lesion[np.ravel_multi_index((128, 128, 64), voi.shape)] == 1
        assert not lesion[~inside].any()
        assert np.array_equal(lesion[inside], mask[back])  # one component in each of these


def test_lung1_measures_as_pyradiomics_does(
    built: tuple[Path, Path, uls_data.BuildReport], real_data: Path
) -> None:
    raw, _, report = built
    if report.source != "lung1":
        pytest.skip("baseline values exist for lung1 only")
    with (raw / "baseline_shape.csv").open(newline="") as file:
        baseline = {line["featureName"]: line["lung1"] for line in csv.DictReader(file)}
    row = report.rows[0]
    spacing = [row[f"spacing_{axis}_mm"] for axis in "xyz"]
    voxels = int(baseline["diagnostics_Mask-original_VoxelNum"])
    assert row["mask_voxels"] == voxels
    assert row["volume_mm3"] == pytest.approx(voxels * np.prod(spacing), abs=1e-9)
    diameter = float(baseline["original_shape_Maximum2DDiameterSlice"])
    assert abs(row["long_axis_mm"] - diameter) <= np.hypot(spacing[0], spacing[1])
