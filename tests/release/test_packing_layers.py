"""Corrections, leaks and layers in a release."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from makers.builds import (
    ball,
    load_rows,
    make_build,
    members_of,
    put,
    tree,
    unpack,
    voi_row,
    write_rows,
)

from demo.sources import make_archives
from uls_data import load_manifest, query
from uls_data.errata import apply_errata
from uls_data.factory.lndb_prep import prepare_lndb
from uls_data.io import write_bytes
from uls_data.manifest.schema import document
from uls_data.release import release_build, release_verify


def corrected(out: Path, number: int, **changes: Any) -> dict[str, Any]:
    detail = (
        "replace | 2026-01-02 | by ann | - | border was wrong | evidence: slice 12 | overlay o | "
        "aaaaaaaaaaaaaaaa -> bbbbbbbbbbbbbbbb"
    )
    row = voi_row(
        "kits21", number, layer="corrected", parent_layer="annotated", detail=detail, **changes
    )
    return put(out, row) if row["status"] == "ok" else row


def test_corrections_take_the_place_of_what_they_correct(tmp_path: Path) -> None:
    out = tmp_path / "out"
    make_build(out, {"kits21": 5})
    drop, again = (
        {"status": "skipped", "reason": reason, "image_path": None}
        for reason in ("erratum_drop", "erratum_reclick")
    )
    rows = [
        corrected(out, 0),
        {**corrected(out, 1, **drop), "detail": "drop" + corrected(out, 1)["detail"][7:]},
        corrected(out, 2, **again),
    ]
    (out / rows[1]["voi_id"]).parent.mkdir(exist_ok=True)
    stray = out / "kits21" / "labels" / "corrected" / f"{rows[1]['voi_id']}.nii.gz"
    stray.unlink()
    write_rows(out, rows, name="errata")
    report = release_build(out, tmp_path / "to", "1.0")
    released = load_manifest(report.folder)
    ok = released[released["status"] == "ok"]
    layers = {
        (int(case[-1]), layer) for case, layer in zip(ok["case_id"], ok["layer"], strict=True)
    }
    # 1 was dropped with all its layers, 2 waits for another click.
    assert layers == {(0, "corrected"), (3, "annotated"), (4, "annotated")}
    assert set(released["reason"].dropna()) >= {"erratum_drop", "erratum_reclick"}
    assert report.record.left_out == {"replaced by a correction": 1, "withdrawn by a correction": 3}
    log = (report.folder / "CHANGELOG.md").read_text()
    assert "kits21 case_00000_lesion_01_sample_0: mask replaced: border was wrong" in log
    assert "kits21 case_00001_lesion_01_sample_0: left out: border was wrong" in log
    names = [info.name for path in report.folder.glob("*.tar") for info in members_of(path)]
    assert f"kits21/labels/corrected/{rows[0]['voi_id']}.nii.gz" in names
    assert f"kits21/labels/annotated/{rows[0]['voi_id']}.nii.gz" not in names
    assert not release_verify(report.folder).findings
    # A correction belongs to the layer that it corrects.
    assert len(query(release_build(out, tmp_path / "a", "1", layers=["annotated"]).folder)) == 6


def test_corrections_as_errata_apply_them(tmp_path: Path) -> None:
    out = tmp_path / "out"
    rows = [put(out, voi_row("kits21", n), ball(6.0 + n)) for n in range(3)]
    write_rows(out, rows)
    common = {"source": "kits21", "layer": "annotated", "author": "ann", "date": "2026-01-02"}
    words = {"reason": "a cyst", "evidence": "slice 12", "before": rows[0]["label_voxels_sha256"]}
    fixes = [
        {**common, **words, "kind": "drop", "voi_id": rows[0]["voi_id"]},
        {
            **common,
            **words,
            "kind": "relabel",
            "voi_id": rows[1]["voi_id"],
            **dict.fromkeys(("before", "after"), rows[1]["label_voxels_sha256"]),
            "columns": {"lesion_type": "abdomen"},
        },
    ]
    overlay = tmp_path / "fixes.yaml"
    overlay.write_text(yaml.safe_dump({"name": "fixes", "title": "Two", "corrections": fixes}))
    apply_errata(overlay, out)
    report = release_build(out, tmp_path / "to", "1.0")
    found = {(r["voi_id"], r["layer"]): r for r in load_rows(report.folder) if r["status"] == "ok"}
    assert set(found) == {(rows[1]["voi_id"], "corrected"), (rows[2]["voi_id"], "annotated")}
    assert found[rows[1]["voi_id"], "corrected"]["lesion_type"] == "abdomen"
    log = (report.folder / "CHANGELOG.md").read_text()
    assert f"- kits21 {rows[0]['voi_id']}: left out: a cyst (ann, 2026-01-02)" in log
    assert f"- kits21 {rows[1]['voi_id']}: relabelled (lesion_type: abdomen): a cyst" in log
    unpack(report.folder, tmp_path / "unpacked")
    assert not release_verify(tmp_path / "unpacked").findings


def test_leaks_are_listed_or_left_out(tmp_path: Path) -> None:
    out = tmp_path / "out"
    rows = make_build(out, {"kits21": 4})
    for row, flag in zip(rows, ("leak_heldout_patient", "leak_same_scan"), strict=False):
        row["qc_flags"] = [flag]
    write_rows(out, rows)
    kept = release_build(out, tmp_path / "kept", "1.0")
    card = (kept.folder / "README.md").read_text()
    assert "2 rows show a scan or patient that is also held out" in card
    assert f"| kits21 | {rows[1]['voi_id']} | annotated | leak_same_scan |" in card
    assert set(load_manifest(kept.folder, ["split"])["split"]) == {"train"}
    clean = release_build(out, tmp_path / "clean", "1.0", drop_leaks=True)
    assert len(load_manifest(clean.folder)) == len(rows) - 2
    assert clean.record.left_out == {"leak, left out by --drop-leaks": 2}
    assert "2 rows: leak, left out by --drop-leaks" in (clean.folder / "README.md").read_text()


def test_filtered_masks_stay_rows(tmp_path: Path) -> None:
    out = tmp_path / "out"
    rows = make_build(out, {"kits21": 3})
    rows[0] |= {"status": "skipped", "reason": "filtered", "detail": "axis error 9"}
    write_rows(out, rows)
    report = release_build(out, tmp_path / "to", "1.0")
    (row,) = [row for row in load_rows(report.folder) if row["reason"] == "filtered"]
    assert (row["image_path"], row["label_path"]) == (None, None)
    names = [info.name for path in report.folder.glob("*.tar") for info in members_of(path)]
    assert not [n for n in names if rows[0]["voi_id"] in n]


def test_lndb_prep_and_a_release_make_one_manifest(tmp_path: Path) -> None:
    raw = make_archives(tmp_path / "raw", only=["lndb"])["lndb"]
    prepare_lndb(raw, tmp_path / "mine")
    make_build(tmp_path / "theirs", {"mdsc_colon": 3})
    theirs = [*load_rows(tmp_path / "theirs")]
    public = release_build(tmp_path / "theirs", tmp_path / "public", "1")
    both = load_manifest([public.folder, tmp_path / "mine"])
    key = document()["key"]
    assert not both.duplicated(key).any()
    assert len(both) == len(load_rows(tmp_path / "mine")) + len(theirs)
    assert load_rows(public.folder) == theirs
    assert set(both[both["status"] == "ok"]["source"]) == {"lndb", "mdsc_colon"}
    # At that user's place, everything can be one release.
    for name, data in tree(tmp_path / "mine").items():
        write_bytes(tmp_path / "theirs" / name, data)
    whole = release_build(tmp_path / "theirs", tmp_path / "whole", "1", local_only=True)
    assert set(whole.record.sources) == {"lndb", "mdsc_colon"}
    mine = whole.record.sources["mdsc_colon"]
    assert mine.payload_root == public.record.sources["mdsc_colon"].payload_root
