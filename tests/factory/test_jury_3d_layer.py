"""`build --masks jury_3d`: a layer in 3D, of lines and image."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cc3d
import nibabel
import numpy as np
import pytest
from numpy.typing import NDArray

from demo.sources import make_archives
from uls_data import build
from uls_data.errors import SourceError


@pytest.fixture(scope="module")
def archives(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return make_archives(tmp_path_factory.mktemp("raw"), only=["deeplesion", "ccc18"])


def made(rows: list[dict[str, Any]], layer: str) -> dict[str, dict[str, Any]]:
    return {row["voi_id"]: row for row in rows if row["status"] == "ok" and row["layer"] == layer}


def label_of(root: Path, row: dict[str, Any]) -> NDArray[np.bool_]:
    return np.asarray(nibabel.load(root / row["label_path"]).dataobj) != 0


def test_a_layer_beside_the_jury(archives: dict[str, Path], tmp_path: Path) -> None:
    raw = archives["deeplesion"]
    rows = build("deeplesion", raw, tmp_path / "a", masks=["jury_3d", "jury"]).rows
    flat, solid = made(rows, "jury"), made(rows, "jury_3d")
    lost = [row for row in rows if row["reason"] == "spacing_unknown"]
    assert {row["layer"] for row in lost} == {"jury_3d"} and "spacing" in lost[0]["detail"]
    assert flat.keys() == solid.keys() | {row["voi_id"] for row in lost}
    for name, row in solid.items():
        assert row["supervision"] == "pseudo_3d" and 0 < row["predicted_dice"] < 1
        assert row["image_sha256"] == flat[name]["image_sha256"]
        label = label_of(tmp_path / "a", row)
        at = row["key_slice_voi"]
        assert (label[:, :, at] == label_of(tmp_path / "a", flat[name])[:, :, at]).all()
        assert label[128, 128, 64]
        assert cc3d.connected_components(label, connectivity=6, return_N=True)[1] == 1
    # Alone, without images, by two workers: the same masks.
    alone = build(
        "deeplesion", raw, tmp_path / "b", masks=["jury_3d"], labels_only=True, workers=2
    ).rows
    assert {name: row["label_sha256"] for name, row in made(alone, "jury_3d").items()} == {
        name: row["label_sha256"] for name, row in solid.items()
    }
    assert not any(row["image_path"] for row in alone)


def test_several_readers(archives: dict[str, Path], tmp_path: Path) -> None:
    rows = build("ccc18", archives["ccc18"], tmp_path, masks=["jury_3d"]).rows
    readers = [r for r in rows if (r["layer"] or "").startswith("reader-") and r["status"] == "ok"]
    assert readers and made(rows, "jury_3d")
    assert {row["parent_layer"] for row in readers} == {"jury_3d"}
    assert {row["supervision"] for row in readers} == {"pseudo_3d"}


def test_it_is_no_mask_that_a_published_click_is_drawn_from(
    archives: dict[str, Path], tmp_path: Path
) -> None:
    with pytest.raises(SourceError, match=r"--masks jury_3d: --profile published"):
        build(
            "deeplesion",
            archives["deeplesion"],
            tmp_path,
            masks=["jury_3d"],
            profile="published",
        )
