"""nnU-Net's raw dataset: its own integrity check passes, and no patient is on two sides."""

from __future__ import annotations

import gzip
import json
import shutil
import zipfile
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
from makers.dataset import AFFINE, PATIENTS, name_of, write_dataset
from makers.shared import linked

from uls_data.cli import main
from uls_data.errors import ManifestError, SourceError
from uls_data.export import export_nnunet
from uls_data.manifest import read_table, write_manifest
from uls_data.nifti_writer import nifti_gz


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("build")
    write_dataset(out)
    return out


def patient(voi_id: str) -> str:
    return voi_id.split("_")[1]


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def splits(folder: Path) -> list[dict[str, list[str]]]:
    found: list[dict[str, list[str]]] = json.loads((folder / "splits_final.json").read_text())
    return found


def test_layout_and_folds(built: Path, tmp_path: Path) -> None:
    found = export_nnunet(built, tmp_path, number=7, name="Own", folds=2)
    assert found.path == tmp_path / "Dataset007_Own" and (found.train, found.heldout) == (6, 1)
    assert found.left_out["of one slice only (see --weak)"] == 1 and found.failed == []
    train = {name_of(number) for number, who in enumerate(PATIENTS) if who[0] == "p"}
    assert names(found.path / "imagesTr") == {f"{name}_0000.nii.gz" for name in train}
    assert names(found.path / "labelsTr") == {f"{name}.nii.gz" for name in train}
    assert names(found.path / "imagesTs") == {f"{name_of(6)}_0000.nii.gz"}
    assert names(found.path / "labelsTs") == {f"{name_of(6)}.nii.gz"}
    for kind, ending in (("image", "_0000.nii.gz"), ("label", ".nii.gz")):
        copy = found.path / f"{kind}sTr" / f"{name_of(3)}{ending}"
        assert copy.read_bytes() == (built / f"own/{kind}s/{name_of(3)}.nii.gz").read_bytes()
    content = json.loads((found.path / "dataset.json").read_text())
    assert content["numTraining"] == 6 and content["labels"] == {"background": 0, "lesion": 1}
    folds = splits(found.path)
    assert len(folds) == 2
    for fold in folds:
        assert set(fold["train"]) | set(fold["val"]) == train and fold["val"]
        assert not {*map(patient, fold["train"])} & {*map(patient, fold["val"])}
    assert sorted(name for fold in folds for name in fold["val"]) == sorted(train)


def test_a_patient_keeps_the_fold_when_others_go(built: Path, tmp_path: Path) -> None:
    rows = read_table(built / "manifest" / "own.parquet").to_pylist()
    whole = splits(export_nnunet(built, tmp_path / "a", folds=2, link=True).path)
    for row in rows:
        for kind in ("image_path", "label_path"):
            row[kind] = str(built / row[kind])
    fewer = [row for row in rows if row["patient_id"] != "p3"]
    write_manifest(fewer, tmp_path / "fewer.parquet")
    part = splits(export_nnunet(tmp_path / "fewer.parquet", tmp_path / "b", folds=2).path)
    for one, other in zip(whole, part, strict=True):
        assert [name for name in one["val"] if patient(name) != "p3"] == other["val"]


def test_links_and_the_same_call_again(built: Path, tmp_path: Path) -> None:
    folder = export_nnunet(built, tmp_path, folds=2, link=True).path
    image = folder / "imagesTr" / f"{name_of(0)}_0000.nii.gz"
    assert image.samefile(built / "own" / "images" / f"{name_of(0)}.nii.gz")
    before = {path: path.read_bytes() for path in folder.rglob("*.json")}
    image.unlink()
    (folder / "labelsTr" / ".tmp-0000-1").write_bytes(b"of a killed run")
    export_nnunet(built, tmp_path, folds=2, link=True)
    assert image.is_file() and {path: path.read_bytes() for path in before} == before
    (folder / "imagesTr" / "another_0000.nii.gz").write_bytes(b"")
    with pytest.raises(SourceError, match="does not belong to this export"):
        export_nnunet(built, tmp_path, folds=2)


@pytest.mark.parametrize("weak", ["ignore", "background"])
def test_masks_of_one_slice(built: Path, tmp_path: Path, weak: str) -> None:
    folder = export_nnunet(built, tmp_path, folds=2, weak=weak).path
    label = np.asarray(nibabel.load(folder / "labelsTr" / f"{name_of(7)}.nii.gz").dataobj)
    truth = nibabel.load(built / "own" / "labels" / f"{name_of(7)}.nii.gz")
    expected = np.full(label.shape, 2 if weak == "ignore" else 0, np.uint8)
    expected[:, :, 64] = np.asarray(truth.dataobj)[:, :, 64]
    assert np.array_equal(label, expected)
    labels = json.loads((folder / "dataset.json").read_text())["labels"]
    assert labels.get("ignore") == (2 if weak == "ignore" else None)


def test_labels_as_published_are_written_anew(built: Path, tmp_path: Path) -> None:
    """A float label with a trailing axis in a zip, beside an image that is there."""
    copy = Path(shutil.copytree(built, tmp_path / "build"))
    label = copy / "own" / "labels" / f"{name_of(0)}.nii.gz"
    mask = nibabel.load(label)
    voxels = np.asarray(mask.dataobj)
    odd = nibabel.Nifti1Image(voxels[..., None].astype(np.float32), mask.affine)
    with zipfile.ZipFile(f"{label}.zip", "w") as archive:
        archive.writestr(label.name, gzip.compress(odd.to_bytes(), 1))
    label.unlink()
    rows = read_table(copy / "manifest" / "own.parquet").to_pylist()
    for row in rows:
        row["label_path"] += ".zip" if row["voi_id"] == name_of(0) else ""
    write_manifest(rows, copy / "manifest" / "own.parquet")
    folder = export_nnunet(copy, tmp_path, folds=2).path
    written = nibabel.load(folder / "labelsTr" / label.name)
    assert written.shape == voxels.shape and written.get_data_dtype() == np.uint8
    assert np.array_equal(np.asarray(written.dataobj), voxels)
    assert np.array_equal(written.affine, mask.affine)


@pytest.mark.parametrize("kind", ["float", "lps"])
def test_other_images_are_written_anew(built: Path, tmp_path: Path, kind: str) -> None:
    """Image and label stay on one grid, in the order of axes that both forms have."""
    copy = linked(built, tmp_path / "build")
    image, label = (copy / f"own/{part}s/{name_of(0)}.nii.gz" for part in ("image", "label"))
    before = [nibabel.load(built / path.relative_to(copy)) for path in (image, label)]
    for path, volume in zip((image, label), before, strict=True):
        if kind == "lps":
            turned = volume.as_reoriented(np.array([[0, -1], [1, -1], [2, 1]]))
        else:
            turned = nibabel.Nifti1Image(np.asarray(volume.dataobj, np.float32), volume.affine)
        path.unlink()
        path.write_bytes(gzip.compress(turned.to_bytes(), 1))
    folder = export_nnunet(copy, tmp_path, folds=2).path
    for path, volume in zip(
        (folder / f"imagesTr/{name_of(0)}_0000.nii.gz", folder / f"labelsTr/{name_of(0)}.nii.gz"),
        before,
        strict=True,
    ):
        written = nibabel.load(path)
        assert written.get_data_dtype() == volume.get_data_dtype()
        assert np.array_equal(np.asarray(written.dataobj), np.asarray(volume.dataobj))
        assert np.allclose(written.affine, volume.affine, atol=1e-4)


def test_bad_vois_are_in_no_list(built: Path, tmp_path: Path, capsys: Any) -> None:
    copy = Path(shutil.copytree(built, tmp_path / "build"))
    (copy / "own" / "images" / f"{name_of(0)}.nii.gz").write_bytes(b"no image")
    (copy / "own" / "labels" / f"{name_of(2)}.nii.gz").unlink()
    with pytest.raises(SystemExit) as caught:
        main(["export", "nnunet", str(copy), "--to", str(tmp_path), "--folds", "2", "--json"])
    streams = capsys.readouterr()
    assert caught.value.code == 1
    assert name_of(0) in streams.err and name_of(2) in streams.err
    report = json.loads(streams.out)
    assert (report["train"], report["heldout"]) == (4, 1)
    listed = {name for fold in splits(Path(report["path"])) for name in fold["val"]}
    assert listed == {name_of(number) for number in (1, 3, 4, 5)}
    # nnU-Net trains on all images that it finds: one without a label may not stay.
    assert names(Path(report["path"]) / "imagesTr") == {f"{name}_0000.nii.gz" for name in listed}


def test_files_whose_headers_are_whole(built: Path, tmp_path: Path) -> None:
    out = linked(built, tmp_path / "build")
    image = out / "own" / "images" / f"{name_of(0)}.nii.gz"
    label = out / "own" / "labels" / f"{name_of(2)}.nii.gz"
    half = image.read_bytes()[: image.stat().st_size // 2]
    seven = nifti_gz(np.asfortranarray(nibabel.load(label).dataobj, np.uint8) * 7, AFFINE)
    for path, data in ((image, half), (label, seven)):
        path.unlink()
        path.write_bytes(data)
    found = export_nnunet(out, tmp_path, folds=2)
    assert [(one["voi_id"], one["reason"]) for one in found.failed] == [
        (name_of(0), "truncated_file")
    ]
    written = np.asarray(nibabel.load(found.path / "labelsTr" / label.name).dataobj)
    assert set(np.unique(written)) == {0, 1}


def test_wrong_use(built: Path, tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match="folds empty"):
        export_nnunet(built, tmp_path, folds=9)
    for options in ({"folds": 1}, {"weak": "some"}, {"number": 0}, {"name": "../x"}):
        with pytest.raises(SourceError, match="expected"):
            export_nnunet(built, tmp_path, **options)  # type: ignore[arg-type]
    rows = read_table(built / "manifest" / "own.parquet").to_pylist()
    weak = [row for row in rows if row["supervision"] == "weak_2d"]
    write_manifest(weak, tmp_path / "weak.parquet")
    with pytest.raises(ManifestError, match="--weak"):
        export_nnunet(tmp_path / "weak.parquet", tmp_path)
    write_manifest([*rows, rows[0] | {"source": "other"}], tmp_path / "m" / "two.parquet")
    with pytest.raises(ManifestError, match=f"2 rows are called {rows[0]['voi_id']}"):
        export_nnunet(tmp_path / "m", tmp_path)


@pytest.mark.parametrize("weak", ["leave-out", "ignore"])
def test_nnunet_finds_no_fault(built: Path, tmp_path: Path, weak: str) -> None:
    checks = pytest.importorskip(
        "nnunetv2.experiment_planning.verify_dataset_integrity",
        reason="nnunetv2 is not installed: pip install -e '.[nnunet]'",
    )
    found = export_nnunet(built, tmp_path, folds=2, weak=weak)
    checks.verify_dataset_integrity(str(found.path), num_processes=1)
