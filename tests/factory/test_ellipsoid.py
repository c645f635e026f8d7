"""`build --masks ellipsoid`: a layer in 3D, of the lines alone, beside the masks on one slice."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest

from demo.sources import make_archives
from uls_data import build
from uls_data.measure.lines import Lines
from uls_data.pseudomask.key_slice import KeySlice
from uls_data.pseudomask.prior import hull


@pytest.fixture(scope="module")
def archives(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return make_archives(tmp_path_factory.mktemp("raw"), only=["deeplesion", "ccc18"])


def made(rows: list[dict[str, Any]], layer: str) -> dict[str, dict[str, Any]]:
    return {row["voi_id"]: row for row in rows if row["status"] == "ok" and row["layer"] == layer}


def test_a_layer_beside_the_others(archives: dict[str, Path], tmp_path: Path) -> None:
    raw = archives["deeplesion"]
    rows = build("deeplesion", raw, tmp_path / "a", masks=["ellipsoid", "ellipse"]).rows
    flat, solid = made(rows, "ellipse"), made(rows, "ellipsoid")
    # A height in mm needs a spacing: one scan states none.
    lost = [row for row in rows if row["reason"] == "spacing_unknown"]
    assert {row["layer"] for row in lost} == {"ellipsoid"}
    assert {row["status"] for row in lost} == {"skipped"}
    assert flat.keys() == solid.keys() | {row["voi_id"] for row in lost}
    assert lost and all(
        "spacing_unknown" in row["qc_flags"] for row in flat.values() if row["voi_id"] not in solid
    )
    for name, row in solid.items():
        beside = flat[name]
        assert row["image_sha256"] == beside["image_sha256"]
        assert row["supervision"] == "pseudo_3d" and beside["supervision"] == "weak_2d"
        assert row["model_sha256"] is None and row["predicted_dice"] is None
        assert row["recist_points_vox"] == beside["recist_points_vox"]
        assert abs(row["key_slice_long_error_vox"]) < 1.5
        label = np.asarray(nibabel.load(tmp_path / "a" / row["label_path"]).dataobj) != 0
        at = row["key_slice_voi"]
        assert label[128, 128, 64]
        slices = np.flatnonzero(label.any(axis=(0, 1)))
        assert at in slices and len(slices) > 1
        shape = label.shape[:2]
        lines = Lines.of(row["recist_points_vox"])
        inner = hull(KeySlice(np.zeros(shape, np.int16), lines, (1.0, 1.0)))
        assert not (inner & ~label[:, :, at]).any()
        inside = [
            slice(row[f"pad_before_{a}_vox"], n - row[f"pad_after_{a}_vox"])
            for a, n in zip("xyz", label.shape, strict=True)
        ]
        assert label.sum() == label[tuple(inside)].sum()
    # A measurement on the first slice of its scan: the ellipsoid ends there.
    edge = [row for row in solid.values() if row["case_id"].startswith("000002")]
    assert edge and all("at_scan_edge" in row["qc_flags"] for row in edge)


def test_alone_and_from_the_table_alone(archives: dict[str, Path], tmp_path: Path) -> None:
    raw = archives["deeplesion"]
    whole = build("deeplesion", raw, tmp_path / "a", masks=["ellipsoid"], only=["000001_01_01_112"])
    table = tmp_path / "table"
    table.mkdir()
    (table / "DL_info.csv").write_bytes((raw / "DL_info.csv").read_bytes())
    bare = build("deeplesion", table, tmp_path / "b", masks=["ellipsoid"], labels_only=True)
    images, labels = made(whole.rows, "ellipsoid"), made(bare.rows, "ellipsoid")
    assert images and images.keys() <= labels.keys()
    for name, row in images.items():
        assert labels[name]["label_voxels_sha256"] == row["label_voxels_sha256"]
        assert labels[name]["image_path"] is None
    # Nothing lies there that no row names.
    odd = build("deeplesion", raw, tmp_path / "c", masks=["ellipsoid"], only=["000005_01_01_1006"])
    assert {row["reason"] for row in odd.rows} == {"spacing_unknown", "degenerate_lines"}
    assert not list((tmp_path / "c" / "deeplesion").glob("**/*.nii.gz"))


def test_several_readers(archives: dict[str, Path], tmp_path: Path) -> None:
    raw = archives["ccc18"]
    both = build("ccc18", raw, tmp_path / "a", masks=["ellipse", "ellipsoid"]).rows
    solid = made(both, "ellipsoid")
    readers = {row["layer"] for row in both if (row["layer"] or "").startswith("reader-")}
    assert readers and solid
    for row in both:
        if row["layer"] in readers and row["status"] == "ok":
            assert row["parent_layer"] == "ellipse" and row["supervision"] == "weak_2d"
    crowd = [row for row in solid.values() if row["agreement_level"]]
    assert crowd and all(row["annotator"] in readers for row in crowd)
    alone = build("ccc18", raw, tmp_path / "b", masks=["ellipsoid"]).rows
    assert {name: row["label_sha256"] for name, row in made(alone, "ellipsoid").items()} == {
        name: row["label_sha256"] for name, row in solid.items()
    }
    for row in alone:
        if row["layer"] in readers and row["status"] == "ok":
            assert row["parent_layer"] == "ellipsoid" and row["supervision"] == "pseudo_3d"
            drawn = solid[row["voi_id"]]
            same = row["annotator"] == drawn["annotator"]
            assert (row["label_voxels_sha256"] == drawn["label_voxels_sha256"]) >= same
