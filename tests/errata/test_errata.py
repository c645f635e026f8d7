"""Corrections applied: a layer of their own, one chain of hashes a VOI, all or nothing."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
from makers.labels import (
    AFFINE,
    correction,
    cube,
    files,
    put_patch,
    replacement,
    voi_id,
    write_out,
    write_overlay,
)

from demo.files import write_nifti
from demo.phantom import store
from uls_data.cli import main
from uls_data.errata import (
    ErrataError,
    append,
    apply_errata,
    change_log,
    changes_of,
    check_errata,
    load_overlay,
)
from uls_data.errata.overlay import Correction
from uls_data.factory import build
from uls_data.io import sha256_file, sha256_voxels
from uls_data.manifest import read_table, write_manifest
from uls_data.manifest.index import index
from uls_data.measure.label import describe_label
from uls_data.nifti_writer import nifti_gz
from uls_data.recipe import recipe_template
from uls_data.voi import CENTRE

OLD, NEW, NEWER = cube(8), cube(6), cube(5)
WEAK = cube(8, (126, 126, 64), slices=1)


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("written")
    masks = {(number, "annotated"): OLD for number in range(1, 5)}
    write_out(folder, masks | {(5, "jury"): WEAK, (5, "grabcut"): WEAK})
    return folder


@pytest.fixture
def out(written: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(written, tmp_path / "out"))


def stored(path: Path) -> Any:
    image = nibabel.load(path)
    return np.asarray(image.dataobj), image.affine


def test_every_kind(out: Path, tmp_path: Path) -> None:
    overlay = write_overlay(
        tmp_path / "fixes.yaml",
        correction("drop", 1, OLD),
        correction("relabel", 2, OLD, columns={"lesion_type": "lung", "source_lesion_id": "7"}),
        replacement(3, OLD, NEW, tmp_path),
        correction("note", 4, OLD),
        replacement(5, WEAK, cube(6, (126, 126, 64), slices=1), tmp_path, layer="jury"),
    )
    before = files(out)
    report = apply_errata(overlay, out)
    assert report.manifest == out / "manifest" / "errata.parquet" and report.replay is None
    assert [verdict.outcome for verdict in report.verdicts] == ["fits"] * 5
    parents = {
        (row["voi_id"], row["layer"]): row
        for row in read_table(out / "manifest" / "own.parquet").to_pylist()
    }
    rows = {row["voi_id"]: row for row in read_table(report.manifest).to_pylist()}
    dropped, relabelled, replaced, noted, weak = (rows[voi_id(number)] for number in range(1, 6))
    assert (dropped["status"], dropped["reason"]) == ("skipped", "erratum_drop")
    assert dropped["label_path"] is None and dropped["image_path"] is None
    for row, mask in ((relabelled, OLD), (replaced, NEW), (noted, OLD)):
        parent = parents[row["voi_id"], "annotated"]
        label, affine = stored(out / row["label_path"])
        assert row["label_path"] == f"own/labels/corrected/{row['voi_id']}.nii.gz"
        assert np.array_equal(label, mask) and label.dtype == np.uint8
        assert np.array_equal(affine, AFFINE)
        assert row["label_sha256"] == sha256_file(out / row["label_path"])
        assert row["label_voxels_sha256"] == sha256_voxels(mask)
        assert (row["layer"], row["parent_layer"]) == ("corrected", "annotated")
        assert row["image_path"] == parent["image_path"]
        columns, _ = describe_label(mask, (0.75, 0.75, 2.5))
        assert all(row[name] == pytest.approx(value) for name, value in columns.items())
        assert "hu_rounded" in row["qc_flags"]
    # What is said about the old mask holds where the mask stays, and only there.
    assert (relabelled["lesion_type"], relabelled["source_lesion_id"]) == ("lung", "7")
    assert (noted["predicted_dice"], noted["annotator"]) == (0.9, "reader")
    assert (replaced["predicted_dice"], replaced["annotator"]) == (None, None)
    assert (weak["parent_layer"], weak["key_slice_voi"]) == ("jury", 64)
    assert {name: data for name, data in files(out).items() if name in before} == before
    log = change_log(report.rows)
    assert log[0] == f"own {voi_id(1)}: left out: two lesions in one (reader 7, 2026-03-01)"
    assert [line.split(": ")[1].split(" (")[0] for line in log] == [
        *("left out", "relabelled", "mask replaced", "mask replaced")
    ]
    assert len(change_log(report.rows, notes=True)) == 5


def test_the_same_call_gives_the_same_bytes(out: Path, tmp_path: Path) -> None:
    fixes = [correction("drop", 1, OLD), replacement(3, OLD, NEW, tmp_path)]
    overlay = write_overlay(tmp_path / "fixes.yaml", *fixes)
    apply_errata(overlay, out)
    first = files(out)
    apply_errata(overlay, out)
    assert files(out) == first
    elsewhere = apply_errata(overlay, out, out=tmp_path / "elsewhere")
    assert all(row["image_path"] is None for row in elsewhere.rows)
    labels = {name: data for name, data in first.items() if "/corrected/" in name}
    assert labels and labels.items() <= files(tmp_path / "elsewhere").items()


def test_overlays_chain(out: Path, tmp_path: Path) -> None:
    one = write_overlay(tmp_path / "one.yaml", replacement(3, OLD, NEW, tmp_path))
    two = write_overlay(
        tmp_path / "two.yaml",
        replacement(3, NEW, NEWER, tmp_path, reason="still too large"),
        correction("relabel", 3, NEWER, columns={"lesion_type": "bone"}),
        correction("drop", 4, OLD),
    )
    apply_errata(one, out)
    first = files(out)
    with pytest.raises(ErrataError, match="was written for mask"):
        apply_errata(two, out)
    with pytest.raises(ErrataError, match="was written for mask"):
        apply_errata([two, one], out)
    assert files(out) == first
    report = apply_errata([one, two], out)
    both = files(out)
    row = next(row for row in report.rows if row["voi_id"] == voi_id(3))
    assert (row["mask_voxels"], row["lesion_type"]) == (125, "bone")
    changes = changes_of(row)
    assert [change.overlay for change in changes] == ["one", "two", "two"]
    hashes = [sha256_voxels(mask)[:16] for mask in (OLD, NEW, NEWER, NEWER)]
    assert [changes[0].before, *(change.after for change in changes)] == hashes
    with pytest.raises(ErrataError, match="name the earlier overlays first"):
        apply_errata(one, out)
    assert files(out) == both
    found = [(v.overlay, v.outcome) for v in check_errata([two, one], out)]
    assert found == [("two", "refused")] * 2 + [("two", "fits"), ("one", "refused")]


def test_a_later_drop_removes_the_label(out: Path, tmp_path: Path) -> None:
    one = write_overlay(tmp_path / "one.yaml", replacement(3, OLD, NEW, tmp_path))
    two = write_overlay(tmp_path / "two.yaml", correction("drop", 3, NEW))
    (row,) = apply_errata(one, out).rows
    assert (out / row["label_path"]).is_file()
    (row,) = apply_errata([one, two], out).rows
    assert row["reason"] == "erratum_drop" and len(changes_of(row)) == 2
    assert not list(out.glob("own/labels/corrected/*"))
    after = write_overlay(tmp_path / "three.yaml", correction("note", 3, NEW))
    with pytest.raises(ErrataError, match="drop went before"):
        apply_errata([one, two, after], out)


BESIDE = cube(6, (100, 100, 60))
TWO_PARTS = OLD | cube(3, (100, 100, 60))
CORNER = cube(4) | cube(4, (130, 130, 66))


@pytest.mark.parametrize(
    ("number", "old", "new", "message"),
    [
        (1, OLD, BESIDE, r"the click, voxel \(128, 128, 64\), is not in the mask"),
        (1, OLD, TWO_PARTS, "2 parts"),
        (1, OLD, CORNER, r"2 parts \(6-connected\)"),
        (1, OLD, np.zeros_like(OLD), "no voxel is lesion"),
        (5, WEAK, NEW, "6 slices, but its supervision is weak_2d"),
    ],
)
def test_masks_that_are_not_one_lesion_are_refused(
    out: Path, tmp_path: Path, number: int, old: Any, new: Any, message: str
) -> None:
    layer = "jury" if number == 5 else "annotated"
    overlay = write_overlay(
        tmp_path / "o.yaml", replacement(number, old, new, tmp_path, layer=layer)
    )
    before = files(out)
    with pytest.raises(ErrataError, match=message):
        apply_errata(overlay, out)
    assert files(out) == before
    (verdict,) = check_errata(overlay, out)
    assert verdict.outcome == "refused"


def test_what_the_source_gave_in_parts_may_stay_in_parts(tmp_path: Path) -> None:
    write_out(tmp_path / "out", {(1, "annotated"): CORNER})
    smaller = CORNER.copy(order="F")
    smaller[129:, 129:, 65:] = 0
    smaller[129, 129, 65] = smaller[130, 130, 66] = 1
    fix = replacement(1, CORNER, smaller, tmp_path)
    overlay = write_overlay(tmp_path / "o.yaml", fix)
    (row,) = apply_errata(overlay, tmp_path / "out").rows
    assert "several_components_6" in row["qc_flags"]
    weak = {"columns": {"supervision": "full"}, "layer": "jury"}
    write_out(tmp_path / "weak", {(5, "jury"): WEAK})
    fix = replacement(5, WEAK, NEW, tmp_path, **weak)
    (row,) = apply_errata(write_overlay(tmp_path / "w.yaml", fix), tmp_path / "weak").rows
    assert (row["supervision"], row["key_slice_voi"]) == ("full", None)


@pytest.mark.parametrize(
    "fault", ["missing", "other", "affine", "values", "shape", "after", "gzip"]
)
def test_bad_patches_are_refused(out: Path, tmp_path: Path, fault: str) -> None:
    fix = replacement(1, OLD, NEW, tmp_path)
    path = tmp_path / "patches" / f"{fix['patch']}.nii.gz"
    moved = AFFINE.copy()
    moved[0, 3] += 0.01
    other = {
        "affine": nifti_gz(NEW, moved),
        "values": nifti_gz(NEW * np.uint8(2), AFFINE),
        "shape": nifti_gz(np.asfortranarray(NEW[:, :, :-1]), AFFINE),
        "gzip": b"\x1f\x8b nothing",
    }
    message = {"missing": ": no patches/", "other": "is not the file of its name"} | {
        "affine": "mm off its VOI",
        "values": "0 and 1 only",
        "shape": "grid",
        "after": "`after` says",
        "gzip": "patches/",
    }
    if fault == "missing":
        path.unlink()
    elif fault == "other":
        path.write_bytes(nifti_gz(NEWER, AFFINE))
    elif fault == "after":
        fix["after"] = sha256_voxels(NEWER)
    else:
        fix["patch"] = put_patch(tmp_path, other[fault])
    before = files(out)
    with pytest.raises(ErrataError) as caught:
        apply_errata(write_overlay(tmp_path / "o.yaml", fix), out)
    if fault != "gzip":
        assert message[fault] in str(caught.value)
    assert files(out) == before


def test_what_does_not_fit_the_data_is_refused(out: Path, tmp_path: Path) -> None:
    def refused(message: str, *fixes: dict[str, Any], where: Path = out) -> None:
        before = files(where)
        with pytest.raises(ErrataError, match=message):
            apply_errata(write_overlay(tmp_path / "o.yaml", *fixes), where)
        assert files(where) == before

    refused("was written for mask", correction("drop", 1, NEW))
    refused("has no layer nobody", correction("drop", 1, OLD, layer="nobody"))
    refused(
        "one corrected mask",
        *(correction("drop", 5, WEAK, layer=x) for x in ("jury",)),
        correction("note", 5, WEAK, layer="grabcut"),
    )
    refused("none of the VOIs", correction("drop", 77, OLD))
    refused("no correction")
    refused("click .* is not in the mask", correction("reclick", 1, OLD, click=[5, 5, 5]))
    (out / "own/labels/annotated" / f"{voi_id(1)}.nii.gz").write_bytes(nifti_gz(NEW, AFFINE))
    refused("its label file holds mask", correction("drop", 1, OLD))
    (out / "own/labels/annotated" / f"{voi_id(2)}.nii.gz").unlink()
    refused(
        "relabel needs the label file",
        correction("relabel", 2, OLD, columns={"lesion_type": "lung"}),
    )
    # To drop a lesion its row is enough, which an archive's manifest has without its labels.
    drop = write_overlay(tmp_path / "d.yaml", correction("drop", 2, OLD))
    assert apply_errata(drop, out).rows[0]["reason"] == "erratum_drop"
    rows = read_table(out / "manifest" / "own.parquet").to_pylist()
    skipped = {"status": "skipped", "reason": "filtered", "detail": "rule"}
    write_manifest([row | skipped for row in rows], tmp_path / "f" / "manifest" / "own.parquet")
    refused("its row is skipped: filtered", correction("drop", 3, OLD), where=tmp_path / "f")
    with pytest.raises(ErrataError, match="both called d"):
        apply_errata([drop, drop], out)
    with pytest.raises(ErrataError, match="several folders"):
        apply_errata(drop, [out, tmp_path / "f"])
    with pytest.raises(ErrataError, match="of one layer; name one"):
        apply_errata(drop, [out, tmp_path / "f"], out=tmp_path)


def test_a_reclick_is_cut_anew_from_the_raw_scan(tmp_path: Path) -> None:
    raw, out = tmp_path / "raw", tmp_path / "out"
    mask = np.zeros((24, 20, 16), np.uint8)
    mask[4:12, 5:12, 4:11] = 1
    image = np.random.default_rng(0).integers(-800, 800, mask.shape, "i2")
    for folder, array in (("images", image), ("masks", mask)):
        write_nifti(raw / folder / "a.nii", *store(array, AFFINE, "LPS"))
    (raw / "mine.yaml").write_text(recipe_template("mine"), encoding="utf-8")
    (row,) = build(raw / "mine.yaml", raw, out).rows
    label, _ = stored(out / row["label_path"])
    click = [int(at) for at in np.argwhere(label)[-1]]
    scan_click = [row[f"voi_origin_{axis}_vox"] + at for axis, at in zip("xyz", click, strict=True)]
    fix = correction("reclick", 1, label.astype(np.uint8), source=row["source"], click=click)
    overlay = tmp_path / "o.yaml"
    append(overlay, Correction.model_validate(fix | {"voi_id": row["voi_id"]}))
    report = apply_errata(overlay, out)
    assert report.rows[0]["reason"] == "erratum_reclick"
    assert report.replay == out / "replay" / "errata.parquet"
    first = files(out)
    assert apply_errata(overlay, out).replay and files(out) == first
    (again,) = build(raw / "mine.yaml", raw, tmp_path / "new", replay=report.replay).rows
    assert (again["status"], again["sample_index"]) == ("ok", 1000)
    assert again["voi_id"] == row["voi_id"].removesuffix("_sample_0") + "_sample_1000"
    assert [again[f"click_{axis}_vox"] for axis in "xyz"] == scan_click
    voi, _ = stored(tmp_path / "new" / again["image_path"])
    assert voi[CENTRE] == image[tuple(scan_click)]
    # An overlay without the re-click leaves no position behind.
    (out / "manifest" / "errata.parquet").unlink()
    note = correction("note", 1, label.astype(np.uint8), source=row["source"])
    apply_errata(write_overlay(tmp_path / "n.yaml", note | {"voi_id": row["voi_id"]}), out)
    assert not report.replay.exists()


def test_commands(out: Path, tmp_path: Path, capsys: Any) -> None:
    good = write_overlay(tmp_path / "good.yaml", correction("drop", 1, OLD))
    bad = write_overlay(
        tmp_path / "bad.yaml", correction("drop", 2, NEW), correction("note", 99, OLD)
    )

    def run(*arguments: Any) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as caught:
            main(["errata", *map(str, arguments), "--manifest", str(out)])
        streams = capsys.readouterr()
        return int(caught.value.code or 0), streams.out, streams.err

    code, text, _ = run("check", good, bad, "--json")
    assert code == 1
    assert [json.loads(line)["outcome"] for line in text.splitlines()] == [
        *("fits", "refused", "absent")
    ]
    code, text, _ = run("check", good)
    assert code == 0 and "1 fits" in text
    code, _, error = run("apply", good, bad)
    assert code == 2 and "1 corrections are refused" in error and "Traceback" not in error
    assert not (out / "manifest" / "errata.parquet").exists()
    code, text, _ = run("apply", good)
    assert code == 0 and "errata.parquet" in text


def test_the_shipped_overlay_is_one() -> None:
    folder = Path(__file__).parent.parent.parent / "manifests" / "uls23" / "errata"
    for path in folder.glob("*.yaml"):
        overlay = load_overlay(path)
        assert overlay.name == path.stem and overlay.corrections


@pytest.mark.real
def test_the_three_off_centre_labels(real_data: Path, tmp_path: Path) -> None:
    """Dropped with their reason; the published labels have the hashes that the overlay names."""
    overlay = load_overlay(
        path := Path(__file__).parent.parent.parent / "manifests/uls23/errata/off-centre.yaml"
    )
    folders = {"kits21": "kits21", "lidc_idri": "LIDC-IDRI"}
    (tmp_path / "labels").mkdir()
    for fix in overlay.corrections:
        label = real_data / "uls23-labels" / folders[fix.source] / f"{fix.voi_id}.nii.gz.zip"
        if not label.is_file():
            pytest.skip(f"no {label}")
        shutil.copy(label, tmp_path / "labels")
    rows = index(tmp_path / "labels", tmp_path / "manifest" / "uls23.parquet", workers=0)
    assert all("centre_outside_mask" in row["qc_flags"] for row in rows)
    report = apply_errata(path, tmp_path)
    assert [verdict.outcome for verdict in report.verdicts] == ["fits"] * 3
    assert {row["reason"] for row in report.rows} == {"erratum_drop"}
    assert not (tmp_path / "kits21").exists()
