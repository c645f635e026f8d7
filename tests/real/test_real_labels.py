"""Published labels and raw masks: the factory gives back what was published."""

from __future__ import annotations

import csv
import gzip
import zipfile
from pathlib import Path

import nibabel
import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

import uls_data

pytestmark = pytest.mark.real
FACES = {
    "x-": "touches_x_low",
    "x+": "touches_x_high",
    "y-": "touches_y_low",
    "y+": "touches_y_high",
    "z-": "touches_z_low",
    "z+": "touches_z_high",
}


def published(path: Path) -> tuple[NDArray[np.generic], NDArray[np.float64]]:
    archive = zipfile.ZipFile(path)
    image = nibabel.Nifti1Image.from_bytes(gzip.decompress(archive.read(archive.namelist()[0])))
    return np.asarray(image.dataobj).reshape(256, 256, 128), image.affine


@pytest.fixture(scope="module")
def replay_manifest(real_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("replay") / "kits.parquet"
    uls_data.index(real_data / "uls23-labels" / "kits21-replay", out, source="kits21")
    return out


@pytest.mark.parametrize("way", ["replay", "published"])
def test_kits_masks_give_the_published_labels(
    real_data: Path, replay_manifest: Path, tmp_path: Path, way: str
) -> None:
    options = {"replay": replay_manifest} if way == "replay" else {"profile": way}
    report = uls_data.build(
        "kits21",
        real_data / "kits23",
        tmp_path,
        labels_only=True,
        **options,  # type: ignore[arg-type]
    )
    assert report.failed == 0
    for path in (real_data / "uls23-labels" / "kits21-replay").glob("*.zip"):
        mask, affine = published(path)
        name = path.name.removesuffix(".zip")
        ours = nibabel.load(tmp_path / "kits21" / "labels" / "annotated" / name)
        assert np.array_equal(np.asarray(ours.dataobj), mask)
        assert np.abs(ours.affine - affine).max() < 1e-3
    if way == "replay":
        (skipped,) = (row for row in report.rows if row["status"] == "skipped")
        assert skipped["case_id"] == "case_00529"
        hashes = uls_data.load_manifest(replay_manifest)["label_voxels_sha256"]
        built = {row["label_voxels_sha256"] for row in report.rows if row["status"] == "ok"}
        assert set(hashes) == built


@pytest.fixture(scope="module")
def sample(labels_index: Path) -> pd.DataFrame:
    """Manifest of the whole sample, found source by source from the names."""
    return uls_data.load_manifest(labels_index)


@pytest.mark.slow
def test_index_gives_the_sample_s_own_measurements(sample: pd.DataFrame, real_data: Path) -> None:
    assert (sample["status"] != "failed").all()
    rows = sample[sample["status"] == "ok"].set_index("voi_id")
    with (real_data / "uls23-labels" / "index.csv").open(newline="") as file:
        lines = list(csv.DictReader(file))
    assert len(lines) == 325
    for line in lines:
        row = rows.loc[line["file"].removesuffix(".nii.gz.zip")]
        flags = set(row["qc_flags"])
        assert row["mask_voxels"] == int(line["voxels"])
        assert row["long_axis_vox"] == pytest.approx(float(line["long_axis_px"]), abs=6e-5)
        assert row["short_axis_vox"] == pytest.approx(float(line["short_axis_px"]), abs=6e-5)
        assert ("several_components_6" in flags) == (int(line["n6"]) > 1)
        assert ("several_components_26" in flags) == (int(line["n26"]) > 1)
        touched = {flag for flag in flags if flag.startswith("touches")}
        assert touched == {FACES[face] for face in line["border"].split()}
        assert ("centre_outside_mask" in flags) == (line["centre_voxel"] != "1")
        four_axes = line["array_shape"].count(",") == 3
        assert ("trailing_axis_dropped" in flags) == four_axes
        heldout = line["heldout_patient"] == "True"
        # DeepLesion lesions of held-out DeepLesion3D patients are held out here too.
        if row["source"] != "deeplesion":
            assert (row["split"] == "heldout") == heldout
