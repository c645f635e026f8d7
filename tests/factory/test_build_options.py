"""Which cases a build takes, and what changes nothing."""

from __future__ import annotations

import gzip
import json
import re
from pathlib import Path
from typing import Any

import nibabel as nib
import pytest
import yaml
from makers.small_build import (
    ONE,
    SHAPE,
    TWO,
    block,
    hu_of,
    mask_of,
    only_row,
    put,
    run,
    tree,
    write_recipe,
)

from uls_data.errors import SourceError
from uls_data.factory import build
from uls_data.recipe import recipe_template


def test_several_clicks(tmp_path: Path) -> None:
    raw, out = tmp_path / "raw", tmp_path / "out"
    put(raw, "a")
    three = run(raw, out, clicks=3).rows
    assert [row["voi_id"] for row in three] == [f"a_lesion_01_sample_{k}" for k in range(3)]
    assert len({tuple(row[f"click_{a}_vox"] for a in "xyz") for row in three}) == 3
    assert len({row["image_voxels_sha256"] for row in three}) == 3
    single = only_row(run(raw, tmp_path / "single"))
    assert single["image_sha256"] == three[0]["image_sha256"]  # the first click stays
    other = only_row(run(raw, tmp_path / "other", seed=1))
    assert other["image_voxels_sha256"] != single["image_voxels_sha256"]


def test_limit_and_only(tmp_path: Path) -> None:
    raw = tmp_path / "raw"
    for case in ("case_1", "case_2", "case_10"):
        put(raw, case)
    first = run(raw, tmp_path / "limit", limit=2)
    assert [row["case_id"] for row in first.rows] == ["case_1", "case_2"]
    assert not first.complete and first.cases == 2
    chosen = run(raw, tmp_path / "only", only=["case_10", "case_1"])
    assert {row["case_id"] for row in chosen.rows} == {"case_10", "case_1"}
    with pytest.raises(SourceError, match=r"case_11.*Did you mean case_1"):
        run(raw, tmp_path / "none", only=["case_11"])
    assert not (tmp_path / "none").exists()


def test_labels_only(tmp_path: Path) -> None:
    raw, out = tmp_path / "raw", tmp_path / "out"
    put(raw, "a")
    put(raw, "masks_alone")
    (raw / "images" / "masks_alone.nii").unlink()
    full = run(raw, tmp_path / "full", only=["a"]).rows[0]
    report = run(raw, out, labels_only=True)
    assert report.ok == 2 and not (out / "mine" / "images").exists()
    label = report.rows[0]
    for column in ("image_path", "image_sha256", "image_source", "pad_value_hu", "hu_min"):
        assert label.get(column) is None
    assert label["label_sha256"] == full["label_sha256"]
    assert label["click_x_vox"] == full["click_x_vox"]


def test_dry_run_touches_nothing(tmp_path: Path) -> None:
    raw, out = tmp_path / "raw", tmp_path / "out"
    put(raw, "a")
    put(raw, "b")
    (raw / "masks" / "b.nii").unlink()
    before = {path: path.stat().st_mtime_ns for path in raw.rglob("*")}
    recipe = write_recipe(raw)
    report = build(recipe, raw, out, dry_run=True)
    assert [(row["case_id"], row["status"]) for row in report.rows] == [
        ("a", "planned"),
        ("b", "failed"),
    ]
    assert not out.exists()
    assert {path: path.stat().st_mtime_ns for path in before} == before


def test_wrong_use(tmp_path: Path) -> None:
    raw = tmp_path / "raw"
    put(raw, "a")
    wrong: list[dict[str, Any]] = [
        {"profile": "best"},
        {"workers": -1},
        {"clicks": 0},
        {"limit": 0},
    ]
    for options in wrong:
        with pytest.raises(SourceError, match=next(iter(options))):
            run(raw, tmp_path / "out", **options)
    with pytest.raises(SourceError, match="raw folder itself"):
        run(raw, raw)
    with pytest.raises(SourceError, match="no such folder"):
        build("kits21", tmp_path / "absent", tmp_path / "out")
    blocked = tmp_path / "file"
    blocked.write_text("in the way")
    with pytest.raises(SourceError, match="cannot be written"):
        run(raw, blocked)
    assert not (tmp_path / "out").exists()


def test_output_below_the_raw_root_is_not_read_back(tmp_path: Path) -> None:
    raw = tmp_path / "raw"
    put(raw / "set", "a")
    content = yaml.safe_load(recipe_template("mine"))
    layout = {"name": "any", "image": "**/images/{case}{ext}", "mask": "**/masks/{case}{ext}"}
    reader = {**content["reader"], "layouts": [layout]}
    put(raw / "out", "b")  # as a copy of the archive might lie there
    assert run(raw, raw / "out", {"reader": reader}).ok == 1
    again = run(raw, raw / "out", {"reader": reader})
    assert (again.ok, again.failed, again.done_before) == (1, 0, 1)


def test_published_profile(tmp_path: Path) -> None:
    raw = tmp_path / "raw"
    hu = hu_of((40, 30, 150))
    hu[0, 0, 149] = -3000  # far from both lesions: outside of their VOIs
    blocks = (block(3, 4, 2), block(18, 15, 11))
    put(raw, "a", blocks, image=hu)
    first, second = run(raw, tmp_path / "published", profile="published").rows
    relative = [
        tuple(row[f"click_{a}_vox"] - part[at].start for at, a in enumerate("xyz"))
        for row, part in zip((first, second), blocks, strict=True)
    ]
    assert relative[0] == relative[1]  # 216 voxels both: the same rank
    assert first["pad_value_hu"] == second["pad_value_hu"] == -3000
    paper = run(raw, tmp_path / "paper").rows
    assert all(row["pad_value_hu"] == row["hu_min"] - 1 > -3000 for row in paper)
    drawn = [
        tuple(row[f"click_{a}_vox"] - part[at].start for at, a in enumerate("xyz"))
        for row, part in zip(paper, blocks, strict=True)
    ]
    assert drawn[0] != drawn[1]
    assert {row["profile"] for row in paper} == {"paper"}


def test_order_and_company_of_cases_change_nothing(tmp_path: Path) -> None:
    raw = tmp_path / "raw"
    names = ("c", "a", "b")
    for seed, case in enumerate(names):
        put(raw, case, TWO[: 1 + seed % 2], image=hu_of(SHAPE, seed))
    run(raw, tmp_path / "whole")
    for case in names:
        run(raw, tmp_path / "single", only=[case])
    assert tree(tmp_path / "whole") == tree(tmp_path / "single")


def test_workers_change_nothing(tmp_path: Path) -> None:
    raw = tmp_path / "raw"
    for seed in range(3):
        put(raw, f"case_{seed}", TWO, image=hu_of(SHAPE, seed))
    put(raw, "case_3", mask=mask_of((30, 26, 19), ONE))
    run(raw, tmp_path / "one", workers=1)
    run(raw, tmp_path / "two", workers=2)
    assert tree(tmp_path / "one") == tree(tmp_path / "two")


def test_no_text_of_a_header_reaches_the_output(tmp_path: Path) -> None:
    raw, out = tmp_path / "raw", tmp_path / "out"
    put(raw, "a")
    secret = b"DOE^JANE 1950"
    for folder in ("images", "masks"):
        path = raw / folder / "a.nii"
        data = bytearray(path.read_bytes())
        for at, room in ((4, 10), (14, 18), (148, 80), (228, 24), (328, 16)):
            data[at : at + min(room, len(secret))] = secret[:room]
        path.write_bytes(bytes(data))
    run(raw, out)
    for path in out.rglob("*"):
        if path.is_file():
            raw_bytes = path.read_bytes()
            text = gzip.decompress(raw_bytes) if path.suffix == ".gz" else raw_bytes
            assert b"DOE^" not in text and b"JANE" not in text, path
    header = nib.load(next(out.rglob("*.nii.gz"))).header
    for field in ("descrip", "intent_name", "aux_file", "db_name", "data_type"):
        assert bytes(header[field].item()).strip(b"\0") == b""
    packed = next(out.rglob("*.nii.gz")).read_bytes()
    assert packed[3] == 0 and packed[4:8] == bytes(4)  # no name, no time


def test_damage_that_no_check_foresaw_is_a_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    raw, out = tmp_path / "raw", tmp_path / "out"
    put(raw, "a")
    put(raw, "b")

    def broken(*_: Any) -> None:
        raise ZeroDivisionError("unforeseen")

    with monkeypatch.context() as patch:
        patch.setattr("uls_data.sources.masks.find_lesions", broken)
        report = run(raw, out)
    assert [row["reason"] for row in report.rows] == ["internal_error"] * 2
    assert "unforeseen" in report.rows[0]["detail"]
    assert str(tmp_path) not in json.dumps(report.rows)  # no path of the machine
    assert run(raw, out).ok == 2  # the same command tries again


def test_no_path_of_the_machine_in_any_row(tmp_path: Path) -> None:
    raw, out = tmp_path / "raw", tmp_path / "out"
    put(raw, "a")
    put(raw, "b", mask=mask_of((30, 26, 19), ONE))
    put(raw, "c")
    (raw / "images" / "c.nii").write_bytes(b"short")
    (raw / "images" / "d.mha").write_bytes(b"NDims = 3\n")
    (raw / "masks" / "d.mha").write_bytes(b"NDims = 3\n")
    report = run(raw, out)
    assert report.failed == 3
    text = json.dumps(report.rows)
    assert str(tmp_path) not in text and not re.search(r'"/[a-z]', text)
