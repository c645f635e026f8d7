"""A VOI from its name or its row, with the mask that counts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pandas as pd
import pytest
from makers.vois import ball, write_voi, write_vois

from uls_data import audit, filter, load_manifest, open_voi
from uls_data.errors import CaseError, ManifestError

NAME = "p1_lesion_01_sample_0"


def layered(out: Path) -> list[dict[str, Any]]:
    """An annotated mask, and the ellipsoid of the same VOI in another file."""
    annotated = write_voi(out, "p1", 8.0, pad_z=20)
    other = nibabel.Nifti1Image(ball(12.0), np.eye(4))
    path = out / "s/labels/ellipsoid" / f"{NAME}.nii"
    path.parent.mkdir(parents=True)
    nibabel.save(other, path)
    ellipsoid = annotated | {
        "layer": "ellipsoid",
        "label_path": f"s/labels/ellipsoid/{NAME}.nii",
        "image_path": None,
    }
    return [annotated, ellipsoid, write_voi(out, "p2")]


def test_by_its_name_and_by_its_row(tmp_path: Path) -> None:
    write_vois(tmp_path, layered(tmp_path))
    voi = open_voi(NAME, tmp_path)
    stored = np.asarray(nibabel.load(tmp_path / f"s/images/{NAME}.nii").dataobj)
    assert (voi.image == stored).all() and (voi.mask == (ball(8.0) > 0)).all()
    assert not voi.valid[:, :, 108:].any() and voi.valid[:, :, :108].all()
    assert (voi.affine == np.eye(4)).all() and voi.row["layer"] == "annotated"
    assert (open_voi(NAME, tmp_path, layer="ellipsoid").mask == (ball(12.0) > 0)).all()
    table = load_manifest(tmp_path)
    (row,) = [row for _, row in table.iterrows() if row["layer"] == "ellipsoid"]
    for given in (row, dict(row)):
        of_row = open_voi(given, tmp_path)
        assert (of_row.mask == (ball(12.0) > 0)).all() and (of_row.image == stored).all()


def test_padding_by_its_value_where_extents_are_unknown(tmp_path: Path) -> None:
    row = write_voi(tmp_path, "p1", pad_z=20)
    row |= {name: None for name in row if name.startswith(("pad_before", "pad_after"))}
    write_vois(tmp_path, [row])
    valid = open_voi(NAME, tmp_path).valid
    assert not valid[:, :, 108:].any() and valid[:, :, :108].all()


def test_what_a_correction_drops_is_not_opened(tmp_path: Path) -> None:
    rows = layered(tmp_path)
    dropped = rows[0] | {
        "voi_id": "p1_lesion_01_sample_1",
        "sample_index": 1,
        "layer": "corrected",
        "parent_layer": "annotated",
        "status": "skipped",
        "reason": "erratum_drop",
    }
    write_vois(tmp_path, [*rows, dropped])
    with pytest.raises(ManifestError, match="withdrawn by a correction"):
        open_voi(NAME, tmp_path)
    assert open_voi(rows[0], tmp_path).mask.any()


def test_manifests_that_lie_elsewhere(tmp_path: Path) -> None:
    """Those of `audit`, `filter` and `certify`, whose paths lead up and down again."""
    out, elsewhere = tmp_path / "data" / "vois", tmp_path / "home" / "me" / "lists"
    write_vois(out, layered(out))
    audit(out, out=elsewhere / "audited.parquet")
    filter(out, elsewhere / "kept.parquet", rule="paper")
    for name in ("audited", "kept"):
        (row, *_) = load_manifest(elsewhere / f"{name}.parquet").to_dict("records")
        assert row["image_path"].startswith("../")
        found = open_voi(row["voi_id"], elsewhere / f"{name}.parquet")
        assert (found.image == open_voi(row["voi_id"], out).image).all() and found.mask.any()


def test_manifests_by_any_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the folder above them, from beside it, and behind a link."""
    out, deep = tmp_path / "data" / "vois", tmp_path / "disk" / "home" / "me"
    write_vois(out, layered(out))
    deep.mkdir(parents=True)
    (tmp_path / "me").symlink_to(deep)
    for folder, name in [
        (out / "manifest", "s.parquet"),
        (tmp_path, "audited.parquet"),
        (out / "manifest", "../../../audited.parquet"),
        (tmp_path, "me/audited.parquet"),
        (tmp_path / "me", "audited.parquet"),
    ]:
        monkeypatch.chdir(folder)
        if "audited" in name:
            audit(out, out=name)
        assert open_voi(NAME, name).mask.any(), name
        monkeypatch.chdir("/")
        assert open_voi(NAME, folder / name).mask.any(), name


def test_what_cannot_be_opened(tmp_path: Path) -> None:
    rows = layered(tmp_path)
    write_vois(tmp_path, rows)
    failed = {"voi_id": float("nan"), "layer": None, "status": "failed", "reason": "unreadable"}
    asked: Any
    for asked, words in [
        (("nobody", None), "no VOI nobody"),
        ((NAME, "jury"), "no layer jury"),
        (({"voi_id": NAME}, None), "the row has no layer"),
        (({"voi_id": NAME, "layer": "jury"}, None), "no layer jury"),
        ((rows[0], "jury"), "names its own"),
        ((failed, None), r"expected one row, with a voi_id; it is failed \(unreadable\)"),
        ((pd.DataFrame([failed]), None), "expected one row, with a voi_id$"),
        ((next(pd.DataFrame([failed]).itertuples()), None), "a dict or a pandas.Series"),
        (({"voi_id": NAME, "layer": pd.NA, "source": pd.NA}, None), "no layer None"),
    ]:
        with pytest.raises(ManifestError, match=words):
            open_voi(asked[0], tmp_path, layer=asked[1])
    (tmp_path / f"s/images/{NAME}.nii").unlink()
    with pytest.raises(CaseError, match="no such file"):
        open_voi(NAME, tmp_path)
    write_vois(tmp_path, [rows[2] | {"image_path": "/x.nii"}])
    with pytest.raises(CaseError, match="expected a path relative"):
        open_voi("p2_lesion_01_sample_0", tmp_path)
