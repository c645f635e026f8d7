"""The manifest of an existing archive of labels, tidy and untidy."""

from __future__ import annotations

import hashlib
import zipfile
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from numpy.typing import NDArray

from uls_data.errors import SourceError
from uls_data.io import sha256_voxels
from uls_data.manifest import read_table
from uls_data.manifest.index import index
from uls_data.nifti_writer import nifti_gz
from uls_data.voi import VOI_SHAPE

AFFINE = np.array([[0.75, 0, 0, -31.5], [0, 0.75, 0, 12.25], [0, 0, 2.5, -804.0], [0, 0, 0, 1.0]])
BONE = "bone_00002_lesion_03"


def label(size: int = 6) -> NDArray[np.uint8]:
    mask = np.zeros(VOI_SHAPE, dtype=np.uint8)
    mask[126 : 126 + size, 126 : 126 + size, 62 : 62 + size] = 1
    return mask


ONE = nifti_gz(label(), AFFINE)
OTHER = nifti_gz(label(7), AFFINE)


def put(folder: Path, name: str, data: bytes = ONE) -> None:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr(path.stem, data)
    else:
        path.write_bytes(data)


def indexed(folder: Path, source: str = "auto", **options: Any) -> dict[str, dict[str, Any]]:
    out = folder.parent / "manifest.parquet"
    index(folder, out, source=source, **options)
    rows = read_table(out).to_pylist()
    return {row["label_path"] or row["image_path"]: row for row in rows}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "archive").mkdir()
    return tmp_path / "archive"


def test_labels_of_several_sources(folder: Path) -> None:
    put(folder, f"bone/{BONE}.nii.gz")
    put(folder, "kits/kidney21_case_00036_lesion_02_sample_1.nii.gz.zip")
    rows = indexed(folder)
    bone = rows[f"bone/{BONE}.nii.gz"]
    key = (bone["source"], bone["case_id"], bone["lesion_index"], bone["sample_index"])
    assert key == ("radboudumc_bone", "bone_00002", 3, 0)
    assert (bone["status"], bone["layer"], bone["lesion_type"]) == ("ok", "annotated", "bone")
    assert bone["mask_voxels"] == 216 and bone["volume_mm3"] == pytest.approx(216 * 1.40625)
    assert bone["long_axis_vox"] == pytest.approx(5 * 2**0.5)
    assert bone["long_axis_mm"] == pytest.approx(3.75 * 2**0.5)
    assert bone["long_axis_points_vox"] is not None and bone["long_axis_slice_voi"] >= 62
    assert bone["affine"] == AFFINE.ravel().tolist()
    assert bone["label_sha256"] == hashlib.sha256(ONE).hexdigest()
    assert bone["label_voxels_sha256"] == sha256_voxels(label())
    for unknown in ("click_x_vox", "pad_before_x_vox", "voi_origin_x_vox", "fraction_outside_voi"):
        assert bone[unknown] is None
    kits = rows["kits/kidney21_case_00036_lesion_02_sample_1.nii.gz.zip"]
    assert (kits["source"], kits["lesion_index"], kits["sample_index"]) == ("kits21", 2, 1)
    assert (kits["patient_id"], kits["split"]) == ("00036", "heldout")
    assert kits["label_voxels_sha256"] == bone["label_voxels_sha256"]
    packed = (folder / kits["label_path"]).read_bytes()
    assert kits["label_sha256"] == hashlib.sha256(packed).hexdigest()


def test_how_a_label_is_stored_changes_no_measure(folder: Path) -> None:
    stored = label().astype(np.float32)[..., None]
    turned = nib.Nifti1Image(label()[::-1], AFFINE @ [[-1, 0, 0, 255], *np.eye(4)[1:]])
    names = [f"bone_0000{n}_lesion_01.nii.gz" for n in range(4)]
    put(folder, names[0])
    nib.save(nib.Nifti1Image(stored, AFFINE), folder / names[1])
    nib.save(turned, folder / names[2])
    nib.save(nib.Nifti1Image(label(), AFFINE), folder / names[3].removesuffix(".gz"))
    rows = list(indexed(folder).values())
    assert {row["status"] for row in rows} == {"ok"}
    for column in ("label_voxels_sha256", "mask_voxels", "long_axis_mm", "short_axis_mm"):
        assert len({row[column] for row in rows}) == 1, column
    for row in rows:
        np.testing.assert_allclose(row["affine"], AFFINE.ravel(), atol=1e-3)
    assert "trailing_axis_dropped" in rows[1]["qc_flags"]


def test_images_beside_labels(folder: Path) -> None:
    image = np.full(VOI_SHAPE, -50, dtype=np.int16)
    data = nifti_gz(image, AFFINE)
    moved = AFFINE.copy()
    moved[0, 3] += 5
    for case in ("bone_00001", "bone_00002", "bone_00003"):
        put(folder, f"labelsTr/{case}_lesion_01.nii.gz")
    put(folder, "imagesTr/bone_00001_lesion_01.nii.gz", data)
    put(folder, "imagesTr/bone_00002_lesion_01.nii.gz", nifti_gz(image, moved))
    put(folder, "imagesTr/bone_00009_lesion_01.nii.gz", data)
    put(folder, "imagesTr/bone_00003_lesion_01.nii.gz", nifti_gz(image[:9], AFFINE))
    rows = {row["case_id"]: row for row in indexed(folder).values()}
    good = rows["bone_00001"]
    assert good["status"] == "ok"
    assert good["image_path"] == "imagesTr/bone_00001_lesion_01.nii.gz"
    assert good["image_voxels_sha256"] == sha256_voxels(image)
    assert good["image_sha256"] == hashlib.sha256(data).hexdigest()
    assert rows["bone_00002"]["reason"] == "affine_mismatch"
    assert rows["bone_00003"]["reason"] == "grid_mismatch"
    assert rows["bone_00009"]["reason"] == "mask_missing"


def test_layers_are_told_by_folders(folder: Path) -> None:
    put(folder, f"labels/annotated/{BONE}.nii.gz")
    put(folder, f"labels/pseudo3d-r1/{BONE}.nii.gz", OTHER)
    put(folder, "labels_grabcut/000001_01_01_109_sample_0.nii.gz")
    rows = indexed(folder)
    assert {(row["layer"], row["status"]) for row in rows.values()} == {
        ("annotated", "ok"),
        ("pseudo3d-r1", "ok"),
        ("grabcut", "ok"),
    }
    weak = rows["labels_grabcut/000001_01_01_109_sample_0.nii.gz"]
    assert (weak["source"], weak["supervision"]) == ("deeplesion", "weak_2d")


def test_bad_labels_are_rows(folder: Path) -> None:
    two = label()
    two[two == 1] = 2
    half = label().astype(np.float32)
    half[half == 1] = 0.5
    bad = {
        "bone_00001_lesion_01": (nifti_gz(label()[:, :, :99], AFFINE), "voi_shape"),
        "bone_00002_lesion_01": (nifti_gz(label() * 0, AFFINE), "empty_mask"),
        "bone_00003_lesion_01": (nifti_gz(two, AFFINE), "mask_not_integer"),
        "bone_00004_lesion_01": (ONE[:200], "truncated_file"),
        "bone_00005_lesion_01": (b"words under a wrong name " * 9, "unreadable"),
        "bone_00006_lesion_01": (b"", "truncated_file"),
        "some_name": (ONE, "name_not_recognised"),
        "bone_2_lesion_01": (ONE, "name_not_recognised"),
    }
    for name, (data, _) in bad.items():
        put(folder, f"{name}.nii.gz", data)
    nib.save(nib.Nifti1Image(half, AFFINE), folder / "bone_00007_lesion_01.nii.gz")
    put(folder, f"{BONE}.nii.gz")
    rows = {row["voi_id"]: row for row in indexed(folder).values()}
    assert rows[BONE]["status"] == "ok"
    assert rows["bone_00007_lesion_01"]["reason"] == "mask_not_integer"
    for name, (_, reason) in bad.items():
        assert (rows[name]["status"], rows[name]["reason"]) == ("failed", reason), name
        assert str(folder) not in rows[name]["detail"]


def test_values_below_nought_and_not_finite(folder: Path) -> None:
    for name, value in (("bone_00001_lesion_01", -1), ("bone_00002_lesion_01", np.nan)):
        mask = label().astype(np.float32)
        mask[mask == 1] = value
        nib.save(nib.Nifti1Image(mask, AFFINE), folder / f"{name}.nii.gz")
    rows = indexed(folder)
    assert {row["status"] for row in rows.values()} == {"failed"}
    assert {row["reason"] for row in rows.values()} <= {"mask_not_integer", "not_finite"}


def test_one_name_twice(folder: Path) -> None:
    put(folder, f"a/{BONE}.nii.gz")
    put(folder, f"b/{BONE}.nii.gz")
    put(folder, f"c/{BONE}.nii.gz", OTHER)
    rows = indexed(folder)
    assert {path[0]: (row["status"], row["reason"]) for path, row in rows.items()} == {
        "a": ("ok", None),
        "b": ("skipped", "duplicate"),
        "c": ("failed", "ambiguous_files"),
    }
    assert f"a/{BONE}.nii.gz" in rows[f"c/{BONE}.nii.gz"]["detail"]


def test_a_source_of_your_own(folder: Path) -> None:
    put(folder, "patient 7_lesion_12_sample_3.nii.gz")
    put(folder, "plain.nii.gz")
    rows = indexed(folder, "my_source")
    assert {
        (row["source"], row["case_id"], row["lesion_index"], row["sample_index"], row["status"])
        for row in rows.values()
    } == {("my_source", "patient 7", 12, 3, "ok"), ("my_source", "plain", 1, 0, "ok")}


def test_a_stated_source_reads_its_own_names_only(folder: Path) -> None:
    put(folder, f"{BONE}.nii.gz")
    put(folder, "liver_16_lesion_02_sample_0.nii.gz")
    rows = {row["voi_id"]: row for row in indexed(folder, "radboudumc_bone").values()}
    assert rows[BONE]["status"] == "ok"
    assert rows["liver_16_lesion_02_sample_0"]["reason"] == "name_not_recognised"


def test_zips_that_hold_something_else(folder: Path) -> None:
    names = [f"bone_0000{n}_lesion_01.nii.gz.zip" for n in range(6)]
    put(folder, names[0])
    damaged = bytearray((folder / names[0]).read_bytes())
    damaged[len(damaged) // 2] ^= 255
    (folder / names[0]).write_bytes(bytes(damaged))  # fails the member's checksum
    (folder / names[1]).write_bytes(b"PK\x03\x04 no zip")
    with zipfile.ZipFile(folder / names[2], "w") as archive:
        archive.writestr("a.nii.gz", ONE)
        archive.writestr("b.nii.gz", ONE)
    with zipfile.ZipFile(folder / names[3], "w") as archive:
        archive.writestr("readme.txt", b"nothing here")
    bomb = zipfile.ZipFile(folder / names[4], "w", zipfile.ZIP_DEFLATED)
    with bomb, bomb.open("a.nii.gz", "w") as member:
        for _ in range(300):  # 300 MiB of zeros in 300 kB
            member.write(bytes(1 << 20))
    put(folder, names[5])
    whole = (folder / names[5]).read_bytes()
    (folder / names[5]).write_bytes(whole[: len(whole) // 2])
    put(folder, f"{BONE}.nii.gz.zip")
    rows = {row["label_path"]: row for row in indexed(folder).values()}
    for name in names:
        expected = {"too_large"} if name == names[4] else {"unreadable", "truncated_file"}
        assert rows[name]["reason"] in expected, name
    assert rows[f"{BONE}.nii.gz.zip"]["status"] == "ok"


def test_order_and_progress(folder: Path) -> None:
    for n in range(40):
        put(folder, f"bone_{n:05d}_lesion_01.nii.gz", b"quick to fail")
    seen: list[int] = []
    rows = index(
        folder,
        folder.parent / "m.parquet",
        started=seen.append,
        progress=lambda some: seen.append(len(some)),
    )
    assert seen[0] == sum(seen[1:]) == len(rows) == 40
    put(folder, ".hidden.nii.gz")
    put(folder, "notes.txt", b"")
    assert len(index(folder, folder.parent / "m.parquet")) == 40


def test_wrong_use(folder: Path, tmp_path: Path) -> None:
    for path in (tmp_path / "absent", folder):
        with pytest.raises(SourceError, match=path.name):
            index(path, tmp_path / "m.parquet")
    put(folder, f"{BONE}.nii.gz", b"")
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(SourceError, match="cannot be written"):
        index(folder, tmp_path / "file" / "m.parquet")
