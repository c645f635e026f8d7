"""`release diff`: what changed, by how much, and why."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from makers.builds import ball, make_build, make_release, put, voi_row, write_rows

from uls_data.cli import main
from uls_data.errors import UlsDataError
from uls_data.release import Difference, release_build, release_diff
from uls_data.release.difference import KINDS

MASK = ball(9.0)


def release(folder: Path, rows: list[dict[str, Any]], **options: Any) -> Path:
    """Release rows; those with a `mask` have one, the others noise."""
    out = folder / "out"
    written = []
    for row in rows:
        mask = row.pop("mask", None)
        written.append(put(out, row, mask) if row["status"] == "ok" else row)
    for name in sorted({row["layer"] == "corrected" for row in written}):
        some = [row for row in written if (row["layer"] == "corrected") == name]
        write_rows(out, some, "errata" if name else None)
    return release_build(out, folder / "release", "1", **options).folder


def compared(tmp_path: Path, old: dict[str, Any], new: dict[str, Any]) -> list[Difference]:
    """Compare two releases of one VOI beside an unchanged one; the rows differ as told."""
    folders = []
    for name, changes in (("old", old), ("new", new)):
        rows = [voi_row("kits21", 1), voi_row("kits21", 2, **{"mask": MASK, **changes})]
        folders.append(release(tmp_path / name, rows))
    return release_diff(*folders)


def test_equal_releases(tmp_path: Path) -> None:
    one = make_release(tmp_path / "one", {"kits21": 3})
    assert release_diff(one.folder, one.folder) == []
    # The same data by other software, with other words, in a build that was not packed.
    rows = make_build(tmp_path / "two", {"kits21": 3})
    for row in rows:
        row |= {"software_version": "9.9", "qc_flags": ["oblique"]}
    write_rows(tmp_path / "two", rows)
    assert release_diff(one.folder, tmp_path / "two") == []


@pytest.mark.parametrize(("radius", "shift"), [(10.0, 0), (9.0, 3)])
def test_a_changed_mask_has_its_dice(tmp_path: Path, radius: float, shift: int) -> None:
    mask = ball(radius, (128 + shift, 128, 64))
    (found,) = compared(tmp_path, {}, {"mask": mask, "recipe_version": 2})
    assert (found.kind, found.voi_id) == ("mask_changed", "case_00002_lesion_01_sample_0")
    expected = 2 * np.sum(mask & MASK) / (mask.sum() + MASK.sum())
    assert found.dice == pytest.approx(expected)
    assert found.reason == "recipe_version 1 -> 2"


def test_a_moved_click_moves_the_voi_not_the_mask(tmp_path: Path) -> None:
    """The same lesion in a VOI 5 voxels further along x: laid over each other, it is one mask."""
    affine = np.diag([0.8, 0.8, 2.5, 1.0])
    affine[0, 3] = 5 * 0.8
    moved = {"mask": ball(9.0, (123, 128, 64)), "affine": affine.ravel().tolist()}
    found = {its.kind: its for its in compared(tmp_path, {}, {**moved, "click_x_vox": 107})}
    assert set(found) == {"mask_changed", "click_moved"}
    assert found["mask_changed"].dice == 1.0
    assert found["click_moved"].detail == "click (102, 102, 102) -> (107, 102, 102)"
    unknown = {f"click_{axis}_vox": None for axis in "xyz"}
    found = {its.kind: its for its in compared(tmp_path / "2", unknown, {**moved, **unknown})}
    assert found["click_moved"].detail == "VOI moved by (5, 0, 0) voxels"


@pytest.mark.parametrize(
    ("change", "kind", "detail"),
    [
        ({"long_axis_vox": 20.0}, "measurement_moved", "long_axis_vox 14.5 -> 20"),
        ({"recist_points_vox": [1.0, 2.0]}, "measurement_moved", "null -> (1, 2)"),
        ({"lesion_type": "liver"}, "relabelled", "lesion_type kidney -> liver"),
        ({"split": "heldout"}, "relabelled", "split train -> heldout"),
        ({"long_axis_vox": 14.5 + 1e-9}, None, ""),
        ({"software_version": "2"}, None, ""),
    ],
)
def test_numbers_and_words(
    tmp_path: Path, change: dict[str, Any], kind: str | None, detail: str
) -> None:
    found = compared(tmp_path, {}, change)
    assert [its.kind for its in found] == ([kind] if kind else [])
    assert all(detail in its.detail for its in found)


def test_added_and_removed_with_their_reasons(tmp_path: Path) -> None:
    small = {"status": "skipped", "reason": "below_minimum_size", "detail": "4.2 < 5"}
    old = [voi_row("kits21", 1), voi_row("kits21", 2), voi_row("kits21", 3, **small)]
    new = [voi_row("kits21", 1, **small), voi_row("kits21", 3), voi_row("kits21", 4)]
    found = release_diff(release(tmp_path / "old", old), release(tmp_path / "new", new))
    assert [(its.kind, its.voi_id, its.reason) for its in found] == [
        ("removed", "case_00001_lesion_01_sample_0", "below_minimum_size: 4.2 < 5"),
        ("removed", "case_00002_lesion_01_sample_0", ""),
        ("added", "case_00003_lesion_01_sample_0", "below_minimum_size: 4.2 < 5"),
        ("added", "case_00004_lesion_01_sample_0", ""),
    ]


def test_a_correction_is_a_change_with_its_text(tmp_path: Path) -> None:
    detail = "replace | 2026-01-02 | by ann | - | leaked into the vein | evidence: e | overlay o"
    mask = ball(8.0)
    changes = {"layer": "corrected", "parent_layer": "annotated", "mask": mask, "detail": detail}
    old = release(tmp_path / "old", [voi_row("kits21", 1, mask=MASK)])
    rows = [voi_row("kits21", 1, mask=MASK), voi_row("kits21", 1, **changes)]
    new = release(tmp_path / "new", rows)
    for newer in (new, tmp_path / "new" / "out"):
        (found,) = release_diff(old, newer)
        assert (found.kind, found.layer) == ("mask_changed", "corrected")
        assert found.reason == detail
        assert found.dice == pytest.approx(2 * mask.sum() / (mask.sum() + MASK.sum()))
    dropped = voi_row(
        "kits21",
        1,
        layer="corrected",
        parent_layer="annotated",
        status="skipped",
        reason="erratum_drop",
        detail="drop | a cyst",
    )
    rest = [voi_row("kits21", 1, mask=MASK), voi_row("kits21", 2), dropped]
    (gone, _) = release_diff(old, release(tmp_path / "gone", rest))
    assert (gone.kind, gone.reason) == ("removed", "erratum_drop: drop | a cyst")


def test_licences_and_images(tmp_path: Path) -> None:
    out = tmp_path / "old"
    rows = make_build(out, {"kits21": 2, "lits": 1})
    shutil.copytree(out, tmp_path / "new")
    for row in rows:
        if row["source"] == "lits":
            row |= {"licence": "CC-BY-SA-4.0", "redistributable": True}
    rows[0]["image_voxels_sha256"] = "f" * 64
    write_rows(tmp_path / "new", rows)
    found = release_diff(out, tmp_path / "new")
    assert [(its.kind, its.source) for its in found] == [
        ("image_changed", "kits21"),
        ("licence_changed", "lits"),
    ]
    assert found[1].detail == "unknown, redistributable None -> CC-BY-SA-4.0, redistributable True"
    assert {its.kind for its in found} < set(KINDS)


def test_a_mask_that_cannot_be_read_has_no_dice(tmp_path: Path) -> None:
    old = release(tmp_path / "old", [voi_row("kits21", 1, mask=MASK)])
    new = release(tmp_path / "new", [voi_row("kits21", 1, mask=ball(7.0))])
    next(new.glob("*.tar")).unlink()
    (found,) = release_diff(old, new)
    assert found.dice is None
    assert "no Dice: kits21/labels/annotated/case_00001_lesion_01_sample_0.nii.gz" in found.detail
    # A file that is not the mask of its row does not get a number either.
    label = new / "kits21" / "labels" / "annotated" / "case_00001_lesion_01_sample_0.nii.gz"
    label.parent.mkdir(parents=True)
    shutil.copy(next((tmp_path / "old" / "out").rglob("labels/**/*.nii.gz")), label)
    (found,) = release_diff(old, new)
    assert found.dice is None
    assert "is not the mask that its row describes" in found.detail


def test_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    old = release(tmp_path / "old", [voi_row("kits21", 1, mask=MASK)])
    new = release(tmp_path / "new", [voi_row("kits21", 1, mask=ball(8.0)), voi_row("kits21", 2)])

    def call(*words: str) -> tuple[int, str]:
        with pytest.raises(SystemExit) as caught:
            main(["release", "diff", *words])
        return int(caught.value.code or 0), capsys.readouterr().out

    code, out = call(str(old), str(new))
    assert code == 0
    assert "1 mask_changed, 1 added" in out
    code, out = call(str(old), str(new), "--json")
    lines = [json.loads(line) for line in out.splitlines()]
    assert [line["kind"] for line in lines] == ["mask_changed", "added"]
    assert 0.7 < lines[0]["dice"] < 0.95
    assert call(str(old), str(old)) == (
        0,
        "Equal: the same lesions, voxels, measurements and licences.\n",
    )
    with pytest.raises(UlsDataError):
        release_diff(old, tmp_path / "nothing")
