"""Positions from a manifest instead of clicks: the described archive comes out again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from numpy.typing import NDArray

from demo.files import write_nifti
from demo.phantom import store
from uls_data.errors import ManifestError
from uls_data.factory import BuildReport, build
from uls_data.manifest import read_table, write_manifest
from uls_data.manifest.index import index
from uls_data.nifti_writer import nifti_gz
from uls_data.recipe import recipe_template

AFFINE = np.array([[0.75, 0, 0, -31.5], [0, 0.75, 0, 12.25], [0, 0, 2.5, -804.0], [0, 0, 0, 1.0]])
STARTS = ((2, 3, 2), (13, 9, 7), (2, 12, 9))


def put(raw: Path, case: str, shift: int = 0, lesions: int = 3, affine: Any = AFFINE) -> None:
    image = np.random.default_rng(sum(map(ord, case))).integers(-800, 800, (24, 20, 16), "i2")
    mask = np.zeros(image.shape, dtype=np.uint8)
    for number, (x, y, z) in enumerate(STARTS[:lesions]):
        mask[x + shift : x + shift + 6, y : y + 5 + number % 2, z : z + 5] = 1
    for folder, array in (("images", image), ("masks", mask)):
        write_nifti(raw / folder / f"{case}.nii", *store(array, affine, "LPS"))


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    for case in ("a", "b"):
        put(tmp_path / "raw", case)
    (tmp_path / "raw/mine.yaml").write_text(recipe_template("mine"), encoding="utf-8")
    return tmp_path / "raw"


def run(raw: Path, out: Path, **options: Any) -> BuildReport:
    return build(raw / "mine.yaml", raw, out, **options)


def rows_of(manifest: Path) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = read_table(manifest).to_pylist()
    return rows


def rewritten(manifest: Path, to: Path, change: Any) -> Path:
    """Copy of a manifest in which `change` has altered, or dropped (None), every row."""
    write_manifest([row for row in map(change, rows_of(manifest)) if row is not None], to)
    return to


def without_positions(row: dict[str, Any]) -> dict[str, Any]:
    """What an index of a published archive knows: no index of the raw scan."""
    gone = [f"voi_origin_{axis}_vox" for axis in "xyz"]
    return {**row, **dict.fromkeys(gone)}


def assert_same_vois(found: BuildReport, expected: list[dict[str, Any]]) -> None:
    ours = {row["voi_id"]: row for row in found.rows if row["status"] == "ok"}
    theirs = {row["voi_id"]: row for row in expected if row["status"] == "ok"}
    assert ours.keys() == theirs.keys() and theirs
    for name, row in theirs.items():
        assert ours[name]["label_voxels_sha256"] == row["label_voxels_sha256"]
        np.testing.assert_allclose(ours[name]["affine"], row["affine"], atol=1e-3)
        assert "replay_label_differs" not in ours[name]["qc_flags"]
        assert (ours[name]["lesion_index"], ours[name]["sample_index"]) == (
            row["lesion_index"],
            row["sample_index"],
        )


@pytest.mark.parametrize("from_index", [False, True])
def test_replay_gives_the_same_vois(raw: Path, tmp_path: Path, from_index: bool) -> None:
    out = tmp_path / "out"
    built = run(raw, out, seed=3, clicks=2)
    assert built.ok == 12
    manifest = built.manifest
    if from_index:
        manifest = tmp_path / "index.parquet"
        index(out / "mine" / "labels", manifest, source="mine")
        assert all(row["voi_origin_x_vox"] is None for row in rows_of(manifest))
    again = run(raw, tmp_path / "again", replay=manifest)
    assert_same_vois(again, built.rows)
    images = {row["voi_id"]: row["image_voxels_sha256"] for row in built.rows}
    for row in again.rows:
        assert row["image_voxels_sha256"] == images[row["voi_id"]]
        assert "array_origin" not in row["qc_flags"]
    clicks = {(r["click_x_vox"], r["click_y_vox"], r["click_z_vox"]) for r in again.rows}
    assert clicks == {(r["click_x_vox"], r["click_y_vox"], r["click_z_vox"]) for r in built.rows}


def test_positions_without_the_scans_origin(raw: Path, tmp_path: Path) -> None:
    built = run(raw, tmp_path / "out", labels_only=True)

    def bare(row: dict[str, Any]) -> dict[str, Any]:
        affine = np.reshape(row["affine"], (4, 4)).copy()
        affine[:3, 3] -= AFFINE[:3, 3]
        return {**without_positions(row), "affine": affine.ravel().tolist()}

    manifest = rewritten(built.manifest, tmp_path / "bare.parquet", bare)
    again = run(raw, tmp_path / "again", replay=manifest, labels_only=True)
    assert_same_vois(again, rows_of(manifest))
    assert all("array_origin" in row["qc_flags"] for row in again.rows)
    assert [r["click_x_vox"] for r in again.rows] == [r["click_x_vox"] for r in built.rows]
    # The same without hashes: then the centre must be lesion, which tells the frames apart.
    unhashed = rewritten(
        manifest, tmp_path / "unhashed.parquet", lambda row: {**row, "label_voxels_sha256": None}
    )
    third = run(raw, tmp_path / "third", replay=unhashed, labels_only=True)
    assert_same_vois(third, rows_of(manifest))


def test_another_scan_is_noticed(raw: Path, tmp_path: Path) -> None:
    built = run(raw, tmp_path / "out", labels_only=True)
    finer, moved = AFFINE.copy(), AFFINE.copy()
    finer[0, 0] = 0.7
    moved[2, 3] += 1.1  # a fraction of a slice
    put(raw, "a", affine=finer)
    put(raw, "b", affine=moved)
    again = run(raw, tmp_path / "again", replay=built.manifest, labels_only=True)
    assert again.ok == 0
    assert {row["reason"] for row in again.rows} == {"replay_position"}
    assert all(row["voi_id"] is None or row["detail"] for row in again.rows if "voi_id" in row)


def test_another_mask_is_noticed(raw: Path, tmp_path: Path) -> None:
    built = run(raw, tmp_path / "out", labels_only=True, clicks=1)
    put(raw, "a", lesions=1)  # two lesions are gone
    mask = np.zeros((24, 20, 16), dtype=np.uint8)
    for number, (x, y, z) in enumerate(STARTS):
        mask[x : x + 6, y : y + 5 + number % 2, z : z + 5] = 1
    mask[0:2, 0:2, 0:1] = 1  # a new first component: all numbers move
    write_nifti(raw / "masks/b.nii", *store(mask, AFFINE, "LPS"))
    again = run(raw, tmp_path / "again", replay=built.manifest, labels_only=True)
    by_key = {(row["case_id"], row["lesion_index"]): row for row in again.rows}
    assert by_key["a", 1]["status"] == "ok"
    assert by_key["a", 2]["reason"] == by_key["a", 3]["reason"] == "replay_lesion_missing"
    assert by_key["b", 1]["reason"] == by_key["b", 2]["reason"] == "replay_position"
    assert by_key["b", 4]["reason"] == "not_in_replay_manifest"


def test_an_edited_lesion_is_flagged(raw: Path, tmp_path: Path) -> None:
    built = run(raw, tmp_path / "out", labels_only=True)
    manifest = rewritten(
        built.manifest, tmp_path / "m.parquet", lambda row: {**row, "label_voxels_sha256": "0" * 64}
    )
    again = run(raw, tmp_path / "again", replay=manifest, labels_only=True)
    assert again.ok == built.ok
    assert all("replay_label_differs" in row["qc_flags"] for row in again.rows)


def test_cases_and_lesions_that_the_manifest_does_not_name(raw: Path, tmp_path: Path) -> None:
    built = run(raw, tmp_path / "out", labels_only=True)
    put(raw, "z_new")

    def change(row: dict[str, Any]) -> dict[str, Any] | None:
        if row["case_id"] == "a":
            return {**row, "case_id": "gone", "voi_id": row["voi_id"].replace("a_", "gone_")}
        return None if row["lesion_index"] == 2 else row

    manifest = rewritten(built.manifest, tmp_path / "m.parquet", change)
    again = run(raw, tmp_path / "again", replay=manifest, labels_only=True)
    summary = {(row["case_id"], row["lesion_index"]): row.get("reason") for row in again.rows}
    assert summary == {
        ("a", None): "not_in_replay_manifest",
        ("b", 1): None,
        ("b", 2): "not_in_replay_manifest",
        ("b", 3): None,
        ("gone", None): "replay_case_missing",
        ("z_new", None): "not_in_replay_manifest",
    }
    assert again.failed == 1


def test_a_lesion_below_the_size_rule_is_replayed_all_the_same(raw: Path, tmp_path: Path) -> None:
    built = run(raw, tmp_path / "out", labels_only=True)
    content = yaml.safe_load(recipe_template("mine"))
    content["minimum_size"]["at_least"] = 100
    (raw / "mine.yaml").unlink()
    strict = raw / "strict.yaml"
    strict.write_text(yaml.safe_dump(content), encoding="utf-8")
    again = build(strict, raw, tmp_path / "again", replay=built.manifest, labels_only=True)
    assert again.ok == built.ok


def test_manifests_that_cannot_be_replayed(raw: Path, tmp_path: Path) -> None:
    built = run(raw, tmp_path / "out", labels_only=True, only=["a"])
    other = rewritten(built.manifest, tmp_path / "o.parquet", lambda row: {**row, "source": "lits"})
    with pytest.raises(ManifestError, match=r"'mine'.*lits"):
        run(raw, tmp_path / "x", replay=other)
    with pytest.raises(ManifestError, match="no such file"):
        run(raw, tmp_path / "x", replay=tmp_path / "absent.parquet")
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize("bad", ["nan", "singular", "far", "huge"])
def test_useless_affines_fail_their_rows_only(raw: Path, tmp_path: Path, bad: str) -> None:
    built = run(raw, tmp_path / "out", labels_only=True, only=["a"])
    affine: NDArray[np.float64] = AFFINE.copy()
    if bad == "nan":
        affine[:] = np.nan
    elif bad == "singular":
        affine[:] = 0
    else:
        affine[0, 3] = 0.75 * (1e4 if bad == "far" else 1e30)
    manifest = rewritten(
        built.manifest,
        tmp_path / "m.parquet",
        lambda row: (
            {**without_positions(row), "affine": affine.ravel().tolist()}
            if row["lesion_index"] == 1
            else row
        ),
    )
    again = run(raw, tmp_path / "again", replay=manifest, labels_only=True, only=["a"])
    assert {row["lesion_index"]: row.get("reason") for row in again.rows} == {
        1: "replay_position",
        2: None,
        3: None,
    }


def test_published_headers_are_float32(raw: Path, tmp_path: Path) -> None:
    affine = AFFINE.copy()
    affine[:3, :3] = np.diag([0.7421875, 0.6835937, 0.7000001])
    affine[:3, 3] = (-187.6400146484375, -1203.337, 905.1299)
    for case in ("a", "b"):
        put(raw, case, affine=affine)
    built = run(raw, tmp_path / "out", labels_only=True)
    folder = tmp_path / "published"
    folder.mkdir()
    for row in built.rows:
        data = np.zeros((256, 256, 128), dtype=np.uint8)
        data[128, 128, 64] = 1
        # Only the header counts: it is what a position is read from.
        (folder / f"{row['voi_id']}.nii.gz").write_bytes(
            nifti_gz(data, np.reshape(row["affine"], (4, 4)))
        )
    index(folder, tmp_path / "m.parquet", source="mine")
    again = run(raw, tmp_path / "again", replay=tmp_path / "m.parquet", labels_only=True)
    assert [row["label_voxels_sha256"] for row in again.rows] == [
        row["label_voxels_sha256"] for row in built.rows
    ]
