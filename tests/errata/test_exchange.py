"""A mask edited in another program comes back as a correction, or is refused with a reason."""

from __future__ import annotations

import json
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
from makers.builds import ball
from makers.editable import AFFINE, SOURCE, comes_back, voi_id, write_editable

from uls_data.cli import main
from uls_data.errata import (
    ErrataError,
    Kind,
    apply_errata,
    check_errata,
    find_target,
    load_overlay,
    take_edit,
    write_edit,
)
from uls_data.errors import ManifestError
from uls_data.io import sha256_voxels

SAID = {"author": "reader 7", "reason": "leaks into the vein"}


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("editable")
    write_editable(folder)
    return folder


@pytest.fixture
def out(written: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(written, tmp_path / "out"))


def save(path: Path, voxels: Any, affine: Any = AFFINE) -> Path:
    nibabel.save(nibabel.Nifti1Image(voxels, affine), path)
    return path


def edited(out: Path, number: int = 0) -> tuple[Path, Any]:
    """A VOI laid out, and its mask less two slices, which nobody saved yet."""
    folder = write_edit(voi_id(number), out, out.parent / "edits").folder
    mask = np.asarray(nibabel.load(folder / "mask.nii.gz").dataobj).copy()
    mask[:, :, 69:] = 0
    return folder, mask


def test_a_file_goes_out_and_comes_back(out: Path, tmp_path: Path) -> None:
    laid = write_edit(voi_id(0), out, tmp_path / "edits")
    assert laid.folder == tmp_path / "edits" / voi_id(0)
    image, mask = nibabel.load(laid.image), nibabel.load(laid.mask)
    assert np.array_equal(image.affine, mask.affine) and np.allclose(image.affine, AFFINE)
    assert np.array_equal(np.asarray(mask.dataobj), ball(6.0))
    assert image.get_data_dtype() == np.int16

    new = ball(6.0)
    new[130:, :, :] = 0
    save(laid.mask, new)
    taken = take_edit(laid.folder, out, **SAID)
    assert taken.flags == () and taken.overlay == out / "errata" / "edits.yaml"
    assert taken.before is not None
    assert taken.after["mask_voxels"] == int(new.sum()) < taken.before["mask_voxels"]
    (correction,) = load_overlay(taken.overlay).corrections
    assert correction == taken.correction and correction.kind is Kind.REPLACE
    comes_back(out, taken.overlay, 0, new, *SAID.values())


def test_an_edit_of_an_edit_stands_behind_it(out: Path, tmp_path: Path) -> None:
    folder, mask = edited(out)
    save(folder / "mask.nii.gz", mask)
    first = take_edit(folder, out, **SAID)
    elsewhere = write_edit(voi_id(0), out, tmp_path / "elsewhere").folder
    folder, again = edited(out)
    assert np.array_equal(np.asarray(nibabel.load(folder / "mask.nii.gz").dataobj), mask)
    again[:, :, 68:] = 0
    save(folder / "mask.nii.gz", again)
    # Applied in between or not: both corrections form one chain.
    apply_errata(first.overlay, out)
    second = take_edit(folder, out, author="ann", reason="still too long")
    assert second.correction.before == first.correction.after
    comes_back(out, second.overlay, 0, again, "ann", "still too long")
    save(elsewhere / "mask.nii.gz", ball(5.0))
    with pytest.raises(ErrataError, match="is not the current one; somebody corrected it"):
        take_edit(elsewhere, out, **SAID)


def test_slicer_saves_under_another_name_and_crops(out: Path) -> None:
    import SimpleITK as sitk

    folder, mask = edited(out)
    box = mask[120:140, 118:140, 55:75]
    image = sitk.GetImageFromArray(np.ascontiguousarray(box.T))
    image.SetSpacing((0.8, 0.8, 2.5))
    image.SetDirection((-1, 0, 0, 0, -1, 0, 0, 0, 1))
    x, y, z = (AFFINE @ (120, 118, 55, 1))[:3]
    image.SetOrigin((-x, -y, z))
    sitk.WriteImage(image, folder / "Segmentation.seg.nrrd", True)
    taken = take_edit(folder, out, **SAID)
    assert taken.file.name == "Segmentation.seg.nrrd"
    assert taken.flags == ("covers a part of the grid, put in its place",)
    assert taken.correction.after == sha256_voxels(mask)
    assert "put in its place" in taken.correction.evidence
    for name in ("a", "b"):
        save(folder / f"{name}.nii.gz", ball(4.0))
    with pytest.raises(ErrataError, match=r"several edited masks \(a.nii.gz, b.nii.gz\); name"):
        take_edit(folder, out, **SAID)


def test_a_file_beside_its_header_is_edited_twice(out: Path) -> None:
    import SimpleITK as sitk

    folder, _ = edited(out)
    image = sitk.ReadImage(str(folder / "mask.nii.gz"))
    for top in (69, 68):
        image[:, :, top:] = 0
        sitk.WriteImage(image, folder / "mine.mhd")
        assert take_edit(folder, out, **SAID).file.name == "mine.mhd"
    with pytest.raises(ErrataError, match="is as it was written"):
        take_edit(folder, out, **SAID)


def test_a_mask_of_somebody_else_is_not_overwritten(out: Path) -> None:
    folder, mask = edited(out)
    (folder / "edit.json").unlink()
    save(folder / "mask.nii.gz", mask)
    with pytest.raises(ErrataError, match=r"exists without edit\.json; name another folder"):
        write_edit(voi_id(0), out, folder.parent)
    assert np.array_equal(np.asarray(nibabel.load(folder / "mask.nii.gz").dataobj), mask)


@pytest.mark.parametrize(
    ("kind", "flag"),
    [
        (lambda m: (m.astype(np.float32), AFFINE), None),
        (lambda m: (m * np.uint8(255), AFFINE), "value 255 taken as 1"),
        (lambda m: (m.astype(np.float64) * 0.9999, AFFINE), "values rounded"),
        (lambda m: (m, AFFINE + np.eye(4, k=3) * 0.02), "its affine is 0.02 mm off"),
        # As programs store it that keep voxels from left to right.
        (
            lambda m: (
                m[::-1, ::-1],
                AFFINE @ [[-1, 0, 0, 255], [0, -1, 0, 255], [0, 0, 1, 0], [0, 0, 0, 1]],
            ),
            None,
        ),
    ],
)
def test_what_leaves_no_doubt_is_put_right(out: Path, kind: Any, flag: str | None) -> None:
    folder, mask = edited(out)
    save(folder / "mask.nii.gz", *kind(mask))
    taken = take_edit(folder, out, **SAID)
    assert taken.flags == (() if flag is None else (flag,))
    assert taken.correction.after == sha256_voxels(mask)


def shifted(millimetres: float) -> Any:
    moved = AFFINE.copy()
    moved[0, 3] += millimetres
    return moved


def two_values(mask: Any) -> Any:
    mask[128, 128, 60:63] = 2
    return mask


def padded(mask: Any) -> Any:
    mask[128, 128, 60:101] = 1
    return mask


REFUSED: list[tuple[str, Any, str]] = [
    ("empty", lambda m: (m * 0, AFFINE), "no voxel is lesion"),
    ("two", lambda m: (two_values(m), AFFINE), r"found 1 \(\d+ voxels\), 2 \(3 voxels\)"),
    ("negative", lambda m: (-m.astype(np.int16), AFFINE), "found -1"),
    ("image", lambda m: (m + np.float32(0.4), AFFINE), "found fractions"),
    ("nan", lambda m: (m * np.float32("nan"), AFFINE), "not numbers"),
    ("shape", lambda m: (m[:, :, :100], AFFINE), r"its grid is \(256, 256, 100\), expected"),
    ("spacing", lambda m: (m, AFFINE @ np.diag([1, 1, 0.5, 1])), "voxel size 0.8 0.8 1.25 mm, exp"),
    ("moved", lambda m: (m, shifted(4.0)), "lies up to 4 mm off its VOI; origin -27.5 12.25"),
    ("resampled", lambda m: (m[::2, ::2], AFFINE @ np.diag([2, 2, 1, 1])), "voxel size 1.6 1.6"),
    ("four", lambda m: (np.stack([m, m], axis=3), AFFINE), "three axes"),
    ("click", lambda m: (np.roll(m, 40, axis=0), AFFINE), "the click, voxel .* is not in the mask"),
    ("parts", lambda m: (m | np.roll(m, 40, axis=0), AFFINE), "2 parts"),
    ("padding", lambda m: (padded(m), AFFINE), "3 voxels lie in the padding"),
]


@pytest.mark.parametrize(("kind", "message"), [r[1:] for r in REFUSED], ids=[r[0] for r in REFUSED])
def test_masks_that_are_refused(out: Path, kind: Any, message: str) -> None:
    folder, mask = edited(out)
    save(folder / "mask.nii.gz", *kind(mask))
    with pytest.raises(ErrataError, match=message):
        take_edit(folder, out, **SAID)
    assert not (out / "errata" / "edits.yaml").exists()
    assert not list(out.rglob("patches/*"))


def test_hostile_files_are_refused(out: Path, tmp_path: Path) -> None:
    folder, mask = edited(out)
    label = folder / "mask.nii.gz"
    for data in (b"", b"\x1f\x8b nothing", b"nothing at all" * 100):
        label.write_bytes(data)
        with pytest.raises(ErrataError):
            take_edit(folder, out, **SAID)
    huge = nibabel.Nifti1Image(np.zeros((2, 2, 2), np.uint8), AFFINE)
    huge.header["vox_offset"], huge.header["magic"] = 352, b"n+1"
    label.unlink()
    for shape, words in (((30000, 30000, 100), "90,000,000,000"), ((2000, 2000, 10), "40,000,000")):
        huge.header.set_data_shape(shape)
        (folder / "mask.nii").write_bytes(bytes(huge.header.binaryblock) + b"\0" * 4)
        with pytest.raises(ErrataError, match=f"{words} voxels"):
            take_edit(folder, out, **SAID)
    (folder / "mask.nii").unlink()
    save(label, mask)
    note = folder / "edit.json"
    text = note.read_text()
    for words in ("", "[" * 9999, "null", text.replace("case_", "../"), "x" * (1 << 17)):
        note.write_text(words)
        with pytest.raises(ErrataError, match=r"edit\.json"):
            take_edit(folder, out, **SAID)
    note.unlink()
    with pytest.raises(ErrataError, match="give --voi VOI_ID"):
        take_edit(folder, out, **SAID)
    assert take_edit(label, out, voi_id=voi_id(0), **SAID).correction.voi_id == voi_id(0)


def test_what_is_said_must_fit_an_overlay(out: Path) -> None:
    folder, mask = edited(out)
    with pytest.raises(ErrataError, match="is as it was written; edit it"):
        take_edit(folder, out, **SAID)
    save(folder / "mask.nii.gz", mask)
    for name, value in (("author", "a@b.org"), ("reason", "two\nlines"), ("reason", " ")):
        with pytest.raises(ErrataError, match=name):
            take_edit(folder, out, **(SAID | {name: value}))
    with pytest.raises(ErrataError, match="was edited and not taken back"):
        write_edit(voi_id(0), out, folder.parent)
    assert not list(out.rglob("patches/*"))
    save(folder / "mask.nii.gz", ball(6.0))
    with pytest.raises(ErrataError, match="the mask is as it was"):
        take_edit(folder, out, **SAID)


def test_a_mask_of_one_slice_becomes_one_of_the_lesion_if_one_says_so(tmp_path: Path) -> None:
    out = tmp_path / "out"
    write_editable(out, 1, supervision="weak_2d", layer="jury")
    folder = write_edit(voi_id(0), out, tmp_path / "edits").folder
    save(folder / "mask.nii.gz", ball(6.0))
    with pytest.raises(ErrataError, match=r"13 slices, but its supervision is weak_2d.*--full"):
        take_edit(folder, out, **SAID)
    taken = take_edit(folder, out, full=True, **SAID)
    (row,) = apply_errata(taken.overlay, out).rows
    assert (row["supervision"], row["parent_layer"], row["key_slice_voi"]) == ("full", "jury", None)
    # A later edit continues from there, and needs not say so again.
    folder, smaller = edited(out)
    save(folder / "mask.nii.gz", smaller)
    take_edit(folder, out, **SAID)
    assert [v.outcome for v in check_errata(taken.overlay, out)] == ["fits", "fits"]


def corrected_alone(out: Path, tmp_path: Path) -> Path:
    """Manifest of corrections, without those that it corrects."""
    folder, mask = edited(out, 1)
    save(folder / "mask.nii.gz", mask)
    apply_errata(take_edit(folder, out, **SAID).overlay, out, out=tmp_path / "corrected")
    return tmp_path / "corrected" / "manifest" / "errata.parquet"


def test_which_mask_is_meant(out: Path, tmp_path: Path) -> None:
    assert find_target(voi_id(0), out).row["layer"] == "annotated"
    with pytest.raises(ErrataError, match="no VOI nobody"):
        find_target("nobody", out)
    with pytest.raises(ErrataError, match="no mask of layer jury that counts"):
        find_target(voi_id(0), out, layer="jury")
    with pytest.raises(ManifestError):
        find_target(voi_id(0), tmp_path / "nothing")
    overlay = tmp_path / "drop.yaml"
    row = find_target(voi_id(0), out).row
    drop = {
        "kind": "drop",
        **{name: row[name] for name in ("source", "voi_id", "layer")},
        "reason": "a cyst",
        "evidence": "slice 3",
        "author": "ann",
        "date": "2026-01-02",
        "before": row["label_voxels_sha256"],
    }
    overlay.write_text(json.dumps({"name": "drop", "title": "One", "corrections": [drop]}))
    with pytest.raises(ErrataError, match=r"drop\.yaml: .*: drop \(a cyst\)"):
        write_edit(voi_id(0), out, tmp_path / "edits", overlay=overlay)
    with pytest.raises(ErrataError, match="not the annotated one that it was made from"):
        find_target(voi_id(1), corrected_alone(out, tmp_path))
    apply_errata(overlay, out)
    with pytest.raises(ErrataError, match=r"has no mask that counts: .*corrected is erratum_drop"):
        write_edit(voi_id(0), out, tmp_path / "edits")


def test_commands(out: Path, tmp_path: Path, capsys: Any) -> None:
    def run(*arguments: Any) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as caught:
            main(["errata", *map(str, arguments), "--manifest", str(out)])
        streams = capsys.readouterr()
        return int(caught.value.code or 0), streams.out, streams.err

    to = tmp_path / "it's here"
    code, text, _ = run("edit", voi_id(1), "--to", to)
    assert (
        code == 0
        and "slicer.util.loadSegmentation" in text
        and f"errata take {shlex.quote(str(to / voi_id(1)))} --man" in text
    )
    line = next(line for line in text.splitlines() if line.startswith("  itksnap"))
    told = subprocess.run(
        ["sh", "-c", line.replace("itksnap", "printf '%s\\n'", 1)], capture_output=True, text=True
    ).stdout.splitlines()
    folder = to / voi_id(1)
    assert told == ["-g", str(folder / "image.nii.gz"), "-s", str(folder / "mask.nii.gz")]
    mask = ball(7.0)
    mask[:, :, 70:] = 0
    save(folder / "mask.nii.gz", mask * np.uint8(3))
    code, text, error = run("take", folder, "--author", "ann", "--reason", "too long")
    assert code == 0 and "value 3 taken as 1" in error and "voxels" in text
    code, text, _ = run("check", out / "errata" / "edits.yaml")
    assert code == 0 and "1 fits" in text
    code, _, error = run("take", folder, "--author", "ann", "--reason", "again")
    assert code == 2 and "is as it was written" in error and "Traceback" not in error
    code, text, _ = run("edit", voi_id(0), "--to", to, "--json")
    assert set(json.loads(text)["commands"]) == {"3D Slicer", "ITK-SNAP"}
    assert SOURCE in (to / voi_id(0) / "edit.json").read_text()
