"""Pairs that a JSON list names, tidy and hostile."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
import yaml
from makers.raw_folders import AFFINE, organ_with, scan, write_list, write_nnunet_raw

from demo.files import write_nifti
from uls_data import build
from uls_data.errors import RecipeError, SourceError
from uls_data.outcome import Reason
from uls_data.recipe import load_recipe, recipe_template
from uls_data.sources.find import find_cases
from uls_data.sources.pairs.datalist import listed_files, read_datalist
from uls_data.sources.proposing import propose_recipe

PAIR = {"image": "scans/a.nii.gz", "label": "truth/a_gt.nii.gz"}


def first_problem(root: Path, item: Any) -> tuple[Reason, str]:
    found = listed_files(root, Path(write_list(root, {"training": [item, PAIR]}).name))
    assert len(found) == 2 and sum(case.problem is None for case in found.values()) == 1
    return next(case.problem for case in found.values() if case.problem)


def test_names_of_cases(tmp_path: Path) -> None:
    """Of files that are all called ct, the folders tell them apart; a pair counts once."""
    items = [
        PAIR,
        {"image": ["scans/b/ct.nii.gz", "scans/a.nii.gz"], "label": "./truth/b/ct_gt.nii.gz"},
        {"image": "scans/c/../c/ct.nii.gz", "label": "truth/c/ct_gt.nii.gz", "fold": 1},
    ]
    write_list(tmp_path, {"name": "mine", "training": items, "validation": items[:1]})
    found = listed_files(tmp_path, Path("list.json"))
    assert [*found] == ["a", "scans_b_ct", "scans_c_ct"]
    assert all(case.problem is None for case in found.values())
    assert found["scans_b_ct"].image == Path("scans/b/ct.nii.gz")


def test_nnunet_lists_files_of_cases(tmp_path: Path) -> None:
    write_list(
        tmp_path, {"dataset": {"p1": {"images": ["scans/a.nii.gz"], "label": PAIR["label"]}}}
    )
    (case,) = listed_files(tmp_path, Path("list.json")).values()
    assert case.case_id == "p1" and case.mask == Path("truth/a_gt.nii.gz")


def test_names_that_no_file_can_have(tmp_path: Path) -> None:
    """JSON holds lone surrogates, and letters of which a file name can have fewer."""
    files = {"images": [PAIR["image"]], "label": PAIR["label"]}
    other = {"images": ["scans/b/ct.nii.gz"], "label": "truth/b/ct_gt.nii.gz"}
    write_list(tmp_path, {"dataset": {"\ud800\x1b/p": files, "患" * 200: other}, "\udcff": [{}]})
    found = listed_files(tmp_path, Path("list.json"))
    assert [*found] == ["___p", "患" * 40, "_[0]"]
    assert [case.problem is None for case in found.values()] == [True, True, False]
    build(_recipe(tmp_path), tmp_path, tmp_path / "out")
    assert len([*tmp_path.glob("out/mine/images/*.nii.gz")]) == 3


def test_a_list_below_the_root_may_lead_up_in_it(tmp_path: Path) -> None:
    items = [{key: f"../{path}" for key, path in PAIR.items()}]
    write_list(tmp_path, [])
    (tmp_path / "lists").mkdir()
    (tmp_path / "lists/fold0.json").write_text(json.dumps(items))
    (case,) = listed_files(tmp_path, Path("lists/fold0.json")).values()
    assert case.problem is None and case.image == Path("scans/a.nii.gz")


@pytest.mark.parametrize(
    ("item", "reason", "words"),
    [
        ({"image": "../scans/a.nii.gz", "label": "x.nii"}, Reason.PATH_LEAVES_ROOT, "lies outside"),
        ({"image": "/etc/x.nii.gz", "label": "x.nii"}, Reason.PATH_LEAVES_ROOT, "lies outside"),
        ({"image": PAIR["image"], "label": "../../t.nii"}, Reason.PATH_LEAVES_ROOT, "../../t.nii"),
        ({"image": "out.nii.gz", "label": PAIR["label"]}, Reason.PATH_LEAVES_ROOT, "link"),
        ({"image": "round.nii.gz", "label": PAIR["label"]}, Reason.UNREADABLE, "leads back"),
        ({"image": "list.json", "label": PAIR["label"]}, Reason.UNSUPPORTED_FORMAT, "not a volume"),
        ({"image": "scans/a\0.nii", "label": PAIR["label"]}, Reason.UNREADABLE, "control"),
        ({"image": "a\x1b[2J.nii", "label": PAIR["label"]}, Reason.UNREADABLE, "control"),
        ({"image": "\ud800.nii", "label": PAIR["label"]}, Reason.UNREADABLE, "control"),
        ({"image": f"{300 * 'a'}.nii", "label": PAIR["label"]}, Reason.IMAGE_MISSING, "not there"),
        ({"image": "scans/gone.nii", "label": PAIR["label"]}, Reason.IMAGE_MISSING, "training[0]"),
        ({"image": PAIR["image"], "label": "truth/gone.nii"}, Reason.MASK_MISSING, "is not there"),
        ({"image": PAIR["image"]}, Reason.NOT_ANNOTATED, "no label"),
        ({"label": PAIR["label"]}, Reason.IMAGE_MISSING, "no image"),
        ({"image": 5, "label": [[]]}, Reason.ANNOTATION_UNREADABLE, "neither image nor label"),
        (7, Reason.ANNOTATION_UNREADABLE, "neither"),
    ],
)  # fmt: skip
def test_what_is_refused_is_a_case_with_a_reason(
    tmp_path: Path, item: Any, reason: Reason, words: str
) -> None:
    root = tmp_path / "raw"
    root.mkdir()
    write_nifti(tmp_path / "scans/a.nii.gz", scan(), AFFINE)
    (root / "out.nii.gz").symlink_to(tmp_path / "scans/a.nii.gz")
    (root / "round.nii.gz").symlink_to("round.nii.gz")
    found, detail = first_problem(root, item)
    assert found == reason and words in detail and detail.isprintable()


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"{", "not a JSON file"), (b"[" * 100_000, "not a JSON file"), (b"\xff\xfe", "not a JSON"),
        (b'{"a": 1}', "lists no case"), (b'"text"', "lists no case"), (b"[1, 2]", "lists no case"),
        (b'{"training": ["./a.nii.gz"]}', "lists no case"),
    ],
)  # fmt: skip
def test_no_list(tmp_path: Path, data: bytes, words: str) -> None:
    write_list(tmp_path, [PAIR])
    recipe = _recipe(tmp_path)
    (tmp_path / "list.json").write_bytes(data)
    with pytest.raises(SourceError, match=words):
        find_cases(load_recipe(str(recipe)).recipe, tmp_path)


def test_too_large_or_outside(tmp_path: Path) -> None:
    root = tmp_path / "raw"
    root.mkdir()
    (tmp_path / "list.json").write_text(json.dumps([PAIR]))
    (root / "list.json").symlink_to(tmp_path / "list.json")
    with pytest.raises(SourceError, match="leads out of the raw root"):
        listed_files(root, Path("list.json"))
    with (tmp_path / "large.json").open("wb") as file:
        os.truncate(file.fileno(), (64 << 20) + 1)
    with pytest.raises(SourceError, match="64 MiB"):
        read_datalist(tmp_path / "large.json")


def _recipe(folder: Path, datalist: str = "list.json") -> Path:
    content = yaml.safe_load(recipe_template("mine"))
    content["reader"] = {"name": "volume_pairs", "datalist": datalist}
    content["instances"]["values"] = [2]
    path = folder / "mine.yaml"
    path.write_text(yaml.safe_dump(content))
    load_recipe.cache_clear()
    return path


def test_build_of_a_list(tmp_path: Path) -> None:
    """Two of the cases have no label, or lead out: rows, beside the VOIs of the third."""
    items = [PAIR, {"image": "scans/b/ct.nii.gz"}, {"image": "../x.nii.gz", "label": "y.nii"}]
    write_list(tmp_path, {"training": items})
    report = build(_recipe(tmp_path), tmp_path, tmp_path / "out")
    assert (report.ok, report.skipped, report.failed) == (1, 1, 1)
    reasons = {row["reason"] for row in report.rows}
    assert reasons == {None, "not_annotated", "path_leaves_root"}


@pytest.mark.parametrize("value", ["../list.json", "/list.json", "", "a\0b"])
def test_a_list_lies_below_the_root(tmp_path: Path, value: str) -> None:
    with pytest.raises(RecipeError, match=r"reader\.datalist: must lie below the raw root"):
        load_recipe(str(_recipe(tmp_path, value)))


def test_one_of_layouts_and_list(tmp_path: Path) -> None:
    path = _recipe(tmp_path)
    content = yaml.safe_load(path.read_text())
    content["reader"]["layouts"] = [{"name": "a", "image": "{case}.nii", "mask": "{case}_m.nii"}]
    path.write_text(yaml.safe_dump(content))
    with pytest.raises(RecipeError, match="not both"):
        load_recipe(str(path))


def test_a_list_is_proposed_where_no_names_pair(tmp_path: Path) -> None:
    """Images and labels in one folder, called by numbers: only the list says which is which."""
    raw = tmp_path / "raw"
    for at in range(3):
        write_nifti(raw / f"f{at}{at}/{7 * at}a.nii", scan(at), AFFINE)
        write_nifti(raw / f"g{at}/{11 * at}.nii", organ_with(at + 1), AFFINE)
    items = [
        {"image": f"f{at}{at}/{7 * at}a.nii", "label": f"g{at}/{11 * at}.nii"} for at in range(3)
    ]
    (raw / "fold.json").write_text(json.dumps({"training": items}))
    made = propose_recipe("mine", raw)
    content = yaml.safe_load(made.text)
    assert content["reader"]["datalist"] == "fold.json"
    assert "fold.json lists 3 cases; 3 have image and label" in made.seen
    assert "by this recipe: 3 cases" in made.seen
    assert content["instances"]["values"] == [1, 2]


def test_dataset_of_nnunet_is_taken_first(tmp_path: Path) -> None:
    """Its dataset.json may say that files of other folders are meant."""
    raw = write_nnunet_raw(tmp_path / "raw")
    dataset = {
        "only": {"images": ["imagesTr/mine_002_0000.nii.gz"], "label": "labelsTr/mine_002.nii.gz"}
    }
    write_nnunet_raw(raw, dataset=dataset)
    made = propose_recipe("mine", raw)
    content = yaml.safe_load(made.text)
    assert content["reader"]["datalist"] == "dataset.json"
    assert content["instances"]["values"] == [2] and content["instances"]["others"] == [1]


@pytest.mark.parametrize(
    ("channels", "pattern", "said"),
    [
        ({"0": "PET", "1": "CT"}, "_0001{ext}", "channel 1 of 2 is CT"),
        ({"0": "CT", "1": "PET"}, "_0000{ext}", "channel 0 of 2 is CT"),
        ({"0": "T2", "1": "ADC"}, "_0000{ext}", "calls the images ADC, T2, not CT"),
    ],
)
def test_channels_of_nnunet(tmp_path: Path, channels: Any, pattern: str, said: str) -> None:
    raw = write_nnunet_raw(tmp_path / "raw", channel_names=channels)
    for number in (1, 2, 3):
        write_nifti(raw / f"imagesTr/mine_{number:03}_0001.nii.gz", scan(number), AFFINE)
    made = propose_recipe("mine", raw)
    (layout,) = yaml.safe_load(made.text)["reader"]["layouts"]
    assert layout["image"] == "**/imagesTr/{case}" + pattern
    assert said in "\n".join([*made.seen, *made.unsure])


def test_the_channel_that_is_ct_is_not_there(tmp_path: Path) -> None:
    raw = write_nnunet_raw(tmp_path / "raw", channel_names={"0": "PET", "1": "CT"})
    made = propose_recipe("mine", raw)
    assert not any("is CT" in line for line in made.seen)
    assert any("channel 1 of 2 is CT, but no names" in line for line in made.unsure)


def test_regions_of_nnunet(tmp_path: Path) -> None:
    """A value that several regions hold has the names of all."""
    labels = {"background": 0, "kidney": [1, 2, 3], "masses": [2, 3], "tumor": 2, "ignore": 9}
    raw = write_nnunet_raw(tmp_path / "raw", labels=labels)
    made = propose_recipe("mine", raw)
    instances = yaml.safe_load(made.text)["instances"]
    assert instances["values"] == [2] and instances["others"] == [1]
    assert any("(kidney, masses, tumor)" in line for line in made.seen)
