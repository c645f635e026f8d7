"""Segmentations of 3D Slicer: named segments in layers, each selected by its name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
import yaml
from makers.headers import put, silent
from makers.slicer import AFFINE, SEGMENTS, SHAPE, Note, layers, seg_nrrd

from demo.files import write_itk, write_nifti
from uls_data import build, load_manifest
from uls_data.errors import CaseError, RecipeError
from uls_data.outcome import Reason
from uls_data.recipe import load_recipe, recipe_problems, recipe_template
from uls_data.volumes import read_segments, read_volume
from uls_data.volumes.read import decoded_size


def test_each_segment_by_its_layer_and_value(tmp_path: Path) -> None:
    path = put(tmp_path, "a.seg.nrrd", seg_nrrd(layers(), SEGMENTS))
    found = read_segments(path, tmp_path)
    assert [(s.number, s.name, s.layer, s.value) for s in found.segments] == [
        (0, "liver", 0, 1),
        (1, "Tumour 1", 1, 1),
        (2, "cyst", 0, 2),
        (3, "Tumour 2", 1, 3),
        (4, "Tumour 3", 1, 7),
    ]
    for one in found.segments:
        mask = found.mask((one,))
        assert np.array_equal(mask.stored, layers()[one.layer] == one.value)
        np.testing.assert_allclose(mask.stored_affine, AFFINE)
    both = found.mask((found.segments[1], found.segments[3]), 5)
    assert np.array_equal(both.stored, 5 * np.isin(layers()[1], [1, 3]))
    assert decoded_size(path) == (2 * np.prod(SHAPE), 2 * np.prod(SHAPE))


def test_layers_are_where_itk_finds_them(tmp_path: Path) -> None:
    path = put(tmp_path, "a.seg.nrrd", seg_nrrd(layers(), SEGMENTS))
    with silent():
        image = sitk.ReadImage(str(path))
    assert np.array_equal(sitk.GetArrayFromImage(image).transpose(3, 2, 1, 0), layers())
    found = read_segments(path, tmp_path)
    spacing = np.linalg.norm(found.mask(()).stored_affine[:3, :3], axis=0)
    np.testing.assert_allclose(spacing, image.GetSpacing())


def test_files_of_one_layer_and_of_older_slicers(tmp_path: Path) -> None:
    one = put(tmp_path, "one.seg.nrrd", seg_nrrd(layers()[0], [SEGMENTS[0], SEGMENTS[2]]))
    found = read_segments(one, tmp_path)
    assert found.mask(found.segments[1:]).stored.sum() == 3 * 4 * 3
    assert read_volume(one, tmp_path).stored.max() == 2  # a label map like any other
    # Before 4.11: a layer for each segment, and no word of layers and values.
    old = np.stack([layers()[0] == 1, layers()[1] == 1]).astype(np.uint8)
    path = put(tmp_path, "old.seg.nrrd", seg_nrrd(old, [{"Name": "liver"}, {"Name": "Tumour"}]))
    found = read_segments(path, tmp_path)
    assert [(s.layer, s.value) for s in found.segments] == [(0, 1), (1, 1)]
    assert np.array_equal(found.mask(found.segments[1:]).stored, layers()[1] == 1)


def test_layers_without_a_choice_are_refused_in_words(tmp_path: Path) -> None:
    path = put(tmp_path, "a.seg.nrrd", seg_nrrd(layers(), SEGMENTS))
    with pytest.raises(CaseError) as caught:
        read_volume(path, tmp_path)
    assert caught.value.reason == Reason.NOT_3D
    assert "3D Slicer with 2 layers" in caught.value.detail
    assert "by their names, as reader.segments of the recipe" in caught.value.detail
    assert "Tumour" not in caught.value.detail


@pytest.mark.parametrize(
    ("data", "reason", "words"),
    [
        (seg_nrrd(layers()[0], []), Reason.ANNOTATION_MISMATCH, "its header names none"),
        (seg_nrrd(layers(), [{"Name": "a", "Layer": 2}]), Reason.UNREADABLE, "layer 2 of 2"),
        (seg_nrrd(layers(), [{"Name": "a", "LabelValue": 0}]), Reason.UNREADABLE, "value 0"),
        (seg_nrrd(layers(), [{"Name": "a", "Layer": "x"}]), Reason.UNREADABLE, "'x', expected"),
        (seg_nrrd(layers(), [{"Name": "a", "Layer": -1}]), Reason.UNREADABLE, "expected a number"),
        (seg_nrrd(layers(), SEGMENTS, "Segment0_Name:=b"), Reason.UNREADABLE, "appears twice"),
        (seg_nrrd(layers(), SEGMENTS, kind="vector"), Reason.NOT_3D, "found 2 (kind 'vector')"),
        (seg_nrrd(layers(), SEGMENTS)[:-40], Reason.TRUNCATED_FILE, "too early"),
        (b"", Reason.TRUNCATED_FILE, "an empty file; download it again"),
        (b"PK\3\4", Reason.UNREADABLE, "a zip archive; unpack it"),
    ],
)
def test_refused(tmp_path: Path, data: bytes, reason: Reason, words: str) -> None:
    with pytest.raises(CaseError) as caught:
        read_segments(put(tmp_path, "a.seg.nrrd", data), tmp_path)
    assert caught.value.reason == reason and words in caught.value.detail


def test_another_format_has_no_names(tmp_path: Path) -> None:
    write_nifti(tmp_path / "a.nii", layers()[0], AFFINE)
    with pytest.raises(CaseError, match=r"expected a \.seg\.nrrd of 3D Slicer"):
        read_segments(tmp_path / "a.nii", tmp_path)


# --- Built ---------------------------------------------------------------------------


def make(tmp_path: Path, instances: Note, segments: str | None, **reader: Any) -> Path:
    """Write a recipe, and an image with its segmentation, cropped as Slicer crops."""
    content = yaml.safe_load(recipe_template("mine"))
    content["reader"] = {
        "name": "volume_pairs",
        "layouts": [{"name": "flat", "image": "{case}{ext}", "mask": "{case}.seg.nrrd"}],
        "patient": "(.*)",
        **({} if segments is None else {"segments": segments}),
        **reader,
    }
    content |= {"instances": instances, "minimum_size": None}
    recipe = tmp_path / "mine.yaml"
    recipe.write_text(yaml.safe_dump(content), encoding="utf-8")
    raw = tmp_path / "raw"
    raw.mkdir()
    rng = np.random.default_rng(5)
    image = rng.integers(-1000, 400, (40, 30, 20)).astype(np.int16)
    write_itk(raw / "p.nrrd", image, AFFINE)
    cropped = AFFINE.copy()
    cropped[:3, 3] = (AFFINE @ [3, 2, 1, 1])[:3]
    put(raw, "p.seg.nrrd", seg_nrrd(layers(), SEGMENTS, affine=cropped))
    return recipe


@pytest.mark.parametrize("labels_only", [False, True])
def test_each_segment_whose_name_fits_is_a_lesion(tmp_path: Path, labels_only: bool) -> None:
    recipe = make(tmp_path, {"rule": "given"}, r"(?i:tumou?r \d)")
    report = build(recipe, tmp_path / "raw", tmp_path / "out", labels_only=labels_only)
    assert (report.ok, report.skipped, report.failed) == (2, 1, 0)
    rows = load_manifest(report.manifest).set_index("lesion_index")
    assert rows["source_lesion_id"].tolist() == ["segment-1", "segment-3", "segment-4"]
    assert rows["mask_voxels"].tolist()[:2] == [7 * 7 * 5, 7 * 7 * 5]
    assert rows.loc[3, "reason"] == "no_lesion"
    assert rows.loc[3, "detail"] == "segment 4 has no voxel"
    assert "structure_empty" in rows.loc[3, "qc_flags"]
    assert ("mask_on_subgrid" in rows.loc[1, "qc_flags"]) != labels_only
    assert "Tumour" not in rows.to_csv()


def test_the_union_of_segments_is_split(tmp_path: Path) -> None:
    rule = {"rule": "components", "values": [2], "others": None}
    report = build(make(tmp_path, rule, "(cyst|Tumour.*)"), tmp_path / "raw", tmp_path / "out")
    assert report.ok == 3 and not report.failed


def test_segments_that_overlap_are_flagged(tmp_path: Path) -> None:
    report = build(make(tmp_path, {"rule": "given"}, ".*"), tmp_path / "raw", tmp_path / "out")
    rows = load_manifest(report.manifest, ["source_lesion_id", "qc_flags", "status"])
    flagged = {
        row.source_lesion_id for row in rows.itertuples() if "overlaps_lesion" in row.qc_flags
    }
    assert flagged == {"segment-0", "segment-1"} and (rows["status"] == "ok").sum() == 4


def test_no_name_fits(tmp_path: Path) -> None:
    report = build(make(tmp_path, {"rule": "given"}, "met.*"), tmp_path / "raw", tmp_path / "out")
    (row,) = report.rows
    assert row["reason"] == "annotation_mismatch"
    assert "whose name fits 'met.*', found 5 others" in (row["detail"] or "")
    assert "change reader.segments in the recipe" in (row["detail"] or "")


@pytest.mark.parametrize(
    ("instances", "segments", "words"),
    [
        ({"rule": "given"}, None, "needs reader.segments"),
        ({"rule": "values"}, ".*", "'given' (each segment is a lesion)"),
        ({"rule": "given"}, "(", "not a regular expression"),
    ],
)
def test_recipes_that_cannot_be(
    tmp_path: Path, instances: Note, segments: str | None, words: str
) -> None:
    recipe = make(tmp_path, instances, segments)
    assert words in "\n".join(recipe_problems(str(recipe)))
    with pytest.raises(RecipeError):
        load_recipe(str(recipe))
