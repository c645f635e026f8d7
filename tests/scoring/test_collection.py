"""Corrections in what is scored: a corrected mask stands in, a withdrawn VOI is gone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from uls_data.export.grand_challenge import _lesions
from uls_data.manifest import write_manifest
from uls_data.scoring.collection import collect


def row(case: str, layer: str = "annotated", **changes: Any) -> dict[str, Any]:
    name = f"{case}_lesion_01_sample_0"
    return {
        "source": "s", "case_id": case, "lesion_index": 1, "sample_index": 0, "voi_id": name,
        "layer": layer, "status": "ok", "image_path": f"s/images/{name}.nii.gz",
        "label_path": f"s/labels/{layer}/{name}.nii.gz", "affine": np.eye(4).ravel().tolist(),
        **changes,
    }  # fmt: skip


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    rows = [
        row("plain"),
        row("fixed"),
        row("fixed", "corrected", parent_layer="annotated"),
        row("dropped"),
        row("dropped", "corrected", status="skipped", reason="erratum_drop"),
    ]
    write_manifest(rows, tmp_path / "manifest" / "s.parquet")
    return tmp_path


def test_corrections_are_scored(manifest: Path) -> None:
    found = collect(manifest)
    assert {name: item.path.parent.name for name, item in found.items.items()} == {
        "plain_lesion_01_sample_0": "annotated",
        "fixed_lesion_01_sample_0": "corrected",
    }
    assert list(collect(manifest, "corrected").items) == ["fixed_lesion_01_sample_0"]


def test_corrections_are_exported(manifest: Path) -> None:
    found = {lesion[0].row["case_id"]: lesion[0].label for lesion in _lesions(manifest, None)}
    assert {case: path.parent.name for case, path in found.items()} == {
        "plain": "annotated",
        "fixed": "corrected",
    }
