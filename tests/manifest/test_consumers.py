"""Every reader of manifests over one build with corrections: all see the same masks.

Five cases of one lesion, two clicks each: `a` is dropped by a verdict on its second click, the mask
of `b` is replaced on its first, `c` is accepted; `d` and `g` have masks on one slice and 3D
pseudo-masks, of which a filter removed those of `d`.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from demo.files import write_nifti
from uls_data.auditing import audit
from uls_data.errata import apply_errata
from uls_data.export import export_grand_challenge, export_monai, export_nnunet
from uls_data.factory import build
from uls_data.filtering import filter
from uls_data.io import sha256_bytes, sha256_voxels
from uls_data.manifest.parquet import iterate_rows, write_manifest
from uls_data.manifest.row import Row
from uls_data.manifest.stats import stats
from uls_data.network.examples import find_examples, find_vois
from uls_data.nifti_writer import nifti_gz
from uls_data.pictures.contact import contact_sheet
from uls_data.provenance import explain
from uls_data.recipe import recipe_template
from uls_data.release import release_build
from uls_data.reporting import report
from uls_data.scoring.collection import collect
from uls_data.scoring.trials import full_lesions
from uls_data.triage.shown import Lesions
from uls_data.voi import VOI_SHAPE

Masks = set[tuple[str, str]]
FULL: Masks = {("b0", "corrected"), ("b1", "annotated"), ("c0", "annotated"), ("c1", "annotated")}
WEAK: Masks = {("d0", "jury"), ("d1", "jury"), ("g0", "pseudo3d-r1"), ("g1", "pseudo3d-r1")}
VOIS = {voi for voi, _ in FULL | WEAK}


def short(voi_id: str) -> str:
    case, _, _, _, sample = voi_id.split("_")
    return case + sample


def masks(rows: Any) -> Masks:
    return {(short(row["voi_id"]), row["layer"]) for row in rows}


def _raw(raw: Path) -> Path:
    rng = np.random.default_rng(5)
    for case in "abcdg":
        # `a` and `b` are one scan: a leak, if `a` still counted.
        if case != "b":
            image = rng.integers(-50, 60, (40, 36, 30)).astype(np.int16)
        mask = np.zeros(image.shape, np.uint8)
        mask[10:20, 9:20, 10:18] = 1
        for kind, voxels in (("images", image), ("masks", mask)):
            write_nifti(raw / kind / f"{case}.nii", voxels, np.diag([0.8, 0.8, 2.5, 1.0]))
    text = recipe_template("mine").replace("redistributable: null", "redistributable: true")
    text = text.replace("name: unknown ", "name: CC0-1.0")
    (raw / "mine.yaml").write_text(text)
    return raw


def _weak(row: Row, layer: str, out: Path, **changes: Any) -> Row:
    path = row["label_path"].replace("/annotated/", f"/{layer}/")
    (out / path).parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(out / row["label_path"], out / path)
    kind = "pseudo_3d" if layer.startswith("pseudo3d") else "weak_2d"
    return {**row, "layer": layer, "supervision": kind, "label_path": path, **changes}


def _correction(kind: str, row: Row, **more: Any) -> Row:
    about = {name: row[name] for name in ("source", "voi_id", "layer")}
    words = {"reason": "seen", "evidence": "slice 64", "author": "reader 7", "date": "2026-03-01"}
    after = {"after": row["label_voxels_sha256"]} if kind == "note" else {}
    return {"kind": kind, **about, **words, "before": row["label_voxels_sha256"], **after, **more}


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("corrected")
    raw, out = _raw(folder / "raw"), folder / "out"
    build(raw / "mine.yaml", raw, out, clicks=2)
    manifest = out / "manifest" / "mine.parquet"
    rows = []
    for row in iterate_rows(manifest):
        if row["case_id"] in "abc":
            rows.append(row)
            continue
        rows.append(_weak(row, "jury", out))
        removed = {"status": "skipped", "reason": "filtered"} if row["case_id"] == "d" else {}
        rows.append(_weak(row, "pseudo3d-r1", out, parent_layer="jury", **removed))
        (out / row["label_path"]).unlink()
    write_manifest(rows, manifest)
    by_voi = {short(row["voi_id"]): row for row in rows if row["layer"] == "annotated"}
    new = np.zeros(VOI_SHAPE, np.uint8, order="F")
    new[124:132, 124:132, 62:67] = 1
    data = nifti_gz(new, np.array(by_voi["b0"]["affine"]).reshape(4, 4))
    patch = folder / "patches" / f"{sha256_bytes(data)}.nii.gz"
    patch.parent.mkdir()
    patch.write_bytes(data)
    corrections = [
        _correction("drop", by_voi["a1"]),
        _correction("replace", by_voi["b0"], after=sha256_voxels(new), patch=patch.name[:64]),
        _correction("note", by_voi["c0"]),
    ]
    overlay = {"overlay_version": 1, "name": "fixes", "title": "Test", "corrections": corrections}
    (folder / "fixes.yaml").write_text(json.dumps(overlay))
    apply_errata(folder / "fixes.yaml", out)
    return out


def test_training_and_prediction(out: Path) -> None:
    found = find_examples(out)
    assert masks(example.row for example in found.train) == FULL | WEAK
    assert masks(example.row for example in find_vois(out)) == FULL | WEAK
    assert masks(e.row for e in find_vois(out, ["annotated"])) == FULL


def test_exports(out: Path, tmp_path: Path) -> None:
    monai = export_monai(out, tmp_path / "monai", folds=2, weak=True)
    content = json.loads(monai.path.read_text())
    items = [item for part in ("training", "validation") for item in content[part]]
    assert {tuple(Path(item["label"]).parts[-2:]) for item in items} == {
        (layer, f"{voi[0]}_lesion_01_sample_{voi[1]}.nii.gz") for voi, layer in FULL | WEAK
    }
    nnunet = export_nnunet(out, tmp_path / "nnunet", folds=2, weak="background")
    assert nnunet.train == len(VOIS)
    challenge = export_grand_challenge(out, tmp_path / "challenge")
    names = json.loads((challenge.jobs[0] / "ground-truth" / "vois.json").read_text())
    assert {short(name) for name in names} == VOIS and challenge.lesions == 4


def test_filter(out: Path, tmp_path: Path) -> None:
    # The pseudo-masks that an earlier filter removed are judged again.
    made = filter(out, tmp_path / "manifest" / "m.parquet", rule="mask_voxels > 0")
    assert (made.kept, made.removed, made.full) == (8, 0, len(FULL))


def test_evaluation(out: Path) -> None:
    items = collect(out, "annotated").items
    assert {(short(name), item.path.parent.name) for name, item in items.items()} == FULL
    weak = collect(out, "pseudo3d-r1", truth=False).items
    assert {short(name) for name in weak} == {"g0", "g1"}
    lesions = [task.row for task in full_lesions(out)]  # of evaluate-2d and calibrate
    assert masks(lesions) == {("b0", "corrected"), ("c0", "annotated")}


def test_statistics(out: Path) -> None:
    table = stats(out, ["layer"]).set_index("layer")["lesions"].to_dict()
    assert table == {"annotated": 2, "jury": 2, "pseudo3d-r1": 1, "all": 5}


def test_pictures(out: Path, tmp_path: Path) -> None:
    made = report(out, tmp_path)
    assert made.vois == len(VOIS)
    _, line = (made.files / "built.csv").read_text().splitlines()
    assert line.split(",")[1] == str(len(VOIS))
    assert contact_sheet(out, tmp_path / "sheet.png") == len(VOIS)
    lesions = Lesions(out)
    subjects = [lesions.subject(at) for at in range(len(lesions))]
    assert {(short(s.voi_id), s.layer) for s in subjects} == {
        (voi, "annotated" if layer == "corrected" else layer) for voi, layer in FULL | WEAK
    }


def test_release(out: Path, tmp_path: Path) -> None:
    recipe = out.parent / "raw" / "mine.yaml"
    made = release_build(out, tmp_path / "release", "1.0", recipes=[recipe])
    rows = list(iterate_rows(next((tmp_path / "release").glob("manifest/*.parquet"))))
    ok = {row["voi_id"] for row in rows if row["status"] == "ok"}
    assert {short(name) for name in ok} == VOIS, made
    assert masks(row for row in rows if row["status"] == "ok") == FULL | WEAK | {
        ("g0", "jury"),
        ("g1", "jury"),
    }


def test_audit_and_explain(out: Path) -> None:
    found = audit(out)
    seen = {found.rows[number]["case_id"] for group in found.findings for number in group.rows}
    assert "a" not in seen
    for voi, layer in FULL | WEAK:
        assert explain(f"{voi[0]}_lesion_01_sample_{voi[1]}", out).layer == layer
    assert explain("a_lesion_01_sample_1", out).layer == "corrected"  # says why there is none
