"""`build` from raw files to VOIs and rows, on small scans written here."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
import yaml
from makers.small_build import (
    AFFINE,
    ONE,
    SHAPE,
    TWO,
    block,
    check_placed_back,
    hu_of,
    loaded,
    mask_of,
    only_row,
    put,
    run,
    tree,
)
from numpy.typing import NDArray

from demo.phantom import ORIENTATIONS
from uls_data.lesions import find_lesions
from uls_data.manifest import load_manifest
from uls_data.pictures.thumbnail import thumbnail_path
from uls_data.recipe import Recipe, recipe_template
from uls_data.voi import VOI_SHAPE, box_around, cut_image, cut_label
from uls_data.volumes import read_volume


def test_rows_say_what_became_of_everything(tmp_path: Path) -> None:
    raw, out = tmp_path / "raw", tmp_path / "out"
    put(raw, "case_9", (*TWO, block(25, 2, 15, 2)))
    put(raw, "case_10", ())
    put(raw, "case_2")
    (raw / "images" / "case_2.nii").write_bytes(b"no volume, much too short" * 40)
    put(raw, "case_3")
    (raw / "masks" / "case_3.nii").unlink()
    seen: list[tuple[str, int]] = []
    begun: list[tuple[int, int]] = []
    report = run(
        raw,
        out,
        progress=lambda case, rows: seen.append((case, len(rows))),
        started=lambda total, before: begun.append((total, before)),
    )
    assert (report.ok, report.skipped, report.failed, report.cases) == (2, 2, 2, 4)
    assert begun == [(4, 0)] and sorted(seen) == sorted(
        [("case_2", 1), ("case_3", 1), ("case_9", 3), ("case_10", 1)]
    )
    table = load_manifest(out)
    summary = {
        (row.case_id, None if row.lesion_index is None else row.lesion_index): row.reason
        for row in table.astype(object).where(table.notna(), None).itertuples()
    }
    assert summary == {
        ("case_10", None): "no_lesion",
        ("case_2", None): "unreadable",
        ("case_3", None): "mask_missing",
        ("case_9", 1): None,
        ("case_9", 2): None,
        ("case_9", 3): "below_minimum_size",
    }
    for row in report.rows:
        assert (row["status"] == "ok") == (row.get("image_path") is not None)
        assert row["status"] == "ok" or row["detail"]
    assert [row["voi_id"] for row in report.rows if row["status"] == "ok"] == [
        "case_9_lesion_01_sample_0",
        "case_9_lesion_02_sample_0",
    ]
    # No lesion of any row is left out, and no file is without a row.
    files = set(tree(out)) - {"manifest/mine.parquet"}
    ok = [row for row in report.rows if row["status"] == "ok"]
    named = {row[f"{kind}_path"] for row in ok for kind in ("image", "label")}
    assert files == named | {thumbnail_path(row["label_path"]) for row in ok}


def test_columns_of_a_voi(tmp_path: Path) -> None:
    raw, out = tmp_path / "raw", tmp_path / "out"
    put(raw, "p1")
    row = only_row(run(raw, out, {"heldout_patients": ["p1"], "lesion_type": "bone"}))
    x, y, z = (row[f"click_{a}_vox"] for a in "xyz")
    assert mask_of(SHAPE, ONE)[x, y, z] == 1
    assert [row[f"voi_origin_{a}_vox"] for a in "xyz"] == [x - 128, y - 128, z - 64]
    starts = (x - 128, y - 128, z - 64)
    for a, origin, voi, scan in zip("xyz", starts, VOI_SHAPE, SHAPE, strict=True):
        assert row[f"pad_before_{a}_vox"] == -origin
        assert row[f"pad_after_{a}_vox"] == voi + origin - scan
    assert [row[f"spacing_{a}_mm"] for a in "xyz"] == pytest.approx([0.8, 0.8, 2.5])
    assert row["mask_voxels"] == 216 and row["volume_mm3"] == pytest.approx(216 * 1.6)
    assert row["long_axis_vox"] == pytest.approx(5 * 2**0.5)
    assert row["long_axis_mm"] == pytest.approx(4 * 2**0.5)
    assert (row["split"], row["patient_id"], row["lesion_type"]) == ("heldout", "p1", "bone")
    assert (row["image_source"], row["label_source"]) == ("images/p1.nii", "masks/p1.nii")
    for kind in ("image", "label"):
        data = (out / row[f"{kind}_path"]).read_bytes()
        assert row[f"{kind}_sha256"] == hashlib.sha256(data).hexdigest()
        source = (raw / row[f"{kind}_source"]).read_bytes()
        assert row[f"{kind}_source_sha256"] == hashlib.sha256(source).hexdigest()
    assert row["qc_flags"] == ["redistribution_unknown"]


@pytest.mark.parametrize(
    ("codes", "suffix"), [("RAS", ".nii.gz"), ("LPS", ".nrrd"), ("SRA", ".mha"), ("IPL", ".nii")]
)
def test_a_voi_lies_where_its_affine_says(tmp_path: Path, codes: str, suffix: str) -> None:
    raw, out = tmp_path / "raw", tmp_path / "out"
    hu = hu_of((40, 36, 30))
    put(raw, "a", TWO, image=hu, codes=codes, suffix=suffix)
    report = run(raw, out)
    assert report.ok == 2
    for row, part in zip(report.rows, TWO, strict=True):
        check_placed_back(row, out, hu, AFFINE, mask_of(hu.shape, (part,)) > 0)


def test_large_scan_needs_no_padding_inside(tmp_path: Path) -> None:
    raw, out = tmp_path / "raw", tmp_path / "out"
    hu = hu_of((262, 130, 132))
    blocks = (block(129, 60, 65, 5), block(0, 0, 0, 5))
    put(raw, "a", blocks, image=hu)
    report = run(raw, out)
    for row, part in zip(report.rows, (blocks[1], blocks[0]), strict=True):
        check_placed_back(row, out, hu, AFFINE, mask_of(hu.shape, (part,)) > 0)
    middle = report.rows[1]
    assert middle["pad_before_x_vox"] == middle["pad_after_x_vox"] == 0
    assert middle["pad_before_z_vox"] == middle["pad_after_z_vox"] == 0
    assert middle["pad_before_y_vox"] > 0
    assert "at_scan_edge" in report.rows[0]["qc_flags"]
    assert "at_scan_edge" not in middle["qc_flags"]


def test_all_orientations_give_one_voi(tmp_path: Path) -> None:
    """48 ways to store one scan: same lesions, clicks' boxes, VOI voxels and affine."""
    recipe = Recipe.model_validate(yaml.safe_load(recipe_template("mine")))
    hu, mask = hu_of(SHAPE), mask_of(SHAPE, TWO)
    expected = None
    for codes in ORIENTATIONS:
        put(tmp_path, codes, image=hu, mask=mask, codes=codes)
        scan = read_volume(tmp_path / "images" / f"{codes}.nii", tmp_path)
        lesions = find_lesions(
            read_volume(tmp_path / "masks" / f"{codes}.nii", tmp_path), recipe, "mask"
        )
        np.testing.assert_array_equal(scan.ras, hu)
        np.testing.assert_allclose(scan.affine, AFFINE, atol=1e-4)
        found = [(lesion.index, lesion.voxels.tolist()) for lesion in lesions]
        box = box_around(tuple(lesions[1].voxels[7].tolist()), scan.ras.shape)
        expected = expected or found
        assert found == expected
        if codes in ("RAS", "LPS", "PSR", "IAL"):  # the dear part
            voi = cut_image(scan, box).voxels
            np.testing.assert_array_equal(voi[box.inside], hu[box.covered])
            assert cut_label(lesions[1].voxels, box).sum() == 216


def test_orientation_of_the_files_changes_nothing(tmp_path: Path) -> None:
    raw, out = tmp_path / "raw", tmp_path / "out"
    ways = {"a": ("RAS", "RAS"), "b": ("LPI", "LPI"), "c": ("SAL", "PIR")}
    for case, (codes, mask_codes) in ways.items():
        put(raw, case, codes=codes, mask_codes=mask_codes)
    rows = run(raw, out, profile="published").rows  # one click for all: they have equal counts
    for column in ("image_voxels_sha256", "label_voxels_sha256", "click_x_vox", "click_z_vox"):
        assert len({row[column] for row in rows}) == 1, column
    for row in rows:
        np.testing.assert_allclose(row["affine"], rows[0]["affine"], atol=1e-3)
        assert row["qc_flags"] == ["redistribution_unknown"]  # a mere orientation is not a flag


def test_image_wins_where_the_mask_says_another_place(tmp_path: Path) -> None:
    raw = tmp_path / "raw"
    moved = AFFINE.copy()
    moved[:3, 3] += (0.5, -0.3, 2)
    put(raw, "moved", TWO, mask_affine=moved)
    turned = AFFINE @ np.diag([-1.0, -1.0, 1.0, 1.0])
    put(raw, "turned", TWO, mask_affine=turned)
    confused = np.diag([-1.0, -1.0, 1.0, 1.0]) @ AFFINE
    put(raw, "confused", TWO, mask_affine=confused)
    put(raw, "thicker", TWO, mask_affine=AFFINE @ np.diag([1.0, 1.0, 1.005, 1.0]))
    report = run(raw, tmp_path / "out", {"quirks": ["image_affine_wins"]})
    assert report.ok == 8 and report.flags["mask_affine_ignored"] == 8
    for row in report.rows:
        assert "mask_affine_ignored" in row["qc_flags"]
        part = TWO[row["lesion_index"] - 1]
        lesion = mask_of(SHAPE, (part,)) > 0
        check_placed_back(row, tmp_path / "out", hu_of(SHAPE), AFFINE, lesion)
    strict = run(raw, tmp_path / "strict", {"quirks": []})
    assert {row["reason"] for row in strict.rows} == {"affine_mismatch"}
    assert all("image_affine_wins" in row["detail"] for row in strict.rows)


@pytest.mark.parametrize(
    "change",
    [
        np.array([[1, 0, 0, 100], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1.0]]),
        np.array([[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 4], [0, 0, 0, 1.0]]),
        np.diag([1.0, 1.0, 1.02, 1.0]),
        np.array([[0, 1, 0, 0], [1, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1.0]]),
    ],
)
def test_a_mask_of_another_scan_is_never_laid_over_an_image(
    tmp_path: Path, change: NDArray[np.float64]
) -> None:
    raw = tmp_path / "raw"
    put(raw, "a", mask_affine=change @ AFFINE)
    row = only_row(run(raw, tmp_path / "out", {"quirks": ["image_affine_wins"]}))
    assert row["reason"] == "affine_mismatch" and "another scan" in row["detail"]


def test_a_tenth_of_a_voxel_is_one_grid(tmp_path: Path) -> None:
    raw = tmp_path / "raw"
    for case, shift in (("near", 0.07), ("far", 0.2)):
        moved = AFFINE.copy()
        moved[0, 3] += shift * 0.8
        put(raw, case, mask_affine=moved)
    report = run(raw, tmp_path / "out", {"quirks": []})
    outcomes = {row["case_id"]: row.get("reason") for row in report.rows}
    assert outcomes == {"near": None, "far": "affine_mismatch"}


def test_another_grid_fails(tmp_path: Path) -> None:
    raw = tmp_path / "raw"
    put(raw, "a", mask=mask_of((30, 26, 19), ONE))
    put(raw, "b", mask=mask_of((26, 30, 20), ONE))
    report = run(raw, tmp_path / "out")
    assert {row["reason"] for row in report.rows} == {"grid_mismatch"}
    assert "(30, 26, 19)" in report.rows[0]["detail"] and str(SHAPE) in report.rows[0]["detail"]


def test_identity_affine_hides_spacing(tmp_path: Path) -> None:
    raw = tmp_path / "raw"
    put(raw, "lost", affine=np.eye(4))
    put(raw, "kept", affine=np.diag([1.0, 1.0, 2.0, 1.0]))
    # Copies of a scan that lost its spacing: turned, cropped, saved again as float32.
    put(raw, "turned", affine=np.diag([-1.0, -1.0, 1.0, 1.0]), codes="LPS")
    cropped = np.diag([1.0000002, 1, 1, 1])
    cropped[:3, 3] = 12, -7, 3
    put(raw, "cropped", affine=cropped)
    quirks = {"quirks": ["identity_affine_hides_spacing"]}
    rows = {row["case_id"]: row for row in run(raw, tmp_path / "out", quirks).rows}
    for copy in ("turned", "cropped"):
        assert "spacing_unknown" in rows[copy]["qc_flags"] and rows[copy]["long_axis_mm"] is None
    lost, kept = rows["lost"], rows["kept"]
    assert "spacing_unknown" in lost["qc_flags"] and "spacing_unknown" not in kept["qc_flags"]
    for column in ("spacing_x_mm", "spacing_z_mm", "volume_mm3", "long_axis_mm", "short_axis_mm"):
        assert lost[column] is None and kept[column] is not None
    assert lost["long_axis_vox"] == kept["long_axis_vox"]
    believed = {row["case_id"]: row for row in run(raw, tmp_path / "plain").rows}["lost"]
    assert believed["spacing_z_mm"] == 1.0 and "spacing_unknown" not in believed["qc_flags"]


def test_slices_on_axis_0(tmp_path: Path) -> None:
    raw = tmp_path / "raw"
    put(raw, "kits", codes="IPL")
    put(raw, "old", codes="LPI")
    report = run(raw, tmp_path / "out", {"quirks": ["slices_on_axis_0"]})
    by_case = {row["case_id"]: row for row in report.rows}
    assert by_case["kits"]["status"] == "ok"
    assert by_case["old"]["reason"] == "unexpected_axis_order" and "LPI" in by_case["old"]["detail"]


def test_values_beyond_int16_and_between_integers(tmp_path: Path) -> None:
    raw, out = tmp_path / "raw", tmp_path / "out"
    wide = hu_of(SHAPE).astype(np.int32)
    wide[0, 0, 0] = 40_000
    fraction = hu_of(SHAPE).astype(np.float32)
    fraction[:2] += 0.25
    low = hu_of(SHAPE)
    low[5, 5, 5] = -32768  # the sentinel lies below int16
    nan = hu_of(SHAPE).astype(np.float32)
    nan[3, 3, 3] = np.nan
    cases = {
        "wide": wide,
        "whole": hu_of(SHAPE).astype(np.float64),
        "fraction": fraction,
        "low": low,
        "nan": nan,
    }
    for case, image in cases.items():
        put(raw, case, image=image)
    rows = {row["case_id"]: row for row in run(raw, out).rows}
    assert rows["nan"]["reason"] == "not_finite"
    types = {case: loaded(out / rows[case]["image_path"])[0].dtype.str for case in ("wide", "low")}
    assert types == {"wide": "<i4", "low": "<i4"}
    assert rows["low"]["pad_value_hu"] == -32769 and "hu_int32" in rows["low"]["qc_flags"]
    lesion = mask_of(SHAPE, ONE) > 0
    for case in ("wide", "low", "whole", "fraction"):
        check_placed_back(rows[case], out, np.rint(cases[case]).astype(int), AFFINE, lesion)
    flagged = {case for case, row in rows.items() if "hu_rounded" in row["qc_flags"]}
    assert flagged == {"fraction"}
    assert loaded(out / rows["whole"]["image_path"])[0].dtype == np.int16


def test_lesion_longer_than_the_voi(tmp_path: Path) -> None:
    raw, out = tmp_path / "raw", tmp_path / "out"
    tall, wide = hu_of((12, 12, 150)), hu_of((280, 12, 12))
    put(raw, "tall", image=tall, blocks=((slice(3, 9), slice(3, 9), slice(0, 150)),))
    put(raw, "wide", image=wide, blocks=((slice(0, 280), slice(3, 9), slice(3, 9)),))
    for row, hu in zip(run(raw, out).rows, (tall, wide), strict=True):
        lesion = np.zeros(hu.shape, dtype=bool)
        lesion[tuple(slice(3, 9) if n == 12 else slice(None) for n in hu.shape)] = True
        check_placed_back(row, out, hu, AFFINE, lesion)
        assert row["fraction_outside_voi"] > 0
        assert {"cut_by_voi", "at_scan_edge"} <= set(row["qc_flags"])
        axis = "z" if row["case_id"] == "tall" else "x"
        assert any(flag.startswith(f"touches_{axis}_") for flag in row["qc_flags"])


def test_single_voxel_and_lesion_on_the_edge(tmp_path: Path) -> None:
    raw, out = tmp_path / "raw", tmp_path / "out"
    corner = block(0, 0, 0, 1)
    put(raw, "a", (corner, block(24, 20, 14)))
    first, second = run(raw, out, {"minimum_size": None}).rows
    assert first["mask_voxels"] == 1 and first["long_axis_vox"] in (0.0, None)
    assert {"single_voxel", "single_slice", "at_scan_edge"} <= set(first["qc_flags"])
    assert "at_scan_edge" in second["qc_flags"]
    check_placed_back(first, out, hu_of(SHAPE), AFFINE, mask_of(SHAPE, (corner,)) > 0)
    kept = run(raw, tmp_path / "rule")
    assert [row["reason"] for row in kept.rows if row["status"] == "skipped"] == [
        "below_minimum_size"
    ]


def test_minimum_size_in_mm_of_unknown_spacing_keeps_the_lesion(tmp_path: Path) -> None:
    raw = tmp_path / "raw"
    put(raw, "lost", affine=np.eye(4))
    changes = {
        "quirks": ["identity_affine_hides_spacing"],
        "minimum_size": {"measure": "long_axis_mm", "at_least": 500},
    }
    assert run(raw, tmp_path / "out", changes).ok == 1


def test_largest_component_and_values(tmp_path: Path) -> None:
    raw = tmp_path / "raw"
    mask = mask_of(SHAPE, ())
    mask[block(3, 4, 2)] = 5
    mask[block(9, 4, 2)] = 3  # touches the first
    mask[block(18, 15, 11)] = 1
    put(raw, "a", mask=mask)
    rule = {"rule": "components", "values": [3, 5], "connectivity": 6, "keep": "largest"}
    largest = run(raw, tmp_path / "largest", {"instances": rule})
    assert [row["mask_voxels"] for row in largest.rows] == [432]
    values = run(raw, tmp_path / "values", {"instances": {"rule": "values"}})
    assert [(row["lesion_index"], row["source_lesion_id"]) for row in values.rows] == [
        (1, "1"),
        (3, "3"),
        (5, "5"),
    ]
    assert all(row["mask_voxels"] == 216 for row in values.rows)
    both = {"rule": "components", "values": [1, 5], "connectivity": 6, "keep": "largest"}
    reasons = [
        row["reason"]
        for row in run(raw, tmp_path / "both", {"instances": both}).rows
        if row["status"] == "skipped"
    ]
    assert reasons == ["not_largest_component"]
