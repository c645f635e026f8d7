"""`recipe new --raw`: the layout, the values and the names that are there, and what is not told."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from makers.headers import put
from makers.shared import Shared
from makers.slicer import SEGMENTS, layers, seg_nrrd

from demo.files import write_itk, write_nifti
from uls_data import build
from uls_data.cli import main
from uls_data.errors import RecipeError, SourceError
from uls_data.recipe import load_recipe, recipe_names
from uls_data.sources.find import find_cases
from uls_data.sources.proposing import Proposal, propose_recipe

AFFINE = np.diag([-0.8, -0.8, 2.0, 1.0])
SHAPE = (20, 18, 12)


def image(seed: int = 1) -> Any:
    return np.random.default_rng(seed).integers(-1000, 900, SHAPE).astype(np.int16)


def mask(*values: int) -> Any:
    """A block of each value."""
    found = np.zeros(SHAPE, np.uint8)
    for at, value in enumerate(values):
        found[4 * at : 4 * at + 3, 3:9, 2:9] = value
    return found


def proposed(tmp_path: Path, raw: Path) -> tuple[Proposal, dict[str, Any]]:
    """Proposal, and its fields, known to be those of a recipe that can be loaded."""
    made = propose_recipe("mine", raw)
    path = tmp_path / "mine.yaml"
    path.write_text(made.text, encoding="utf-8")
    load_recipe.cache_clear()
    load_recipe(str(path))
    return made, yaml.safe_load(made.text)


@pytest.mark.parametrize(
    ("source", "pattern", "mask_pattern", "words"),
    [
        ("lits", "**/volume-{case}{ext}", "**/segmentation-{case}{ext}", "of the values 1, 2 are"),
        ("kits21", "**/{case}/imaging{ext}", "**/{case}/aggregated_", "of the values 1, 2, 3 are"),
        ("mdsc_pancreas", "**/imagesTr/{case}{ext}", "**/labelsTr/{case}{ext}", "imagesTs/"),
        ("own", "**/images/{case}{ext}", "**/masks/{case}{ext}", "belong to one patient"),
    ],
)
def test_layouts_of_real_sources(
    shared: Shared, tmp_path: Path, source: str, pattern: str, mask_pattern: str,
    words: str,
) -> None:  # fmt: skip
    made, content = proposed(tmp_path, shared.raw(source))
    (layout,) = content["reader"]["layouts"]
    assert layout["image"] == pattern and layout["mask"].startswith(mask_pattern)
    assert words in "\n".join(made.unsure)
    known = source in recipe_names()
    wanted = find_cases(load_recipe(source).recipe, shared.raw(source)) if known else []
    found = find_cases(load_recipe(str(tmp_path / "mine.yaml")).recipe, shared.raw(source))
    whole = [case for case in found if case.problem is None]
    assert len(whole) >= max(sum(case.problem is None for case in wanted), 1)
    assert f"by this recipe: {len(found)} cases" in "\n".join(made.seen)


def test_names_of_values_come_from_dataset_json(shared: Shared, tmp_path: Path) -> None:
    """Of pancreas and cancer, only one is a lesion."""
    made, content = proposed(tmp_path, shared.raw("mdsc_pancreas"))
    assert content["instances"]["values"] == [2] and content["instances"]["others"] == [1]
    assert any("(cancer)" in line for line in made.seen)


def test_rtstruct(shared: Shared, tmp_path: Path) -> None:
    made, content = proposed(tmp_path, shared.raw("own_dicom"))
    assert content["reader"]["kind"] == "rtstruct" and content["instances"] == {"rule": "given"}
    assert content["reader"]["structures"] == "GTV\\-1"
    assert "     2 GTV-1" in "\n".join(made.seen)
    report = build(tmp_path / "mine.yaml", shared.raw("own_dicom"), tmp_path / "out")
    assert report.ok == 2


def test_seg_beside_masks(shared: Shared, tmp_path: Path) -> None:
    made, content = proposed(tmp_path, shared.raw("nih_ln_med"))
    assert content["reader"]["name"] == "dicom_objects" and content["reader"]["kind"] == "seg"
    assert "which this recipe does not read" in "\n".join(made.unsure)


def test_series_and_mask_volumes(shared: Shared, tmp_path: Path) -> None:
    raw = tmp_path / "raw"
    for path in sorted(shared.raw("nih_ln_med").rglob("*")):
        data = path.read_bytes() if path.is_file() else b""
        if data and b"1.2.840.10008.5.1.4.1.1.66.4" not in data[:600]:
            target = raw / path.relative_to(shared.raw("nih_ln_med"))
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(data)
    made, content = proposed(tmp_path, raw)
    assert content["reader"]["name"] == "dicom_masks"
    assert content["reader"]["mask"].endswith("{case}_mask{ext}")
    assert content["reader"]["case"] == r"MED_LYMPH_\d+"
    assert "called like a folder of a series" in "\n".join(made.seen)


def test_nnunet_raw(tmp_path: Path) -> None:
    raw = tmp_path / "raw/Dataset007_Mine"
    for number in (1, 2, 12):
        write_nifti(raw / f"imagesTr/mine_{number:03}_0000.nii.gz", image(number), AFFINE)
        write_nifti(raw / f"labelsTr/mine_{number:03}.nii.gz", mask(1, 2), AFFINE)
    (raw / "dataset.json").write_text(
        json.dumps({"labels": {"background": 0, "liver": 1, "Tumour": 2}})
    )
    _, content = proposed(tmp_path, raw.parent)
    (layout,) = content["reader"]["layouts"]
    assert layout["image"] == "**/imagesTr/{case}_0000{ext}"
    assert layout["mask"] == "**/labelsTr/{case}{ext}"
    assert content["instances"]["values"] == [2] and content["instances"]["others"] == [1]
    assert content["reader"]["case"] == r"mine_\d+"


@pytest.mark.parametrize(
    ("alone", "reason"),
    [("labelsTr/other.nii.gz", "image_missing"), ("imagesTr/other_0000.nii.gz", "mask_missing")],
)
def test_a_name_unlike_the_others_is_a_case_too(tmp_path: Path, alone: str, reason: str) -> None:
    raw = tmp_path / "raw"
    for number in (1, 2):
        write_nifti(raw / f"imagesTr/mine_{number:03}_0000.nii.gz", image(number), AFFINE)
        write_nifti(raw / f"labelsTr/mine_{number:03}.nii.gz", mask(1), AFFINE)
    write_nifti(raw / alone, mask(1) if reason == "image_missing" else image(3), AFFINE)
    made, _ = proposed(tmp_path, raw)
    assert f"by this recipe: 3 cases; 1 {reason}" in made.seen
    assert build(tmp_path / "mine.yaml", raw, tmp_path / "out").failed == 1


@pytest.mark.parametrize(
    "labels",
    [
        {"\ud800 tumour": 1, "\x1b[2Jtumour": 2},
        *({"tumour": float("inf")}, {"tumour": [[1]]}, {"²": "tumour"}, ["tumour"], "tumour", 5),
    ],
)
def test_names_of_values_that_are_none(tmp_path: Path, labels: Any) -> None:
    raw = tmp_path / "raw"
    for number in (1, 2):
        write_nifti(raw / f"imagesTr/mine_{number:03}_0000.nii.gz", image(number), AFFINE)
        write_nifti(raw / f"labelsTr/mine_{number:03}.nii.gz", mask(1, 2), AFFINE)
    (raw / "dataset.json").write_text(json.dumps({"labels": labels}))
    made, content = proposed(tmp_path, raw)
    assert content["instances"]["values"] == [1, 2]
    assert all(line.isprintable() and "tumour" not in line for line in made.seen)


def test_one_flat_folder_of_mixed_formats(tmp_path: Path) -> None:
    raw = tmp_path / "raw"
    for case in ("anna", "bob"):
        write_nifti(raw / f"{case}.nii.gz", image(), AFFINE)
        write_itk(raw / f"{case}_mask.nrrd", mask(1), AFFINE)
    made, content = proposed(tmp_path, raw)
    (layout,) = content["reader"]["layouts"]
    assert (layout["image"], layout["mask"]) == ("{case}{ext}", "{case}_mask{ext}")
    assert build(tmp_path / "mine.yaml", raw, tmp_path / "out").ok == 2
    assert "by this recipe: 2 cases" in made.seen


def test_numbers_of_lesions(tmp_path: Path) -> None:
    raw = tmp_path / "raw"
    for count in (1, 2, 3, 4):
        write_nifti(raw / f"ct/p{count}.nii", image(), AFFINE)
        write_nifti(raw / f"gt/p{count}.nii", mask(*range(1, count + 1)), AFFINE)
    made, content = proposed(tmp_path, raw)
    assert content["instances"] == {"rule": "values"}
    assert "if they are kinds of tissue, use components" in "\n".join(made.unsure)


def test_slicer(tmp_path: Path) -> None:
    raw = tmp_path / "raw"
    for case in ("p1", "p2", "p3"):
        write_itk(raw / case / "CT.nrrd", np.zeros((30, 24, 16), np.int16) - 900, AFFINE)
        put(raw / case, "Segmentation.seg.nrrd", seg_nrrd(layers(), SEGMENTS[:4], affine=AFFINE))
    made, content = proposed(tmp_path, raw)
    assert content["reader"]["segments"] == "Tumour 1|Tumour 2"
    assert content["instances"] == {"rule": "given"}
    assert "     3 liver" in made.seen


@pytest.mark.parametrize("names", [["a\nb: [1]", "x' #", "{case}"], ["}", "*.nii"]])
def test_odd_names_make_no_odd_recipe(tmp_path: Path, names: list[str]) -> None:
    raw = tmp_path / "raw"
    for name in ("fine1", "fine2", *names):
        for folder, data in (("ct", image()), ("gt", mask(1))):
            (raw / folder).mkdir(parents=True, exist_ok=True)
            write_nifti(raw / folder / f"{name}.nii", data, AFFINE)
    _, content = proposed(tmp_path, raw)
    assert content["reader"]["layouts"] == [
        {"name": "as_found", "image": "**/ct/{case}{ext}", "mask": "**/gt/{case}{ext}"}
    ]


def test_what_is_packed_or_nothing_is_said(tmp_path: Path, shared: Shared) -> None:
    with pytest.raises(SourceError, match="the shipped recipe deeplesion reads such data"):
        propose_recipe("mine", shared.raw("deeplesion"))
    raw = tmp_path / "raw"
    raw.mkdir()
    with pytest.raises(SourceError, match="holds no file"):
        propose_recipe("mine", raw)
    with pytest.raises(SourceError, match="no such folder"):
        propose_recipe("mine", tmp_path / "absent")
    with pytest.raises(RecipeError, match="cannot name a source"):
        propose_recipe("Not A Name", raw)
    with zipfile.ZipFile(raw / "masks.zip", "w") as archive:
        archive.writestr("a", "b")
    write_nifti(raw / "a.nii", image(), AFFINE)
    with pytest.raises(SourceError, match=r"(?s)found 1 volumes.*masks\.zip: unpack them"):
        propose_recipe("mine", raw)


def test_on_the_command_line(
    shared: Shared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    def uls(*arguments: object) -> tuple[Any, str]:
        with pytest.raises(SystemExit) as caught:
            main([str(argument) for argument in arguments])
        streams = capsys.readouterr()
        return caught.value.code, streams.out + streams.err

    monkeypatch.chdir(tmp_path)
    code, said = uls("recipe", "new", "mine", "--raw", shared.raw("lits"))
    assert code == 0 and "What it could not tell:" in said and "Wrote mine.yaml" in said
    assert "     1 in " in said and "recipe check mine.yaml" in said
    assert uls("recipe", "check", "mine.yaml")[0] == 0
    assert uls("recipe", "new", "mine", "--raw", shared.raw("lits"), "--from", "lits")[0] == 2
    code, said = uls("recipe", "new", "mine", "--raw", shared.raw("lits"), "--force", "--json")
    assert code == 0 and json.loads(said)["unsure"]
