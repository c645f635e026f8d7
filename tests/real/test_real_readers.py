"""Three readers of real kidney tumours: their majority, and how far they differ."""

from __future__ import annotations

import json
from collections.abc import Mapping
from itertools import combinations
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
from makers.reader_objects import ReadScan
from makers.shared import Shared
from numpy.typing import NDArray

import uls_data
from uls_data.manifest.parquet import read_table
from uls_data.manifest.row import Row
from uls_data.measure.overlap import dice
from uls_data.recipe import load_recipe

pytestmark = pytest.mark.real

# (case, tumour), each with three annotators.
TUMOURS = (("case_00041", 1), ("case_00041", 2), ("case_00061", 1))


def marked(real_data: Path, case: str, tumour: int) -> tuple[list[NDArray[np.bool_]], Any]:
    """Masks of the three annotators (RAS), and their affine."""
    raw = real_data / "kits23" / "dataset"
    if not raw.is_dir():
        pytest.skip(f"no KiTS masks at {raw}")
    masks = []
    for annotator in (1, 2, 3):
        name = f"tumor_instance-{tumour}_annotation-{annotator}.nii.gz"
        image = nibabel.as_closest_canonical(nibabel.load(raw / case / "instances" / name))
        masks.append(np.asarray(image.dataobj) != 0)
    return masks, image.affine


def written(recipe: Path, **changes: Any) -> Path:
    """Write the recipe of KiTS21 with changes."""
    content = load_recipe("kits21").recipe.model_dump(mode="json")
    recipe.write_text(json.dumps({**content, **changes}), encoding="utf-8")
    return recipe


def load_rows(out: Path) -> list[Row]:
    rows: list[Row] = read_table(out).to_pylist()
    return rows


def by_layer(rows: list[Row], index: int = 1) -> dict[str, Row]:
    return {
        row["layer"] or "": row
        for row in rows
        if row["status"] == "ok" and row["lesion_index"] == index
    }


def scores_of(row: Row) -> dict[str, float]:
    return {it["candidate"]: it["value"] for it in row["candidate_scores"] or ()}


def test_majority_and_dice_of_kits(real_data: Path, shared: Shared) -> None:
    rows = load_rows(shared.kits_readers(real_data))
    found = []
    for case, tumour in TUMOURS:
        masks, _ = marked(real_data, case, tumour)
        layers = by_layer([row for row in rows if row["case_id"] == case], tumour)
        assert sorted(layers) == ["annotated", "reader-1", "reader-2", "reader-3"]
        majority = layers["annotated"]
        assert majority["mask_voxels"] == (np.sum(masks, axis=0) > 1.5).sum()
        assert majority["agreement_level"] == 3
        expected = {
            f"reader-{a + 1}/reader-{b + 1}": dice(masks[a], masks[b])
            for a, b in combinations(range(3), 2)
        }
        assert scores_of(majority) == pytest.approx(expected)
        assert majority["uncertainty"] == pytest.approx(1 - np.mean(list(expected.values())))
        assert all(layers[f"reader-{n}"]["uncertainty"] is None for n in (1, 2, 3))
        found += expected.values()
    assert (round(min(found), 3), round(max(found), 3)) == (0.919, 0.981)
    assert all(not row["candidate_scores"] for row in rows if row["case_id"] == "case_00529")


@pytest.fixture(scope="module")
def scan(real_data: Path) -> ReadScan:
    """One tumour's surroundings, with made-up grey values."""
    masks, affine = marked(real_data, *TUMOURS[2])
    where = np.argwhere(np.any(masks, axis=0))
    low, high = where.min(axis=0) - 8, where.max(axis=0) + 9
    low, high = np.maximum(low, 0), np.minimum(high, masks[0].shape)
    part = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
    moved = affine.copy()
    moved[:3, 3] += affine[:3, :3] @ low
    cut = [np.ascontiguousarray(mask[part]) for mask in masks]
    ct_hu = np.sum(cut, axis=0).astype(np.int16) * 20 - 60
    return ReadScan(ct_hu, moved, cut)


@pytest.fixture(scope="module")
def as_volumes(scan: ReadScan, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Row]:
    """Layers of a file a reader."""
    root = tmp_path_factory.mktemp("volumes")
    scan.write_volumes(root / "raw", "p1")
    layout = {
        "name": "readers",
        "image": "ct/{case}.nii.gz",
        "instances": "readers/{case}_{annotation}.nii.gz",
    }
    reader = {"name": "volume_pairs", "layouts": [layout]}
    recipe = written(root / "own.yaml", **common(reader), instances={"rule": "files"})
    return by_layer(uls_data.build(recipe, root / "raw", root / "out").rows)


def common(reader: Mapping[str, Any]) -> dict[str, Any]:
    name = "{case}_lesion_{lesion:02d}_sample_{sample}"
    return {
        "source": "own",
        "reader": reader,
        "voi_name": name,
        "heldout_patients": [],
        "quirks": [],
    }


def test_a_file_a_reader(scan: ReadScan, as_volumes: dict[str, Row]) -> None:
    assert sorted(as_volumes) == ["annotated", "reader-1", "reader-2", "reader-3"]
    assert as_volumes["annotated"]["mask_voxels"] == (np.sum(scan.masks, axis=0) > 1.5).sum()
    for number, mask in enumerate(scan.masks, 1):
        assert as_volumes[f"reader-{number}"]["mask_voxels"] == mask.sum()


@pytest.mark.parametrize(
    ("kind", "rule"),
    [("seg", {"rule": "given"}), ("rtstruct", {"rule": "components", "values": [1]})],
)
def test_an_object_a_reader(
    scan: ReadScan, as_volumes: dict[str, Row], tmp_path: Path, kind: str, rule: dict[str, Any]
) -> None:
    if kind == "seg":
        pytest.importorskip("highdicom")
    uids = scan.write_series(tmp_path / "raw", "p1")
    if kind == "seg":
        scan.write_segmentations(tmp_path / "raw", "p1")
    else:
        scan.write_structure_sets(tmp_path / "raw", "p1", uids)
    names = [f".*/reader-{number}/.*" for number in (1, 2, 3)]
    reader = {"name": "dicom_objects", "kind": kind, "case": "p1", "readers": {"names": names}}
    recipe = written(tmp_path / "own.yaml", **common(reader), instances=rule)
    rows = uls_data.build(recipe, tmp_path / "raw", tmp_path / "out").rows
    assert not [row for row in rows if row["status"] != "ok"]
    layers = by_layer(rows)
    assert sorted(layers) == sorted(as_volumes)
    for name, layer in layers.items():
        expected = as_volumes[name]
        for column in ("label_voxels_sha256", "image_voxels_sha256", "annotator"):
            assert layer[column] == expected[column], (name, column)  # type: ignore[literal-required]
    assert scores_of(layers["annotated"]) == scores_of(as_volumes["annotated"])
    assert "GTV" not in repr(rows) and "Private" not in repr(rows)
