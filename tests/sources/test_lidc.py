"""LIDC-IDRI series with their XML, through the recipe's fields."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from makers.shared import Shared

import uls_data
from uls_data.recipe import load_recipe


@pytest.fixture(scope="module")
def raw(shared: Shared) -> Path:
    return shared.raw("lidc_idri")


def rows(raw: Path, folder: Path, changes: dict[str, Any], rule: str = "") -> list[dict[str, Any]]:
    shipped = load_recipe("lidc_idri").path
    content = yaml.safe_load(shipped.read_text(encoding="utf-8"))
    content["reader"].update(changes)
    if rule:
        content["instances"] = {"rule": rule}
    (folder / "recipe.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")
    crosswalk = (shipped.parent / "crosswalk.tsv").read_text(encoding="utf-8")
    (folder / "crosswalk.tsv").write_text(crosswalk, encoding="utf-8")
    report = uls_data.build(folder / "recipe.yaml", raw, folder / "out", labels_only=True)
    return report.rows


def annotated(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [row for row in found if row["layer"] == "annotated" and row["status"] == "ok"]


def test_consensus_and_readers(raw: Path, tmp_path: Path) -> None:
    sizes = {}
    for consensus in ("any", "majority", "all"):
        folder = tmp_path / consensus
        folder.mkdir()
        found = rows(raw, folder, {"consensus": consensus})
        first = max(annotated(found), key=lambda row: row["agreement_level"])
        sizes[consensus] = first["mask_voxels"]
        layers = [
            row["mask_voxels"]
            for row in found
            if row["voi_id"] == first["voi_id"] and row["layer"].startswith("reader-")
        ]
        assert len(layers) == first["agreement_level"] == 4
        assert len(first["candidate_scores"]) == 6  # each pair of four readers
        if consensus == "any":
            assert sizes["any"] >= max(layers)
        if consensus == "all":
            assert sizes["all"] <= min(layers)
    assert sizes["all"] <= sizes["majority"] <= sizes["any"]


def test_agreement_below_the_wanted_is_a_skipped_row(raw: Path, tmp_path: Path) -> None:
    found = rows(raw, tmp_path, {"at_least": 3})
    below = [row for row in found if row["reason"] == "below_agreement"]
    assert len(below) == 2 and len(annotated(found)) == 1
    assert all("2 readers" in row["detail"] for row in below)


def test_the_outline_s_own_pixels(raw: Path, tmp_path: Path) -> None:
    outside, inside = tmp_path / "outside", tmp_path / "inside"
    outside.mkdir(), inside.mkdir()
    thin = annotated(rows(raw, outside, {"outline": "outside"}))
    thick = annotated(rows(raw, inside, {"outline": "inside"}))
    assert all(a["mask_voxels"] < b["mask_voxels"] for a, b in zip(thin, thick, strict=True))


def test_each_nodule_a_lesion(raw: Path, tmp_path: Path) -> None:
    found = annotated(rows(raw, tmp_path, {}, rule="given"))
    assert len(found) == 3 and all(row["source_lesion_id"] for row in found)
